"""Keeps the beginning and the end of a text that may be endless. It knows nothing of where the text comes from."""


class Printed:
    """What code has printed, in bounded memory.

    Args:
        limit: Bytes to keep: half of them from the beginning, half from the end.
    """

    def __init__(self, limit: int) -> None:
        self._half = max(1, limit // 2)
        self._head, self._tail = bytearray(), bytearray()
        self.size = 0  # bytes that were added

    def add(self, piece: bytes) -> None:
        """Adds what was read."""
        self.size += len(piece)
        free = self._half - len(self._head)
        self._head += piece[:free]
        self._tail += piece[free:] if free > 0 else piece
        if len(self._tail) > 64 * self._half:  # seldom: each cut copies what stays
            del self._tail[: -self._half]

    def take_off(self, mark: bytes) -> bool:
        """Removes `mark` from the end; False when the text does not end with it (yet)."""
        end = self._tail if len(self._tail) >= len(mark) else self._head + self._tail
        if not end.endswith(mark):
            return False
        from_head = max(0, len(mark) - len(self._tail))
        del self._tail[len(self._tail) - (len(mark) - from_head) :]
        del self._head[len(self._head) - from_head :]
        self.size -= len(mark)
        return True

    @property
    def cut(self) -> bool:
        """Whether some of it was left out."""
        return self.size > 2 * self._half

    def text(self) -> str:
        """The text, with a line in its middle that says how much is missing."""
        if not self.cut:
            return (self._head + self._tail).decode("utf-8", "replace")
        missing = self.size - 2 * self._half
        head, tail = self._head.decode("utf-8", "ignore"), self._tail[-self._half :].decode("utf-8", "ignore")
        return f"{head}\n[... {missing} bytes left out ...]\n{tail}"
