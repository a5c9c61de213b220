"""AgentTrek's rows to trajectories. No real record was at hand: all of these are invented in the documented format."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from raw_agenttrek import TREE, row, rows, write_array

from tracer1.data.converters import CONVERTERS, agenttrek
from tracer1.data.converters._agenttrek_rows import Row
from tracer1.data.shards import read_steps, write_shards
from tracer1.errors import DataError
from tracer1.interfaces import Converted
from tracer1.prompts import to_messages

GOAL = "Find the top track of the last 30 days"
ACTIONS = [
    "click('a46')",
    "fill('47', 'caf\u00e9')\npress('47', 'Enter')",
    "scroll(0, 200)",
    "send_msg_to_user('Blue')",
]


def convert(source: Path) -> list[Converted]:
    converter = CONVERTERS.get("agenttrek")
    return [converted for unit in converter.units(source) for converted in converter.read(unit)]


def of(folder: Path, elements: Sequence) -> list[Converted]:
    return convert(write_array(folder, elements))


def said(converted: Converted) -> list[tuple[str, str]]:
    return [(note.kind, note.reason) for note in converted.notes]


def codes(converted: Converted) -> list[str]:
    return [step.meta["code"] for step in converted.steps]


def test_rows_become_a_trajectory_without_screenshots_or_places(tmp_path: Path):
    [converted] = of(tmp_path, rows(GOAL, ACTIONS))
    assert converted.notes == ()
    click, typing, scroll, end = (step.future[0].action for step in converted.steps)
    assert {step.instruction for step in converted.steps} == {GOAL}
    assert all(step.screenshot is None and step.image_size is None and not step.boxes for step in converted.steps)
    assert all(action.point is None for action in (click, typing, scroll, end))
    assert (click.action_type, click.step_instruction) == ("click", "Click it. (button 'Search')")
    assert (typing.action_type, typing.content) == ("type", "café\n")
    assert typing.step_instruction == 'Click it. (textbox "It\'s a box")'
    assert (scroll.direction, scroll.step_instruction) == ("down", "Click it.")
    assert (end.action_type, end.content) == ("finished", "Blue")
    assert [step.future[0].status for step in converted.steps] == ["not done"] * 3 + ["done"]
    first = converted.steps[0]
    assert (first.platform, first.key) == ("web", "agenttrek-000000-000")
    assert first.future[0].screenshot_abstraction.startswith(
        "RootWebArea 'Record shop', focused; button 'Search', clickable"
    )
    assert first.meta["abstraction_source"] == "axtree"
    assert first.meta["instruction_source"] == "think"
    assert first.meta["target"] == "button 'Search'"
    assert first.meta["source_ref"] == "agenttrek_1207.json#0"
    assert "not stated" in first.meta["licence"]


def test_a_text_only_step_has_a_prompt(tmp_path: Path):
    [converted] = of(tmp_path, rows(GOAL, ACTIONS))
    for style in ("full", "brief"):
        parts = [part for message in to_messages(converted.steps[2], 4, style) for part in message["content"]]
        assert {part["type"] for part in parts} == {"text"}
        assert "Click it. (button 'Search')" in parts[-1]["text"]


def test_the_instruction_falls_back_to_the_code_and_names_a_target_once(tmp_path: Path):
    [bare] = of(tmp_path, rows(GOAL, ["click('a46')"], think=""))
    assert bare.steps[0].future[0].action.step_instruction == "click('a46') (button 'Search')"
    assert bare.steps[0].meta["instruction_source"] == "code"
    [named] = of(tmp_path, rows(GOAL, ["click('a46')"], think="Press the Search button. Then see."))
    assert named.steps[0].future[0].action.step_instruction == "Press the Search button."
    [lost] = of(tmp_path, rows(GOAL, ["click('zz')"]))
    assert lost.steps[0].future[0].action.step_instruction == "Click it."
    assert "target" not in lost.steps[0].meta
    [drag] = of(tmp_path, rows(GOAL, ["drag_and_drop('a46', 'b9')"]))
    assert drag.steps[0].meta["target"] == "button 'Search' to link 'Top tracks [a46]'"


def test_several_calls_share_one_page_and_only_the_first_saw_it(tmp_path: Path):
    [converted] = of(tmp_path, rows(GOAL, ["click('a46')\nclear('47')", "noop()"]))
    assert [step.meta.get("real_observation") for step in converted.steps] == [True, False, False, None]
    assert [step.future[0].screenshot_abstraction != "" for step in converted.steps] == [True, False, False, True]
    assert [step.meta["source_index"] for step in converted.steps] == [0, 0, 0, 1]


def test_what_cannot_be_done_asks_for_a_person(tmp_path: Path):
    [converted] = of(tmp_path, rows(GOAL, ["click('a46')", "report_infeasible('No such shop')"]))
    last = converted.steps[-1]
    assert (last.future[0].action.action_type, last.future[0].action.content) == ("call_user", "No such shop")
    assert last.meta["outcome"] == "failed"


def test_rows_are_found_in_any_order(tmp_path: Path):
    elements = [*rows(GOAL, ACTIONS), *rows("Another goal", ACTIONS), *rows(GOAL, ["goto('http://a')", *ACTIONS])]
    random.Random(3).shuffle(elements)
    found = of(tmp_path, elements)
    assert [note for converted in found for note in converted.notes] == []
    assert sorted((c.task.instruction, len(c.steps)) for c in found) == [("Another goal", 4), (GOAL, 4), (GOAL, 5)]
    assert all(codes(c)[-1] == "send_msg_to_user('Blue')" for c in found)


def test_the_same_task_done_twice_is_two_trajectories(tmp_path: Path):
    first, second = rows(GOAL, ["click('a46')", "click('b9')"]), rows(GOAL, ["click('a46')", "scroll(0, 9)"])
    one, two = of(tmp_path, [*first, *second])
    assert (codes(one), codes(two)) == (["click('a46')", "click('b9')"], ["click('a46')", "scroll(0, 9)"])
    one, two = of(tmp_path, [*first, *first])
    assert (len(one.steps), len(two.steps)) == (2, 2)
    assert (one.task.trajectory, two.task.trajectory) == ("000000", "000002")


def test_a_history_that_is_not_what_was_done_cuts(tmp_path: Path):
    elements = rows(GOAL, ACTIONS)
    elements[2] = row(GOAL, ["click('a46')", "click('b9')"], ACTIONS[2])
    cut, rest, end = of(tmp_path, elements)
    assert said(cut) == [("cut", "history is not what was done before")]
    assert [step.future[0].status for step in cut.steps] == ["not done", "not done"]
    assert said(rest) == said(end) == [("dropped", "earlier steps missing")]


def test_a_trajectory_without_its_beginning_is_dropped(tmp_path: Path):
    [converted] = of(tmp_path, rows(GOAL, ACTIONS)[1:])
    assert said(converted) == [("dropped", "earlier steps missing")]
    assert converted.steps == ()


def test_white_space_tags_and_comments_do_not_break_a_history(tmp_path: Path):
    elements = [
        row(GOAL, [], "# Open the search\nclick('a46')"),
        row(GOAL, ["# Open the  search\n click('a46')\n"], "noop()"),
        row(GOAL, ["<action>\n# Open the search\nclick('a46')\n</action>", "noop()"], "send_msg_to_user('x')"),
    ]
    [converted] = of(tmp_path, elements)
    assert len(converted.steps) == 3


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        ({}, "no instruction"),
        ([], "no instruction"),
        ({"messages": [{"role": "user", "content": None}]}, "no instruction"),
        (row("", [], "noop()"), "no instruction"),
        ({"messages": row(GOAL, [], "noop()")["messages"][:2]}, "no action in the answer"),
        (row(GOAL, [], " "), "no action in the answer"),
        (row(GOAL, [], "click('a46'"), "code does not parse"),
        (row(GOAL, [], "click('a46', button='middle')"), "middle click"),
    ],
)
def test_a_row_that_cannot_be_used_is_dropped_with_its_reason(tmp_path: Path, element, reason: str):
    good, bad = of(tmp_path, [*rows(GOAL, ["noop()"]), element])
    assert good.notes == ()
    assert said(bad) == [("dropped", reason)]


def test_steps_after_the_end_drop_the_trajectory(tmp_path: Path):
    [converted] = of(tmp_path, rows(GOAL, ["send_msg_to_user('x')", "click('a46')"]))
    assert said(converted) == [("dropped", "steps after the end")]


def test_what_a_row_says():
    found = Row.read(row("Two\nlines", ["click('a46')", "fill('47', 'x')\nnoop()"], "noop()", think="A thought."))
    assert found == Row("Two\nlines", TREE, ("click('a46')", "fill('47', 'x')\nnoop()"), "A thought.", "noop()")


def test_units_hold_every_trajectory_once_and_are_the_same_in_every_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(agenttrek, "UNIT_BYTES", 10_000)
    elements = [element for number in range(12) for element in rows(f"{GOAL} {number}", ACTIONS)]
    write_array(tmp_path, elements, ensure_ascii=False, indent=1)
    converter = CONVERTERS.get("agenttrek")
    units = converter.units(tmp_path)
    assert len(units) > 3
    assert len({unit.name for unit in units}) == len(units)
    assert units == converter.units(tmp_path)
    assert json.loads(json.dumps([dict(unit.more) for unit in units])) == [dict(unit.more) for unit in units]
    assert [c.task.instruction for c in convert(tmp_path)] == [f"{GOAL} {number}" for number in range(12)]


def test_a_source_that_is_missing_damaged_or_changed_is_a_data_error(tmp_path: Path):
    converter = CONVERTERS.get("agenttrek")
    with pytest.raises(DataError, match=r"agenttrek_1207.json is missing"):
        converter.units(tmp_path)
    with pytest.raises(DataError, match="nowhere is missing"):
        converter.units(tmp_path / "nowhere")
    path = write_array(tmp_path, rows(GOAL, ACTIONS))
    units = converter.units(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"agenttrek_1207.json: the JSON array is cut off or damaged at byte \d+"):
        converter.units(path)
    with pytest.raises(DataError, match="is not what it was"):
        [list(converter.read(unit)) for unit in units]


def test_the_steps_come_back_from_shards(tmp_path: Path):
    text = "fill('47', 'it\\'s \\\\ \"😀\" \u05e9\u05dc\u05d5\u05dd\\n')"
    [converted] = of(tmp_path, rows(GOAL, [text, "noop()"]))
    assert converted.steps[0].future[0].action.content == 'it\'s \\ "😀" שלום\n'
    [shard] = write_shards([converted.steps], tmp_path / "out", split="train", prefix="agenttrek")
    assert list(read_steps([str(shard)], history=None, horizon=None)) == list(converted.steps)
