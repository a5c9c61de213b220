"""Messages between the two sides of a sandbox's border: a length and JSON, never pickle. It knows nothing of what they mean."""

import json
import os
import struct
from collections.abc import Mapping
from typing import Any

LONGEST = 64 << 20  # bytes of one message; a longer one is an attack or a mistake
_HEAD = struct.Struct("!I")


def pack(message: Mapping[str, Any]) -> bytes:
    """One message as bytes; raises TypeError or ValueError for what JSON cannot hold."""
    body = json.dumps(message).encode("ascii")
    if len(body) > LONGEST:
        raise ValueError(f"{len(body) >> 20} MiB of JSON; at most {LONGEST >> 20} MiB pass the sandbox's border")
    return _HEAD.pack(len(body)) + body


class Inbox:
    """Puts messages together from the pieces in which they arrive. What it is fed is not trusted."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, piece: bytes) -> None:
        """Adds what was read."""
        self._data += piece

    def pop(self) -> dict[str, Any] | None:
        """The next whole message, or None; raises ValueError for bytes that are no message."""
        if len(self._data) < _HEAD.size:
            return None
        (length,) = _HEAD.unpack_from(self._data)
        if length > LONGEST:
            raise ValueError(f"a message of {length} bytes")
        if len(self._data) < _HEAD.size + length:
            return None
        body = bytes(self._data[_HEAD.size : _HEAD.size + length])
        del self._data[: _HEAD.size + length]
        try:
            message = json.loads(body)
        except RecursionError as deep:
            raise ValueError("a message nested too deeply") from deep
        if not isinstance(message, dict):
            raise ValueError("a message that is no object")
        return message


class Channel:
    """Blocking messages over two file descriptors (which may be the same)."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd, self._write_fd = read_fd, write_fd
        self._inbox = Inbox()

    def send(self, message: Mapping[str, Any]) -> None:
        """Writes a message whole."""
        data = memoryview(pack(message))
        while data:
            data = data[os.write(self._write_fd, data) :]

    def receive(self) -> dict[str, Any] | None:
        """The next message; None at the end of the stream."""
        while (message := self._inbox.pop()) is None:
            if not (piece := os.read(self._read_fd, 1 << 16)):
                return None
            self._inbox.feed(piece)
        return message
