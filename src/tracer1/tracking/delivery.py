"""Brings the lines of `metrics.jsonl` to a store from one background thread. It knows nothing about MLflow's API.

The file is the queue: nothing is held in memory, the training never waits, and after an outage (or in the next process)
delivery goes on where the store stopped acknowledging. Whatever the store does (refuse, hang, come back), the training
sees none of it.
"""

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tracer1.tracking.config_text import without_passwords
from tracer1.tracking.journal import FILES, RunRecord, read_lines

log = logging.getLogger(__name__)

LINES_PER_SEND = 200
ARTIFACT_TRIES = 3
HURRIED_RETRY_S = 0.5
WARNINGS = 3  # about lines the store refuses; a run deleted by hand would refuse them all


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
        self._tries: Counter[str] = Counter()  # of files that failed while the store was well
        self._uploading = False
        self._changed = threading.Condition()
        self._asked = self._done = 0  # calls of `notify`, and how many of them are delivered
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
            goal, last_attempt = self._asked, self._begun + 1 if self._failures else None

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
                self._changed.wait_for(lambda: self._asked > self._done)
                self._changed.wait_for(lambda: self._hurry, self._pause_s())
                goal = self._asked
                self._begun += 1
            succeeded = self._attempt()
            with self._changed:
                self._ended += 1
                self._uploading = False
                self._done = goal if succeeded else self._done
                self._failures = 0 if succeeded else self._failures + 1
                self._changed.notify_all()
            if not succeeded and self._hurry:
                time.sleep(HURRIED_RETRY_S)

    def _pause_s(self) -> float:
        if self._failures:
            return min(self._pace.first_retry_s * 2 ** min(self._failures - 1, 20), self._pace.last_retry_s)
        return self._pace.between_s if self._store else 0.0  # the first delivery is made at once

    def _attempt(self) -> bool:
        """Makes the store equal to what is wanted; True if it is. Catches all: a store's trouble is not the training's."""
        try:
            if self._store is None:
                self._store = self._open_store()
                self._record.save(self._folder / "run.json")
            self._describe(self._store)
            self._send_lines(self._store)
            self._uploading = bool(self._record.late)
            while self._record.late:
                self._send_file(self._store)
                self._send_lines(self._store)  # what was logged while the file was on its way
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

    def _send_file(self, store: Store) -> None:
        """Sends the file that has waited longest. One that fails while the store is well is tried again later, and not for ever."""
        line = self._record.late[0]
        what = self._folder / (line["model"]["folder"] if "model" in line else line["artifact"])
        try:
            if "model" in line:
                store.register(what, line["model"])
            else:
                store.send_artifact(what, "/".join(Path(line["artifact"]).parts[:-1]))
        except Exception as error:
            store.check()  # raises where the store is down, which is no fault of the file
            key = json.dumps(line, sort_keys=True)
            self._tries[key] += 1
            if self._tries[key] < ARTIFACT_TRIES and what.exists():
                raise
            self._drop(str(what), error)
        self._record.late.pop(0)
        self._record.save(self._folder / "run.json")

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
    """The kind of an error and the start of its first line; MLflow's messages quote whole addresses."""
    text = without_passwords(f"{type(error).__name__}: {error}".split("\n")[0])
    return text if len(text) <= 250 else text[:250] + "…"
