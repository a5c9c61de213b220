"""Replies on disk: one SQLite file that several processes may use at once. It knows no server.

A reply is found by what it depends on (`request.Identity`): images, prompt, model, sampling. Write-ahead logging keeps what was
written when a process is killed. A store that cannot be read or written costs a warning and is done without.
"""

import logging
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from tracer1.chat.request import Identity

log = logging.getLogger(__name__)

FILE = "replies.sqlite"
_WAIT_S = 30.0  # for another process that writes
_TABLE = """CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, images TEXT NOT NULL, prompt TEXT NOT NULL, sampling TEXT NOT NULL,
    text TEXT NOT NULL, truncated INTEGER NOT NULL
) WITHOUT ROWID"""


class ReplyCache:
    """Replies by what was asked; safe in several threads and processes.

    Args:
        folder: Holds `replies.sqlite`; made if it is missing.
        writable: False only reads, also where nothing can be written.

    Attributes:
        hits, misses: Of `get`, in this process.
        broken: Why it is not used any more; empty while it is.
    """

    def __init__(self, folder: str | Path, writable: bool = True) -> None:
        self.path = Path(folder) / FILE
        self.hits = self.misses = 0
        self.broken = ""
        self._lock = threading.Lock()
        self._store: sqlite3.Connection | None = None
        try:
            if writable:
                self._open()
            else:
                self._open_to_read()
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._store = sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
        self._store.execute("PRAGMA journal_mode=WAL")
        self._store.execute("PRAGMA synchronous=NORMAL")
        self._store.execute(_TABLE)

    def _open_to_read(self) -> None:
        """Beside whoever writes; in a folder that cannot be written to, as a file that nobody changes."""
        place = f"file:{quote(str(self.path.absolute()))}?"
        for way in ("mode=ro", "immutable=1"):
            self._store = sqlite3.connect(
                place + way, uri=True, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._store.execute("SELECT COUNT(*) FROM replies")
                return
            except sqlite3.OperationalError:
                if way == "immutable=1":
                    raise
                self._store.close()

    def _give_up(self, error: Exception) -> None:
        self.broken = f"{self.path}: {error}"
        log.warning(
            "The cache of replies %s cannot be used (%s): going on without it. Delete or move the file.",
            self.path,
            error,
        )
        if self._store is not None:
            with suppress(sqlite3.Error):
                self._store.close()
        self._store = None

    def get(self, asked: Identity) -> tuple[str, bool] | None:
        """The text and whether it was truncated; None where nothing is known."""
        row = self._run("SELECT text, truncated FROM replies WHERE key = ?", (asked.key,))
        self.hits, self.misses = self.hits + bool(row), self.misses + (not row)
        return (row[0][0], bool(row[0][1])) if row else None

    def put(self, asked: Identity, text: str, truncated: bool = False) -> None:
        """Keeps a reply, in place of one that was there."""
        row = (asked.key, asked.model, asked.images, asked.prompt, asked.sampling, text, int(truncated))
        self._run("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def models(self) -> list[str]:
        """The models whose replies it holds, sorted."""
        return sorted(row[0] for row in self._run("SELECT DISTINCT model FROM replies", ()))

    def __len__(self) -> int:
        rows = self._run("SELECT COUNT(*) FROM replies", ())
        return rows[0][0] if rows else 0

    def _run(self, query: str, values: tuple) -> list[tuple]:
        with self._lock:
            if self._store is None:
                return []
            try:
                return self._store.execute(query, values).fetchall()
            except (sqlite3.Error, UnicodeError) as error:
                if isinstance(error, UnicodeError):  # half a surrogate pair in a text: this one is not kept
                    return []
                self._give_up(error)
                return []

    def close(self) -> None:
        """Writes the log into the file."""
        with self._lock:
            if self._store is not None:
                self._store.close()
            self._store = None
