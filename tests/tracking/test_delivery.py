"""Delivery against a hand-written store that refuses, hangs and comes back."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tracer1.tracking.delivery import WARNINGS, Delivery, Pace, _short
from tracer1.tracking.journal import Journal, RunRecord

QUICK = Pace(between_s=0.0, first_retry_s=0.02, last_retry_s=0.05)


class Refusal(Exception):
    """The store is well and does not want this line."""


class FakeStore:
    def __init__(self) -> None:
        self.down = False
        self.hang = threading.Event()
        self.hang.set()
        self.steps: list[int] = []
        self.files: list[tuple[str, str]] = []
        self.statuses: list[str] = []
        self.described: list[dict[str, str]] = []
        self.models: list[tuple[str, str]] = []
        self.order: list[object] = []
        self.bad_step = self.bad_file = None
        self.closed = False  # the store of the files alone
        self.too_large: set[str] = set()
        self.uploads = 0
        self.file_cuts_the_line = False
        self.file_s = 0.0

    def open(self) -> "FakeStore":
        self._answer()
        return self

    def _answer(self) -> None:
        self.hang.wait(30)
        if self.down:
            raise ConnectionError("connection refused\nby a fake")

    def describe(self, params: dict[str, str], tags: dict[str, str]) -> list[str]:
        self._answer()
        self.described.append({**params, **tags})
        return []

    def send(self, lines: list[dict[str, Any]]) -> None:
        self._answer()
        if any(line.get("step") == self.bad_step is not None for line in lines):
            raise Refusal("no such metric")
        self.steps += [line["step"] for line in lines if "step" in line]
        self.order += [line["step"] for line in lines if "step" in line]

    def send_artifact(self, path: Path, inside: str) -> None:
        self._take_file()
        if path.name == self.bad_file:
            raise Refusal("no such kind of file")
        if path.name in self.too_large:
            raise ConnectionError("413")
        self.files.append((inside, path.name))
        self.order.append(path.name)

    def register(self, folder: Path, model: dict[str, Any]) -> None:
        self._take_file()
        self.models.append((folder.name, model["name"]))

    def _take_file(self) -> None:
        time.sleep(self.file_s)
        self.uploads += 1
        if self.closed:
            raise PermissionError("500: the bucket is closed")
        self.down = self.down or self.file_cuts_the_line
        self._answer()

    def check(self) -> None:
        self._answer()

    def set_status(self, status: str) -> None:
        self._answer()
        self.statuses.append(status)


class Setup:
    def __init__(self, folder: Path, store: FakeStore | None = None) -> None:
        self.store = store or FakeStore()
        self.journal = Journal(folder / "metrics.jsonl")
        self.record = RunRecord.load(folder / "run.json")
        self.delivery = Delivery(self.store.open, folder, self.record, lambda error: isinstance(error, Refusal), QUICK)
        self.delivery.start()

    def log(self, *steps: int) -> None:
        for step in steps:
            self.journal.append({"time": 1.0, "step": step})
            self.delivery.notify()


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)


def test_everything_arrives_in_order_with_the_status(tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    setup.delivery.wanted.params["lr"] = "1"
    setup.log(*range(500))
    setup.delivery.wanted.status = "FINISHED"
    setup.delivery.notify()
    assert setup.delivery.flush(10)
    assert setup.store.steps == list(range(500))
    assert setup.store.described == [{"lr": "1"}]
    assert setup.store.statuses[-1] == "FINISHED"
    assert setup.delivery.unsent() == 0


def test_what_an_outage_missed_is_sent_when_the_store_is_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    setup = Setup(tmp_path)
    setup.log(0)
    assert setup.delivery.flush(10)
    setup.store.down = True
    setup.log(1, 2, 3)
    wait_until(lambda: setup.delivery._failures > 2)
    setup.log(4)
    setup.store.down = False
    wait_until(lambda: setup.store.steps == [0, 1, 2, 3, 4])
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "connection refused" in warnings[0]
    assert "metrics.jsonl" in warnings[0]


def test_the_next_process_sends_what_the_last_one_could_not(tmp_path: Path) -> None:
    first = Setup(tmp_path)
    first.log(0, 1)
    assert first.delivery.flush(10)
    first.store.down = True
    first.log(2)
    assert not first.delivery.flush(1)
    assert first.delivery.unsent() == 1
    second = Setup(tmp_path)
    second.log(3)
    assert second.delivery.flush(10)
    assert second.store.steps == [2, 3]


def test_flush_of_a_store_that_hangs_or_is_down_is_bounded(tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    setup.store.hang.clear()
    started = time.monotonic()
    setup.log(0)
    assert time.monotonic() - started < 2
    assert not setup.delivery.flush(0.3)
    assert time.monotonic() - started < 4
    setup.store.down = True
    setup.store.hang.set()
    wait_until(lambda: setup.delivery._failures > 0)
    started = time.monotonic()
    assert not setup.delivery.flush(20)  # one more attempt, not the whole deadline
    assert time.monotonic() - started < 5


def test_a_hiccup_while_flushing_is_survived(tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    setup.log(0)
    assert setup.delivery.flush(10)
    setup.store.hang.clear()
    setup.store.down = True
    setup.log(1)
    threading.Timer(0.1, setup.store.hang.set).start()
    threading.Timer(0.3, lambda: setattr(setup.store, "down", False)).start()
    assert setup.delivery.flush(10)


def test_a_refused_line_holds_up_no_other(tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    setup.store.bad_step = 1
    setup.log(0, 1, 2)
    assert setup.delivery.flush(10)
    assert setup.store.steps == [0, 2]
    assert setup.delivery.dropped == 1


def test_a_file_that_is_refused_holds_up_nothing_and_is_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    setup = Setup(tmp_path)
    setup.store.bad_file = "bad"
    (tmp_path / "tables").mkdir()
    for name in ("tables/bad", "tables/good", "config.yaml"):
        (tmp_path / name).touch()
        setup.journal.append({"time": 1.0, "artifact": name})
    setup.log(0, 1)
    assert setup.delivery.flush(10)
    assert setup.delivery.dropped == 1
    assert setup.store.steps == [0, 1]
    assert setup.store.files == [("tables", "good"), ("", "config.yaml")]
    assert "MLflow refuses" in caplog.text


def test_a_file_that_is_gone_is_given_up(tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    setup.store.closed = True
    setup.journal.append({"time": 1.0, "artifact": "gone"})
    setup.log(0)
    assert setup.delivery.flush(10)
    assert (setup.delivery.dropped, setup.delivery.unsent()) == (1, 0)


def test_files_wait_for_their_store_and_figures_do_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The server is well and its bucket is not, e.g. for an hour: nothing is given up, and the status is there."""
    setup = Setup(tmp_path)
    setup.store.closed = True
    names = ["a", "b", "c", "d", "policy"]
    for name in names:
        (tmp_path / name).touch()
        setup.journal.append({"time": 1.0, "artifact": name})
    setup.delivery.wanted.status = "FINISHED"
    setup.log(0)
    wait_until(lambda: setup.store.uploads > 20)  # many attempts, and never all files in one
    setup.log(1)
    wait_until(lambda: setup.store.steps == [0, 1])
    assert setup.store.statuses == ["FINISHED"]
    assert not setup.delivery.flush(5)
    assert (setup.delivery.dropped, setup.delivery.unsent()) == (0, 5)
    assert len([r for r in caplog.records if r.levelname == "WARNING"]) == WARNINGS
    assert "its store of files does not take a (PermissionError: 500: the bucket is closed)" in caplog.text
    assert "not reachable" not in caplog.text
    setup.store.closed = False
    assert setup.delivery.flush(10)
    assert sorted(name for _, name in setup.store.files) == names
    assert setup.delivery.unsent() == 0


def test_files_that_fail_each_time_hold_up_none_that_comes_later(tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    setup.delivery._pace = Pace(between_s=0.0, first_retry_s=60.0, last_retry_s=60.0)
    setup.store.too_large = {"a", "b", "c", "d"}
    for name in [*"abcd", "policy"]:
        (tmp_path / name).touch()
    for name in "abcd":
        setup.journal.append({"time": 1.0, "artifact": name})
    setup.log(0)
    wait_until(lambda: setup.delivery._files_failed > 0)
    setup.journal.append({"time": 1.0, "artifact": "policy"})
    setup.log(1)
    wait_until(lambda: ("", "policy") in setup.store.files, 5)
    assert not setup.delivery.flush(5)
    assert (setup.delivery.dropped, setup.delivery.unsent()) == (0, 4)


def test_the_next_process_sends_what_the_store_of_files_did_not_take(tmp_path: Path) -> None:
    first = Setup(tmp_path)
    first.store.closed = True
    (tmp_path / "policy").mkdir()
    first.journal.append({"time": 1.0, "model": {"name": "planner", "folder": "policy"}})
    first.log(0)
    wait_until(lambda: first.store.uploads > 3)
    first.store.hang.clear()  # as if its process had ended
    second = Setup(tmp_path)
    assert second.delivery.unsent() == 1
    second.log(1)
    assert second.delivery.flush(10)
    assert second.store.models == [("policy", "planner")]


def test_the_start_and_the_end_of_an_error_are_told() -> None:
    said = _short(OSError(f"http://{'x' * 400} answered 500"))
    assert said.startswith("OSError: http://x")
    assert said.endswith("x answered 500")
    assert len(said) < 260


def test_a_file_that_meets_an_outage_is_not_given_up(tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    setup.log(0)
    assert setup.delivery.flush(10)
    setup.store.file_cuts_the_line = True  # the server dies over the file
    (tmp_path / "policy").mkdir()
    setup.journal.append({"time": 1.0, "artifact": "policy"})
    setup.delivery.notify()
    wait_until(lambda: setup.delivery._failures > 4)
    assert setup.delivery.dropped == 0
    assert setup.delivery.unsent() == 1
    setup.store.file_cuts_the_line = setup.store.down = False
    assert setup.delivery.flush(10)
    assert setup.store.files == [("", "policy")]


def test_the_next_process_sends_files_that_the_last_one_could_not(tmp_path: Path) -> None:
    first = Setup(tmp_path)
    (tmp_path / "policy").mkdir()
    first.store.file_cuts_the_line = True
    first.journal.append({"time": 1.0, "model": {"name": "planner", "folder": "policy"}})
    first.log(0)
    wait_until(lambda: first.delivery._failures > 0)
    second = Setup(tmp_path)
    assert second.delivery.unsent() == 1
    second.log(1)
    assert second.delivery.flush(10)
    assert (second.store.models, second.store.steps) == ([("policy", "planner")], [1])


def test_figures_overtake_files_and_flush_waits_for_files_on_their_way(tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    setup.store.file_s = 0.4
    for name in ("a", "b", "c"):
        setup.journal.append({"time": 1.0, "artifact": name})
    setup.delivery.notify()
    wait_until(lambda: setup.delivery._uploading)
    setup.log(7)
    assert not setup.delivery.flush(0.1)
    assert setup.delivery.flush(0.1, files_s=20)
    assert setup.store.order.index(7) < setup.store.order.index("c")
