"""GAIA as a benchmark, on hand-written questions in its owner's layout: levels, the rule's traps, attachments, the hidden split."""

import json
import math
from pathlib import Path

import pytest
from tool_queries import ByTask, NoSandbox, act, final, question, write_gaia

from tracer1.benchmarks import BENCHMARKS
from tracer1.benchmarks._playing import play_benchmark
from tracer1.benchmarks.gaia import GaiaBenchmark
from tracer1.environments._tools.gaia_questions import read_gaia
from tracer1.errors import ConfigError, DataError
from tracer1.executors.direct import DirectExecutor

FOUR = [question("a", 1, "17"), question("b", "1", "Seagull"), question("c", 2, "1,234"), question("d", 3, "x; 2")]


def play(source: Path, scripts, folder: Path, **settings):
    settings = {"tools": ["calculator"], "sandbox": NoSandbox(), "parallel": 2, "draws": 20, **settings}
    benchmark = GaiaBenchmark(source=str(source), predictions=str(folder / "predictions.jsonl"), **settings)
    result = play_benchmark(benchmark, lambda: ByTask(scripts), DirectExecutor(), folder, {"policy": "toy"})
    predictions = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    return result, {line["task_id"]: line for line in predictions}


def test_it_is_found_by_name():
    assert BENCHMARKS.get("gaia") is GaiaBenchmark


def test_answers_are_scored_by_level_with_the_leaderboards_rule(tmp_path):
    scripts = {
        "a": [act("calculator", expression="8+9"), final(" $17 ")],
        "b": [final("sea gull!")],
        "c": [final("1234")],  # its gold has a comma, and so is a list
        "d": [final("X;2.0")],
    }
    result, predictions = play(write_gaia(tmp_path, FOUR), scripts, tmp_path / "out")
    figures = {name: figure.value for name, figure in result.figures.items()}
    assert figures == {
        "val/gaia/gaia.answer_accuracy": 0.75,
        "val/gaia/gaia.answer_accuracy.level1": 1.0,
        "val/gaia/gaia.answer_accuracy.level2": 0.0,
        "val/gaia/gaia.answer_accuracy.level3": 1.0,
    }
    assert result.headline == "val/gaia/gaia.answer_accuracy"
    assert predictions["a"] == {
        "task_id": "a", "model_answer": " $17 ", "reasoning_trace": "calculator\nfinal_answer"
    }  # fmt: skip
    assert list(predictions) == ["a", "b", "c", "d"]
    assert {p.what for p in result.published} == {"", "level 1", "level 2", "level 3"}


def test_no_answer_is_wrong_and_read_as_none_by_the_rule(tmp_path):
    source = write_gaia(tmp_path, [question("a", 1, "none"), question("b", 1, "5")])
    step = act("calculator", expression="1")
    result, predictions = play(source, {"a": [step, step], "b": [step, step]}, tmp_path / "out", max_steps=2)
    assert result.figures[result.headline].value == 0.5  # the owner's quirk: no answer is the text "None"
    assert predictions["b"]["model_answer"] == ""


def test_a_missing_attachment_is_refused_by_name_and_no_zero(tmp_path):
    source = write_gaia(tmp_path, [question("a", 1, "5"), question("b", 1, "5", file="b.xlsx")])
    result, predictions = play(source, {"a": [final("5")]}, tmp_path / "out")
    assert result.figures[result.headline].value == 1.0
    assert "b.xlsx is not there" in result.about["refused"]["b"]
    assert predictions["b"]["model_answer"] == ""  # the leaderboard wants a line for every question


def test_the_hidden_split_has_predictions_and_no_score(tmp_path):
    source = write_gaia(tmp_path, [question("a", 1, "?"), question("b", 2, "")], "test")
    result, predictions = play(source, {"a": [final("5")], "b": [final("6")]}, tmp_path / "out", split="test")
    assert math.isnan(result.figures[result.headline].value)
    assert [predictions[key]["model_answer"] for key in "ab"] == ["5", "6"]
    assert any(note.startswith("2 questions have no answer") for note in result.notes)
    assert json.loads((tmp_path / "out" / "gaia.json").read_text())["figures"][result.headline]["value"] is None
    with pytest.raises(ConfigError, match=r"set benchmark\.predictions"):
        GaiaBenchmark(source=str(source), split="test")


def test_the_release_a_splits_folder_and_the_file_itself_will_do(tmp_path):
    write_gaia(tmp_path, FOUR)
    folder = tmp_path / "2023" / "validation"
    assert (
        read_gaia(tmp_path) == read_gaia(tmp_path / "2023") == read_gaia(folder) == read_gaia(folder / "metadata.jsonl")
    )
    assert [one.level for one in read_gaia(tmp_path)] == [1, 1, 2, 3]  # newer releases write it as a text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"Level": 4}, "metadata.jsonl:2: `Level` is 4; it is 1, 2 or 3"),
        ({"Question": ""}, "metadata.jsonl:2: `Question` must be a text"),
        ({"task_id": "a"}, "metadata.jsonl:2: the task_id 'a' is there twice"),
        ({"file_name": 3}, "metadata.jsonl:2: `file_name` must be a text"),
        ({"file_name": "../../secret"}, "metadata.jsonl:2: `file_name` must name a file beside metadata.jsonl"),
    ],
)
def test_what_is_not_laid_out_so_is_named(tmp_path, fields, said):
    write_gaia(tmp_path, [FOUR[0], {**FOUR[1], **fields}])
    with pytest.raises(DataError) as caught:
        read_gaia(tmp_path)
    assert said in str(caught.value)


def test_mistakes_say_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match=r"benchmark\.source is missing"):
        GaiaBenchmark(source=None)
    with pytest.raises(ConfigError, match=r"GAIA has validation and test\. Did you mean 'test'"):
        read_gaia(tmp_path, "tests")
    with pytest.raises(DataError, match=r"there is no metadata\.jsonl of the split validation\. GAIA is released as"):
        read_gaia(tmp_path)
    write_gaia(tmp_path, FOUR)
    with pytest.raises(ConfigError, match="is not of the split test: set split=validation"):
        read_gaia(tmp_path / "2023" / "validation", "test")
    path = tmp_path / "2023" / "validation" / "metadata.jsonl"
    path.write_text('{"task_id": "a", "question": "?", "Level": 1}\n')
    with pytest.raises(DataError, match=r"`Question` is missing\. Did you mean 'question'"):
        read_gaia(tmp_path)
    path.write_text("{")
    with pytest.raises(DataError, match=r"metadata\.jsonl:1: not a line of UTF-8 JSON"):
        read_gaia(tmp_path)
