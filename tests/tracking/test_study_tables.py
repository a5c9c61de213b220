"""Tables, verdicts and pictures of studies, from figures made up here."""

import math
from pathlib import Path

import pytest

from tracer1.errors import ConfigError
from tracer1.tracking.plots import write_plot
from tracer1.tracking.studies import Job, StudyRuns
from tracer1.tracking.study_tables import cell, draw, fill, markdown, picture_path, values_of, verdicts

SUCCESS, STEPS = "val/miniwob/raw_reward_1.success", "val/heldout/plan_length"
HORIZON = {"1": (0.30, 0.32, 0.31), "5": (0.40, 0.41, 0.42), "20": (0.30, 0.45, 0.35)}


def study(figures: dict[str, tuple[float, ...]], **about: str) -> StudyRuns:
    jobs = [
        Job("toy", value, seed, {SUCCESS: figure, STEPS: 10 * figure})
        for value, row in figures.items()
        for seed, figure in enumerate(row, start=1)
    ]
    return StudyRuns("toy", "T", {"metrics": f"{SUCCESS} {STEPS}", **about}, jobs)


def test_mean_and_sample_deviation():
    assert cell([0.1, 0.2, 0.3]) == "0.200 ± 0.100"
    assert cell([0.5]) == "0.500"  # one seed has no spread
    assert cell([]) == "–"


def test_numbers_stand_by_size_and_names_in_the_order_of_their_labels():
    assert values_of(study(HORIZON)) == ["1", "5", "20"]  # as texts, 20 would stand before 5
    named = study({"on": (1.0,), "off": (1.0,), "also": (1.0,)}, labels='{"on": "with", "off": "without"}')
    assert values_of(named) == ["on", "off", "also"]


def test_a_verdict_is_about_equal_seeds():
    better, worse, open_, one = verdicts(study(HORIZON | {"2": (0.9,)}, expect="5 > 1\n1 > 5\n5 > 20\n2 > 1"))
    assert (better.answer, worse.answer) == ("yes", "no")
    assert better.difference == pytest.approx(0.1)
    assert better.half_width == pytest.approx(4.303 * 0.01 / math.sqrt(3), rel=1e-3)  # differences 0.10, 0.09, 0.11
    assert open_.answer == "not decidable here"  # 0.10, -0.04, 0.07
    assert one.seeds == 1
    assert one.answer == "not decidable here"  # one seed decides nothing, however far apart


@pytest.mark.parametrize("other", [(0.3, 0.4, 0.7), (0.2, 0.3, 0.6)])
def test_equal_figures_and_equal_differences_decide_nothing(other: tuple[float, ...]):
    [same] = verdicts(study({"1": (0.3, 0.4, 0.7), "5": other}, expect="5 > 1"))
    assert same.half_width == pytest.approx(0, abs=1e-12)
    assert same.answer == "not decidable here"


def test_a_claim_may_be_about_another_metric_and_needs_both_sides():
    [length] = verdicts(study(HORIZON, expect=f"5 > 1: {STEPS}\n5 > 10"))
    assert length.difference == pytest.approx(1.0)
    assert "planned steps" in length.text
    with pytest.raises(ConfigError, match="write it as `better > worse`"):
        verdicts(study(HORIZON, expect="5 beats 1"))


def test_the_table_has_every_value_and_seed_count():
    text = markdown(study(HORIZON | {"3": (0.2,)}, expect="5 > 1"))
    assert "| T | MiniWoB++ success | planned steps | seeds |" in text
    assert "| 1 | 0.310 ± 0.010 | 3.100 ± 0.100 | 3 |" in text
    assert "| 3 | 0.200 | 2.000 | 1 |" in text
    assert "| 5 > 1 (MiniWoB++ success) | +0.100 ± 0.025 (3 seeds) | yes |" in text


@pytest.mark.parametrize("labels", ["", '{"1": "reactive", "5": "anticipatory"}'])
def test_curves_for_numbers_and_intervals_for_names(labels: str, tmp_path: Path):
    drawn = draw(study(HORIZON | {"3": (0.2,)}, labels=labels))
    picture = write_plot(drawn, tmp_path / "a.svg").read_text()
    assert ("reactive" in picture) == bool(labels)
    assert "MiniWoB++ success" in picture
    assert "mean and spread of 3 seeds" in picture


def test_a_length_is_not_drawn_as_a_share(tmp_path: Path):
    assert "planned steps" not in write_plot(draw(study(HORIZON)), tmp_path / "a.svg").read_text()


def test_where_pictures_go():
    assert picture_path(Path("docs/figures"), "x", alone=False) == Path("docs/figures/ablation_x.svg")
    assert picture_path(Path("a.png"), "x", alone=True) == Path("a.png")
    with pytest.raises(ConfigError, match="several studies"):
        picture_path(Path("a.png"), "x", alone=False)
    with pytest.raises(ConfigError, match="must end in"):
        picture_path(Path("a.txt"), "x", alone=True)


def test_a_page_s_blocks_are_replaced_and_nothing_else(tmp_path: Path):
    page = tmp_path / "findings.md"
    page.write_text("a\n<!-- study x -->\nold\nold\n<!-- end -->\nb\n<!-- study y -->\n<!-- end -->\n")
    assert fill(page, {"x": "| new \\1 |", "z": "no"}) == 1
    assert page.read_text() == "a\n<!-- study x -->\n| new \\1 |\n<!-- end -->\nb\n<!-- study y -->\n<!-- end -->\n"
    with pytest.raises(ConfigError, match="no page"):
        fill(tmp_path / "none.md", {})
