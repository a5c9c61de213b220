"""The T3 executor: what may be predicted, the state it runs in, recorded answers, and what is nobody's fault. In-process sandbox."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from t3_steps import HereSandbox, answer, python, rewarded, rollout, trajectory

from tracer1.errors import ConfigError, UnknownName
from tracer1.executors import EXECUTORS
from tracer1.executors.t3 import T3Executor
from tracer1.parsing import parse_plan
from tracer1.schema import Action, Outcome, Plan, Response, Rollout, Step

LOOK = Action("visualizer", "look", arguments={"question": "What colour is the barn?", "image_path": "d/barn.png"},
              code="seen = visualizer('What colour is the barn?', 'd/barn.png')\nprint('Seen:', seen)")  # fmt: skip
BARN = trajectory(
    (LOOK, "Seen: The barn is red."),
    python("words = seen.split()\nprint(len(words))", "4"),
    answer("red"),
    images=["d/barn.png"],
    missing_media=["d/barn.png"],
)
SUM = trajectory(python("a = 2\nprint(a)", "2"), python("b = a + 1\nprint(b)", "3"), answer("3"))


def make(**settings) -> T3Executor:
    return T3Executor(**{"sandbox": HereSandbox(), "replay": {"miss": "nearest"}, "concurrency": 1, **settings})


def run(step: Step, action: Action | None = None, executor: T3Executor | None = None, **fields) -> Outcome:
    [outcome] = (executor or make()).execute([rollout(step, action, **fields)])
    return outcome


def test_it_is_found_by_name():
    assert EXECUTORS.get("t3") is T3Executor


# --- what may be predicted -------------------------------------------------------------------------------------------


def test_code_runs_in_the_state_of_the_steps_before():
    outcome = run(SUM[1], action_type="python_interpreter", code="print(a * 10)")
    assert (outcome.answer, outcome.action.action_type, outcome.error) == ("20\n", "python_interpreter", "")
    assert run(SUM[2], action_type="python_interpreter", code="print(a, b)").answer == "2 3\n"
    assert "NameError" in run(SUM[0], action_type="python_interpreter", code="print(a)").error


def test_all_earlier_steps_run_however_short_the_history():
    assert len(SUM[2].history) == 1
    assert [done["code"] for done in SUM[2].meta["before"]] == ["a = 2\nprint(a)", "b = a + 1\nprint(b)"]


def test_a_tool_is_called_by_its_arguments():
    outcome = run(SUM[1], action_type="calculator", arguments={"expression": "2 + 1"})
    assert outcome == Outcome(Action("calculator", arguments={"expression": "2 + 1"}), answer="3", value=outcome.value)
    assert rewarded(SUM[1], outcome) == 1.0


def test_code_is_also_taken_as_an_argument_and_out_of_a_fence():
    assert run(SUM[1], action_type="python_interpreter", arguments={"code": "print(a)"}).answer == "2\n"
    assert run(SUM[1], action_type="python_interpreter", code="```py\nprint(a)\n```").answer == "2\n"


def test_where_there_is_code_it_is_what_runs():
    outcome = run(
        SUM[1], action_type="calculator", arguments={"expression": "1"}, code="print(calculator('a' and '2+1'))"
    )
    assert (outcome.answer, outcome.action.arguments) == ("3\n", {"expression": "2+1"})


@pytest.mark.parametrize(
    ("fields", "given"),
    [
        ({"action_type": "final_answer", "content": "3"}, "3"),
        ({"action_type": "final_answer", "arguments": {"answer": 3}}, "3"),
        ({"action_type": "final_answer", "code": "final_answer(a + b - 2)"}, "3"),
        ({"action_type": "python_interpreter", "code": "print('x')\nfinal_answer([1, 'b'])"}, "[1, 'b']"),
        ({"action_type": "final_answer", "code": "final_answer(3)", "content": "4"}, "3"),
    ],
)
def test_final_answers(fields, given):
    outcome = run(SUM[2], **fields)
    assert (outcome.answer, outcome.action.action_type, outcome.action.content) == (given, "final_answer", given)


@pytest.mark.parametrize(
    ("fields", "kind", "says"),
    [
        ({"action_type": "calculatr", "arguments": {}}, "unknown_tool", "Did you mean 'calculator'?"),
        ({"action_type": "click", "point": (1.0, 1.0)}, "unknown_tool", "Available: "),
        ({"action_type": "calculator", "arguments": {"exprssion": "1"}}, "bad_arguments", "Did you mean 'expression'?"),
        ({"action_type": "calculator"}, "bad_arguments", "'expression' is missing"),
        ({"action_type": "final_answer"}, "bad_arguments", "final_answer lacks content"),
        ({"action_type": "python_interpreter", "code": "1/0"}, "exception", "ZeroDivisionError"),
        ({"action_type": "python_interpreter", "code": "forever()"}, "timeout", "longer"),
        ({"action_type": "python_interpreter", "code": "calculatr('1')"}, "unknown_tool", "Did you mean 'calculator'?"),
        ({"action_type": "python_interpreter", "code": "calculator('1 +')"}, "bad_arguments", "calculator"),
        ({"action_type": "ocr", "arguments": {"image_path": "nothing.png"}}, "no_file", "nothing.png"),
        ({"action_type": "ocr", "arguments": {"image_path": "../x.png"}}, "refused", "leaves"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_an_error_with_a_kind(fields, kind, says):
    outcome = run(SUM[1], **fields)
    assert (outcome.kind, outcome.fault, outcome.answer) == (kind, "", None), outcome
    assert says in outcome.error
    assert rewarded(SUM[1], outcome) == 0.0


def test_an_unreadable_first_step_is_never_skipped():
    text = '<think></think><answer>Step 1: oops\nStep 2: {"action": {"action_type": "final_answer"}}</answer>'
    odd = [
        Rollout(SUM[0], Response(t, (), ()), parse_plan(t)) for t in (text, "hm", "<think></think><answer></answer>")
    ]
    first, none, empty = make().execute(odd)
    assert first.error.startswith("the first step cannot be read: not JSON")
    assert (none.error, empty.error) == ("no <answer> block", "no steps in the answer")
    assert {outcome.kind for outcome in (first, none, empty)} == {"unreadable"}


def test_a_screens_step_is_the_users_mistake():
    with pytest.raises(ConfigError, match=r"executor=t3 runs tool calls, and step 't-a-000' is of the platform 'web'"):
        make().execute([rollout(replace(SUM[0], platform="web"), action_type="click")])


# --- the state before the step ---------------------------------------------------------------------------------------


def test_tools_of_earlier_blocks_answer_what_they_gave():
    outcome = run(BARN[1], action_type="python_interpreter", code="print(seen.upper(), len(words) if 0 else '')")
    assert outcome.answer == "THE BARN IS RED. \n"
    assert rewarded(BARN[1], run(BARN[1], BARN[1].future[0].action)) == 1.0


def test_each_rollout_has_a_state_of_its_own():
    codes = ["a += 5\nprint(a)", "print(a)", "a = 'x'\nprint(a)", "print(a, '')"]
    outcomes = make().execute([rollout(SUM[1], action_type="python_interpreter", code=code) for code in codes])
    assert [outcome.answer for outcome in outcomes] == ["7\n", "2\n", "x\n", "2 \n"]


def test_what_could_not_be_made_again_is_no_verdict_on_code_that_needs_it():
    faces = Action(
        "facedetection", arguments={"image_path": "d/g.png"}, code="faces = facedetection('d/g.png')\nprint(len(faces))"
    )
    steps = trajectory(
        (faces, "3"), python("n = len(faces)\nprint(n)", "3"), images=["d/g.png"], missing_media=["d/g.png"]
    )
    assert (
        "could not be re-created (faces)"
        in run(steps[1], action_type="python_interpreter", code="print(len(faces))").fault
    )
    assert run(steps[1], action_type="python_interpreter", code="print(3)").answer == "3\n"  # that needs nothing
    assert (
        run(steps[1], action_type="python_interpreter", code="faces = [1]\nprint(len(faces))").answer == "1\n"
    )  # sets it itself


def test_a_block_that_prints_something_else_now_is_no_state_to_judge_by():
    steps = trajectory(python("x = 5\nprint(x)", "6"), python("print(x)", "6"))
    assert "(x)" in run(steps[1], action_type="python_interpreter", code="print(x)").fault
    again = trajectory(python("x = 5\nprint(x)", "6"), python("x = 6\nprint(x)", "6"), python("print(x)", "6"))
    assert run(again[2], action_type="python_interpreter", code="print(x)").answer == "6\n"  # set anew since


def test_blocks_that_failed_or_were_spoilt_run_again_up_to_where_they_did():
    failed = python("x = 1\n1/0", "ZeroDivisionError", outcome={"text": "ZeroDivisionError", "failed": True})
    steps = trajectory(failed, python("print(x)", "1", code_before=["y = 2\nz = visualizer('q', 'p')"]))
    assert run(steps[1], action_type="python_interpreter", code="print(x, y)").answer == "1 2\n"
    assert "NameError" in run(steps[1], action_type="python_interpreter", code="print(z)").error


def test_an_earlier_block_that_ends_the_interpreter_takes_everything_with_it():
    steps = trajectory(python("x = 1\nprint(x)", "1"), python("forever()", "done"), python("print(x)", "1"))
    assert "(x)" in run(steps[2], action_type="python_interpreter", code="print(x)").fault


def test_earlier_calls_without_code_make_their_files_again(draw_screen):
    crop = Action("crop_image", arguments={"image_path": "d/s.png", "box": [0, 0, 9, 9]})
    steps = trajectory((crop, "crop_1.png"), answer("x"), images=["d/s.png"], screenshot=draw_screen())
    outcome = run(steps[1], action_type="image_info", arguments={"image_path": "crop_1.png"})
    assert outcome.value["width"] == 9, outcome


def test_the_screenshot_stands_in_for_an_image_that_is_not_found(draw_screen, tmp_path: Path):
    steps = trajectory(answer("x"), images=["d/s.png"], files=["other/s.png"], screenshot=draw_screen())
    for path in ("d/s.png", "other/s.png"):  # attachments lie under other folders than images
        assert run(steps[0], action_type="image_info", arguments={"image_path": path}).value["width"] == 96
    (tmp_path / "s.png").write_bytes(draw_screen(size=(50, 40)))
    outcome = run(
        steps[0], executor=make(files=[str(tmp_path)]), action_type="image_info", arguments={"image_path": "d/s.png"}
    )
    assert outcome.value["width"] == 50  # the file itself, where it is there


# --- recorded answers ------------------------------------------------------------------------------------------------


def test_a_call_that_was_recorded_is_answered_though_model_and_image_are_missing():
    outcome = run(BARN[0], LOOK)
    assert (outcome.answer, outcome.cached) == ("Seen: The barn is red.\n", True)
    assert rewarded(BARN[0], outcome) == 1.0


def test_who_asks_and_prints_something_else_has_not_looked():
    code = "visualizer('What colour is the barn?', 'd/barn.png')\nprint('The barn is red.')"
    assert rewarded(BARN[0], run(BARN[0], action_type="visualizer", code=code)) == 1.0  # it is what he was told
    blue = trajectory((LOOK, "Seen: The barn is blue and has a green door."), images=["d/barn.png"])[0]
    made_up = code.replace("The barn is red.", "The barn is blue and has a green door.")
    other = made_up.replace("What colour", "What hue or colour")
    assert rewarded(blue, run(blue, action_type="visualizer", code=other)) == 1.0
    nothing = made_up.replace("visualizer('What colour is the barn?', 'd/barn.png')\n", "")
    assert rewarded(blue, run(blue, action_type="visualizer", code=nothing)) == 0.0  # nobody was asked


def test_several_calls_of_a_block_count_together():
    code = "for q in ('What colour is the barn?', 'What colour is the barn'):\n    print(visualizer(q, 'd/barn.png'))"
    outcome = run(BARN[0], action_type="visualizer", code=code)
    assert outcome.value == ["The barn is red."] * 2


def test_blank_code_is_no_code():
    assert run(SUM[1], action_type="calculator", arguments={"expression": "2 + 1"}, code=" ").answer == "3"
    assert run(SUM[1], action_type="python_interpreter", code="").kind == "bad_arguments"


def test_the_nearest_question_is_answered_and_another_is_a_miss():
    near = {"question": "What color is the barn", "image_path": "elsewhere/barn.png"}
    assert run(BARN[0], action_type="visualizer", arguments=near).answer == "The barn is red."
    for other in ({**near, "image_path": "d/house.png"}, {**near, "question": "Who lives on the moon?"}):
        outcome = run(BARN[0], action_type="visualizer", arguments=other)
        assert (outcome.kind, outcome.fault) == ("replay_miss", "")
        assert rewarded(BARN[0], outcome) == 0.0
    strict = run(BARN[0], executor=make(replay={"miss": "error"}), action_type="visualizer", arguments=near)
    assert strict.kind == "replay_miss"


def test_without_recordings_and_backend_nobody_can_say_what_a_call_is_worth():
    plain, ask = make(replay=None), Action("ask_search_agent", arguments={"query": "How tall is a barn?"})
    assert "no backend" in run(trajectory((ask, "Ten metres."))[0], ask, plain).fault
    asked = run(SUM[1], executor=plain, action_type="ask_search_agent", arguments={"query": "3?"})
    assert (asked.kind, asked.fault) == (
        "unavailable",
        "",
    )  # the expert asked nobody: whatever it said, it would be wrong


def test_a_miss_is_no_verdict_where_the_experts_own_call_would_miss():
    code = "for n in (1, 2):\n    print(ask_search_agent(f'query {n}'))"
    step = trajectory((Action("ask_search_agent", arguments={"query": {"$expr": "f''"}}, code=code), "a\nb"))[0]
    assert "expert's own call" in run(step, action_type="ask_search_agent", arguments={"query": "x"}).fault


def test_code_that_opens_a_missing_file_is_not_to_blame():
    step = trajectory(python("print(open('d/t.txt').read())", "x"), files=["d/t.txt"])[0]
    assert "d/t.txt is not there" in run(step, step.future[0].action).fault
    outcome = run(step, action_type="python_interpreter", code="open('d/u.txt')")
    assert (outcome.kind, outcome.fault) == ("exception", "")


def test_files_that_only_recordings_know_are_not_there_but_answered():
    draw = Action("image_generator", arguments={"prompt": "a barn"}, code="p = image_generator('a barn')\nprint(p)")
    find = Action("facedetection", arguments={"image_path": ".cache/1.png"}, code="print(facedetection(p))")
    steps = trajectory((draw, ".cache/1.png"), (find, "[[1, 2, 3, 4]]"), answer("1"))
    assert rewarded(steps[1], run(steps[1], find)) == 1.0
    assert rewarded(steps[0], run(steps[0], draw)) == 1.0
    assert "is not there" in run(steps[1], action_type="ocr", arguments={"image_path": ".cache/1.png"}).fault


def test_a_picture_that_does_not_open_is_a_bad_one(monkeypatch: pytest.MonkeyPatch, draw_screen):
    from tracer1.toolbox.inside import images

    step = trajectory(answer("x"), images=["d/s.png"], screenshot=draw_screen())[0]
    call = {"action_type": "crop_image", "arguments": {"image_path": "d/s.png", "box": [0, 0, 9, 9]}}
    assert run(step, **call).error == ""
    monkeypatch.setattr(images, "crop", lambda path, box, out: Path(out).write_bytes(b"no picture") and {"value": box})
    assert run(step, **call).kind == "bad_file"


# --- many at once ----------------------------------------------------------------------------------------------------


def test_equal_calls_of_a_step_are_made_once_and_order_is_kept():
    sandbox = HereSandbox()
    executor = make(sandbox=sandbox, concurrency=3)
    code = {"action_type": "python_interpreter", "code": "print(a)"}
    rollouts = [
        rollout(SUM[1], Action(**code, step_instruction="x")),
        rollout(SUM[1], action_type="final_answer", content="3"),
        rollout(SUM[1], Action(**code, step_instruction="y")),
        rollout(SUM[2], Action(**code)),  # another step's: not the same state
        Rollout(SUM[1], Response("", (), ()), Plan()),
    ]
    outcomes = executor.execute(rollouts)
    assert [outcome.answer for outcome in outcomes] == ["2\n", "3", "2\n", "2\n", None]
    assert [outcome.cached for outcome in outcomes] == [False, False, True, False, False]
    assert sandbox.ran.count("print(a)") == 2
    assert sandbox.opened == sandbox.closed
    assert executor.execute([]) == []


def test_a_fault_of_the_sandbox_is_tried_again_and_then_masked():
    once = make(sandbox=HereSandbox(faults=1))
    assert run(SUM[0], SUM[0].future[0].action, once).answer == "2\n"
    forever = make(sandbox=HereSandbox(faults=9))
    outcome = run(SUM[0], SUM[0].future[0].action, forever)
    assert (outcome.fault, outcome.error) == ("the sandbox fell over", "")


def test_at_the_deadline_what_has_not_finished_is_masked_and_nobody_waits(monkeypatch: pytest.MonkeyPatch):
    from tracer1.executors import t3

    gate = threading.Event()

    class Slow(t3.Episode):
        def run(self, action):
            if action.content == "slow":
                gate.wait(30)
            return super().run(action)

    monkeypatch.setattr(t3, "Episode", Slow)
    executor = make(concurrency=2, deadline_s=1.0)
    contents = ["fast", "slow", "slow ", "slow"]
    begin = time.monotonic()
    outcomes = executor.execute([rollout(SUM[2], action_type="final_answer", content=content) for content in contents])
    gate.set()
    assert time.monotonic() - begin < 10
    assert [outcome.answer for outcome in outcomes] == ["fast", None, "slow ", None]
    assert "executor.deadline_s" in outcomes[1].fault
    assert outcomes[3].fault == outcomes[1].fault


def test_a_bug_of_ours_is_not_hidden_in_an_outcome(monkeypatch: pytest.MonkeyPatch):
    from tracer1.executors import t3

    monkeypatch.setattr(t3.Episode, "run", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(SUM[0], SUM[0].future[0].action)


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"tools": ["calculatr"]}, UnknownName, "Did you mean 'calculator'"),
        ({"limits": {"wall": 1}}, ConfigError, r"executor.limits has no setting 'wall'. Did you mean 'wall_s'\?"),
        ({"limits": {"wall_s": 0}}, ConfigError, "executor.limits.wall_s is 0; it must be a number above 0"),
        ({"limits": {"wall_s": True}}, ConfigError, "it must be a number above 0"),
        ({"backends": {"visoin": None}}, UnknownName, "Did you mean 'vision'"),
        ({"replay": {"miss": "nearst"}}, ConfigError, "Did you mean 'nearest'"),
        ({"replay": {"mis": "error"}}, ConfigError, r"executor.replay has no setting 'mis'. Did you mean 'miss'\?"),
        ({"files": ["/nowhere"]}, ConfigError, "executor.files names /nowhere, which is no folder"),
        ({"concurrency": 0}, ConfigError, "concurrency=0"),
        ({"deadline_s": 0}, ConfigError, "deadline_s=0"),
        ({"sandbox": "bubblewarp"}, ConfigError, "Did you mean 'bubblewrap'"),
        ({"sandbox": {"kind": "auto", "load": []}}, ConfigError, "load"),
    ],
)
def test_settings_that_cannot_work_are_said_at_once(settings, error, message):
    with pytest.raises(error, match=message):
        make(**settings)


def test_only_the_tools_that_are_named_can_be_called():
    executor = make(tools=["calculator", "final_answer", "python_interpreter"])
    assert run(SUM[1], executor=executor, action_type="ocr", arguments={}).kind == "unknown_tool"
    assert run(SUM[1], executor=executor, action_type="python_interpreter", code="ocr('x')").kind == "exception"


def test_results_are_kept_on_disk(tmp_path: Path):
    call = {"action_type": "calculator", "arguments": {"expression": "2 + 1"}}
    assert not run(SUM[0], executor=make(cache=str(tmp_path / "cache")), **call).cached
    again = make(cache=str(tmp_path / "cache"))
    assert run(SUM[0], executor=again, **call).cached
