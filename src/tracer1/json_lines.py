"""One line of a tool's input file -> its JSON object, with messages that name the line. It knows nothing of what the fields mean."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tracer1.errors import DataError
from tracer1.registry import nearest


def read_object(line: bytes, where: str, wanted: str) -> dict[str, Any]:
    """The object of a line.

    Args:
        line: UTF-8 JSON.
        where: How messages call the line, `FILE:NUMBER`.
        wanted: What the object should hold, for the message.

    Raises:
        DataError: It is no JSON, or no object.
    """
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise DataError(f"{where}: not a line of UTF-8 JSON ({' '.join(str(error).split())}).") from None
    if not isinstance(fields, dict):
        raise DataError(f"{where}: an object with {wanted} is needed, got {fields!r:.60}.")
    return fields


def check_known(fields: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Raises DataError for a key that nobody reads."""
    for key in fields:
        if key not in known:
            raise DataError(f"{where}: unknown key {key!r}.{nearest(key, list(known))} Known: {', '.join(known)}.")


def check_present(fields: Mapping[str, Any], required: Sequence[str], shape: str, where: str) -> None:
    """Raises DataError for a key that is not there, and names the one that was probably meant; `shape` shows a whole line."""
    for name in required:
        if name not in fields:
            other = next((key for key in fields if key not in required and nearest(key, list(required))), None)
            hint = f" There is {other!r}." if other else ""
            raise DataError(f"{where}: `{name}` is missing.{hint} A line {shape}.")
