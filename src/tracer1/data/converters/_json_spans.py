"""The elements of a JSON file that holds one array, and the bytes of the file that each takes.

Whoever knows the bytes can read an element again, and several processes can read at once. Memory does not grow with the file.
It knows nothing about what the elements mean.
"""

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from tracer1.errors import DataError

CHUNK = 4_000_000  # bytes read at a time
LONGEST = 64_000_000  # characters: what goes on for longer without an end is damaged
_SPACE = re.compile(r"[ \t\r\n]*")
_CLOSED = (dict, list, str)  # elements that say themselves where they end
_CUT = 16  # characters before the end of what was read where an error may come from the cut: "tru", "\u00"


def json_spans(path: Path) -> Iterator[tuple[Any, int, int]]:
    """Yields each element with the bytes where it begins and ends.

    Raises:
        DataError: The file cannot be opened, is no array, or cannot be read on; it names the file and the byte.
    """
    try:
        with open(path, "rb") as stream:
            window = _Window(path, stream)
            window.take("[")
            mark = window.peek()
            while mark != "]":
                yield window.value()
                if (mark := window.peek()) != "]":
                    window.take(",")
            window.take("]")
            if window.peek():
                window.fail("something follows the array")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}). Correct --source.") from error


class _Window:
    """The part of a file that is being looked at, from `self.byte` on."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self.path, self.stream = path, stream
        self.text, self.place, self.byte = "", 0, 0  # what was decoded, the place in it, and the same place in the file
        self.decode = codecs.getincrementaldecoder("utf-8")().decode
        self.scan = json.JSONDecoder(parse_constant=lambda _: None).raw_decode

    def fail(self, reason: str, cause: Exception | None = None) -> NoReturn:
        raise DataError(
            f"{self.path}: the JSON array is cut off or damaged at byte {self.byte} ({reason}). Fetch the file again."
        ) from cause

    def more(self, size: int) -> bool:
        """Reads on, forgetting what was taken; false at the end of the file."""
        data = self.stream.read(size)
        try:
            fresh = self.decode(data, final=not data)
        except UnicodeDecodeError as error:
            self.byte = self.stream.tell() - len(error.object) + error.start
            self.fail("no UTF-8", error)
        self.text, self.place = self.text[self.place :] + fresh, 0
        return bool(data)

    def peek(self) -> str:
        """The next character that is no white space; empty at the end of the file."""
        while True:
            end = _SPACE.match(self.text, self.place).end()  # type: ignore[union-attr]
            self.byte, self.place = self.byte + end - self.place, end
            if end < len(self.text):
                return self.text[end]
            if not self.more(CHUNK):
                return ""

    def take(self, mark: str) -> None:
        if self.peek() != mark:
            self.fail(f"{mark!r} is due")
        self.byte, self.place = self.byte + 1, self.place + 1

    def value(self) -> tuple[Any, int, int]:
        """The element that begins at the place, and its bytes."""
        self.peek()
        size = CHUNK
        while True:
            try:
                value, end = self.scan(self.text, self.place)
            except (json.JSONDecodeError, RecursionError) as error:
                if not self._cut(error) or len(self.text) - self.place > LONGEST or not self.more(size):
                    self.fail(getattr(error, "msg", "it is nested too deeply"), error)
                size *= 2  # an element longer than a chunk is not scanned over and over
                continue
            text, rest = self.text[self.place : end], len(self.text) - end
            if not isinstance(value, _CLOSED) and rest < _CUT and self.more(size):
                continue  # of a number, only the beginning may have been read
            start = self.byte
            self.byte, self.place = start + len(text.encode()), self.place + len(text)
            return value, start, self.byte

    def _cut(self, error: Exception) -> bool:
        """Whether an error may only say that the text ends too early."""
        if not isinstance(error, json.JSONDecodeError):
            return False
        return error.msg.startswith("Unterminated string") or error.pos >= len(self.text) - _CUT
