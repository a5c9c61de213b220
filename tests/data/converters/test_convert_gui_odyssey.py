"""GUI-Odyssey: what is made of an episode and each of its steps."""

from pathlib import Path

import pytest
from raw_android import reasons, screen
from raw_odyssey import COMPLETE, SWIPE, TAP, annotation, convert, version_2, write_release

from tracer1.data.shards import write_shards
from tracer1.interfaces import Converted
from tracer1.schema import DONE, NOT_DONE, Action

ID = "0012345678901234"


def one(tmp_path: Path, *steps, **changes) -> Converted:
    [converted] = convert(write_release(tmp_path / "raw", [annotation(steps, **changes)], {"train": [f"{ID}.json"]}))
    return converted


def test_an_episode_of_version_2(tmp_path: Path):
    converted = one(tmp_path, version_2(TAP), version_2(COMPLETE, low_level_instruction="The alarm is set."))
    assert converted.notes == ()
    task = converted.task
    assert (task.dataset, task.trajectory, task.platform, task.split) == ("gui_odyssey", ID, "mobile", "train")
    first, second = converted.steps
    assert first.key == f"gui_odyssey-{ID}-000"
    assert first.instruction == "Use Clock to set an alarm for seven."
    assert [first.screenshot, second.screenshot] == [screen(mark=0), screen(mark=1)]
    assert first.future[0].action == Action("click", "Tap the plus button.", point=(500.0, 100.0))
    assert first.boxes == ((450.0, 50.0, 550.0, 150.0),)
    assert second.boxes == ()
    assert second.future[0].action == Action("finished", "The alarm is set.")
    assert [step.status for step in first.future] == [NOT_DONE, DONE]
    assert second.history[0].screenshot_abstraction == "This is the clock's list of alarms."
    assert second.meta == {
        "licence": "CC-BY-4.0",
        "source_ref": f"annotations/{ID}.json",
        "category": "General_Tool",
        "apps": ["Clock", "Settings"],
        "device": "Pixel 8 Pro",
        "step_length": 2,
        "step_instruction_source": "low_level_instruction",
        "abstraction_source": "description",
    }


def test_what_was_written_with_the_future_at_hand_never_comes_through(tmp_path: Path):
    converted = one(tmp_path, version_2(TAP), version_2(SWIPE), version_2(COMPLETE))
    [path] = write_shards([converted.steps], tmp_path, split="train", prefix="x")
    assert b"Tap the plus button." in path.read_bytes()
    assert b"SECRET" not in path.read_bytes()


def test_an_episode_of_version_1(tmp_path: Path):
    converted = one(tmp_path, TAP, COMPLETE)
    assert converted.notes == ()
    first = converted.steps[0]
    assert first.boxes == ()
    assert first.future[0].screenshot_abstraction == ""
    assert first.meta["abstraction_source"] == "none"
    assert first.meta["step_instruction_source"] == "action"
    assert first.future[0].action.step_instruction == "Tap the place at (500, 100)."


def press(key: str) -> dict:
    return {"action": "CLICK", "info": key}


@pytest.mark.parametrize(
    ("raw", "action"),
    [
        (press("KEY_HOME"), Action("press_home", "Go to the home screen.")),
        (press("KEY_BACK"), Action("press_back", "Go back.")),
        (press("KEY_APPSELECT"), Action("press_recent", "Show the recent apps.")),
        (press("KEY_RECENT"), Action("press_recent", "Show the recent apps.")),
        ({"action": "HOME", "info": ""}, Action("press_home", "Go to the home screen.")),
        ({"action": "BACK", "info": ""}, Action("press_back", "Go back.")),
        (
            {"action": "LONG_PRESS", "info": [[3, 4], [3, 4]]},
            Action("long_press", "Touch and hold the place at (3, 4).", point=(3.0, 4.0)),
        ),
        (SWIPE, Action("scroll", "Scroll down.", point=(500.0, 800.0), direction="down")),
        (
            {"action": "TEXT", "info": "it's {x}: 😀"},
            Action("type", "Type the text: it's {x}: 😀", content="it's {x}: 😀"),
        ),
        ({"action": "TYPE", "info": " "}, Action("type", "Type the text:  ", content=" ")),
        (COMPLETE, Action("finished", "Finish: the task is done.")),
        ({**COMPLETE, "ps": "a remark"}, Action("finished", "Finish: the task is done.")),
        (
            {"action": "INCOMPLETE", "info": "", "ps": " No flights "},
            Action("call_user", "Stop: the task cannot be done.", content="No flights"),
        ),
        ({"action": "IMPOSSIBLE", "info": "", "ps": ""}, Action("call_user", "Stop: the task cannot be done.")),
    ],
)
def test_every_action(tmp_path: Path, raw: dict, action: Action):
    [step] = one(tmp_path, raw).steps
    assert step.future[0].action == action
    assert step.future[0].status == DONE


@pytest.mark.parametrize(
    ("end", "direction"),
    [
        ((500, 300), "down"),
        ((500, 700), "up"),
        ((300, 500), "right"),
        ((700, 500), "left"),
        ((600, 600), "up"),
        ((399, 600), "right"),
    ],
)
def test_a_fingers_path_reveals_the_side_that_it_comes_from(tmp_path: Path, end, direction: str):
    [step] = one(tmp_path, {"action": "SCROLL", "info": [[500, 500], list(end)]}).steps
    assert step.future[0].action.direction == direction


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"action": "SCROLL", "info": [[5, 5], [5, 5]]}, "scroll of zero length"),
        ({"action": "SCROLL", "info": ""}, "argument missing"),
        ({"action": "TEXT", "info": ""}, "empty text"),
        ({"action": "TEXT", "info": None}, "empty text"),
        (press("KEY_ENTER"), "unknown key"),
        (press(""), "unknown key"),
        ({"action": "CLICK", "info": []}, "argument missing"),
        ({"action": "CLICK", "info": [["a", 1]]}, "argument missing"),
        ({"action": "CLICK", "info": [[float("nan"), 1]]}, "argument missing"),
        ({"action": "CLICK", "info": [[1200, 1], [1200, 1]]}, "place outside the screenshot"),
        ({"action": "PINCH", "info": ""}, "unknown action"),
        ({"action": ["CLICK"], "info": ""}, "unknown action"),
        ({**TAP, "step": 2}, "a step is missing"),
    ],
)
def test_what_cannot_be_used_ends_the_trajectory_before_it(tmp_path: Path, raw: dict, reason: str):
    converted = one(tmp_path, TAP, raw, COMPLETE)
    assert reasons(converted) == [("cut", f"{ID}/1", reason)]
    assert [step.future[0].status for step in converted.steps] == [NOT_DONE]


def test_a_task_that_could_not_be_done(tmp_path: Path):
    converted = one(tmp_path, TAP, {"action": "INCOMPLETE", "info": "", "ps": "Region limitation"})
    assert [step.meta["outcome"] for step in converted.steps] == ["failed"] * 2
    assert converted.steps[-1].future[0].action.content == "Region limitation"
    assert "outcome" not in one(tmp_path, TAP, COMPLETE).steps[0].meta


def test_steps_after_the_end_drop_the_whole_trajectory(tmp_path: Path):
    assert reasons(one(tmp_path, TAP, COMPLETE, TAP)) == [("dropped", ID, "steps after the end")]


def test_without_a_terminator_the_last_step_is_done(tmp_path: Path):
    assert [step.future[0].status for step in one(tmp_path, TAP, SWIPE).steps] == [NOT_DONE, DONE]


def test_fewer_steps_than_the_annotation_says(tmp_path: Path):
    converted = one(tmp_path, TAP, TAP, step_length=3)
    assert reasons(converted) == [("cut", f"{ID}/2", "a step is missing")]
    assert [step.future[0].status for step in converted.steps] == [NOT_DONE, NOT_DONE]


@pytest.mark.parametrize("box", [[], None, "absent"])
def test_no_box(tmp_path: Path, box):
    step = version_2(TAP, sam2_bbox=box)
    if box == "absent":
        del step["sam2_bbox"]
    converted = one(tmp_path, step)
    assert converted.notes == ()
    assert converted.steps[0].boxes == ()


@pytest.mark.parametrize(
    ("box", "reason", "kept"),
    [
        ([600, 600, 700, 700], "box does not hold the tap", [600, 600, 700, 700]),
        ([550, 150, 450, 50], "box does not hold the tap", [550, 150, 450, 50]),
        ([1, 2, 3], "box unreadable", None),
        ("1 2 3 4", "box unreadable", None),
        ([0, 0, float("inf"), 1000], "box unreadable", None),
    ],
)
def test_a_box_that_would_call_the_experts_tap_a_miss(tmp_path: Path, box, reason: str, kept):
    converted = one(tmp_path, version_2(TAP, sam2_bbox=box))
    assert reasons(converted) == [("repaired", f"{ID}/0", reason)]
    assert converted.steps[0].boxes == ()
    assert converted.steps[0].meta.get("sam2_bbox") == kept
    write_shards([converted.steps], tmp_path, split="train", prefix="x")


def test_a_number_too_large_for_a_float_is_no_place(tmp_path: Path):
    source = write_release(tmp_path / "raw", [annotation([version_2(TAP, sam2_bbox=[0, 0, 7e77, 1000])])])
    path = source / "annotations" / f"{ID}.json"
    path.write_text(path.read_text().replace("7e+77", "1e999"))
    assert reasons(convert(source)[0]) == [("repaired", f"{ID}/0", "box unreadable")]


def test_a_key_has_no_box(tmp_path: Path):
    assert one(tmp_path, version_2(press("KEY_HOME"), sam2_bbox=[0, 0, 1000, 1000])).steps[0].boxes == ()


def test_long_descriptions_are_cut_at_a_word(tmp_path: Path):
    step = version_2(TAP, description="A  page\nwith " + "many words " * 40)
    seen = one(tmp_path, step).steps[0].future[0].screenshot_abstraction
    assert seen.startswith("A page with many words")
    assert seen.endswith(" …")
    assert len(seen) <= 160
