import json

import pytest
from desks import Bench, need_data
from test_solver import code_in

PIE = """import matplotlib.pyplot as plt
def solution():
    figure = plt.figure(figsize=(4, 3))
    plt.pie([8, 12, 3], labels=['a', 'b', 'c'])
    return figure"""
HEAD = "import matplotlib.pyplot as plt\ndef solution():\n    figure = plt.figure()\n    "


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path, ["plot"])


def test_saves_the_figure_in_the_workspace(bench):
    result = bench.call("plot", command=PIE)
    assert result.value == "plot_1.png"
    assert result.files == ("plot_1.png",)
    assert bench.image("plot_1.png").size == (400, 300)


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (HEAD + "return plt", "failed", "returned matplotlib.pyplot, not a figure"),
        (HEAD + "return None", "failed", "returned NoneType, not a figure"),
        (HEAD + "figure.set_size_inches(1e4, 1e4)\n    return figure", "refused", "1000000 x 1000000 pixels"),
        (HEAD + "plt.title(r'$\\frac{$')\n    return figure", "failed", "cannot be drawn"),
        (HEAD + "return undefined", "failed", "NameError: name 'undefined' is not defined (line 4)"),
    ],
)
def test_what_is_no_figure_leaves_no_file(bench, code, kind, said):
    got, message = bench.refusal("plot", command=code)
    assert (got, said in message) == (kind, True), message
    assert list(bench.folder.iterdir()) == []


def test_runs_the_stored_calls_of_gta_but_for_the_damaged(bench):
    records = json.loads(need_data("gta", "gta_first150_restructured.json").read_text())
    failed, count = {}, 0
    for key, record in records.items():
        for turn in record["dialogs"]:
            for call in turn.get("tool_calls") or []:
                if call["function"]["name"] == "Plot":
                    count += 1
                    result = bench.call("plot", command=code_in(call["function"]))
                    if not result.ok:
                        failed[key] = result.error.split(":")[0]
    assert count == 12
    # The dump lost blanks and line ends: `   plt.legend()`, ` return figure`, two statements in a line, an indented import.
    assert failed == {"12": "IndentationError", "14": "IndentationError", "75": "SyntaxError", "76": "IndentationError"}
