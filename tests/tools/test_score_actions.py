"""`tools/score_actions.py`: lines in, verdicts out, mistakes named."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "score_actions.py"
CLICK = {"action_type": "click", "point": [500, 500]}


def run(*arguments: str, lines: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), *arguments], input=lines, capture_output=True, text=True, check=False
    )


def text(*pairs: tuple[dict, dict | None]) -> str:
    return "".join(json.dumps({"gold": gold, "predicted": predicted}) + "\n" for gold, predicted in pairs)


def verdicts(rule: str, *pairs: tuple[dict, dict | None], settings: tuple[str, ...] = ()) -> list[dict]:
    done = run("--rule", rule, "-", *(("--set", *settings) if settings else ()), lines=text(*pairs))
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def action(hit: bool, click: bool | None, success: bool) -> dict:
    return {"type_match": hit, "click_match": click, "success": success}


def test_one_object_per_line_in_order_and_nothing_else():
    assert verdicts(
        "android_control.os_atlas",
        (CLICK, {"action_type": "tap", "point": [584.0, 612]}),
        (CLICK, None),
        (
            {"action_type": "scroll", "direction": "down", "point": [1, 2]},
            {"action_type": "scroll", "direction": "Down"},
        ),
        (CLICK, {"action_type": "wait", "remark": "an extra key"}),
    ) == [action(True, True, True), action(False, False, False), action(True, None, True), action(False, False, False)]


def test_mind2web_says_other_things():
    gold = {"action_type": "type", "content": "New York", "point": [5, 5], "box": [0, 0, 10, 10.5]}
    hit = {"action_type": "write", "content": "new york", "point": [10, 10]}
    assert verdicts("mind2web.seeclick", (gold, hit), (gold, None), ({**gold, "box": []}, hit)) == [
        {"element_accuracy": True, "operation_f1": 1.0, "success": True},
        {"element_accuracy": False, "operation_f1": 0.0, "success": False},
        {"element_accuracy": None, "operation_f1": None, "success": None},
    ]


def test_what_a_model_gets_wrong_is_wrong_and_no_error():
    bad = [
        {},
        {"action_type": ""},
        {"action_type": 3},
        {"action_type": "click"},
        {"action_type": "click", "point": "here"},
        {"action_type": "click", "point": [1]},
        {"action_type": "click", "point": [float("nan"), 1]},
        {"action_type": "click", "point": [1, None]},
        {"action_type": "scroll", "direction": "sideways"},
        {"action_type": "type", "content": {"a": 1}},
        {"action_type": "no_such_type"},
    ]
    found = verdicts("gui_odyssey.ams", *((CLICK, predicted) for predicted in bad))
    assert [row["success"] for row in found] == [False] * len(bad)
    assert verdicts("gui_odyssey.ams", (CLICK, {"action_type": "click", "point": ["500", "500.5"]}))[0]["success"]


def test_aliases_and_spellings():
    pairs = [
        ({"action_type": "navigate_back"}, {"action_type": "press_back"}),
        ({"action_type": "open", "app_name": "Maps"}, {"action_type": "OPEN_APP", "app_name": "maps"}),
        ({"action_type": "hotkey", "key": "ctrl+c"}, {"action_type": "press", "key": "Ctrl C"}),
        (
            {"action_type": "scroll", "direction": "down"},
            {"action_type": "swipe", "direction": "up"},
        ),  # a finger's path
        ({"action_type": "type", "content": 5}, {"action_type": "input_text", "content": "5"}),
        ({"action_type": "complete"}, {"action_type": "finished", "content": "bye"}),
    ]
    assert all(row["success"] for row in verdicts("android_control.os_atlas", *pairs))


def test_several_boxes_and_the_screen():
    gold = {**CLICK, "boxes": [[0, 0, 10, 10], [900, 900, 950, 950]], "image_size": [1080, 2400]}
    pairs = [(gold, {**CLICK, "point": point}) for point in ([5, 5], [955, 955], [588, 500], [589, 500])]
    assert [row["success"] for row in verdicts("android_control.qwen25", *pairs)] == [True, True, True, False]


def test_elements_for_the_original_rule():
    gold = {**CLICK, "elements": [{"name": 7, "box": [400, 400, 600, 600], "positive": True}, {"name": 8}]}
    pairs = [
        (gold, CLICK),
        (gold, {"action_type": "click", "element": 7}),
        (gold, {"action_type": "click", "element": 8}),
    ]
    assert [row["success"] for row in verdicts("mind2web.original", *pairs)] == [True, True, False]


@pytest.mark.parametrize("order", [0, 1, 2])
def test_settings_may_stand_anywhere(tmp_path: Path, order: int):
    path = tmp_path / "a.jsonl"
    path.write_text(
        text(({"action_type": "type", "content": "hello world"}, {"action_type": "type", "content": "hello there"}))
    )
    rule, settings = ["--rule", "android_control.os_atlas"], ["--set", "compat=true"]
    arguments = [[*rule, *settings, str(path)], [str(path), *settings, *rule], [*settings, str(path), *rule]][order]
    done = run(*arguments)
    assert json.loads(done.stdout) == action(True, None, True), done.stderr


def test_a_setting_that_gives_more():
    pair = (CLICK, {"action_type": "click", "point": [520, 500]})
    assert verdicts("agentnetbench", pair) == [action(True, False, False)]
    (row,) = verdicts("agentnetbench", pair, settings=("graded=true",))
    assert row["score"] == pytest.approx(0.4951, abs=1e-4)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not a line of UTF-8 JSON"),
        ("[1]", "an object with `gold` and `predicted` is needed"),
        ('{"gold": {"action_type": "wait"}}', "`predicted` is missing."),
        ('{"gold": {"action_type": "wait"}, "prediction": null}', "`predicted` is missing. There is 'prediction'."),
        ('{"gold": null, "predicted": null}', "`gold`: an action is needed, got None"),
        ('{"gold": {"point": [1, 2]}, "predicted": null}', "`gold`: an action needs a string `action_type`"),
        (
            '{"gold": {"action_type": "click", "point": [1]}, "predicted": null}',
            "`gold`: `point`: a place is 2 numbers",
        ),
        ('{"gold": {"action_type": "click", "box": [1, 2, 3]}, "predicted": null}', "`gold`: a box is 4 numbers"),
        ('{"gold": {"action_type": "click", "box": 7}, "predicted": null}', "`gold`: a box is 4 numbers"),
        ('{"gold": {"action_type": "click", "point": [NaN, 1]}, "predicted": null}', "2 finite numbers"),
        ('{"gold": {"action_type": "scroll", "direction": "in"}, "predicted": null}', "one of up, down, left, right"),
        ('{"gold": {"action_type": "wait"}, "predicted": "wait"}', "`predicted` is an action or null"),
        (
            '{"gold": {"action_type": "wait", "elements": [3]}, "predicted": null}',
            "an element is an object with `name`",
        ),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, said: str):
    path = tmp_path / "a.jsonl"
    path.write_text(f"{text((CLICK, None))}\n{line}\n")
    done = run("--rule", "gui_odyssey.ams", str(path))
    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == 1  # what was scored before
    assert done.stderr.startswith(f"score_actions: {path}:3: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rule", "gui_odyssey.am", "-"], "No rule 'gui_odyssey.am'. Did you mean 'gui_odyssey.ams'?"),
        (["--rule", "gui_odyssey.ams", "no_such.jsonl"], "No such file or directory: 'no_such.jsonl'"),
        (["--rule", "gui_odyssey.ams", "--set", "k", "-"], "--set 'k' has no '='"),
        (["--rule", "gui_odyssey.ams", "--set", "k=1", "-"], "rule gui_odyssey.ams has no setting 'k'. It has none."),
        (["--rule", "gui_odyssey.ams", "--set", "k=1"], "name a file of JSON lines"),
        (["-"], "--rule"),
    ],
)
def test_a_bad_command_line(arguments: list[str], said: str):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_it_does_not_wait_for_heavy_libraries():
    code = (
        "import sys, tracer1.metrics.action_lines, tracer1.scoring; from tracer1.metrics.rules import RULES;"
        "[RULES.get(n) for n in RULES.names()]; print({'torch', 'torchmetrics', 'numpy', 'hydra'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
