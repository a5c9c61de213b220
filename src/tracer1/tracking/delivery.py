"""Brings the lines of `metrics.jsonl` to a store from one background thread. It knows nothing about MLflow's API.

The file is the queue: nothing is held in memory, the training never waits, and after an outage (or in the next process)
delivery goes on where the store stopped acknowledging. Whatever the store does (refuse, hang, come back), the training
sees none of it.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tracer1.tracking.config_text import without_passwords
from tracer1.tracking.journal import FILES, RunRecord, read_lines

log = logging.getLogger(__name__)

LINES_PER_SEND = 200
FAILED_FILES = 3  # in one attempt: the store of the files is down then, and would have each wait for its end
HURRIED_RETRY_S = 0.5
WARNINGS = 3  # about lines or files that are not taken: a run that was deleted by hand would refuse them all


class Store(Protocol):
    """What delivery needs of a store; `MlflowStore` is one. Every method may raise."""

    def describe(self, params: Mapping[str, str], tags: Mapping[str, str]) -> list[str]: ...
    def send(self, lines: list[Mapping[str, Any]]) -> None: ...
    def send_artifact(self, path: Path, inside: str) -> None: ...
    def register(self, folder: Path, model: Mapping[str, Any]) -> None: ...
    def set_status(self, status: str) -> None: ...
    def check(self) -> None: ...


@dataclass(frozen=True)
class Pace:
    """Seconds between deliveries, and between attempts while the store is down (doubling from first to last)."""

    between_s: float = 2.0
    first_retry_s: float = 5.0
    last_retry_s: float = 300.0


@dataclass
class Wanted:
    """What the run should look like in the store; delivery makes it so."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    status: str = "RUNNING"


class Delivery:
    """The background thread.

    Args:
        open_store: Connects and returns the store; called in the thread, again after every failure to connect.
        folder: The run's folder, with `metrics.jsonl`; gets `run.json`.
        record: The run's record; its `sent_bytes` says where to go on.
        refused: Whether an error means that the store is well and will never take this line.
        pace: How long to wait for what.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        folder: Path,
        record: RunRecord,
        refused: Callable[[Exception], bool] = lambda error: False,
        pace: Pace | None = None,
    ) -> None:
        self._open_store, self._folder, self._record, self._refused = open_store, folder, record, refused
        self._pace = pace or Pace()
        self._journal = folder / "metrics.jsonl"
        self.wanted = Wanted()
        self.dropped = 0  # lines and files that the store refused for good
        self._store: Store | None = None
        self._described: tuple[dict[str, str], dict[str, str]] | None = None
        self._status = ""
        self._files_failed = 0  # attempts in a row in which the store was well and a file was not taken
        self._files_due = 0.0  # when files are tried again
        self._put_off: list[Mapping[str, Any]] = []  # of the lines in `late` those that were tried
        self._uploading = False
        self._changed = threading.Condition()
        self._asked = self._done = 0  # calls of `notify`, and how many of them are delivered
        self._tried = 0  # how many of them are delivered but for files
        self._begun = self._ended = 0  # attempts
        self._failures = 0  # failed attempts since the last success
        self._hurry = False
        self._thread = threading.Thread(target=self._run, name="tracking-delivery", daemon=True)

    def start(self) -> None:
        """Starts the thread; a daemon, so that a store that hangs cannot keep the process alive."""
        self._thread.start()

    def notify(self) -> None:
        """Says that there is something to deliver. Returns at once."""
        with self._changed:
            self._asked += 1
            self._changed.notify_all()

    def flush(self, deadline_s: float, files_s: float = 0.0) -> bool:
        """Waits until all is delivered; True if it is. At most `deadline_s`, or one more attempt when the store is known to be down.

        Args:
            deadline_s: Seconds.
            files_s: Seconds in all while files are on their way: weights take longer than figures. What was logged meanwhile
                gets `deadline_s` once more.
        """
        until = time.monotonic() + files_s
        with self._changed:
            down = self._failures or self._files_failed
            goal, last_attempt = self._asked, self._begun + 1 if down else None

            def over() -> bool:
                return self._done >= goal or (last_attempt is not None and self._ended >= last_attempt)

            self._hurry = True
            self._changed.notify_all()
            self._changed.wait_for(over, deadline_s)
            uploaded = False
            while not over() and self._uploading and time.monotonic() < until:
                uploaded = True
                self._changed.wait(1.0)
            if uploaded:  # what was logged while files were on their way is the next attempt's
                self._changed.wait_for(over, deadline_s)
            self._hurry = False
            return self._done >= goal

    def unsent(self) -> int:
        """How many lines of `metrics.jsonl`, or their files, the store has not acknowledged."""
        return sum(1 for _ in read_lines(self._journal, self._record.sent_bytes)) + len(self._record.late)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._something_to_do, self._until_files_s())
                self._changed.wait_for(lambda: self._hurry, self._pause_s())
                goal = self._asked
                self._begun += 1
            succeeded = self._attempt()
            with self._changed:
                self._ended += 1
                self._uploading = False
                self._tried = goal if succeeded else self._tried
                self._done = goal if succeeded and not self._record.late else self._done
                self._failures = 0 if succeeded else self._failures + 1
                self._changed.notify_all()
            if self._hurry and self._done < goal:
                time.sleep(HURRIED_RETRY_S)

    def _something_to_do(self) -> bool:
        return self._asked > self._tried or (self._hurry and self._asked > self._done)

    def _until_files_s(self) -> float | None:
        return max(0.0, self._files_due - time.monotonic()) if self._record.late and self._asked else None

    def _pause_s(self) -> float:
        if self._failures:
            return self._retry_s(self._failures)
        return self._pace.between_s if self._store else 0.0  # the first delivery is made at once

    def _retry_s(self, failures: int) -> float:
        return min(self._pace.first_retry_s * 2 ** min(failures - 1, 20), self._pace.last_retry_s)

    def _attempt(self) -> bool:
        """Makes the store equal to what is wanted; True if it is, but for files that are tried again later.

        Catches all: a store's trouble is not the training's.
        """
        try:
            if self._store is None:
                self._store = self._open_store()
                self._record.save(self._folder / "run.json")
            self._describe(self._store)
            self._send_lines(self._store)
            untried = any(line not in self._put_off for line in self._record.late)
            if untried or self._hurry or time.monotonic() >= self._files_due:
                self._send_files(self._store)
            if self._status != self.wanted.status:
                status = self.wanted.status
                self._store.set_status(status)
                self._status = status
        except Exception as error:
            if not self._failures:
                log.warning(
                    "MLflow is not reachable (%s). The training goes on; %s has every figure, and what MLflow missed is sent "
                    "when it answers again.",
                    _short(error),
                    self._journal,
                )
            log.debug("Delivery failed", exc_info=True)
            return False
        if self._failures:
            log.info("MLflow answers again; it has got what it missed.")
        return True

    def _describe(self, store: Store) -> None:
        wanted = (dict(self.wanted.params), dict(self.wanted.tags))
        if self._described == wanted:
            return
        changed: list[str] = []
        try:
            changed = store.describe(*wanted)
        except Exception as error:
            if not self._refused(error):
                raise
            self._drop("the config", error)
        self._described = wanted
        if changed:
            log.warning("The config differs from the one this MLflow run was started with: %s", ", ".join(changed))

    def _send_lines(self, store: Store) -> None:
        while chunk := list(read_lines(self._journal, self._record.sent_bytes, LINES_PER_SEND)):
            lines = [line for line, _ in chunk]
            try:
                store.send(lines)
            except Exception as error:
                if not self._refused(error):
                    raise
                self._send_singly(store, lines)
            self._record.late += [line for line in lines if any(kind in line for kind in FILES)]
            self._record.sent_bytes = chunk[-1][1]
            self._record.save(self._folder / "run.json")

    def _send_singly(self, store: Store, lines: list[dict[str, Any]]) -> None:
        """One bad line must not hold up the others."""
        for line in lines:
            try:
                store.send([line])
            except Exception as error:
                if not self._refused(error):
                    raise
                self._drop(f"a line of step {line.get('step')}", error)

    def _send_files(self, store: Store) -> None:
        """Those that wait, what was never tried first. What cannot be taken now is kept, and holds up neither figures nor other files."""
        self._uploading = bool(self._record.late)
        failed: list[Mapping[str, Any]] = []
        while len(failed) < FAILED_FILES and (line := self._next_file(failed)) is not None:
            what = self._folder / (line["model"]["folder"] if "model" in line else line["artifact"])
            try:
                self._send_file(store, what, line)
            except Exception as error:
                store.check()  # raises where the store itself is down
                if self._refused(error) or not what.exists():
                    self._drop(str(what), error)
                else:
                    failed.append(line)
                    self._keep(line, what, error)
            else:
                self._put_off = [one for one in self._put_off if one != line]
            self._record.late.remove(line)
            self._record.late += [line] if line in failed else []  # behind the others
            self._record.save(self._folder / "run.json")
            self._send_lines(store)  # what was logged while the file was on its way
        if self._files_failed and not failed:
            log.info("MLflow's store of files answers again.")
        self._files_failed = self._files_failed + 1 if failed else 0
        self._files_due = time.monotonic() + self._retry_s(self._files_failed) if failed else 0.0

    @staticmethod
    def _send_file(store: Store, what: Path, line: Mapping[str, Any]) -> None:
        if "model" in line:
            store.register(what, line["model"])
        else:
            store.send_artifact(what, "/".join(Path(line["artifact"]).parts[:-1]))

    def _next_file(self, failed: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        waiting = [line for line in self._record.late if line not in failed]
        return min(waiting, key=self._put_off.__contains__, default=None)

    def _keep(self, line: Mapping[str, Any], what: Path, error: Exception) -> None:
        if line in self._put_off:
            return
        self._put_off.append(line)
        log.log(
            logging.WARNING if len(self._put_off) <= WARNINGS else logging.DEBUG,
            "MLflow answers, but its store of files does not take %s (%s). The training goes on; the file stays in %s, and is "
            "sent when it is taken, by the next process if need be.", what.name, _short(error), self._folder,
        )  # fmt: skip

    def _drop(self, what: str, error: Exception) -> None:
        self.dropped += 1
        log.log(
            logging.WARNING if self.dropped <= WARNINGS else logging.DEBUG,
            "MLflow refuses %s (%s). It stays in %s.",
            what,
            _short(error),
            self._folder,
        )


def _short(error: Exception) -> str:
    """The kind of an error, the start and the end of its first line; MLflow's messages quote whole addresses in between."""
    text = without_passwords(f"{type(error).__name__}: {error}".split("\n")[0])
    return text if len(text) <= 250 else f"{text[:120]} … {text[-130:]}"
