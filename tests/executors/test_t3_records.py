"""What tools gave, found in what a block printed."""

import pytest

from tracer1.executors._t3_records import RecordedCall, recorded_calls

TOOLS = {"look": ("question", "image_path"), "objectlocation": ("object", "image_path"), "final_answer": ("answer",)}


def results(code: str, output: str) -> list:
    return [call.value if call.known else None for call in recorded_calls(code, output, TOOLS)]


@pytest.mark.parametrize(
    ("code", "output", "values"),
    [
        ("print(look('q', 'p'))", "two cats\non a mat", ["two cats\non a mat"]),
        ("x = look('q', 'p')\nprint(x)", "red", ["red"]),
        ("x = look('q', 'p')\nprint('It is:', x)", "It is: red", ["red"]),
        ("x = look('q', 'p')\nprint(f'It is {x}!')", "It is red!", ["red"]),
        ("x = look('q', 'p')\nprint('A', x, sep='-', end='.')", "A-red.", ["red"]),
        ("x = look('q', 'p')\nprint('A:', x)\nx = look('r', 'p')\nprint('B:', x)", "A: red\nB: blue", ["red", "blue"]),
        ("a = look('q', 'p')\nb = look('r', 'p')\nprint(b)\nprint(a)", "blue\nred", ["red", "blue"]),
        (
            "a = look('q', 'p')\nb = look('r', 'p')\nprint(b)\nprint(a)",
            "blue\nand green\nred",
            [None, None],
        ),  # whose is which?
        ("x = objectlocation('cat', 'p')\nprint(x)", "[[1, 2, 3.5, 4]]", [[[1, 2, 3.5, 4]]]),
        ("x = objectlocation('cat', 'p')\nprint(x)", "none", [None]),
        ("x = objectlocation('cat', 'p')\nprint(len(x))", "3", [None]),
        ("x = look('q', 'p')\nprint('colour', x.upper())", "colour RED", [None]),
        ("x = look('q', 'p')", "", [None]),
        ("x = look('q', 'p')\nprint('no', x)", "yes red", [None]),  # another run's output
        ("x = look('q', 'p')\nx = x.strip()\nprint(x)", "red", [None]),
        ("n = 3\nprint('n is', n)\nprint('x:', look('q', 'p'))", "n is 3\nx: red", ["red"]),
        ("for p in ps:\n    print(look('q', p))", "red\nblue", [None]),
        ("xs = [look('q', p) for p in ps]\nprint(xs)", "['red']", [None]),
        ("x = y", "", []),
        ("x = (", "", []),
    ],
)
def test_results_are_read_off_the_output(code, output, values):
    assert results(code, output) == values


def test_arguments_are_bound_by_name_where_their_values_are_plain():
    code = "p = 'a.png'\nprint('A', look('q', image_path=p))\nprint('B', look(question=f(), image_path=p))"
    assert recorded_calls(code, "A red\nB blue", TOOLS) == [
        RecordedCall("look", {"question": "q", "image_path": "a.png"}, "red", True),
        RecordedCall("look", None, "blue", True),
    ]
    assert recorded_calls("look('q', 'p', 'too many')", "", TOOLS) == [RecordedCall("look", None)]


def test_a_name_that_is_set_again_is_not_what_it_was():
    code = "p = 'a.png'\nfor p in ps:\n    pass\nlook('q', p)"
    assert recorded_calls(code, "", TOOLS) == [RecordedCall("look", None)]


def test_many_gaps_take_no_time():
    code = "\n".join(f"x{n} = look('q', 'p')\nprint('a', x{n})" for n in range(200))
    assert len(recorded_calls(code, "a " * 20_000 + "b", TOOLS)) == 200
