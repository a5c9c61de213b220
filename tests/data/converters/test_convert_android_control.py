"""AndroidControl: what is made of an episode and each of its steps."""

from pathlib import Path

import pytest
from raw_android import SIMPLE, convert, episode, forest, node, reasons, screen, window, write_release

from tracer1.data.shards import read_steps, write_shards
from tracer1.interfaces import Converted
from tracer1.schema import DONE, NOT_DONE, Action

CLICK = {"action_type": "click", "x": 27, "y": 30}
WAIT = {"action_type": "wait"}


def one(tmp_path: Path, *raw, **changes) -> Converted:
    [converted] = convert(write_release(tmp_path / "raw", [episode(raw, **changes)], {"train": [7]}))
    return converted


def test_an_episode(tmp_path: Path):
    converted = one(tmp_path, CLICK, WAIT)
    assert converted.notes == ()
    task = converted.task
    assert (task.dataset, task.trajectory, task.platform, task.split) == ("android_control", "7", "mobile", "train")
    first, second = converted.steps
    assert first.key == "android_control-7-000"
    assert first.instruction == "Save the note , please ."
    assert first.screenshot == screen(mark=0)  # untouched; the screen before the action
    assert second.screenshot == screen(mark=1)  # the third shows what came of it, and is no step
    assert first.image_size == (108, 240)
    assert first.future[0].action == Action("click", "do step 0", point=(250.0, 125.0))
    assert first.boxes[0] == pytest.approx((10 / 0.108, 20 / 0.24, 60 / 0.108, 40 / 0.24))
    assert first.meta["candidate_boxes"] == [[*first.boxes[0]], [0, 0, 1000, 1000]]
    assert [step.status for step in first.future] == [NOT_DONE, DONE]
    assert second.boxes == ()
    assert second.history[0].screenshot_abstraction == "Notes: Save"
    meta = {"licence": "Apache-2.0", "source_ref": "android_control-00000-of-00001#0"}
    assert second.meta == meta | {"abstraction_source": "accessibility_tree"}


@pytest.mark.parametrize(
    ("raw", "action"),
    [
        ({"action_type": "long_press", "x": 0, "y": 150}, Action("long_press", point=(0.0, 625.0))),
        *(
            ({"action_type": "scroll", "direction": side}, Action("scroll", point=(500.0, 500.0), direction=side))
            for side in ("up", "down", "left", "right")
        ),
        ({"action_type": "input_text", "text": "milk"}, Action("type", content="milk")),
        ({"action_type": "type", "x": 54, "y": 60, "text": "hi"}, Action("type", point=(500.0, 250.0), content="hi\n")),
        ({"action_type": "open_app", "app_name": "Zoho Meeting"}, Action("open_app", app_name="Zoho Meeting")),
        ({"action_type": "navigate_back"}, Action("press_back")),
        ({"action_type": "navigate_home"}, Action("press_home")),
        (WAIT, Action("wait")),
    ],
)
def test_every_action(tmp_path: Path, raw: dict, action: Action):
    converted = one(tmp_path, raw, step_instructions=[b" "])
    assert [step.future for step in converted.steps] == [converted.steps[0].future]
    assert converted.steps[0].future[0].action == action
    assert converted.steps[0].future[0].status == DONE


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"action_type": "status", "goal_status": "complete"}, "unknown action"),
        ({"x": 1, "y": 2}, "unknown action"),
        ({"action_type": "click", "x": 1}, "argument missing"),
        ({"action_type": "click", "x": "1", "y": True}, "argument missing"),
        ({"action_type": "click", "x": 140, "y": 5}, "place outside the screenshot"),
        ({"action_type": "click", "x": float("nan"), "y": 5}, "argument missing"),
        ({"action_type": "scroll", "direction": "sideways"}, "unknown direction"),
        ({"action_type": "scroll"}, "unknown direction"),
        ({"action_type": "input_text", "text": ""}, "empty text"),
        ({"action_type": "input_text"}, "empty text"),
        ({"action_type": "open_app"}, "argument missing"),
        ([], "action is not JSON"),
    ],
)
def test_what_cannot_be_used_ends_the_trajectory_before_it(tmp_path: Path, raw, reason: str):
    converted = one(tmp_path, CLICK, raw, WAIT)
    assert reasons(converted) == [("cut", "7/1", reason)]
    assert len(converted.steps) == 1
    assert converted.steps[0].future[0].status == NOT_DONE


def test_an_action_that_is_not_json(tmp_path: Path):
    assert reasons(one(tmp_path, CLICK, actions=[b"{'x': 1}"])) == [("dropped", "7", "action is not JSON")]


def test_one_instruction_for_two_actions_is_kept_for_both(tmp_path: Path):
    actions = [{"action_type": "open_app", "app_name": "Zoho"}, WAIT, CLICK]
    converted = one(tmp_path, *actions, step_instructions=[b"Open Zoho", b"Open Zoho ", b"Go to the Past section"])
    said = [step.future[0].action.step_instruction for step in converted.steps]
    assert said == ["Open Zoho", "Open Zoho", "Go to the Past section"]


def test_text_of_all_kinds_comes_through(tmp_path: Path):
    text = 'it\'s "q" \\ \n שלום مرحبا 😀 e\u0301'
    converted = one(tmp_path, {"action_type": "input_text", "text": text}, goal=["Schreib „é“ 😀".encode()])
    [path] = write_shards([converted.steps], tmp_path, split="train", prefix="x")
    [step] = read_steps([str(path)])
    assert step.future[0].action.content == 'it\'s "q" \\ \n שלום مرحبا 😀 é'
    assert step.instruction == "Schreib „é“ 😀"


def test_half_a_surrogate_pair_can_be_stored(tmp_path: Path):
    converted = one(tmp_path, CLICK, actions=[b'{"action_type": "input_text", "text": "a\\ud83d b \\ud83d\\ude00"}'])
    assert converted.steps[0].future[0].action.content == "a\ufffd b 😀"
    write_shards([converted.steps], tmp_path, split="train", prefix="x")


@pytest.mark.parametrize("size", [(240, 108), (160, 256), (256, 160)])
def test_landscape_and_tablets(tmp_path: Path, size):
    converted = one(tmp_path, {"action_type": "click", "x": size[0] // 2, "y": size[1] // 4}, size=size)
    assert converted.steps[0].image_size == size
    assert converted.steps[0].future[0].action.point == (500.0, 250.0)


def test_places_are_pixels_of_the_picture_whatever_size_the_record_says(tmp_path: Path):
    turned = one(tmp_path, CLICK, screenshot_widths=[240, 240], screenshot_heights=[108, 108])
    assert turned.steps[0].future[0].action.point == (250.0, 125.0)
    bare = one(tmp_path, CLICK, screenshot_widths=None, screenshot_heights=None)
    assert bare.steps[0].future[0].action.point == (250.0, 125.0)


def test_a_click_a_little_outside_is_moved_to_the_edge(tmp_path: Path):
    converted = one(tmp_path, {"action_type": "click", "x": 109, "y": 30})
    assert reasons(converted) == [("repaired", "7/0", "place moved to the edge")]
    assert converted.steps[0].future[0].action.point == (1000.0, 125.0)


def test_a_click_that_no_node_holds_has_no_box(tmp_path: Path):
    tree = forest(window(node((50, 50, 60, 60), "Elsewhere")))
    step = one(tmp_path, CLICK, accessibility_trees=[tree] * 2).steps[0]
    assert step.boxes == ()
    assert "candidate_boxes" not in step.meta


def test_the_box_of_a_target_is_the_part_that_can_be_seen(tmp_path: Path):
    tree = forest(window(node((20, 20, 130, 60))))
    assert one(tmp_path, CLICK, accessibility_trees=[tree] * 2).steps[0].boxes[0][2] == 1000.0


@pytest.mark.parametrize(
    "raw", [{"action_type": "scroll", "direction": "up"}, WAIT, {"action_type": "open_app", "app_name": "A"}]
)
def test_only_what_has_a_target_has_a_box(tmp_path: Path, raw):
    assert one(tmp_path, raw).steps[0].boxes == ()


def test_a_tree_that_cannot_be_read_is_left_out(tmp_path: Path):
    converted = one(tmp_path, CLICK, CLICK, accessibility_trees=[b"\x0b\xff", SIMPLE, SIMPLE])
    assert reasons(converted) == [("repaired", "7/0", "accessibility tree unreadable")]
    assert [len(step.boxes) for step in converted.steps] == [0, 1]
    assert [step.meta["abstraction_source"] for step in converted.steps] == ["none", "accessibility_tree"]


def test_trees_that_do_not_belong_to_the_screenshots_are_left_out(tmp_path: Path):
    converted = one(tmp_path, CLICK, accessibility_trees=[SIMPLE])
    assert reasons(converted) == [("repaired", "7", "accessibility trees left out")]
    assert converted.steps[0].boxes == ()
    assert one(tmp_path, CLICK, accessibility_trees=None).notes == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"screenshots": [screen()]}, "lists do not belong together"),
        ({"step_instructions": []}, "lists do not belong together"),
        ({"actions": None, "step_instructions": None}, "lists do not belong together"),
        ({"goal": None}, "no instruction"),
        ({"goal": [b" \n"]}, "no instruction"),
        ({"screenshots": [b"", screen()]}, "screenshot missing"),
        ({"screenshots": [b"\x89PNG\r\n\x1a\n", screen()]}, "screenshot does not decode"),
        ({"screenshots": [screen()[:-30], screen()]}, "screenshot does not decode"),
        ({"screenshots": [b"?", screen()], "screenshot_widths": None}, "screenshot does not decode"),
    ],
)
def test_an_episode_that_cannot_be_used_is_dropped(tmp_path: Path, changes, reason: str):
    assert reasons(one(tmp_path, CLICK, **changes)) == [("dropped", "7", reason)]


def test_an_episode_without_actions(tmp_path: Path):
    assert reasons(one(tmp_path)) == [("dropped", "7", "no steps")]


def test_an_episode_without_an_id(tmp_path: Path):
    converted = one(tmp_path, CLICK, episode_id=None)
    place = "android_control-00000-of-00001#0"
    assert reasons(converted) == [("dropped", place, "no episode id")]
