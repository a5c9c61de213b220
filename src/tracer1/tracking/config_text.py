"""The resolved config as MLflow wants it: flat parameters and one YAML text. It knows nothing about what the keys mean."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MAX_KEY, MAX_VALUE = 250, 6000  # MLflow's limits, in characters
_SECRET = re.compile(r"(^|_)(api_?key|(hf|api|auth|access)_token|password|passwd|secret)$", re.IGNORECASE)
_PASSWORD = re.compile(r"//([^/@:\s]*):[^/@\s]+@")
_FORBIDDEN = re.compile(r"[^\w\-. :/]")  # what MLflow refuses in the name of a parameter


def to_plain(value: Any, key: str = "") -> Any:
    """`value` as dicts, lists and scalars; the values of keys that name a secret become "***"."""
    if isinstance(value, Mapping):
        return {str(name): to_plain(item, str(name)) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [to_plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if _SECRET.search(key):
        return "***"
    return value if isinstance(value, int | float | str) else str(value)


def flatten(config: Mapping[str, Any]) -> dict[str, str]:
    """`{"trainer": {"max_epochs": 3}}` -> `{"trainer.max_epochs": "3"}`, cut at MLflow's limits."""
    return {_FORBIDDEN.sub("_", key)[:MAX_KEY]: _cut(str(value)) for key, value in _leaves(config, "")}


def without_passwords(text: str) -> str:
    """`text` with the password of every address in it hidden: `http://me:***@host`."""
    return _PASSWORD.sub(r"//\1:***@", text)


def _leaves(config: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _cut(text: str) -> str:
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"
