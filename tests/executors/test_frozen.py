"""A frozen model executes the plan's first step: every rollout comes back executed, judged or masked, whatever the server does."""

import base64
import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from PIL import Image

from tracer1.chat.cache import ReplyCache
from tracer1.errors import ConfigError, ExecutorError, UnknownName
from tracer1.executors import EXECUTORS
from tracer1.executors._configs import frozen_names, make_frozen
from tracer1.executors.qwen3_vl import Qwen3VlExecutor
from tracer1.executors.recorded import RecordedExecutor
from tracer1.executors.ui_tars import UiTarsExecutor
from tracer1.parsing import parse_plan
from tracer1.schema import Action, Outcome, Plan, PlanStep, Response, Rollout, Step
from tracer1.training.bench.chat_server import FAULTS, ChatServer
from tracer1.training.bench.executions import Load, account, answer, make_rollouts

QUICK = {"backoff_s": 0.01, "timeout_s": 1.0, "patience_s": 2.0, "round_s": 30.0}
CLICK = "Thought: there.\nAction: click(start_box='(100,200)')"
BOX, END = "start_box='<|box_start|>(x1,y1)<|box_end|>'", "end_box='<|box_start|>(x3,y3)<|box_end|>'"
BOX_1_5, END_1_5 = BOX.replace(",", ", "), END.replace(",", ", ")
POINT, POINTS = "point='<point>x1 y1</point>'", "start_point='<point>x1 y1</point>', end_point='<point>x2 y2</point>'"
SIDE = "direction='down or up or right or left'"
PIXELS = {"min": 78400, "max": 12845056}


@pytest.fixture
def server() -> Iterator[ChatServer]:
    server = ChatServer(lambda body: CLICK)
    server.url = server.start()
    yield server
    server.stop()


@pytest.fixture
def ui_tars(server: ChatServer) -> Iterator[Callable[..., UiTarsExecutor]]:
    made = []

    def make(patience: dict | None = None, **settings) -> UiTarsExecutor:
        made.append(UiTarsExecutor(server={"endpoints": [server.url], **QUICK, **(patience or {})}, **settings))
        return made[-1]

    yield make
    for executor in made:
        executor.asker.close()


@pytest.fixture
def step(make_step) -> Step:
    return make_step("Buy a hat.", platform="desktop")


def planned(step: Step, instruction: str = "Click the hat.") -> Rollout:
    return Rollout(step, Response("", (), ()), Plan((PlanStep(Action("click", instruction, point=(1, 1))),)))


def prompt_of(server: ChatServer) -> str:
    (body,) = server.asked
    contents = [message["content"] for message in body["messages"]]
    return "\n".join(c if isinstance(c, str) else c[0].get("text", "") for c in contents)


def test_they_are_found_by_name():
    assert [EXECUTORS.get(name) for name in ("ui_tars", "qwen3_vl", "recorded")] == [
        UiTarsExecutor, Qwen3VlExecutor, RecordedExecutor,
    ]  # fmt: skip


def test_the_reply_is_the_action_with_the_planners_instruction(server: ChatServer, ui_tars, step: Step):
    (outcome,) = ui_tars().execute([planned(step)])
    assert outcome.action == Action("click", "Click the hat.", point=(100, 200))
    assert outcome.value == {"reply": CLICK, "more": []}
    assert (outcome.error, outcome.fault, outcome.cached) == ("", "", False)
    assert "Click the hat." in prompt_of(server)
    assert "Buy a hat." not in prompt_of(server)
    (body,) = server.asked
    url = body["messages"][1]["content"][0]["image_url"]["url"]
    assert (
        base64.b64decode(url.partition(",")[2]) == step.screenshot
    )  # as it is: what the server resizes is what we reckon with


def test_the_goal_may_be_told_too(server: ChatServer, ui_tars, step: Step):
    ui_tars(goal=True).execute([planned(step)])
    assert "Buy a hat.\nNext step: Click the hat." in prompt_of(server)


def test_the_first_of_several_actions_counts_and_the_rest_is_kept(server: ChatServer, ui_tars, step: Step):
    server.answer = lambda body: CLICK + "\n\ntype(content='hat')"
    (outcome,) = ui_tars().execute([planned(step)])
    assert outcome.action.point == (100, 200)
    assert outcome.value["more"] == [{"action_type": "type", "content": "hat"}]


def test_a_step_without_a_place_is_what_the_model_makes_of_it(server: ChatServer, ui_tars, step: Step):
    server.answer = lambda body: "Action: hotkey(key='ctrl s')"
    assert ui_tars().execute([planned(step)])[0].action == Action("hotkey", "Click the hat.", key="ctrl s")


def test_pixels_of_the_screenshot_that_was_sent(server: ChatServer, ui_tars, make_step, draw_screen):
    server.answer = lambda body: "Action: click(start_box='(966,273)')"  # of 1932 x 1092
    step = make_step(
        screenshot=draw_screen((1920, 1080)), image_size=(10, 10)
    )  # the bytes count, not what is said of them
    (outcome,) = ui_tars(syntax="start_box_1_5", pixels=PIXELS).execute([planned(step)])
    assert outcome.action.point == (500, 250)


@pytest.mark.parametrize("size", [(4000, 10), (3, 5)])
def test_a_strange_screenshot_is_masked_or_read(server: ChatServer, ui_tars, make_step, draw_screen, size: tuple):
    server.answer = lambda body: "Action: click(start_box='(0,0)')"
    step = make_step(screenshot=draw_screen(size, square=(0, 0)))
    (outcome,) = ui_tars(pixels=PIXELS).execute([planned(step)])
    if max(size) > 200 * min(size):
        assert "sides' ratio" in outcome.fault
    else:
        assert outcome.action.point == (0, 0)
    (outcome,) = ui_tars(pixels=PIXELS).execute([planned(replace(step, screenshot=b"no picture"))])
    assert "cannot be used" in outcome.fault


@pytest.mark.parametrize(
    ("text", "error", "kind"),
    [
        ("", "no steps in the answer", "unreadable_plan"),
        ("Step 1: oops", "the first step cannot be read: not JSON: JSONDecodeError", "unreadable_plan"),
        ('Step 1: {"screenshot_abstraction": "", "action": {"action_type": "click", "point": [1, 2]}, "status": "done"}',
         "the first step has no step_instruction", "no_instruction"),
    ],
)  # fmt: skip
def test_a_bad_plan_is_a_verdict_and_nobody_is_asked(
    server: ChatServer, ui_tars, step: Step, text: str, error: str, kind: str
):
    text = f"<think></think><answer>{text}</answer>"
    rollout = Rollout(step, Response(text, (), ()), parse_plan(text))
    assert ui_tars().execute([rollout]) == [Outcome(error=error, kind=kind)]
    assert not server.asked


def test_bad_plans_do_not_shift_the_others(ui_tars, step: Step):
    blank, blind = planned(step, "  "), planned(replace(step, screenshot=None))
    kinds = [(o.kind, o.action is not None) for o in ui_tars().execute([blank, planned(step), blind, planned(step)])]
    assert kinds == [("no_instruction", False), ("", True), ("no_screenshot", False), ("", True)]
    assert ui_tars().execute([]) == []


@pytest.mark.parametrize(
    ("reply", "kind", "error"),
    [
        ("Action: fly(start_box='(1,2)')", "unknown_action", "no action 'fly'"),
        ("Action: click()", "bad_arguments", "click lacks point"),
        ("Action: click(start_box='(1,2000)')", "bad_arguments", "click: (1, 2000) lies outside of the screenshot"),
    ],
)
def test_a_call_that_cannot_be_executed_is_a_verdict(
    server: ChatServer, ui_tars, step: Step, reply: str, kind: str, error: str
):
    server.answer = lambda body: reply
    (outcome,) = ui_tars().execute([planned(step)])
    assert (outcome.action, outcome.fault, outcome.kind, outcome.error) == (None, "", kind, error)
    assert len(server.asked) == 1


def test_rubbish_is_asked_for_again_and_then_masked(server: ChatServer, ui_tars, step: Step):
    server.trouble = ["rubbish", "empty"]
    assert ui_tars().execute([planned(step)])[0].action is not None
    server.trouble = ["rubbish"] * 4
    (outcome,) = ui_tars().execute([planned(step)])
    assert outcome == Outcome(fault="4 attempts failed; last: no action in the reply: 'asdf'")


def test_a_plan_cannot_spell_control_tokens(server: ChatServer, ui_tars, step: Step):
    ui_tars().execute([planned(step, "Click <|image_pad|> {instruction} %s.")])
    assert "Click < |image_pad|> {instruction} %s." in prompt_of(server)


def test_tool_steps_are_a_mistake_of_the_settings(ui_tars, make_step):
    with pytest.raises(ConfigError, match="executor=t3"):
        ui_tars().execute([planned(make_step(platform="tool"))])


# --- prompts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "platform", "there", "not_there"),
    [
        (
            {},
            "desktop",
            [f"click({BOX})", f"drag({BOX}, {END})", "hotkey(key='')", "finished()", "call_user()"],
            "open_app",
        ),
        ({}, "web", [f"right_single({BOX})", f"scroll({BOX}, {SIDE})"], "select"),
        (
            {},
            "mobile",
            [f"long_press({BOX}, time='')", "open_app(app_name='')", "wait()", f"scroll({BOX}, {END})"],
            "hotkey",
        ),
        (
            {"syntax": "start_box_1_5"},
            "desktop",
            [f"drag({BOX_1_5}, {END_1_5})", "finished(content='xxx')"],
            "call_user",
        ),
        ({"syntax": "start_box_1_5"}, "mobile", [f"scroll({BOX_1_5}, {SIDE})", "press_back()", "drag("], "time="),
        ({"syntax": "point"}, "desktop", [f"click({POINT})", "hotkey(key='ctrl c')", f"drag({POINTS})"], "start_box"),
        ({"syntax": "point"}, "mobile", [f"long_press({POINT})", "press_home()", "wait()"], "hotkey"),
        ({"template": "grounding"}, "mobile", [f"click({BOX})"], "Thought"),
        ({"template": "web"}, "web", [f"select({BOX})", f"type(content='', {BOX})"], "Thought"),
        ({"template": "computer"}, "mobile", ["hotkey("], "open_app"),
    ],
)
def test_ui_tars_is_offered_the_actions_it_knows(
    server, ui_tars, step, settings: dict, platform: str, there: list, not_there: list
):
    ui_tars(**settings).execute([planned(replace(step, platform=platform))])
    actions = prompt_of(server).partition("## Action Space")[2].partition("## ")[0].splitlines()
    for wanted in there:
        assert any(line.startswith(wanted) for line in actions), (wanted, actions)
    assert not_there not in prompt_of(server)
    assert prompt_of(server).rstrip().endswith("## User Instruction\nClick the hat.")


def test_what_ui_tars_is_offered_is_what_its_reader_knows(server, ui_tars, step):
    from tracer1.actions import RELATIVE_1000
    from tracer1.executors._ui_tars_prompt import SYNTAXES, TEMPLATES, messages
    from tracer1.executors._ui_tars_reply import parse

    samples = {
        "x1": "1",
        "y1": "2",
        "x2": "3",
        "y2": "4",
        "x3": "3",
        "y3": "4",
        "''": "'enter'",
        "down or up or right or left": "up",
    }
    for syntax in SYNTAXES:
        for template in TEMPLATES:
            text = messages(step, "", syntax, template)[0].parts[0]
            for line in text.partition("## Action Space")[2].partition("##")[0].split("\n"):
                for name, value in samples.items():
                    line = line.replace(name, value)
                if line.strip():
                    assert not parse(f"Action: {line.partition(' #')[0]}", RELATIVE_1000).error, line


@pytest.mark.parametrize(
    ("platform", "tool"), [("desktop", "computer_use"), ("web", "computer_use"), ("mobile", "mobile_use")]
)
def test_qwen_is_offered_the_tool_of_the_platform(server: ChatServer, step: Step, platform: str, tool: str):
    server.answer = lambda body: (
        '<tool_call>\n{"name": "'
        + tool
        + '", "arguments": {"action": "click", "coordinate": [500, 250]}}\n</tool_call>'
    )
    executor = Qwen3VlExecutor(server={"endpoints": [server.url], **QUICK})
    (outcome,) = executor.execute([planned(replace(step, platform=platform))])
    assert outcome.action == Action("click", "Click the hat.", point=(500, 250))
    (body,) = server.asked
    system, user = body["messages"]
    signature = json.loads(system["content"].partition("<tools>\n")[2].partition("\n</tools>")[0])
    assert signature["function"]["name"] == tool
    assert user["content"][0] == {"type": "text", "text": "Click the hat."}
    executor.asker.close()


# --- the whole round ---------------------------------------------------------------------------------------------------------


def test_a_round_with_faults_executes_every_rollout(server: ChatServer, ui_tars):
    server.shares, server.answer, server.slow_s = dict.fromkeys(FAULTS, 0.0125), answer, 3.0
    rollouts = make_rollouts(Load(prompts=64, pixels=(90, 200)))
    outcomes = ui_tars().execute(rollouts)
    assert account(rollouts, outcomes) == {"executed": 320, "cached": 0}
    assert sum(server.counts.values()) > server.counts["good"] == 320


def test_where_asking_again_is_not_allowed_the_lost_ones_are_masked_and_counted(server: ChatServer, ui_tars):
    server.shares, server.answer, server.slow_s = dict.fromkeys(FAULTS, 0.05), answer, 3.0
    rollouts = make_rollouts(Load(prompts=32, pixels=(90, 200)))
    counts = account(rollouts, ui_tars({"attempts": 1}).execute(rollouts))
    assert counts["executed"] + counts["masked"] == 160
    assert 10 < counts["masked"] < 80
    assert counts["mixed up"] == counts["verdicts"] == 0


def test_a_server_that_hangs_ends_with_the_round(server: ChatServer, ui_tars):
    server.shares, server.slow_s = {"slow": 1.0}, 60.0
    rollouts = make_rollouts(Load(prompts=32, pixels=(90, 200)))
    begin = time.monotonic()
    outcomes = ui_tars({"round_s": 1.0, "timeout_s": 60.0}).execute(rollouts)
    assert time.monotonic() - begin < 4
    assert {outcome.fault for outcome in outcomes} == {"no reply within the 1 s that a round may take"}


def test_a_dead_server_masks_all_and_names_it(server: ChatServer, ui_tars):
    executor = ui_tars({"patience_s": 0.2})
    server.stop()
    outcomes = executor.execute(make_rollouts(Load(prompts=32, pixels=(90, 200))))
    assert all(outcome.fault for outcome in outcomes)
    assert any(f"from {server.url}/v1" in outcome.fault for outcome in outcomes)
    server.start()


def test_rollouts_that_ask_the_same_are_answered_once(server: ChatServer, ui_tars, tmp_path):
    server.answer = answer
    rollouts = make_rollouts(Load(prompts=10, distinct=2, pixels=(90, 200)))
    assert account(rollouts, ui_tars().execute(rollouts)) == {"executed": 50, "cached": 30}
    assert len(server.asked) == 20
    for cached in (30, 50):  # and with a cache on disk nobody is asked the second time
        assert account(rollouts, ui_tars(cache=str(tmp_path)).execute(rollouts))["cached"] == cached
    assert len(server.asked) == 40


# --- a recording -------------------------------------------------------------------------------------------------------------


def test_a_recording_replays_the_round_without_a_server(server: ChatServer, ui_tars, tmp_path):
    server.answer = answer
    rollouts = make_rollouts(Load(prompts=5, pixels=(90, 200)))
    live = ui_tars(cache=str(tmp_path), sampling={"max_tokens": 64}).execute(rollouts)
    asked = len(server.asked)
    of = {"name": "ui_tars", "sampling": {"max_tokens": 64}, "server": {"endpoints": ["http://127.0.0.1:1"]}}
    replayed = RecordedExecutor(of, str(tmp_path)).execute(rollouts)
    assert [outcome.action for outcome in replayed] == [outcome.action for outcome in live]
    assert all(outcome.cached for outcome in replayed)
    assert len(server.asked) == asked
    RecordedExecutor({**of, "model": "toy"}, str(tmp_path))
    with pytest.raises(ConfigError, match="holds no replies of hat, but of toy"):
        RecordedExecutor({**of, "model": "hat"}, str(tmp_path))


def test_what_was_not_recorded_is_masked_or_ends_the_run(server: ChatServer, ui_tars, step: Step, tmp_path):
    ui_tars(cache=str(tmp_path)).execute([planned(step)])
    known, unknown = planned(step), planned(step, "Click another hat.")
    recorded = RecordedExecutor({"name": "ui_tars"}, str(tmp_path))
    assert [bool(outcome.fault) for outcome in recorded.execute([known, unknown])] == [False, True]
    recorded = RecordedExecutor({"name": "ui_tars"}, str(tmp_path), miss="stop")
    with pytest.raises(ExecutorError, match="was not recorded"):
        recorded.execute([known, unknown])


def test_a_recording_that_cannot_be_used_says_so(tmp_path):
    of = {"name": "ui_tars"}
    for settings, message in (
        ({"of": of, "cache": str(tmp_path)}, "no replies.sqlite in"),
        ({"of": {"name": "direct"}, "cache": ""}, "executor.of.name is 'direct'"),
        ({"of": of, "cache": "", "miss": "faults"}, "Did you mean 'fault'"),
    ):
        with pytest.raises(ConfigError, match=message):
            RecordedExecutor(**settings)
    assert not list(tmp_path.iterdir())
    ReplyCache(tmp_path).close()
    with pytest.raises(ConfigError, match="holds replies of nobody"):
        RecordedExecutor(of, str(tmp_path))
    (tmp_path / "replies.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(ConfigError, match="cannot be read"):
        RecordedExecutor(of, str(tmp_path))


# --- settings ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"syntax": "start_boxes"}, "no syntax 'start_boxes'. Did you mean 'start_box'"),
        ({"template": "mobil"}, "Did you mean 'mobile'"),
        ({"pixels": {"min": 5}}, "executor.pixels is"),
        ({"pixels": {"min": 5, "max": 4}}, "executor.pixels is"),
        ({"sampling": {"temprature": 1}}, "no setting 'temprature'. Did you mean 'temperature'"),
        ({"sampling": {"max_tokens": 1.5}}, "executor.sampling.max_tokens is 1.5"),
        ({"server": {"timeout": 3}}, "executor.server: .*Did you mean 'timeout_s'"),
        ({"server": {"endpoints": "http://x"}}, "executor.server: .*a list of URLs"),
        ({"in_process": True}, "in_process=true loads a model"),
    ],
)
def test_settings_that_cannot_work(settings: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        UiTarsExecutor(**settings)


def test_the_shipped_configs_make_executors():
    assert frozen_names() == ["qwen3_vl_32b", "ui_tars_1_5_7b", "ui_tars_7b"]
    for name in frozen_names():
        assert make_frozen(name).asker.cache is None
    assert make_frozen("ui_tars_1_5_7b").frozen.dialect.space(1920, 1080).width == 1932
    with pytest.raises(UnknownName, match="Did you mean 'ui_tars_7b'"):
        make_frozen("ui_tars_7")


def test_the_bench_makes_pictures_that_open():
    rollouts = make_rollouts(Load(prompts=2, group=2))
    assert Image.open(io.BytesIO(rollouts[0].step.screenshot)).size == (1080, 2400)
    assert rollouts[0].step.screenshot is rollouts[1].step.screenshot
    assert rollouts[0].step.screenshot != rollouts[2].step.screenshot
