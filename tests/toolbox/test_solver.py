import itertools
import json
import re

import pytest
from desks import Bench, need_data

EQUATION = """```python
from sympy import symbols, Eq, solve
def solution():
    x = symbols('x')
    return str(solve(Eq(x**2 - 7*x + 6, 0), x))
```"""


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path, ["solver"])


def test_answers_what_solution_returns(bench):
    assert bench.value("solver", command=EQUATION) == "[1, 6]"


def test_takes_code_with_and_without_a_fence(bench):
    assert bench.value("solver", command="def solution():\n    return 2 + 2") == "4"
    assert bench.value("solver", command="Here:\n```\ndef solution():\n    return 'ok'\n```\nDone.") == "ok"
    assert bench.value("solver", command="```python\ndef solution():\n    return 'unclosed'") == "unclosed"


def test_a_fence_within_the_code_is_left_alone(bench):
    code = 'def solution():\n    return len("```")\nx = """\n```python\nprint(\n```\n"""'
    assert bench.value("solver", command=code) == "3"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def solution():\n    x = 1\n    return x / 0", "ZeroDivisionError: division by zero (line 3)"),
        ("def solution(:", "SyntaxError: invalid syntax (line 1)"),
        ("def solution():\n    print('8')", "return its answer"),
        ("def solution():\n    raise SystemExit(3)", "SystemExit: 3 (line 2)"),
        ("def solution():\n    import os\n    os._exit(0)", "left the interpreter"),
        ("def solution():\n    import os\n    os.kill(os.getpid(), 9)", "left the interpreter"),
        ("def solution():\n    raise MemoryError", "out of memory"),
    ],
)
def test_an_error_of_the_program_names_its_line(bench, code, said):
    kind, message = bench.refusal("solver", command=code)
    assert kind == "failed"
    assert said in message


@pytest.mark.parametrize("code", ["x = 1", "solution = 3", "", "def solution(a):\n    return a"])
def test_code_without_solution_is_told_what_is_missing(bench, code):
    assert "solution()" in bench.refusal("solver", command=code)[1]


def test_what_a_program_changes_is_gone_afterwards(bench):
    spoils = "import json\njson.dumps = None\nimport sympy\nsympy.solve = None\ndef solution():\n    return 'spoilt'"
    assert bench.value("solver", command=spoils) == "spoilt"
    assert bench.value("solver", command=EQUATION) == "[1, 6]"


def test_agrees_with_the_stored_calls_of_gta(bench):
    records = json.loads(need_data("gta", "gta_first150_restructured.json").read_text())
    same = []
    for record in records.values():
        turns = record["dialogs"]
        for turn, reply in itertools.pairwise(turns):
            for call in turn.get("tool_calls") or []:
                if call["function"]["name"] == "Solver":
                    same.append(bench.value("solver", command=code_in(call["function"])) == reply["content"]["content"])
    assert same == [True] * 9


def code_in(call: dict) -> str:
    """The code of a stored call, whose JSON does not parse because the dump made ' into "."""
    code = re.fullmatch(r'\{"command": "(.*)"\}', call["arguments_raw"], re.DOTALL).group(1)
    return code.replace("\\n", "\n").replace("\\t", "\t")
