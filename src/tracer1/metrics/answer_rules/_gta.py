"""Reads what GTA takes for a right answer. It knows no rule."""

from collections.abc import Mapping
from typing import Any

from tracer1.metrics.answer_rules import GtaGold
from tracer1.registry import nearest

_KEYS = ["whitelist", "blacklist"]


def read_gta_gold(value: Any) -> GtaGold:
    """A `gt_answer` as it stands in dataset.json, checked.

    Args:
        value: `{"whitelist": [[alias, ...], ...], "blacklist": [[alias, ...], ...] or null}`, a list of texts, or null.

    Raises:
        ValueError: anything else; the message says what.
    """
    if value is None:
        return None
    if isinstance(value, list):
        return _texts(value, "a list")
    if not isinstance(value, Mapping):
        raise ValueError(
            f"an object with `whitelist` and `blacklist`, a list of texts or null is needed, got {value!r:.60}"
        )
    if "whitelist" not in value:
        other = next((key for key in value if key not in _KEYS and nearest(key, ["whitelist"])), None)
        raise ValueError("`whitelist` is missing" + (f"; there is {other!r}" if other else ""))
    blacklist = value.get("blacklist")
    groups = {"whitelist": value["whitelist"], "blacklist": [] if blacklist is None else blacklist}
    for name, found in groups.items():
        if not isinstance(found, list) or not all(isinstance(group, list) for group in found):
            raise ValueError(f"`{name}` is a list of lists of aliases, got {found!r:.60}")
        for group in found:
            _texts(group, f"a group of `{name}`")
    return groups


def _texts(values: list[Any], what: str) -> list[str]:
    for value in values:
        if not isinstance(value, str):
            raise ValueError(f"{what} holds texts, got {value!r:.60}")
    return values
