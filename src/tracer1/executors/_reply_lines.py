"""Reads recorded replies of a frozen model: JSON lines in, actions out. The logic of `tools/parse_reply.py`.

It is strict about a line and lenient about the reply in it, which is a model's. It knows no model: a Dialect reads.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from tracer1.actions import RELATIVE_1000
from tracer1.errors import DataError
from tracer1.executors._frozen import Dialect
from tracer1.json_lines import check_known, check_present, read_object
from tracer1.schema import Action

KEYS = ("text", "image_width", "image_height")  # of an input line
FIELDS = ("action_type", "point", "end_point", "content", "key", "direction", "app_name")  # of an action


def parse_lines(lines: Iterable[bytes], dialect: Dialect, source: str = "-") -> Iterator[dict[str, Any]]:
    """What each line's reply says; blank lines are skipped.

    Args:
        lines: UTF-8 JSON objects `{"text", "image_width", "image_height"}`, the size of the screenshot in pixels.
        dialect: How the model speaks.
        source: What the lines came from, for messages.

    Yields:
        `{"thought", "actions", "error"}` in order; places are 0..1000 of the screenshot, and what there is not is None.

    Raises:
        DataError: a line that cannot be read, with its number.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            text, width, height = read_line(line, f"{source}:{number}")
            try:
                space = RELATIVE_1000 if dialect.space is None else dialect.space(width, height)
            except ValueError as error:
                raise DataError(f"{source}:{number}: no such screenshot: {error}.") from None
            reply = dialect.parse(text, space)
            actions = [_fields(action) for action in reply.actions]
            yield {"thought": reply.thought or None, "actions": actions, "error": reply.error or None}


def read_line(line: bytes, where: str) -> tuple[str, int, int]:
    """One JSON line -> the reply's text, width and height.

    Raises:
        DataError: it starts with `where` and says what is wrong.
    """
    fields = read_object(line, where, ", ".join(KEYS))
    check_known(fields, KEYS, where)
    check_present(fields, KEYS, f"has {', '.join(KEYS)}", where)
    text, *size = (fields[key] for key in KEYS)
    if not isinstance(text, str):
        raise DataError(f"{where}: `text` must be the reply's text, got {text!r:.60}.")
    for key, value in zip(KEYS[1:], size, strict=True):
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 10**6:
            raise DataError(f"{where}: `{key}` must be a number of pixels, got {value!r:.60}.")
    return text, *size


def _fields(action: Action) -> dict[str, Any]:
    return {name: list(value) if isinstance(value := getattr(action, name), tuple) else value for name in FIELDS}
