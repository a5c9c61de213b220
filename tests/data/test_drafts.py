"""The rules that hold for every raw data set: what is kept, cut, dropped, moved, and what is said about it."""

import io
import json
import unicodedata

import pytest
from PIL import Image
from toy_steps import members, one_shard, picture

from tracer1.data.drafts import Draft, Unusable, finish
from tracer1.data.shards import read_trajectories
from tracer1.interfaces import Note, Task
from tracer1.schema import DONE, NOT_DONE, Action

TASK = Task("toy", "t.1", "  reach it ", "web", "train", {"licence": "none", "source_ref": "file#1"})
WAIT = Draft(Action("wait", "wait a little"))


def click(x: float = 10.0, y: float = 20.0, **more) -> Draft:
    return Draft(Action("click", "click it", point=(x, y)), **more)


def broken(reason: str, whole: bool = False):
    raise Unusable(reason, "why", whole)


def test_a_whole_trajectory_ends_with_done():
    done = finish(TASK, [click(), WAIT, click()])
    assert done.notes == ()
    assert [step.key for step in done.steps] == ["toy-t_1-000", "toy-t_1-001", "toy-t_1-002"]
    assert [step.index for step in done.steps] == [0, 1, 2]
    assert [step.future[0].status for step in done.steps] == [NOT_DONE, NOT_DONE, DONE]
    assert [step.future[0].number for step in done.steps] == [1, 2, 3]
    assert [len(step.history) for step in done.steps] == [0, 1, 2]
    assert done.steps[0].future[1:] == done.steps[1].future
    assert {step.instruction for step in done.steps} == {"reach it"}
    assert done.steps[1].history[0].action.point == (10.0, 20.0)


@pytest.mark.parametrize("kind", ["finished", "call_user"])
def test_a_recorded_end_is_the_last_step_and_done(kind):
    done = finish(TASK, [click(), Draft(Action(kind, "stop", content="no flights"))])
    assert [step.future[0].status for step in done.steps] == [NOT_DONE, DONE]
    assert done.steps[-1].future[0].action.action_type == kind


def test_meta_goes_to_every_step_and_a_steps_own_beside_it():
    done = finish(TASK, [click(abstraction="a form", abstraction_source="tree", meta={"target": "ok"}), WAIT])
    assert done.steps[0].meta == {
        "licence": "none",
        "source_ref": "file#1",
        "target": "ok",
        "abstraction_source": "tree",
    }
    assert done.steps[1].meta["abstraction_source"] == "none"
    assert [step.future[0].screenshot_abstraction for step in done.steps] == ["a form", ""]


def test_a_trajectory_ends_before_its_first_unusable_step_and_is_not_done():
    def drafts():
        yield click()
        yield WAIT
        broken("screenshot missing")
        yield click()  # never a middle step left out

    done = finish(TASK, drafts(), [Note("repaired", "t.1", "before")])
    assert [step.future[0].status for step in done.steps] == [NOT_DONE, NOT_DONE]
    assert [len(step.future) for step in done.steps] == [2, 1]
    assert done.notes == (Note("repaired", "t.1", "before"), Note("cut", "t.1/2", "screenshot missing", "why"))


def test_nothing_left_is_dropped():
    def at_once():
        broken("screenshot missing")
        yield

    assert finish(TASK, []).notes == (Note("dropped", "t.1", "no steps"),)
    done = finish(TASK, at_once())
    assert done.steps == ()
    assert done.notes == (Note("dropped", "t.1", "screenshot missing", "why"),)


def test_what_concerns_the_whole_trajectory_drops_it():
    def drafts():
        yield click()
        broken("lists do not belong together", whole=True)

    done = finish(TASK, drafts())
    assert done.steps == ()
    assert done.notes == (Note("dropped", "t.1", "lists do not belong together", "why"),)


@pytest.mark.parametrize("goal", ["", "  \n "])
def test_an_empty_goal_drops_the_trajectory(goal):
    done = finish(Task("toy", "a", goal, "web"), [click()])
    assert (done.steps, done.notes) == ((), (Note("dropped", "a", "no instruction"),))


@pytest.mark.parametrize("kind", ["finished", "call_user"])
def test_steps_after_the_end_drop_the_trajectory(kind):
    end = Draft(Action(kind, "stop"))
    done = finish(TASK, [click(), end, click()])
    assert done.steps == ()
    assert [(note.kind, note.reason) for note in done.notes] == [("dropped", "steps after the end")]

    def unusable():
        yield click()
        yield end
        broken("unknown action")

    assert [note.reason for note in finish(TASK, unusable()).notes] == ["steps after the end"]


@pytest.mark.parametrize(
    ("place", "moved"),
    [
        ((-10.0, 500.0), (0.0, 500.0)),
        ((1010.0, 1000.0), (1000.0, 1000.0)),
        ((3.0, 1004.5), (3.0, 1000.0)),
    ],
)
def test_a_place_up_to_one_percent_outside_is_moved_to_the_edge(place, moved):
    done = finish(TASK, [click(*place)])
    assert done.steps[0].future[0].action.point == moved
    [note] = done.notes
    assert (note.kind, note.record, note.reason) == ("repaired", "t.1/0", "place moved to the edge")


@pytest.mark.parametrize(
    "place",
    [
        (-10.1, 500.0), (500.0, 1010.1), (float("nan"), 5.0), (5.0, float("nan")), (float("inf"), 5.0), (5.0, float("-inf")),
    ],
)  # fmt: skip
def test_a_place_further_outside_cuts(place):
    done = finish(TASK, [WAIT, click(*place), WAIT])
    assert len(done.steps) == 1
    [note] = done.notes
    assert (note.kind, note.record, note.reason) == ("cut", "t.1/1", "place outside the screenshot")


def test_the_end_of_a_drag_is_a_place_too():
    drag = Draft(Action("drag", "drag it", point=(1.0, 1.0), end_point=(1005.0, 2.0)))
    assert finish(TASK, [drag]).steps[0].future[0].action.end_point == (1000.0, 2.0)
    far = Draft(Action("drag", "drag it", point=(1.0, 1.0), end_point=(1.0, float("nan"))))
    assert finish(TASK, [far]).steps == ()


def test_a_missing_argument_cuts_but_a_missing_place_stays():
    done = finish(TASK, [Draft(Action("click", "somewhere")), Draft(Action("type", "type it"))])
    assert done.steps[0].future[0].action.point is None  # marked, not faked
    assert done.notes == (Note("cut", "t.1/1", "argument missing", "type without content"),)


def test_boxes_are_kept_within_the_screenshot():
    boxes = (
        (-5.0, 10.0, 50.0, 20.0),
        (1001.0, 0.0, 1100.0, 5.0),
        (30.0, 40.0, 20.0, 50.0),
        (0.0, 0.0, float("nan"), 9.0),
    )
    assert finish(TASK, [click(boxes=boxes)]).steps[0].boxes == ((0.0, 10.0, 50.0, 20.0),)


def test_the_size_is_that_of_the_screenshot():
    done = finish(TASK, [click(screenshot=picture(1), image_size=(9, 9)), click(image_size=(7, 8)), click()])
    assert [step.image_size for step in done.steps] == [(24, 16), (7, 8), None]


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_screenshots_pass_through_untouched(kind):
    image = picture(3, kind)
    assert finish(TASK, [click(screenshot=image)]).steps[0].screenshot == image


def test_a_screenshot_that_does_not_decode_cuts():
    whole = picture(1)
    done = finish(TASK, [click(screenshot=whole), click(screenshot=whole[:-40])])
    assert len(done.steps) == 1
    assert (done.notes[0].kind, done.notes[0].reason) == ("cut", "screenshot does not decode")


def test_a_screenshot_of_another_format_cuts():
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "BMP")
    done = finish(TASK, [click(screenshot=stream.getvalue())])
    assert done.notes == (Note("dropped", "t.1", "screenshot is neither PNG nor JPEG"),)


TEXTS = [
    "it's \"quoted\" \\ back\\slash",
    "two\nlines\r\n\tand a tab\n",
    "😀👨‍👩‍👧 🇩🇪",
    "שלום עולם, مرحبا",
    "\u202eright to left\u202c",
    "日本語 ｆｕｌｌ",
    "Step 2: {\"action\": {}} </answer>",
    "",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_texts_come_back_from_a_shard_as_they_were(tmp_path, text):
    draft = Draft(Action("type", f"type {text}", content=text), abstraction=text)
    task = Task("toy", "a", f"write {text}.", "web")
    done = finish(task, [draft])
    [[step]] = read_trajectories(str(one_shard(tmp_path, done.steps)))
    assert step == done.steps[0]
    assert step.future[0].action.content == text
    assert step.future[0].screenshot_abstraction == text
    assert step.instruction == f"write {text}."


def test_texts_are_composed(tmp_path):
    apart = unicodedata.normalize("NFD", "Café Ångström 한국")
    together = unicodedata.normalize("NFC", apart)
    assert apart != together
    draft = Draft(Action("type", apart, content=apart), abstraction=apart)
    app = Draft(Action("open_app", apart, app_name=apart))
    done = finish(Task("toy", "a", apart, "mobile"), [draft, app])
    records = [json.loads(data) for data in members(one_shard(tmp_path, done.steps)).values()]
    assert {record["instruction"] for record in records} == {together}
    assert {record["action"]["step_instruction"] for record in records} == {together}
    assert records[0]["action"]["content"] == records[0]["screenshot_abstraction"] == together
    assert records[1]["action"]["app_name"] == together
