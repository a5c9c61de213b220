"""The answer reward: each tool's policy, which tools may stand in for which, and what it cannot judge."""

from dataclasses import replace

import pytest

from tracer1.errors import ConfigError
from tracer1.needs import lacking
from tracer1.rewards import build_reward, reward_needs
from tracer1.rewards.answer_match import POLICIES, answer_match
from tracer1.schema import Action, Outcome, Plan, PlanStep, Response, Rollout, Step


def tool_step(tool: str, text: str = "", *, content: str | None = None, failed: bool = False, **fields) -> Step:
    action = Action(tool, "do it", content=content, **fields)
    meta = {"outcome": {"text": text, "failed": failed}}
    return Step("t-a-000", "t", "a", 0, "u", None, (), (PlanStep(action),), platform="tool", meta=meta)


def rollout(step: Step, outcome: Outcome | None) -> Rollout:
    return Rollout(step, Response("", (), ()), Plan(), outcome)


def ran(tool: str, answer: str, value=None, **fields) -> Outcome:
    return Outcome(Action(tool, **fields), answer=answer, value=value)


def score(step: Step, outcome: Outcome, **settings) -> float:
    return answer_match(rollout(step, outcome), **settings)


@pytest.mark.parametrize(
    ("step", "outcome", "reward"),
    [
        (tool_step("python_interpreter", "Total: 95"), ran("python_interpreter", "95.0"), 1.0),
        (tool_step("python_interpreter", "Total: 95"), ran("calculator", "95"), 1.0),  # both only compute
        (tool_step("python_interpreter", "Total: 95"), ran("visualizer", "95"), 0.0),
        (tool_step("visualizer", "It is a red barn."), ran("visualizer", "a red barn"), 1.0),
        (tool_step("visualizer", "It is a red barn."), ran("python_interpreter", "It is a red barn."), 0.0),
        (tool_step("visualizer", "It is a red barn."), ran("visualizer", "two blue boats"), 0.0),
        (tool_step("visualizer", "It is a red barn."), ran("visualizer", "It is a red barn.", "two blue boats"), 0.0),
        (tool_step("visualizer", "Seen: A red barn."), ran("visualizer", "A red barn.", "A red barn."), 1.0),
        (tool_step("objectlocation", "[[0, 0, 9, 9]]"), ran("objectlocation", "[[0, 0, 9, 9]]", [[5, 5, 9, 9]]), 0.0),
        (tool_step("visualizer", "赤"), ran("visualizer", "赤。"), 1.0),
        (tool_step("objectlocation", "[[0, 0, 10, 10]]"), ran("objectlocation", "[[0.0, 0.0, 9.0, 9.5]]"), 1.0),
        (tool_step("objectlocation", "[[0, 0, 10, 10]]"), ran("objectlocation", "[[50, 50, 60, 60]]"), 0.0),
        (tool_step("objectlocation", "[[0, 0, 10, 10]]"), ran("objectlocation", "[[0, 0, 10, 10], [20, 20, 30, 30]]"), 0.0),
        (tool_step("objectlocation", "found: []"), ran("objectlocation", "[]"), 1.0),
        (tool_step("objectlocation", "found: []"), ran("objectlocation", "[[0, 0, 1, 1]]"), 0.0),
        (tool_step("facedetection", "people: 10"), ran("facedetection", "10"), 1.0),
        (tool_step("facedetection", "people: 10"), ran("facedetection", "9"), 0.0),
        (tool_step("my_tool", "anything"), ran("my_tool", "anything"), 1.0),
        (tool_step("my_tool", "anything"), ran("my_tool", "else"), 0.0),
    ],
)  # fmt: skip
def test_each_tool_is_judged_by_its_policy(step, outcome, reward):
    assert score(step, outcome) == reward


PICTURE = tool_step("image_generator", ".cache/17_x.jpeg", arguments={"prompt": "a calm beach at sunset"})


@pytest.mark.parametrize(
    ("outcome", "reward"),
    [
        (ran("image_generator", "i.png", "i.png", arguments={"prompt": "calm beach, sunset"}), 1.0),
        (ran("image_generator", "i.png", "i.png", arguments={"prompt": "a dog"}), 0.0),
        (ran("image_generator", "i.png", None, arguments={"prompt": "a calm beach at sunset"}), 0.0),  # no file
        (ran("image_generator", "i.png", "i.png"), 0.0),
    ],
)
def test_an_image_counts_by_being_there_and_by_its_arguments(outcome, reward):
    assert score(PICTURE, outcome) == reward


CROP = tool_step("crop_image", "crop_1.png", arguments={"image_path": "d/p.png", "box": [0, 0, 10, 10]})


@pytest.mark.parametrize(("box", "reward"), [([0, 0, 10, 9], 1.0), ([50, 50, 60, 60], 0.0)])
def test_every_argument_of_a_picture_must_be_alike(box, reward):
    assert score(CROP, ran("crop_image", "x.png", "x.png", arguments={"image_path": "p.png", "box": box})) == reward


def test_names_of_tools_are_compared_without_case():
    step = tool_step("TextToBbox", "(0, 0, 10, 10), score 99")
    assert score(step, ran("texttobbox", "(0, 0, 10, 9), score 80")) == 1.0


FINAL = tool_step("final_answer", content="There are 2 types.")


@pytest.mark.parametrize(
    ("outcome", "reward"),
    [
        (ran("final_answer", "2", content="2"), 1.0),
        (ran("python_interpreter", "2", content="2"), 1.0),  # a block that computes and answers
        (ran("python_interpreter", "2"), 0.0),  # printed, not answered
        (ran("final_answer", "3", content="3"), 0.0),
        (Outcome(error="timeout", kind="timeout", answer="2"), 0.0),
        (Outcome(answer="2"), 0.0),
        (Outcome(Action("final_answer", content="2")), 0.0),
    ],
)
def test_the_task_is_ended_by_an_answer_alone(outcome, reward):
    assert score(FINAL, outcome) == reward


def test_an_answer_is_no_match_for_a_step_that_goes_on():
    assert score(tool_step("calculator", "2"), ran("final_answer", "2", content="2")) == 0.0


def test_a_call_that_also_answers_is_judged_by_its_answer():
    step = tool_step("visualizer", "", content="red")
    assert score(step, ran("visualizer", "red", content="red")) == 1.0
    assert lacking(step, ["outcome"]) is None


def test_policies_and_thresholds_can_be_set():
    step, outcome = tool_step("my_tool", "It is a red barn."), ran("my_tool", "a red barn")
    assert score(step, outcome) == 0.0
    assert score(step, outcome, policies={"my_tool": "text"}) == 1.0  # 2 of 2 words and of 4: 2/3
    assert score(step, outcome, policies={"my_tool": "text"}, text_f1=0.9) == 0.0
    near = ran("objectlocation", "[[0, 0, 10, 6]]")
    assert score(tool_step("objectlocation", "[[0, 0, 10, 10]]"), near) == 1.0
    assert score(tool_step("objectlocation", "[[0, 0, 10, 10]]"), near, iou=0.7) == 0.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"policies": {"x": "txet"}}, r"answer_match.policies.x is 'txet'. Did you mean 'text'\?"),
        ({"policies": "text"}, "answer_match.policies is 'text'"),
        ({"text_f1": 0}, "answer_match.text_f1 is 0; it must be above 0"),
        ({"iou": 1.5}, "answer_match.iou is 1.5"),
        ({"text_f1": "x"}, "reward.terms.answer_match.text_f1 is 'x'; it must be a finite number"),
        ({"text": 1}, "no setting 'text'. Did you mean 'text_f1'"),
    ],
)
def test_a_setting_that_cannot_work_is_said_before_anything_runs(settings, message):
    with pytest.raises(ConfigError, match=message):
        build_reward({"answer_match": settings})


def test_it_needs_an_executor():
    with pytest.raises(ConfigError, match="executor=t3"):
        answer_match(rollout(FINAL, None))


def test_every_policy_is_one():
    build_reward({"answer_match": {"policies": dict(POLICIES)}})


@pytest.mark.parametrize(
    ("step", "lacks"),
    [
        (tool_step("calculator", "2"), None),
        (tool_step("calculator", " "), "outcome"),
        (tool_step("calculator", "2", failed=True), "outcome"),  # the expert's own mistake is no example
        (tool_step("python_interpreter", "No observation found from the code execution. You should"), "outcome"),
        (tool_step("final_answer", content="2"), None),
        (tool_step("final_answer", content=""), "outcome"),
        (replace(tool_step("calculator"), meta={}), "outcome"),
        (replace(tool_step("calculator", "2"), platform="web"), None),
    ],
)
def test_steps_without_an_outcome_are_kept_away_from_it(step, lacks):
    assert reward_needs(["answer_match", "format"]) == ("outcome",)
    assert lacking(step, ("outcome",)) == lacks
    assert lacking(step, ("screenshot", "place")) in (None, "screenshot")
