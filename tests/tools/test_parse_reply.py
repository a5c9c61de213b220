"""`tools/parse_reply.py`: recorded replies in, actions out, mistakes named."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "parse_reply.py"
NOTHING = dict.fromkeys(("action_type", "point", "end_point", "content", "key", "direction", "app_name"))
SIZE = {"image_width": 1920, "image_height": 1080}


def run(*arguments: str, lines: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), *arguments], input=lines, capture_output=True, text=True, check=False
    )


def parsed(executor: str, *texts: str) -> list[dict]:
    done = run("--executor", executor, "-", lines="\n".join(json.dumps({"text": text, **SIZE}) for text in texts))
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_relative_places_and_several_actions():
    text = "Thought: there.\nAction: click(start_box='(495,30)')\n\ntype(content='a\\n')"
    assert parsed("ui_tars_7b", text, "no action at all", "Action: press_home()") == [
        {
            "thought": "there.",
            "actions": [
                {**NOTHING, "action_type": "click", "point": [495.0, 30.0]},
                {**NOTHING, "action_type": "type", "content": "a\n"},
            ],
            "error": None,
        },
        {"thought": "no action at all", "actions": [], "error": "no action in the reply"},
        {"thought": None, "actions": [{**NOTHING, "action_type": "press_home"}], "error": None},
    ]


def test_pixels_of_the_resized_screenshot():  # 1932 x 1092
    drag = "Action: drag(start_point='<point>966 546</point>', end_point='<point>1932 0</point>')"
    (only,) = parsed("ui_tars_1_5_7b", drag)
    assert only["actions"] == [{**NOTHING, "action_type": "drag", "point": [500.0, 500.0], "end_point": [1000.0, 0.0]}]


def test_qwens_tool_calls():
    arguments = {"action": "swipe", "coordinate": [500, 800], "coordinate2": [500, 200]}
    (only,) = parsed(
        "qwen3_vl_32b", f"<tool_call>{json.dumps({'name': 'mobile_use', 'arguments': arguments})}</tool_call>"
    )
    assert only["actions"] == [{**NOTHING, "action_type": "scroll", "point": [500.0, 800.0], "direction": "down"}]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "not a line of UTF-8 JSON"),
        ("[1]", "an object with text, image_width, image_height is needed"),
        ('{"text": "a", "image_width": 5}', "`image_height` is missing"),
        (
            '{"text": "a", "image_width": 5, "image_heigth": 5}',
            "unknown key 'image_heigth'. Did you mean 'image_height'?",
        ),
        ('{"text": 3, "image_width": 5, "image_height": 5}', "`text` must be the reply's text, got 3"),
        ('{"text": "a", "image_width": 0, "image_height": 5}', "`image_width` must be a number of pixels, got 0"),
        ('{"text": "a", "image_width": "5", "image_height": 5}', "`image_width` must be a number of pixels, got '5'"),
        (
            '{"text": "a", "image_width": 5000, "image_height": 5}',
            "no such screenshot: the sides' ratio must be at most 200",
        ),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path: Path, line: str, message: str):
    file = tmp_path / "replies.jsonl"
    file.write_text(json.dumps({"text": "Action: wait()", **SIZE}) + "\n\n" + line + "\n")
    done = run("--executor", "ui_tars_1_5_7b", str(file))
    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr.startswith(f"parse_reply: {file}:3: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_mistakes_of_the_command_line(tmp_path: Path):
    done = run("--executor", "ui_tars", "-")
    assert (done.returncode, "Did you mean 'ui_tars_7b'?" in done.stderr) == (2, True)
    assert run("--executor", "ui_tars_7b", str(tmp_path / "none")).returncode == 2
    assert run("-").returncode == 2
    done = run("--executor", "ui_tars_7b", "-", lines="\udc80".encode("utf-8", "surrogateescape").decode("latin-1"))
    assert done.returncode == 2
