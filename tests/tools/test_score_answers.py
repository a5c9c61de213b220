"""`tools/score_answers.py`: lines in, verdicts out, mistakes named."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "score_answers.py"
TWO = {"whitelist": [["2", "two"]], "blacklist": [["3"]]}
RIGHT, WRONG, OUT = (
    {"correct": True, "counted": True},
    {"correct": False, "counted": True},
    {"correct": False, "counted": False},
)


def run(*arguments: str, lines: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), *arguments], input=lines, capture_output=True, text=True, check=False
    )


def text(*pairs: tuple[object, object]) -> str:
    return "".join(json.dumps({"prediction": prediction, "gold": gold}) + "\n" for prediction, gold in pairs)


def verdicts(rule: str, *pairs: tuple[object, object]) -> list[dict]:
    done = run("--rule", rule, "-", lines=text(*pairs))
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_gta_s_own_rule():
    *settled, sentence = verdicts(
        "gta_official", ("it is 2", TWO), ("12", TWO), ("2 or 3", TWO), (None, TWO), ("2", None), ("A cat.", ["A cat."])
    )
    assert settled == [RIGHT, WRONG, WRONG, WRONG, OUT]
    assert (sentence["correct"], sentence["counted"]) == (None, False)  # not computed: never 0
    assert sentence["reason"].startswith("not computed: ")


def test_t3_s_rule():
    pairs = [("it is 2", TWO), ("12", TWO), ("2 or 3", TWO), (None, TWO), ("2", None), ("A cat.", ["A cat."])]
    assert verdicts("gta_t3", *pairs) == [RIGHT, RIGHT, RIGHT, WRONG, OUT, OUT]
    assert verdicts("gta_t3", ("2", {"whitelist": [], "blacklist": None}), ("2", {"whitelist": [["2"]]})) == [
        OUT,
        RIGHT,
    ]


def test_gaia_s_rule():
    pairs = [("17,000", "17000"), ("1234", "1,234"), ("sea gull", "Seagull."), (None, "none"), ("b; a", "a, b")]
    assert verdicts("gaia", *pairs) == [RIGHT, WRONG, RIGHT, RIGHT, WRONG]


def test_a_prediction_may_be_any_value_and_a_gold_a_number():
    pairs = [(17, 17), (17.0, "17"), (True, "true"), ([1, 2], "[1,2]"), ({"a": 1}, "{'a': 1}")]
    assert verdicts("gaia", *pairs) == [RIGHT] * 5
    assert verdicts("gta_t3", (12, TWO), (["two"], TWO), (True, TWO)) == [RIGHT, RIGHT, WRONG]
    assert verdicts("gta_official", (2, TWO), (12, TWO)) == [RIGHT, WRONG]


def test_blank_lines_and_other_keys_are_passed_over(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_text('\n{"prediction": "2", "gold": "2", "task_id": "x"}\n\n')
    done = run("--rule", "gaia", str(path))
    assert [json.loads(line) for line in done.stdout.splitlines()] == [RIGHT]
    assert run("--rule", "gaia", "-").stdout == ""


@pytest.mark.parametrize(
    ("rule", "line", "said"),
    [
        ("gaia", "{", "not a line of UTF-8 JSON"),
        ("gaia", "[" * 100_000, "not a line of UTF-8 JSON"),
        ("gaia", "[1]", "an object with `prediction` and `gold` is needed, got [1]"),
        ("gaia", '{"gold": "2"}', "`prediction` is missing. A line is {prediction: …, gold: …}."),
        ("gaia", '{"gold": "2", "predicted": "2"}', "`prediction` is missing. There is 'predicted'."),
        ("gaia", '{"prediction": "2"}', "`gold` is missing."),
        ("gaia", '{"prediction": "2", "gold": null}', "`gold`: a text is needed, got None"),
        ("gaia", '{"prediction": "2", "gold": true}', "`gold`: a text is needed, got True"),
        ("gaia", '{"prediction": "2", "gold": ["2"]}', "`gold`: a text is needed, got ['2']"),
        ("gta_t3", '{"prediction": "2", "gold": "2"}', "`gold`: an object with `whitelist` and `blacklist`, a list of"),
        ("gta_t3", '{"prediction": "2", "gold": {"white_list": []}}', "`whitelist` is missing; there is 'white_list'"),
        (
            "gta_official",
            '{"prediction": "2", "gold": {"whitelist": ["2"]}}',
            "`whitelist` is a list of lists of aliases",
        ),
        ("gta_official", '{"prediction": "2", "gold": [2]}', "`gold`: a list holds texts, got 2"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, rule: str, line: str, said: str):
    path = tmp_path / "a.jsonl"
    path.write_text(text(("2", "2" if rule == "gaia" else TWO)) + f"\n{line}\n")
    done = run("--rule", rule, str(path))
    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == 1  # what was scored before
    assert done.stderr.startswith(f"score_answers: {path}:3: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_bytes_that_are_no_text(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"prediction": "\xff", "gold": "2"}\n')
    done = run("--rule", "gaia", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{path}:1: not a line of UTF-8 JSON" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rule", "gta_oficial", "-"], "No answer rule 'gta_oficial'. Did you mean 'gta_official'?"),
        (["--rule", "gaia", "no_such.jsonl"], "No such file or directory: 'no_such.jsonl'"),
        (["--rule", "gaia", "."], "Is a directory"),
        (["--rule", "gaia", "--embedder", "x", "-"], "Rule gaia compares no sentences: leave the embedder 'x' out."),
        (["--rule", "gaia"], "file"),
        (["-"], "--rule"),
    ],
)
def test_a_bad_command_line(arguments: list[str], said: str):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_it_does_not_wait_for_heavy_libraries():
    code = (
        "import sys, tracer1.metrics.answer_lines, tracer1.metrics.gta_t3, tracer1.metrics.gaia;"
        "from tracer1.metrics.answer_rules import ANSWER_RULES; [ANSWER_RULES.get(n) for n in ANSWER_RULES.names()];"
        "print({'torch', 'torchmetrics', 'numpy', 'hydra', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
