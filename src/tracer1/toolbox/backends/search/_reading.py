"""Reads the hits in a search engine's answer. It knows no engine."""

from collections.abc import Mapping
from typing import Any

from tracer1.errors import ExecutorError
from tracer1.toolbox.backends import Hit

_LONGEST = 2000  # characters of each part of a hit


def hits(engine: str, listed: Any, names: tuple[str, str, str], count: int) -> list[Hit]:
    """At most `count` hits.

    Args:
        engine: For messages.
        listed: A list of objects; None is none.
        names: Under which names they hold title, address and snippet.
        count: The most.

    Raises:
        ExecutorError: It is no such list.
    """
    if not isinstance(listed or [], list):
        raise ExecutorError(f"executor.backends.search ({engine}): the answer cannot be read: {listed!r:.200}.")
    found = []
    for item in listed or []:
        if isinstance(item, Mapping) and item.get(names[1]):
            title, url, snippet = (" ".join(str(item.get(name) or "").split())[:_LONGEST] for name in names)
            found.append(Hit(title, url, snippet))
    return found[:count]


def entry(answer: Any, name: str) -> Any:
    """What an answer holds under a name; None where it is no object or has no such name."""
    return answer.get(name) if isinstance(answer, Mapping) else None
