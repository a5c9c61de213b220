"""tools/score_plans.py as it is used: a process, files, stdin, exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tracer1 import rewards
from tracer1.errors import ConfigError, DataError, RewardError
from tracer1.parsing import format_plan
from tracer1.rewards import REWARDS
from tracer1.schema import DONE, Action, PlanStep
from tracer1.scoring import read_rollout, reward_from_file, reward_from_settings, score_lines

TOOL = Path(__file__).parents[2] / "tools" / "score_plans.py"
STEPS = [PlanStep(Action("click", point=(150, 150))), PlanStep(Action("type", content="a <answer>"), DONE)]
WIRE = [
    {"action": {"action_type": "tap", "point": [160, 160]}, "status": "not done"},
    {"action": {"action_type": "type", "content": "a </answer>"}, "status": "done"},
]
GOOD = {"response": format_plan(STEPS), "reference": WIRE}


def run(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, TOOL, *arguments], input=text, capture_output=True, text=True, timeout=60, cwd="/"
    )


def score(line: dict, name: str = "trajectory_alignment", *settings: str) -> dict[str, float]:
    (scored,) = score_lines([json.dumps(line).encode()], reward_from_settings(name, settings))
    return scored


# --- the tool ----------------------------------------------------------------------------------------------------------


def test_a_file_is_scored_line_by_line_from_any_folder(tmp_path: Path):
    file = tmp_path / "responses.jsonl"
    file.write_text(json.dumps(GOOD) + "\n\n" + json.dumps({**GOOD, "response": "hm"}) + "\n")
    done = run("--reward", "trajectory_alignment", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"total": 1.0, "trajectory_alignment": 1.0},
        {"total": 0.0, "trajectory_alignment": 0.0},
    ]


def test_settings_stand_before_the_file_or_stdin():
    short = json.dumps({"response": format_plan(STEPS[:1]), "reference": WIRE})
    # one of two steps, no `done`: (1 - 0.15) / (1 + gamma + bonus)
    done = run("--reward", "trajectory_alignment", "--set", "gamma=0.5", "done_bonus=0", "-", text=short)
    assert json.loads(done.stdout)["total"] == pytest.approx(0.85 / 1.5)
    done = run("-", "--reward", "trajectory_alignment", "--set", "gamma=0.5", text=short)
    assert json.loads(done.stdout)["total"] == pytest.approx(0.85 / 1.7)


def test_a_composed_reward_prints_its_terms(tmp_path: Path):
    config = tmp_path / "stage.yaml"
    config.write_text(
        "terms:\n  coordinate_match: {weight: 0.9}\n  format: {weight: 0.1, require_step_instruction: true}\n"
    )
    done = run("--config", str(config), "-", text=json.dumps({**GOOD, "boxes": [[100, 100, 200, 200]]}))
    # the direct executor hits the box; no step has an instruction
    assert json.loads(done.stdout) == {"total": 0.9, "coordinate_match": 1.0, "format": 0.0}


def test_a_bad_line_is_one_line_on_stderr_and_code_2(tmp_path: Path):
    file = tmp_path / "responses.jsonl"
    file.write_text(json.dumps(GOOD) + "\n{oops\n")
    done = run("--reward", "format", str(file))
    assert done.returncode == 2
    assert json.loads(done.stdout) == {"total": 1.0, "format": 1.0}
    assert done.stderr.startswith(f"score_plans: {file}:2: not a line of UTF-8 JSON")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reward", "trajectory", "-"], "No reward 'trajectory'. Did you mean 'trajectory_alignment'?"),
        (["--reward", "format", "/no/such/file"], "No such file or directory: '/no/such/file'"),
        (["--config", "/no/such/file", "-"], "/no/such/file cannot be read as YAML"),
        (["--reward", "trajectory_alignment", "--set", "gama=1", "-"], "Did you mean 'gamma'?"),
        (["--reward", "format"], "name a file of JSON lines, or - for stdin"),
        (["--config", "x.yaml", "--set", "gamma=1", "-"], "--set needs --reward"),
    ],
)
def test_mistakes_end_with_code_2_and_no_traceback(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_the_rewards_and_the_keys():
    text = " ".join(run("--help").stdout.split())
    shipped = [file.stem for file in Path(rewards.__file__).parent.glob("[!_]*.py")]  # other tests register their own
    words = ["response", "reference", "boxes", "starts_in_think", "--set", "--config"]
    assert "repetition" in shipped
    assert not [word for word in [*shipped, *words] if word not in text]


# --- its logic ---------------------------------------------------------------------------------------------------------


def test_references_may_be_text_with_or_without_tags_or_a_list():
    bare = format_plan(STEPS).partition("<answer>")[2].removesuffix("</answer>")
    bare = bare.replace("a \\u003canswer>", "a")
    assert [score({**GOOD, "reference": r})["total"] for r in (format_plan(STEPS), bare, WIRE)] == [1.0, 1.0, 1.0]


def test_a_response_may_start_inside_the_think_block():
    line = {**GOOD, "response": GOOD["response"].removeprefix("<think>")}
    assert score(line, "format")["total"] == 0.0
    assert score({**line, "starts_in_think": True}, "format")["total"] == 1.0


def test_the_direct_executor_acts_for_coordinate_match():
    assert score(GOOD, "coordinate_match")["total"] == 1.0  # (150, 150) is 14 from (160, 160)
    assert score(GOOD, "coordinate_match", "distance=14")["total"] == 0.0
    assert score({**GOOD, "boxes": [[155, 155, 165, 165]]}, "coordinate_match")["total"] == 0.0
    assert score({**GOOD, "response": ""}, "coordinate_match")["total"] == 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"response": 3}, "`response` must be the response's text, got 3"),
        ({"reference": None}, r"`reference` must be `Step k: \.\.\.` text or a list of steps, got None"),
        ({"reference": []}, "`reference` holds no step"),
        ({"reference": "click it"}, "`reference` holds no step"),
        (
            {"reference": [WIRE[0], {"action": "click"}]},
            "step 2 of `reference` is not a valid step: .*no `action` object",
        ),
        ({"reference": ["click"]}, "step 1 of `reference` is not a valid step: not JSON"),
        (
            {"reference": [{**WIRE[0], "action": {"action_type": "click", "point": [1, 2000]}}]},
            r"a point lies within 0\.\.1000",
        ),
        ({"boxes": [1, 2, 3, 4]}, r"`boxes` must be a list of \[x1, y1, x2, y2\] in 0\.\.1000, got 1"),
        ({"boxes": [[0, 0, 1080, 2400]]}, r"in 0\.\.1000, got \[0, 0, 1080, 2400\]"),
        ({"boxes": [[9, 0, 1, 2]]}, "`boxes` must be"),
        ({"boxes": {"x": 1}}, "`boxes` must be"),
        ({"starts_in_think": 1}, "`starts_in_think` must be true or false, got 1"),
        ({"referense": ""}, r"unknown key 'referense'\. Did you mean 'reference'\?"),
    ],
)
def test_bad_lines_say_where_and_what(change, message):
    with pytest.raises(DataError, match=r"^f\.jsonl:7: .*" + message):
        read_rollout(json.dumps({**GOOD, **change}).encode(), "f.jsonl:7")


@pytest.mark.parametrize("line", [b"[1]", b"7", b"\xff", b"{", b"[" * 100_000])
def test_lines_that_are_no_objects(line):
    with pytest.raises(DataError, match=r"^f:1: "):
        read_rollout(line, "f:1")


def test_image_sizes_are_ignored_and_a_key_names_the_step():
    rollout = read_rollout(
        json.dumps({**GOOD, "image_width": 9, "image_height": 9, "key": "toy-a-000"}).encode(), "f:1"
    )
    assert rollout.step.key == "toy-a-000"


def test_settings_are_json_or_text():
    with pytest.raises(ConfigError, match="--set 'gamma' has no '='"):
        reward_from_settings("trajectory_alignment", ["gamma"])
    with pytest.raises(ConfigError, match="gamma is 'high'; it must be a finite number"):
        reward_from_settings("trajectory_alignment", ["gamma=high"])
    reward_from_settings("trajectory_alignment", ["ignore_reference_repetition=true"])


@pytest.mark.parametrize("text", ["terms: [", "other: 1", "- a", "", "terms: ${nowhere}", "terms:"])
def test_configs_that_hold_no_terms(text, tmp_path: Path):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.yaml|terms is empty"):
        reward_from_file(tmp_path / "bad.yaml")


def test_a_broken_reward_says_on_which_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(REWARDS._table, "toy", lambda rollout: float("nan"))
    with pytest.raises(RewardError, match=r"^-:1: Reward 'toy' on step '-:1' gave nan"):
        score(GOOD, "toy")
