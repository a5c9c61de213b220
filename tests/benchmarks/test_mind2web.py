"""Mind2Web: three rules, three splits and their mean worked out by hand."""

from pathlib import Path

import pytest
from toy_benchmarks import Recorded, episode, scored, write

from tracer1.benchmarks.mind2web import Mind2Web
from tracer1.schema import Action, Point
from tracer1.tracking.metric_names import check_names

BOX = (100.0, 200.0, 300.0, 250.0)
ON = (150.0, 225.0)
OFF = (900.0, 900.0)


def act(kind: str, content: str | None = None, point: Point | None = ON) -> Action:
    return Action(kind, "do it", point=point, content=content)


def task(name: str, *recorded: Recorded) -> list:
    return episode("multimodal_mind2web", name, recorded, platform="web")


def shards(folder: Path) -> list[str]:
    step = Recorded(act("click"), (BOX,))
    lost = Recorded(act("click", point=None))  # no positive box
    unseen = Recorded(act("type", "x", None), (), {"row_missing": True}, seen=False)
    tasks = {
        "test_task": [
            task("a", step, step, Recorded(act("type", "new york"), (BOX,)), lost, unseen),
            task("b", Recorded(act("select", "x"), (BOX,))),
        ],
        "test_website": [task("c", step)],
        "test_domain": [task("d", step, step)],
    }
    for split, episodes in tasks.items():
        write(folder, episodes, split=split)
    return [f"{folder}/*-test_*.tar"]


ANSWERS = {
    ("a", 1): act("click", point=OFF),
    ("a", 2): act("type", "york"),  # F1 0.8
    ("a", 3): act("click", point=ON),
    ("d", 0): act("select", "x"),
}


def test_figures_by_hand(tmp_path: Path):
    benchmark = Mind2Web(shards=shards(tmp_path), beside=["uground", "original"], draws=20)
    found = scored(benchmark, ANSWERS)
    check_names(f"val/mind2web/{name}" for name in found)
    # SeeClick: the lost and the unseen step are left out; a has 3 steps, b one
    assert found["seeclick.element_accuracy.test_task"] == 3 / 4
    assert found["seeclick.step_success.test_task"] == 2 / 4
    assert found["seeclick.operation_f1.test_task"] == pytest.approx(
        (1 + 0.8 + 1) / 3
    )  # by operation: click, type, select
    assert found["seeclick.macro_step_success.test_task"] == pytest.approx((1 / 3 + 1) / 2)
    assert found["seeclick.macro_operation_f1.test_task"] == pytest.approx((2.8 / 3 + 1) / 2)
    assert found["seeclick.step_success.test_domain"] == 1 / 2
    assert found["seeclick.operation_f1.test_domain"] == 1 / 2  # clicks alone occur there
    assert found["seeclick.step_success"] == pytest.approx((2 / 4 + 1 + 1 / 2) / 3)  # the mean of the splits
    # UGround: macro over tasks; the lost step's element is wrong and its operation right, the unseen step is all wrong
    assert found["uground.element_accuracy.test_task"] == pytest.approx((2 / 5 + 1) / 2)
    assert found["uground.operation_f1.test_task"] == pytest.approx((3.8 / 5 + 1) / 2)
    assert found["uground.step_success.test_task"] == pytest.approx((1 / 5 + 1) / 2)
    assert found["uground.step_success"] == pytest.approx((0.6 + 1 + 0.5) / 3)
    # the original: without a positive element the operation is wrong, too
    assert found["original.operation_f1.test_task"] == pytest.approx((2.8 / 5 + 1) / 2)
    assert found["original.step_success.test_task"] == pytest.approx((1 / 5 + 1) / 2)
    assert "uground.macro_step_success" not in found


def test_the_rows_hold_what_a_rule_left_out(tmp_path: Path):
    benchmark = Mind2Web(shards=shards(tmp_path), beside=["uground"], draws=5)
    rows = {}
    for steps in benchmark.batches():
        rows |= {row["key"]: row for row in benchmark.add(steps, [])}
    lost = rows["multimodal_mind2web-a-003"]["rules"]
    assert lost["mind2web.seeclick"] == {"element_accuracy": None, "operation_f1": None, "success": None}
    assert lost["mind2web.uground"] == {"element_accuracy": False, "operation_f1": 0.0, "success": False}
    assert [e.split for e in benchmark.episodes] == ["test_domain", "test_task", "test_task", "test_website"]
    assert benchmark.splits() == ["test_task", "test_website", "test_domain"]


def test_a_single_split_is_its_own_mean(tmp_path: Path):
    shards(tmp_path)
    found = scored(Mind2Web(shards=[f"{tmp_path}/*-test_website-*.tar"], draws=5), {})
    assert found["seeclick.step_success"] == found["seeclick.step_success.test_website"] == 1.0
    assert "seeclick.step_success.test_task" not in found
