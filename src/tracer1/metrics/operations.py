"""Actions as Mind2Web's three operations. Hovering and pressing Enter count as clicks, as in the data set itself."""

from tracer1.metrics.comparing import kind_of
from tracer1.schema import Action

OPERATIONS = ("CLICK", "TYPE", "SELECT")
_CLICKS = ("click", "hover")


def operation_of(action: Action) -> str:
    """CLICK, TYPE or SELECT; the type's own name in capitals for anything else, which no gold step has."""
    kind = kind_of(action)
    if kind in _CLICKS or (kind == "hotkey" and (action.key or "").strip().lower() in ("enter", "return")):
        return "CLICK"
    return kind.upper()
