"""What all played benchmarks share, on toy doors: rates by the rule, faults beside them, files, mistakes, Ctrl-C."""

import io
import json
import math
from pathlib import Path

import pytest
from rich.console import Console
from toy_played import Clicker, Direct, Doors, DoorsBenchmark

from tracer1.benchmarks._playing import play_benchmark
from tracer1.benchmarks._result import BenchmarkResult, Published
from tracer1.errors import ConfigError, EnvironmentFault
from tracer1.plan_act.reading import read_record
from tracer1.schema import Outcome

SUCCESS = "val/doors/wide_open.success"


@pytest.fixture(autouse=True)
def no_doors_yet():
    Doors.made.clear()
    Doors.begun.clear()
    yield
    assert all(door.closed for door in Doors.made)


def play(folder: Path, benchmark: DoorsBenchmark, planner=None, executor=None) -> BenchmarkResult:
    return play_benchmark(benchmark, lambda: planner or Clicker(), executor or Direct(), folder, {"policy": "toy"})


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_typo_is_answered_before_a_model_is_loaded(tmp_path):
    def never() -> Clicker:
        raise AssertionError("loaded")

    with pytest.raises(ConfigError, match="opne"):
        play_benchmark(DoorsBenchmark(tasks=["opne"]), never, Direct(), tmp_path, {})
    assert not list(tmp_path.iterdir())


def test_rates_are_by_the_rule_and_files_are_left(tmp_path):
    result = play(tmp_path / "new", DoorsBenchmark(parallel=3))
    report = json.loads((tmp_path / "new" / "doors.json").read_text())
    rows = lines(tmp_path / "new" / "doors.episodes.jsonl")
    assert [(row["task"], row["seed"]) for row in rows] == [
        (t, s) for t in ("open", "shut", "half", "odd") for s in range(4)
    ]
    assert [row["success"] for row in rows] == [*[True] * 4, *[False] * 8, False, True, False, True], (
        "0.5 is no success"
    )
    assert len(Doors.made) == 3
    assert result.values()[SUCCESS] == pytest.approx(1.5 / 4)
    assert report["headline"] == SUCCESS
    assert report["figures"][SUCCESS]["value"] == pytest.approx(0.375)
    assert report["figures"][SUCCESS]["low"] < report["figures"][f"{SUCCESS}.these_tasks"]["low"]
    assert report["by_task"]["odd"] == {"success": 0.5, "episodes": 4, "faults": 0, "steps": 1.0}
    assert (report["steps"], report["episodes"], report["tasks"], report["policy"]) == (16, 16, 4, "toy")
    assert report["rules"] == {"wide_open": "the door is open"}
    assert report["environment"] == {"doors": 8}
    assert report["counts"] == {"episodes": 16, "faults": 0, "begun_again": 0, "lost": 0, "retried": 0, "end_ended": 16}
    assert report["means"]["score"] == pytest.approx((4 - 4 + 2 + 2) / 16)
    assert report["bootstrap"]["draws"] == 200
    assert report["wall_s"] >= 0
    assert not list((tmp_path / "new").glob("*.part"))
    recording = read_record(Path(report["record"]))
    assert len(recording.episodes) == 16
    assert recording.settings["rules"]["max_steps"] == 15


def test_the_same_seeds_give_the_same_figures_side_by_side_or_not(tmp_path):
    one, many = (play(tmp_path / str(n), DoorsBenchmark(parallel=n)) for n in (1, 5))
    assert one.figures == many.figures


def test_a_fault_is_in_no_rate_and_is_named(tmp_path):
    benchmark = DoorsBenchmark(tasks=["open", "broken", "shaky"], seeds=[1, 3], restarts=1, max_faults=0.4)
    report = play(tmp_path, benchmark).as_json()
    assert report["figures"][SUCCESS]["value"] == 1.0, "shaky was begun again; broken has no verdict"
    assert report["counts"]["faults"] == 2
    assert report["counts"]["begun_again"] == 2 + 2
    assert report["episodes"] == 4
    assert report["faults"] == [
        {"task": "broken", "seed": s, "fault": "The door fell out of its frame."} for s in (1, 3)
    ]
    assert report["by_task"]["broken"] == {"success": None, "episodes": 0, "faults": 2, "steps": None}
    assert report["faults_as_failures"] == pytest.approx(2 / 3, abs=1e-4)
    row = next(row for row in lines(tmp_path / "doors.episodes.jsonl") if row["task"] == "broken")
    assert (row["score"], row["success"], row["attempts"]) == (None, None, 2)


def test_too_many_faults_give_no_figures(tmp_path):
    with pytest.raises(EnvironmentFault, match=r"2 of 4 episodes met a fault, more than 20%.*2 times: The door fell"):
        play(tmp_path, DoorsBenchmark(tasks=["open", "broken"], seeds=2, restarts=0))
    assert not (tmp_path / "doors.json").exists()
    assert len(lines(tmp_path / "doors.episodes.jsonl")) == 4


def test_nothing_but_faults_is_never_a_rate(tmp_path):
    with pytest.raises(EnvironmentFault, match="no figures"):
        play(tmp_path, DoorsBenchmark(tasks="broken", seeds=1, restarts=0, max_faults=1.0))


def test_a_fault_of_the_executor_is_one_too(tmp_path):
    class Dead:
        def execute(self, rollouts):
            return [Outcome(fault="the server is gone") for _ in rollouts]

    with pytest.raises(EnvironmentFault, match=r"4 of 4 episodes met a fault.*the server is gone\. The rows are in "):
        play(tmp_path, DoorsBenchmark(tasks="open", restarts=0), executor=Dead())


def test_refused_and_excluded_tasks_are_named_never_scored_0(tmp_path, caplog):
    benchmark = DoorsBenchmark(
        tasks="all", seeds=[1], restarts=1, left_out={"broken": "it never holds", "slow": "too slow"}
    )
    report = play(tmp_path, benchmark).as_json()
    assert report["refused"] == {"locked": "'open_lock' needs a key, which is not installed"}
    assert report["excluded"] == {"broken": "it never holds", "slow": "too slow"}
    assert list(report["by_task"]) == ["half", "odd", "open", "shaky", "shut"]
    assert report["figures"][SUCCESS]["value"] == pytest.approx(3 / 5)
    assert "locked is refused" in caplog.text


def test_an_excluded_task_is_played_when_it_is_named(tmp_path):
    report = play(tmp_path, DoorsBenchmark(tasks="open", left_out={"open": "too easy"})).as_json()
    assert list(report["by_task"]) == ["open"]
    assert report["excluded"] == {}


def test_when_all_tasks_are_refused_the_reason_is_the_error(tmp_path):
    with pytest.raises(ConfigError, match="locked: 'open_lock' needs a key"):
        play(tmp_path, DoorsBenchmark(tasks=["locked"]))


def test_lost_steps_and_the_step_limit_are_counted(tmp_path):
    def says(step, attempt):
        return "nonsense" if step.meta["turn"] == 2 else Clicker().says(step, attempt)

    report = play(tmp_path, DoorsBenchmark(tasks=["slow"], seeds=2, max_steps=4), Clicker(says)).as_json()
    assert report["counts"] | {"end_step_limit": 2, "lost": 2, "retried": 2} == report["counts"]
    assert report["means"]["steps"] == 3.0
    assert report["figures"][SUCCESS]["value"] == 0.0, "a step limit is a verdict"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"tasks": ["opne"]}, "benchmark.tasks: there is no task 'opne'. Did you mean 'open'"),
        ({"seeds": 0}, "benchmark.seeds=0"),
        ({"seeds": "many"}, "benchmark.seeds='many'"),
        ({"first_seed": 1.5}, "first_seed=1.5"),
    ],
)
def test_a_task_or_seed_that_is_none_is_one_line(tmp_path, settings, says):
    with pytest.raises(ConfigError) as caught:
        play(tmp_path, DoorsBenchmark(**settings))
    assert says in str(caught.value)
    assert "environment." not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [{"parallel": 0}, {"max_steps": True}, {"draws": 1.0}, {"max_faults": 2}, {"restarts": -1}, {"history": "4"}],
)
def test_a_setting_that_cannot_work_is_named(settings):
    with pytest.raises(ConfigError, match=f"benchmark.{next(iter(settings))} is"):
        DoorsBenchmark(**settings)


def test_without_an_executor_nothing_is_played(tmp_path):
    with pytest.raises(ConfigError, match=r"Nobody executes: set an executor, e\.g\. executor=direct"):
        play_benchmark(DoorsBenchmark(), Clicker, None, tmp_path, {})
    assert not Doors.made


def test_ctrl_c_says_what_is_there(tmp_path):
    with pytest.raises(KeyboardInterrupt) as caught:
        play(tmp_path, DoorsBenchmark(parallel=2), Clicker(stop_after=7))
    part = tmp_path / "doors.episodes.jsonl.part"
    done = len(lines(part))
    assert 0 < done < 16
    assert f"Stopped after {done} of 16 episodes of doors: there are no figures" in str(caught.value)
    assert str(part) in str(caught.value)
    assert not (tmp_path / "doors.json").exists()


def test_the_screen_has_the_rule_every_task_and_what_is_published_marked(tmp_path):
    benchmark = DoorsBenchmark(tasks=["open", "odd", "broken", "locked"], max_faults=0.5)
    result = play(tmp_path, benchmark)
    console = Console(width=160, record=True, file=io.StringIO())
    result.show("run", console)
    text = console.export_text()
    assert "run: 8 steps, 8 episodes" in text
    assert [cells for line in text.splitlines() if (cells := [c.strip() for c in line.split("│")[1:-1]])][-3:] == [
        ["100.0", "open"], ["50.0", "odd"], ["–", "broken"]
    ]  # fmt: skip
    assert "rule wide_open: the door is open" in text
    assert (
        "4 of 12 episodes met a fault and are in no rate (with them as failures: 50.0 %), e.g. broken seed 0: The door"
        in text
    )
    assert "refused, not scored: locked" in text
    assert "published" not in text
    BenchmarkResult("x", "y", {}, 0, 0, published=[Published("theirs", 0.5, "a paper")]).show("run", console)
    assert "published, a paper: theirs" in console.export_text()


def test_a_single_episode_of_each_task_has_no_interval_for_these_tasks(tmp_path):
    figures = play(tmp_path, DoorsBenchmark(seeds=1)).figures
    assert math.isnan(figures[f"{SUCCESS}.these_tasks"].low)
    assert figures[SUCCESS].low < figures[SUCCESS].value
