"""GUI-Odyssey: step success, AMS and episode success worked out by hand."""

from pathlib import Path

import pytest
from toy_benchmarks import Recorded, click, episode, scored, write

from tracer1.benchmarks.gui_odyssey import GuiOdyssey
from tracer1.errors import ConfigError
from tracer1.schema import Action
from tracer1.tracking.metric_names import check_names

CATEGORIES = (
    "Multi_Apps", "Web_Shopping", "General_Tool", "Information_Management", "Media_Entertainment", "Social_Sharing",
)  # fmt: skip
BOX = (0.0, 480.0, 1000.0, 520.0)


def home() -> Recorded:
    return Recorded(Action("press_home", "go home"))


def one(name: str, category: str, *recorded: Recorded, length: int | None = None) -> list:
    steps = recorded or (home(),)
    return episode("gui_odyssey", name, steps, category=category, step_length=length or len(steps))


def six(length: int | None = None) -> list:
    """Episode 0 has three steps, the others one each."""
    typed = Recorded(Action("type", "type it", content="abcd"))
    return [
        one("0", CATEGORIES[0], Recorded(click(500, 500), (BOX,)), typed, home(), length=length),
        *(one(str(i), CATEGORIES[i]) for i in range(1, 6)),
    ]


ANSWERS = {
    ("0", 0): click(900, 500),  # in the box, 400 away
    ("0", 1): Action("type", "type it", content="abxy"),  # half of the letters, no common word
    ("1", 0): Action("press_back", "go back"),
}


def test_figures_by_hand(tmp_path: Path):
    benchmark = GuiOdyssey(shards=write(tmp_path, six()), beside=["ams"], draws=20)
    found = scored(benchmark, ANSWERS)
    check_names(f"val/gui_odyssey/{name}" for name in found)
    assert found["os_atlas.step_success"] == 5 / 8
    assert found["os_atlas.type_match"] == 7 / 8
    assert found["os_atlas.grounding"] == 0.0
    assert found["os_atlas.episode_success"] == 4 / 6
    # the random split: the mean over categories, all six of which occur; only Web_Shopping is wrong under AMS
    assert found["ams.ams"] == pytest.approx(5 / 6)
    assert found["ams.over_steps"] == 7 / 8
    assert found["ams.episode_success"] == pytest.approx(5 / 6)
    assert found["ams.ams.Web_Shopping"] == 0.0
    assert found["ams.ams.Multi_Apps"] == 1.0
    assert found["os_atlas.step_success.Multi_Apps"] == pytest.approx(1 / 3)
    assert benchmark.counts == {
        "unreadable": 0, "too_long": 0, "infra_errors": 0, "split": "random", "no_box": 0, "passed_for_being_empty": 0,
    }  # fmt: skip


@pytest.mark.parametrize("split", ["app", "task", "device"])
def test_the_other_splits_are_means_over_steps_and_episodes(tmp_path: Path, split: str):
    found = scored(GuiOdyssey(shards=write(tmp_path, six()), rule="ams", split=split, draws=5), ANSWERS)
    assert found["ams.ams"] == found["ams.over_steps"] == 7 / 8
    assert found["ams.episode_success"] == found["ams.episode_success.over_episodes"] == 5 / 6


def test_fewer_than_six_categories_have_no_mean_over_them(tmp_path: Path):
    episodes = [one("0", "Multi_Apps", home(), home(), home()), one("1", "Web_Shopping")]
    found = scored(
        GuiOdyssey(shards=write(tmp_path, episodes), rule="ams", draws=5), {("1", 0): Action("wait", "wait")}
    )
    assert found["ams.ams"] == 3 / 4  # not (1 + 0) / 2


def test_an_episode_of_another_length_has_no_success(tmp_path: Path):
    """Its steps count, itself in neither number."""
    found = scored(GuiOdyssey(shards=write(tmp_path, six(length=4)), rule="ams", split="app", draws=5), ANSWERS)
    assert found["ams.ams"] == 7 / 8
    assert found["ams.episode_success"] == 4 / 5


def test_what_is_counted_beside(tmp_path: Path):
    recorded = [
        Recorded(click(500, 500)),
        Recorded(click(100, 100), (), {"sam2_bbox": [0, 900, 50, 950]}),  # a segment beside the tap
        Recorded(Action("type", "type it", content="x")),
    ]
    benchmark = GuiOdyssey(shards=write(tmp_path, [one("0", "Multi_Apps", *recorded)]), rule="ams", draws=5)
    answers = {("0", 1): click(25, 925), ("0", 2): Action("type", "type it", content="")}
    assert scored(benchmark, answers)["ams.over_steps"] == 1.0  # the owner counts that segment
    assert (benchmark.counts["no_box"], benchmark.counts["passed_for_being_empty"]) == (1, 1)


def test_the_headline_is_the_rule_s_own(tmp_path: Path):
    shards = write(tmp_path, six())
    for rule, key in (("os_atlas", "os_atlas.step_success"), ("ams", "ams.ams")):
        benchmark = GuiOdyssey(shards=shards, rule=rule, draws=5)
        scored(benchmark, {})
        assert benchmark.result().headline == f"val/gui_odyssey/{key}"
        assert benchmark.result().values()[benchmark.result().headline] == 1.0


def test_an_unknown_split(tmp_path: Path):
    with pytest.raises(
        ConfigError, match=r"benchmark.split is 'rando'; it is one of random, task, device, app. Did you mean 'random'"
    ):
        GuiOdyssey(shards=write(tmp_path, six()), split="rando")
