"""What a step lacks, and that what each reward needs is said by the reward."""

from dataclasses import replace

import pytest

from tracer1.errors import ConfigError
from tracer1.needs import NEEDS, checked_needs, lacking, left_out_text
from tracer1.rewards import REWARDS, needs, reward_needs
from tracer1.schema import Action, PlanStep, Step

PLACE = {"point": (10.0, 20.0)}


def step(kind: str, *, boxes=(), screenshot=b"png", platform="web", **fields) -> Step:
    future = (PlanStep(Action(kind, **fields)),)
    return Step("d-t-000", "d", "t", 0, "u", screenshot, (), future, boxes, platform)


BOX = ((1.0, 2.0, 3.0, 4.0),)


@pytest.mark.parametrize(
    ("given", "lacks"),
    [
        (step("click", **PLACE), None),
        (step("click", boxes=BOX), None),  # Mind2Web has boxes only
        (step("click"), "place"),
        (step("tap"), "place"),  # an alias
        (step("click", screenshot=None, **PLACE), "screenshot"),
        (step("click", screenshot=None), "screenshot"),  # the first that it lacks
        (step("drag", **PLACE), "place"),
        (step("drag", boxes=BOX, end_point=(5.0, 5.0)), None),
        (step("drag", end_point=(5.0, 5.0)), "place"),
        *((step(kind), None) for kind in ("type", "hotkey", "scroll", "wait", "finished", "open_app", "press_back")),
        (step("type", content="a", screenshot=None), "screenshot"),
        (step("click", platform="tool", screenshot=None), None),  # a tool of that name: there is no screen
        (step("search", platform="tool", screenshot=None, arguments={}), None),
    ],
)
def test_what_a_step_lacks_for_a_comparison_of_places(given, lacks):
    assert lacking(given, ("screenshot", "place")) == lacks
    assert lacking(given, ()) is None


def test_a_later_action_on_the_same_screenshot_has_none_of_its_own():
    later = replace(step("click", **PLACE), meta={"real_observation": False})
    assert lacking(later, ("screenshot", "place")) == "screenshot"
    assert lacking(later, ("place",)) is None
    assert lacking(replace(later, meta={"real_observation": True}), ("screenshot",)) is None


def test_a_box_is_needed_by_actions_at_a_place_only():
    assert lacking(step("click", **PLACE), ("box",)) == "box"
    assert lacking(step("click", boxes=BOX), ("box",)) is None
    assert lacking(step("type", content="a"), ("box",)) is None


def test_names_are_checked_and_ordered():
    assert checked_needs(["box", "screenshot", "box"], "data.needs") == ("screenshot", "box")
    assert checked_needs("place", "data.needs") == ("place",)
    with pytest.raises(ConfigError, match=r"data.needs names 'plase'. Did you mean 'place'\? Known: screenshot, place"):
        checked_needs(["plase"], "data.needs")


def test_the_text_names_all_counts():
    assert left_out_text({"box": 3, "screenshot": 1200}) == (
        "1,200 without a screenshot; 3 without a box around its action's target"
    )


def test_every_shipped_reward_says_what_it_needs():
    found = {name: reward_needs([name]) for name in REWARDS.names() if not name.startswith("test_")}
    assert found["coordinate_match"] == ("screenshot", "place")
    assert found["answer_match"] == ("outcome",)
    assert [found[name] for name in ("trajectory_alignment", "discounted_alignment", "format", "repetition")] == [
        ()
    ] * 4
    assert reward_needs(["format", "coordinate_match"]) == ("screenshot", "place")


def test_a_reward_of_ones_own_says_it_with_a_decorator():
    @REWARDS.register("test_needs_a_box")
    @needs("box", "outcome", "episode")
    def mine(rollout):
        return float(bool(rollout.step.boxes))

    assert reward_needs({"test_needs_a_box": {}, "coordinate_match": {}}) == tuple(NEEDS)
    with pytest.raises(ConfigError, match=r"reward 'mine' names 'boxes'. Did you mean 'box'"):
        needs("boxes")(mine)


def test_a_step_that_lacks_its_place_would_always_score_zero():
    """Why such steps are left out: the best answer there is gets nothing."""
    from tracer1.schema import Outcome, Response, Rollout

    without = step("click")
    rollout = Rollout(without, Response("", (), ()), outcome=Outcome(Action("click", point=(500.0, 500.0))))
    assert REWARDS.get("coordinate_match")(rollout) == 0.0
    assert REWARDS.get("coordinate_match")(replace(rollout, step=step("click", point=(500.0, 500.0)))) == 1.0
