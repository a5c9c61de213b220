"""OSWorld and AndroidWorld as benchmarks, on small checkouts with their signatures, and a real desktop: whose rule, what is refused."""

import importlib
import json
import sys
import threading

import fakes_android_world
import fakes_osworld
import pytest
from desktop_fixtures import or_skip, skip

from tracer1.benchmarks import BENCHMARKS
from tracer1.benchmarks._playing import play_benchmark
from tracer1.environments._android_world import device
from tracer1.errors import ConfigError
from tracer1.executors import EXECUTORS
from tracer1.parsing import format_plan, parse_plan
from tracer1.schema import NOT_DONE, Action, PlanStep, Response, Rollout

QUICK = {"settle_s": 0, "pause_s": 0, "evaluate_s": 20}
TYPE, FINISHED, CALL_USER = Action("type", content="hello"), Action("finished", content="42"), Action("call_user")


class Script:
    """Plans what a function (task, turn) -> action says."""

    def __init__(self, says):
        self.says = says

    def plan(self, step, attempt):
        action = self.says(step.meta["task"], step.meta["turn"])
        text = format_plan([PlanStep(action, NOT_DONE, "a screen")], step.index + 1)
        return Rollout(step, Response(text, (), ()), parse_plan(text))

    def serve(self, until: threading.Event, callers=None):
        until.wait()


@pytest.fixture
def osworld(tmp_path):
    tasks = [
        fakes_osworld.task(1),
        fakes_osworld.task(2, "infeasible"),
        fakes_osworld.task(3, "compare_table"),  # needs a library that is a stand-in
        fakes_osworld.task(4),
        fakes_osworld.task(5, "raises"),
    ]
    root = fakes_osworld.build(tmp_path / "OSWorld", tasks).resolve()
    other = root / "evaluation_examples" / "examples" / "chrome"
    other.mkdir()
    (other / "task-6.json").write_text(json.dumps(fakes_osworld.task(6)))
    listed = {"os": [task["id"] for task in tasks], "chrome": ["task-6"]}
    (root / "evaluation_examples" / "test_all.json").write_text(json.dumps(listed))
    yield root
    fakes_osworld.Machine.started.clear()
    sys.path[:] = [path for path in sys.path if not path.startswith(str(root))]
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "desktop_env"]
    for name in [name for name in sys.modules if name.split(".")[0] in fakes_osworld.OURS]:
        del sys.modules[name]
    importlib.import_module("tracer1.environments._osworld.metrics")._source.cache_clear()


@pytest.fixture
def android(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "FOCUS_S", 0)
    root = fakes_android_world.build(tmp_path / "android_world_clone").resolve()
    yield root
    fakes_android_world.forget(root)


def test_osworld_averages_what_evaluate_says(osworld, tmp_path):
    def says(task, turn):
        if task in ("os/task-2", "os/task-4"):
            return CALL_USER  # right for the infeasible one, wrong for the other
        return TYPE if turn == 1 else FINISHED

    settings = {"environment": {"checkout": str(osworld), "waits": QUICK}, "restarts": 0, "max_faults": 0.5}
    benchmark = BENCHMARKS.get("osworld")(**settings)
    report = play_benchmark(benchmark, lambda: Script(says), EXECUTORS.get("direct")(), tmp_path / "run", {}).as_json()
    assert {task: row["score"] for task, row in report["by_task"].items()} == {
        "os/task-1": 1.0, "os/task-2": 1.0, "os/task-4": 0.0, "os/task-5": None, "chrome/task-6": 1.0,
    }  # fmt: skip
    assert report["figures"]["val/osworld/evaluate.score"]["value"] == pytest.approx(3 / 4)
    assert report["figures"]["val/osworld/evaluate.score.os"]["value"] == pytest.approx(2 / 3)
    assert report["figures"]["val/osworld/evaluate.score.chrome"]["value"] == 1.0
    assert list(report["refused"]) == ["os/task-3"]
    assert "absent_" in report["refused"]["os/task-3"]
    assert [fault["task"] for fault in report["faults"]] == ["os/task-5"]
    assert report["faults_as_failures"] == pytest.approx(3 / 5)
    about = report["environment"]
    assert (about["tasks"], about["task_list"], about["by_domain"]) == (6, "test_all.json", {"os": 5, "chrome": 1})
    assert about["osworld"]
    rows = {(p["agent"], p["value"]) for p in report["published"]}
    assert {("UI-TARS-1.5-7B", 0.274), ("UI-TARS-1.5-7B w/ TraceR1", 0.309), ("Qwen3-VL-32B-Thinking", 0.356),
            ("Qwen3-VL-32B-Thinking w/ TraceR1", 0.412)} <= rows  # fmt: skip
    assert all(p["published"] and p["source"] == "TraceR1 Table 1" for p in report["published"])


def test_android_world_scores_0_unless_the_agent_said_that_it_is_done(android, tmp_path):
    def says(task, turn):
        if task == "SaySomething":
            return TYPE  # what was wanted, but never "done": its budget of 12 ends it
        return FINISHED

    settings = {"environment": {"checkout": str(android)}, "restarts": 0, "max_faults": 0.5}
    benchmark = BENCHMARKS.get("android_world")(**settings)
    report = play_benchmark(benchmark, lambda: Script(says), EXECUTORS.get("direct")(), tmp_path / "run", {}).as_json()
    assert {task: row["score"] for task, row in report["by_task"].items()} == {
        "CannotBeJudged": None, "CannotBeSetUp": None, "FindSomething": 1.0, "SaySomething": 0.0,
    }  # fmt: skip
    assert report["figures"]["val/android_world/is_successful.score"]["value"] == pytest.approx(0.5)
    assert report["counts"]["faults"] == 2
    assert report["faults_as_failures"] == pytest.approx(0.25)
    assert report["environment"]["family"] == "android_world"
    assert (report["first_seed"], report["environment"]["tasks"]) == (30, 4)
    rows = {(p["agent"], p["value"]) for p in report["published"]}
    assert {("Qwen3-VL-32B-Thinking", 0.614), ("Qwen3-VL-32B-Thinking w/ TraceR1", 0.648)} <= rows
    assert not any(agent.startswith("UI-TARS-1.5-7B") for agent, _ in rows), "the paper has no such number"


def test_a_real_desktop_is_scored_by_osworlds_class_under_its_own_name(tmp_path):
    """An infeasible task is solved by `call_user` alone, another one by nothing of the kind."""
    or_skip()
    settings = {"tasks": ["xterm-pair-headphones", "xterm-make-folders"], "environment": {"width": 640, "height": 400}}
    benchmark = BENCHMARKS.get("desktop")(**settings)
    planner = Script(lambda task, turn: CALL_USER)
    report = play_benchmark(benchmark, lambda: planner, EXECUTORS.get("direct")(), tmp_path / "run", {}).as_json()
    scores = {task: row["score"] for task, row in report["by_task"].items()}
    if "xterm-make-folders" in report["refused"]:  # no xterm
        skip(report["refused"]["xterm-make-folders"])
    assert scores == {"xterm-pair-headphones": 1.0, "xterm-make-folders": 0.0}
    assert report["figures"]["val/desktop/evaluate.score"]["value"] == pytest.approx(0.5)
    assert report["counts"]["end_call_user"] == 2
    assert report["published"] == []
    assert report["environment"]["tasks"] == 15


@pytest.mark.parametrize("name", ["osworld", "android_world", "desktop"])
def test_a_setting_that_the_environment_lacks_is_named(name):
    benchmark = BENCHMARKS.get(name)(environment={"chekout": "x"})
    with pytest.raises(ConfigError, match=r"benchmark\.environment has no setting 'chekout'"):
        benchmark.make_environment()


def test_the_miniatures_have_their_own_names_and_nothing_published():
    for name in ("miniwob", "desktop"):
        benchmark = BENCHMARKS.get(name)()
        assert benchmark.published == ()
        assert benchmark.headline.startswith(f"val/{name}/")
        assert not {"osworld", "android"} & set(benchmark.headline.replace("/", "_").split("_"))
