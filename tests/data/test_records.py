"""Records: a step's JSON, its schema, and the way back."""

import json
from dataclasses import replace

import pytest
from toy_steps import expert_step, trajectory

from tracer1.actions import ACTION_TYPES
from tracer1.data.records import Stored, make_key, reread, schema_problem, step_schema, to_record, to_steps
from tracer1.schema import Action, PlanStep


def test_the_schema_and_the_action_table_name_the_same_gui_actions():
    gui = {name for name, row in ACTION_TYPES.items() if row.platforms != ("tool",)}
    assert set(step_schema()["$defs"]["gui_action_type"]["enum"]) == gui


def test_a_tool_step_may_name_any_tool():
    [step] = trajectory("a", 1, image=None)
    call = PlanStep(Action("ocr", arguments={"image": "1.png", "lines": [1, 2]}, code="ocr('1.png')"))
    step = replace(step, platform="tool", future=(call,))
    record = json.loads(json.dumps(to_record(step, "train", 1)))
    assert schema_problem(record) is None
    assert schema_problem(record | {"platform": "web"}) is not None


def test_keys_are_safe_member_names():
    assert make_key("gui", "Ab.c/d e\\f", 7) == "gui-Ab_c_d_e_f-007"
    assert make_key("gui", "日本", 1234) == "gui-日本-1234"
    long = [
        replace(s, trajectory="x" * 200, key=make_key("toy", "x" * 200, t)) for t, s in enumerate(trajectory("a", 2))
    ]
    assert [schema_problem(json.loads(json.dumps(to_record(step, "train", 2)))) for step in long] == [None, None]


def test_the_schema_is_itself_valid():
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(step_schema())


def test_records_become_steps_without_a_shard():
    given = trajectory("a", 3)
    stored = [Stored(json.loads(json.dumps(to_record(step, "train", 3))), step.screenshot) for step in given]
    assert to_steps(stored) == given
    assert to_steps(stored)[0].future[0] == expert_step(0, 3)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((), None),
        (("platform",), "tool"),
        (("platform",), "toaster"),
        (("action", "action_type"), "search"),
        (("action", "action_type"), "final_answer"),
        (("action", "action_type"), 3),
        (("action", "point"), [1, 1001]),
        (("action", "point"), [1, 2, 3]),
        (("action",), {}),
        (("action",), None),
        (("boxes",), [[1, 2, 3]]),
        (("boxes",), [[1, 2, 3, 4.5]]),
        (("image_size",), None),
        (("image_size",), [0, 1]),
        (("instruction",), " "),
        (("more",), 1),
    ],
)
def test_the_quick_look_at_a_record_agrees_with_the_schema(path, value):
    from jsonschema import Draft202012Validator

    record = json.loads(json.dumps(to_record(trajectory("a", 1)[0], "train", 1)))
    place = record
    for name in path[:-1]:
        place = place[name]
    if path:
        place[path[-1]] = value
    assert (schema_problem(record) is None) == Draft202012Validator(step_schema()).is_valid(record)


@pytest.mark.parametrize("name", ["key", "platform", "action", "meta", "status"])
def test_the_quick_look_misses_no_missing_field(name):

    record = json.loads(json.dumps(to_record(trajectory("a", 1)[0], "train", 1)))
    del record[name]
    _, what = schema_problem(record)
    assert f"'{name}' is a required property" in what


def test_a_tools_step_brings_along_what_ran_before_it_and_shards_do_not_hold_it():
    outcome = {"text": "3", "failed": False}
    steps = [replace(s, platform="tool", meta={"outcome": outcome, "code_before": ["x"]}) for s in trajectory("a", 3)]
    calls = tuple(PlanStep(Action("ocr", arguments={"n": t}, code=f"ocr({t})"), number=t + 1) for t in range(3))
    steps = [replace(step, history=calls[:t], future=calls[t:]) for t, step in enumerate(steps)]
    again = reread(steps, history=1)
    assert [len(step.history) for step in again] == [0, 1, 1]
    assert [[done["code"] for done in step.meta["before"]] for step in again] == [[], ["ocr(0)"], ["ocr(0)", "ocr(1)"]]
    assert again[1].meta["before"][0] == {
        **{"action_type": "ocr", "arguments": {"n": 0}, "code": "ocr(0)", "content": None},
        **{"outcome": outcome, "code_before": ["x"]},
    }
    assert "before" not in to_record(again[2], "train", 3)["meta"]
    assert "before" not in reread(trajectory("a", 2))[1].meta  # a screen needs none
