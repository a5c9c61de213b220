import pytest
from desks import Bench

from tracer1.sandbox import Ran


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path, ["python_interpreter"])


def test_answers_what_was_printed(bench):
    assert bench.value("python_interpreter", code="print('a')\nprint(1 + 1)\n") == "a\n2"


def test_takes_the_code_out_of_a_fence(bench):
    assert bench.value("python_interpreter", code="```py\nprint(3)\n```") == "3"


def test_a_fence_within_the_code_is_left_alone(bench):
    code = 's = """\n```python\n1 / 0\n```"""\nprint(len(s))'
    assert bench.value("python_interpreter", code=code) == "20"


def test_silence_is_answered_with_a_hint(bench):
    assert "print" in bench.value("python_interpreter", code="x = 1")


def test_names_persist_within_an_episode(bench):
    with bench.toolbox.desk(bench.folder) as desk:
        bench.toolbox.call(desk, "python_interpreter", {"code": "x = 20"})
        assert bench.toolbox.call(desk, "python_interpreter", {"code": "print(x + 1)"}).value == "21"
    assert bench.refusal("python_interpreter", code="print(x)") == ("failed", "NameError: name 'x' is not defined")


def test_an_error_comes_with_what_was_printed_before(bench):
    kind, message = bench.refusal("python_interpreter", code="print('so far')\n1 / 0")
    assert (kind, message) == ("failed", "ZeroDivisionError: division by zero\nPrinted before: so far")


@pytest.mark.parametrize(
    ("ran", "kind", "message"),
    [
        (Ran(error="It ran longer than 10 s.", kind="timeout"), "timeout", "It ran longer than 10 s."),
        (Ran(kind="killed"), "failed", "killed"),
        (Ran(error="MemoryError", kind="memory"), "failed", "MemoryError"),
    ],
)
def test_how_a_run_ended_is_told_by_kind(bench, ran, kind, message, monkeypatch):
    monkeypatch.setattr("desks.LocalSession.run", lambda self, code, limits=None: ran)
    assert bench.refusal("python_interpreter", code="...") == (kind, message)
