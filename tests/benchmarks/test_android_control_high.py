"""AndroidControl-High: figures worked out by hand, sub-splits, the list of steps, and mistakes."""

import json
import math
from pathlib import Path

import pytest
from toy_benchmarks import Recorded, answer, click, episode, scored, write

from tracer1.benchmarks.android_control_high import AndroidControlHigh
from tracer1.errors import ConfigError, DataError, UnknownName
from tracer1.schema import Action, Outcome, Plan
from tracer1.tracking.metric_names import check_names

BESIDE = ("qwen25", "os_genesis", "gui_r1")
WIDE = {"candidate_boxes": [[480, 480, 520, 520], [0, 400, 1000, 1000]]}
EPISODES = [
    episode(
        "android_control",
        "11",
        [
            Recorded(Action("open_app", "open it", app_name="Zoho Meet")),
            Recorded(click(500, 500), ((480, 480, 520, 520),), WIDE),
            Recorded(click(500, 500), ((480, 480, 520, 520),)),
        ],
    ),
    episode("android_control", "12", [Recorded(Action("scroll", "look", direction="down"))]),
]
ANSWERS = {
    ("11", 0): Action("open_app", "open it", app_name="Zoho Meeting"),  # 1 of 2 words: F1 0.5
    ("11", 1): click(100, 900),  # far away, but in a candidate's box
    ("11", 2): Action("scroll", "look", direction="down"),
}


@pytest.fixture
def shards(tmp_path: Path) -> list[str]:
    return write(tmp_path, EPISODES)


def test_figures_by_hand(shards: list[str]):
    found = scored(AndroidControlHigh(shards=shards, beside=BESIDE, draws=50), ANSWERS)
    check_names(f"val/android_control_high/{name}" for name in found)
    assert found == {
        "os_atlas.step_success": 1 / 4,  # the scroll of episode 12
        "os_atlas.type_match": 3 / 4,
        "os_atlas.grounding": 0 / 1,  # of two clicks one has the right type
        "qwen25.step_success": 3 / 4,  # the name is a part of the other, and the click is in a candidate's box
        "qwen25.type_match": 3 / 4,
        "qwen25.grounding": 1.0,
        "os_genesis.step_success": 2 / 4,  # 368 pixels, whatever the screen: on one of 64 nothing is far away
        "os_genesis.type_match": 3 / 4,
        "os_genesis.grounding": 1.0,
        "gui_r1.step_success": 2 / 4,  # an app is opened whatever its name
        "gui_r1.type_match": 3 / 4,
        "gui_r1.grounding": 0.0,
    }


def test_a_rule_s_settings(shards: list[str]):
    benchmark = AndroidControlHigh(shards=shards, settings={"os_atlas": {"compat": True}}, draws=10)
    assert scored(benchmark, ANSWERS)["os_atlas.step_success"] == 2 / 4  # the first word of the name agrees
    assert benchmark.result().about["rules"] == {"android_control.os_atlas": {"compat": True}}


def test_what_is_not_answered_is_wrong(shards: list[str]):
    """An unreadable answer, and a step whose prompt is too long."""
    benchmark = AndroidControlHigh(shards=shards, draws=10)
    (steps,) = benchmark.batches()
    rows = benchmark.add(steps, [answer(steps[0], None), answer(steps[1], click(500, 500))])
    assert [row["rules"]["android_control.os_atlas"]["success"] for row in rows] == [False, True, False, False]
    assert rows[0] | {"gold": 0, "rules": 0} == {
        "key": "android_control-11-000",
        "trajectory": "11",
        "index": 0,
        "gold": 0,
        "predicted": None,
        "problem": parse_problem(),
        "rules": 0,
        "response": "nonsense",
    }
    assert rows[2]["problem"] == "the prompt is too long"
    assert benchmark.counts == {"unreadable": 1, "too_long": 2, "infra_errors": 0}
    assert benchmark.result().values()["val/android_control_high/os_atlas.step_success"] == 1 / 4


def parse_problem() -> str:
    plan: Plan = answer(EPISODES[0][0], None).plan
    return plan.error or "the plan has no steps"


def test_the_executor_s_action_can_be_scored_instead(shards: list[str]):
    benchmark = AndroidControlHigh(shards=shards, point="executor", draws=10)
    (steps,) = benchmark.batches()
    outcomes = [Outcome(action=s.future[0].action) for s in steps[:3]] + [Outcome(error="no such key")]
    rows = benchmark.add(steps, [answer(s, click(1, 1), o) for s, o in zip(steps, outcomes, strict=True)])
    assert [row["rules"]["android_control.os_atlas"]["success"] for row in rows] == [True, True, True, False]
    assert rows[3]["problem"] == "no such key"


def test_sub_splits_count_an_episode_for_the_first_that_names_it(shards: list[str], tmp_path: Path):
    path = tmp_path / "test_subsplits.json"
    path.write_text(json.dumps({"IDD": [12], "app_unseen": [11, 12], "task_unseen": []}))
    found = scored(AndroidControlHigh(shards=shards, subsplits=str(path), draws=10), ANSWERS)
    assert found["os_atlas.step_success.IDD"] == 1.0
    assert found["os_atlas.step_success.app_unseen"] == 0.0  # episode 11 alone
    assert math.isnan(found["os_atlas.step_success.task_unseen"])


def test_os_atlas_s_list_of_steps(shards: list[str], tmp_path: Path):
    path = tmp_path / "ac_idx.txt"
    path.write_text("episode_11_screenshot_2\nepisode_12_screenshot_0\nepisode_99_screenshot_0\n")
    found = scored(AndroidControlHigh(shards=shards, ids=str(path), draws=10), ANSWERS)
    assert found["os_atlas.step_success"] == 1 / 4
    assert found["os_atlas.step_success.ac_idx"] == 1 / 2
    assert found["os_atlas.type_match.ac_idx"] == 1 / 2
    assert math.isnan(found["os_atlas.grounding.ac_idx"])  # the one click there has another type


def test_published_numbers_stand_beside_and_say_that_they_are(shards: list[str]):
    benchmark = AndroidControlHigh(shards=shards, draws=10)
    scored(benchmark, {})
    report = json.loads(json.dumps(benchmark.result().as_json()))
    assert report["headline"] == "val/android_control_high/os_atlas.step_success"
    assert report["figures"][report["headline"]]["value"] == 1.0
    rows = {(row["agent"], row["source"]): row for row in report["published"]}
    assert rows["UI-TARS-7B w/ TraceR1", "TraceR1 Table 2"]["value"] == 0.753
    assert rows["UI-TARS-7B", "TraceR1 Table 2"]["value"] == 0.725
    assert all(row["published"] is True for row in rows.values())
    assert report["bootstrap"] == {
        "method": "episodes drawn with replacement within each split, percentiles 2.5 and 97.5",
        "draws": 10,
        "seed": 0,
    }


def test_mistakes(shards: list[str], tmp_path: Path):
    with pytest.raises(
        ConfigError, match=r"benchmark.point is 'planer'; it is one of planner, executor. Did you mean 'planner'"
    ):
        AndroidControlHigh(shards=shards, point="planer")
    with pytest.raises(UnknownName, match=r"Did you mean 'android_control.qwen25'\?"):
        AndroidControlHigh(shards=shards, beside=["qwen"])
    with pytest.raises(ConfigError, match=r"benchmark.settings names 'qwen25', which is not scored"):
        AndroidControlHigh(shards=shards, settings={"qwen25": {}})
    with pytest.raises(ConfigError, match=r"benchmark.settings.os_atlas has no setting 'compt'. Did you mean 'compat'"):
        AndroidControlHigh(shards=shards, settings={"os_atlas": {"compt": True}})
    with pytest.raises(DataError, match=r"No shard matches .*; correct benchmark.shards|benchmark\.shards"):
        AndroidControlHigh(shards=[str(tmp_path / "none*.tar")])
    with pytest.raises(DataError, match=r"no_such.json cannot be read: No such file"):
        AndroidControlHigh(shards=shards, subsplits=str(tmp_path / "no_such.json"))
    (tmp_path / "bad.json").write_text("[1]")
    with pytest.raises(DataError, match=r"bad.json does not hold what its owner publishes"):
        AndroidControlHigh(shards=shards, subsplits=str(tmp_path / "bad.json"))


def test_shards_of_something_else_and_episodes_that_come_twice(shards: list[str], tmp_path: Path):
    other = write(tmp_path, [episode("gui_odyssey", "1", [Recorded(Action("wait", "wait"))])])
    with pytest.raises(
        DataError, match=r"holds steps of 'gui_odyssey', and android_control_high is scored on 'android_control'"
    ):
        AndroidControlHigh(shards=[*shards, *other]).total  # noqa: B018
    again = write(tmp_path, EPISODES[:1], prefix="again")
    with pytest.raises(
        DataError, match=r"The episode '11' stands in two shards; .*again-test-000000.tar is the second"
    ):
        AndroidControlHigh(shards=[*shards, *again]).total  # noqa: B018


def test_batches_hold_all_steps_once(shards: list[str]):
    benchmark = AndroidControlHigh(shards=shards, history=1, horizon=2)
    assert [len(steps) for steps in benchmark.batches(3)] == [3, 1]
    steps = [step for batch in benchmark.batches(2) for step in batch]
    assert [(s.trajectory, s.index, len(s.history), len(s.future)) for s in steps] == [
        ("11", 0, 0, 2), ("11", 1, 1, 2), ("11", 2, 1, 1), ("12", 0, 0, 1),
    ]  # fmt: skip
    assert benchmark.total == 4


SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "android_control"


@pytest.mark.skipif(not SAMPLES.exists(), reason=f"needs the owners' files in {SAMPLES}")
def test_the_owners_files_are_read(shards: list[str]):
    benchmark = AndroidControlHigh(
        shards=shards,
        subsplits=str(SAMPLES / "test_subsplits.json"),
        ids=str(SAMPLES / "os_atlas_ac_idx.txt"),
        draws=10,
    )
    sizes = {name: len(ids) for name, ids in benchmark._subsplits.items()}
    assert sizes == {"IDD": 721, "category_unseen": 700, "app_unseen": 631, "task_unseen": 803}
    assert len(benchmark._ids) == 7708
    step = episode("android_control", "140", [Recorded(Action("wait", "wait"))])[0]
    assert benchmark.parts(step) == ("ac_idx",)
