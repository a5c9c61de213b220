"""GTA as a benchmark: end to end with tools that run, and step by step after the reference. Hand-written queries in its layout."""

import json
import math
from pathlib import Path

import pytest
from tool_queries import ByTask, NoSandbox, act, answer, call, final, query, rollout, said, write_gta

from tracer1.benchmarks import BENCHMARKS, run_benchmark
from tracer1.benchmarks._playing import play_benchmark
from tracer1.benchmarks.gta import GtaBenchmark
from tracer1.benchmarks.gta_steps import SUMMARIZE, GtaSteps
from tracer1.errors import ConfigError, DataError
from tracer1.executors.direct import DirectExecutor
from tracer1.prompts import full_prompt

SHARED = Path(__file__).parents[3] / "shared" / "data" / "gta"
GOLD = {"whitelist": [["5", "five"]], "blacklist": [["15"]]}
SUM = [call("Calculator", expression="2+3"), said("Calculator", "5"), answer("There are 5.")]
DRAW = [call("DrawBox", image="image/a.png", bbox="(1, 2, 3, 4)"), said("DrawBox", "image/b.png"), answer("Done.")]


def play(source: Path, scripts, folder: Path, **settings):
    settings = {"tools": "gta", "sandbox": NoSandbox(), "parallel": 2, "draws": 20, **settings}
    benchmark = GtaBenchmark(source=str(source), **settings)
    result = play_benchmark(benchmark, lambda: ByTask(scripts), DirectExecutor(), folder, {"policy": "toy"})
    rows = [json.loads(line) for line in (folder / "gta.episodes.jsonl").read_text().splitlines()]
    return result, {row["task"]: row for row in rows}


def value(result, name: str) -> float:
    return round(result.figures[f"val/{result.name}/{name}"].value, 4)


def test_both_are_found_by_name():
    assert BENCHMARKS.get("gta") is GtaBenchmark
    assert BENCHMARKS.get("gta_steps") is GtaSteps


# --- end to end ------------------------------------------------------------------------------------------------------


def test_each_scorer_judges_the_answers_by_its_own_rule(tmp_path):
    source = write_gta(tmp_path, {key: query(GOLD, *SUM) for key in "abc"})
    scripts = {
        "a": [act("calculator", expression="2+3"), final("There are five.")],  # right under both
        "b": [
            act("calculator", expression="2*7.5"),
            final("15"),
        ],  # T3: "5" is a part of it; the owner: no word, and forbidden
        "c": [act("calculator", expression="3+3"), final("6")],
    }
    result, rows = play(source, scripts, tmp_path / "out")
    assert result.headline == "val/gta/gta_t3.answer_accuracy"
    assert value(result, "gta_t3.answer_accuracy") == round(2 / 3, 4)
    assert value(result, "gta_official.answer_accuracy") == round(1 / 3, 4)
    assert value(result, "gta_official.f1_logic") == pytest.approx(1.0, abs=1e-4)
    assert [rows[key]["success"] for key in "abc"] == [True, True, False]
    assert rows["a"]["turns"][0]["tool_calls"][0]["function"] == {
        "name": "Calculator",
        "arguments": {"expression": "2+3"},
    }
    assert rows["a"]["turns"][-1] == {"role": "assistant", "content": "There are five."}
    assert {p.what for p in result.published} == {"", "ToolAcc", "CodeExec"}
    assert result.by_task == {}


def test_queries_for_images_and_sentences_are_counted_where_their_owner_counts_them(tmp_path):
    queries = {"o": query(GOLD, *SUM), "i": query(None, *DRAW), "s": query(["Five of them.", "Five.", "5"], *SUM)}
    scripts = {"o": [final("5")], "i": [final("done")], "s": [final("Five.")]}
    result, _ = play(write_gta(tmp_path, queries), scripts, tmp_path / "out")
    assert value(result, "gta_t3.answer_accuracy") == 1.0  # one of one: T3 leaves the others out
    assert value(result, "gta_t3.answer_accuracy_all") == round(1 / 3, 4)
    assert math.isnan(result.figures["val/gta/gta_official.answer_accuracy"].value)  # no embedder: not known, not 0
    assert any("benchmark.embedder" in note for note in result.notes)
    benchmark = GtaBenchmark(source=str(tmp_path), tools="gta", draws=20)
    benchmark.similarity = lambda one, other: 1.0 if one == other else 0.25
    rows = [json.loads(line) for line in (tmp_path / "out" / "gta.episodes.jsonl").read_text().splitlines()]
    figures = {key: round(figure.value, 4) for key, figure in benchmark.figures(rows).items()}
    assert figures["val/gta/gta_official.answer_accuracy"] == 1.0
    assert figures["val/gta/gta_official.answer_accuracy_with_images"] == round(2 / 3, 4)  # nothing was drawn for "i"


def test_an_image_tools_arguments_are_compared_with_absolute_paths(tmp_path):
    """As the owner's loader makes the reference's."""
    source = write_gta(tmp_path, {"i": query(None, *DRAW)})
    scripts = {"i": [act("DrawBox", image="image/a.png", bbox="x"), final("done")]}  # the box is no box: the call fails
    _, rows = play(source, scripts, tmp_path / "out")
    turn = rows["i"]["turns"][0]
    assert turn["tool_calls"][0]["function"]["arguments"]["image"] == str(tmp_path / "image" / "a.png")
    assert turn["error"]["type"]


def test_tool_accuracy_and_code_exec(tmp_path):
    queries = {key: query(GOLD, *SUM) for key in "abcd"}
    scripts = {
        "a": [act("calculator", expression="2+3"), final("5")],  # chosen well, all ran
        "b": [act("calculator", expression="2+"), final("5")],  # chosen well, one failed
        "c": [final("5")],  # the calculator was not used
        "d": [None, act("teleport"), final("5")],  # unreadable twice, then a tool that there is not
    }
    result, rows = play(write_gta(tmp_path, queries), scripts, tmp_path / "out")
    assert value(result, "gta_t3.tool_accuracy_task") == 0.5
    assert rows["d"]["emitted"] == [
        {"tools": [], "failed": True},
        {"tools": [], "failed": True},  # sampled once more in the same turn
        {"tools": ["teleport"], "failed": True},
        {"tools": ["final_answer"], "failed": False},
    ]
    assert value(result, "gta_t3.code_exec_step") == round(5 / 9, 4)
    assert value(result, "gta_t3.code_exec_task") == 0.5
    assert any("no published script" in note for note in result.notes)


def test_an_episode_without_an_answer_is_wrong(tmp_path):
    source = write_gta(tmp_path, {"a": query(GOLD, *SUM)})
    scripts = {"a": [act("calculator", expression="2+3")] * 3}
    result, rows = play(source, scripts, tmp_path / "out", max_steps=3)
    assert (rows["a"]["end"], rows["a"]["answer"], rows["a"]["score"]) == ("step_limit", None, 0.0)
    assert value(result, "gta_t3.answer_accuracy") == value(result, "gta_official.answer_accuracy") == 0.0


def test_a_query_whose_image_is_missing_is_refused_by_name_and_no_zero(tmp_path):
    queries = {"a": query(GOLD, *SUM), "b": query(GOLD, *SUM, image="image/b.png")}
    result, rows = play(write_gta(tmp_path, queries), {"a": [final("5")]}, tmp_path / "out")
    assert value(result, "gta_t3.answer_accuracy") == 1.0
    assert list(rows) == ["a"]
    assert result.about["refused"] == {"b": f"the file {tmp_path}/image/b.png is not there"}
    assert any("refused, not scored: b" in note for note in result.notes)


def test_a_query_without_gold_has_no_answer_accuracy(tmp_path):
    unknown = query(None, *SUM)
    del unknown["gt_answer"]
    source = write_gta(tmp_path, {"a": query(GOLD, *SUM), "b": unknown})
    scripts = {key: [act("calculator", expression="2+3"), final("5")] for key in "ab"}
    result, rows = play(source, scripts, tmp_path / "out")
    assert value(result, "gta_t3.answer_accuracy_all") == 1.0
    assert value(result, "gta_t3.tool_accuracy_task") == 1.0
    assert (rows["b"]["kind"], rows["b"]["counted"], rows["b"]["fault"]) == ("unknown", False, "")
    assert any(note.startswith("1 queries have no gold") for note in result.notes)


def test_a_query_without_a_reference_has_no_tool_accuracy(tmp_path):
    result, _ = play(write_gta(tmp_path, {"a": query(GOLD)}), {"a": [final("5")]}, tmp_path / "out")
    assert value(result, "gta_t3.answer_accuracy") == 1.0
    assert math.isnan(result.figures["val/gta/gta_t3.tool_accuracy_task"].value)


def test_with_t3s_tools_gtas_stand_for_them_and_its_own_figures_of_tools_are_left_out(tmp_path):
    source = write_gta(tmp_path, {"a": query(GOLD, call("OCR", image="image/a.png"), said("OCR", "5"), answer("5"))})
    scripts = {"a": [act("visualizer", question="How many?", image_path="image/a.png"), final("5")]}
    result, rows = play(source, scripts, tmp_path / "out", tools="t3")
    assert value(result, "gta_t3.tool_accuracy_task") == 1.0  # called, though there is no model behind it
    assert value(result, "gta_t3.code_exec_step") == 0.5
    assert rows["a"]["turns"][0]["error"]["type"] == "unavailable"
    assert not any("f1_" in name or "with_images" in name for name in result.figures)


# --- step by step ----------------------------------------------------------------------------------------------------


def asked(benchmark: GtaSteps):
    return [step for batch in benchmark.batches(2) for step in batch]


def scored(benchmark: GtaSteps, actions, folder: Path):
    steps = asked(benchmark)
    rollouts = [rollout(step, action) for step, action in zip(steps, actions, strict=True)]
    return run_benchmark(benchmark, [(steps, rollouts)], folder, {"policy": "toy"})


def test_every_turn_is_asked_after_the_references_own(tmp_path):
    read = [call("OCR", image="image/a.png"), said("OCR", "(1, 2, 3, 4) two three")]
    benchmark = GtaSteps(source=str(write_gta(tmp_path, {"a": query(GOLD, *read, *SUM)})))
    first, second, last = asked(benchmark)
    assert benchmark.total == 3
    assert (first.history, first.meta["observation"], first.index) == ((), "", 0)
    assert first.meta["files"] == ["image/a.png"]
    assert [line.partition("(")[0] for line in first.meta["tools"]] == ["OCR", "Calculator"]  # the query's own
    assert first.screenshot == (tmp_path / "image" / "a.png").read_bytes()
    assert second.meta["observation"] == "(1, 2, 3, 4) two three"
    assert (second.history[0].action.action_type, second.history[0].action.step_instruction) == ("OCR", "I call OCR.")
    assert last.instruction == f"How many?\n{SUMMARIZE}"
    assert SUMMARIZE not in second.instruction
    assert last.history[1].screenshot_abstraction == "(1, 2, 3, 4) two three"
    assert "Step 2: Calculator: I call Calculator." in full_prompt(last, 4)[1]["content"][-1]["text"]


def test_the_four_official_figures_and_t3s(tmp_path):
    look = [call("OCR", image="image/a.png"), said("OCR", "2 3")]
    source = write_gta(tmp_path, {"a": query(GOLD, *look, *SUM), "b": query(None, *DRAW)})
    actions = [
        act("ocr", image="image/a.png"),  # name and arguments: the path is made absolute, as the reference's is
        act("calculator", expression="3+2"),  # the name alone
        final("five"),
        final("nothing to draw"),  # an answer where a call is due
        final("Done."),  # its query has no gold: a hit of InstAcc, in no denominator
    ]
    benchmark = GtaSteps(source=str(source), draws=20)
    result = scored(benchmark, actions, tmp_path / "out")
    assert value(result, "gta_official.inst_accuracy") == 1.0  # 4 hits of 3 calls and 1 gold: the owner's quirk
    assert value(result, "gta_official.tool_accuracy") == round(2 / 3, 4)
    assert value(result, "gta_official.arg_accuracy") == round(1 / 3, 4)
    assert value(result, "gta_official.summary_accuracy") == 1.0
    assert value(result, "gta_t3.tool_accuracy_step") == round(2 / 3, 4)
    rows = [json.loads(line) for line in (tmp_path / "out" / "gta_steps.steps.jsonl").read_text().splitlines()]
    assert [row["index"] for row in rows] == [0, 1, 2, 0, 1]
    assert rows[0]["gold"] == {**rows[0]["gold"], "role": "assistant"}
    json.loads((tmp_path / "out" / "gta_steps.json").read_text())


def test_calls_that_do_not_fit_have_an_error_and_unreadable_plans_are_wrong(tmp_path):
    source = write_gta(tmp_path, {"a": query(GOLD, *SUM), "b": query(GOLD, *SUM), "c": query(GOLD, *SUM)})
    actions = [act("calculator", sum="2+3"), final("5"), act("ocr", image="image/a.png"), final("5"), None, final("5")]
    benchmark = GtaSteps(source=str(source), draws=20)
    result = scored(benchmark, actions, tmp_path / "out")
    assert value(result, "gta_official.inst_accuracy") == 0.5  # the three answers
    assert value(result, "gta_official.tool_accuracy") == round(1 / 3, 4)  # one that failed counts by its name
    assert result.about["counts"] == {
        "unreadable": 1, "too_long": 0, "failed_calls": 2, "queries": 3, "refused": 0, "without_gold": 0
    }  # fmt: skip


def test_a_step_without_a_rollout_is_wrong(tmp_path):
    benchmark = GtaSteps(source=str(write_gta(tmp_path, {"a": query(GOLD, *SUM)})), draws=20)
    benchmark.add(asked(benchmark), [])
    result = benchmark.result()
    assert value(result, "gta_official.inst_accuracy") == 0.0
    assert result.about["counts"]["too_long"] == 2


def test_missing_images_are_refused_unless_none_is_shown(tmp_path):
    queries = {"a": query(GOLD, *SUM), "b": query(GOLD, *SUM, image="image/b.png"), "c": query(GOLD)}
    source = str(write_gta(tmp_path, queries))
    benchmark = GtaSteps(source=source)
    assert {step.trajectory for step in asked(benchmark)} == {"a"}
    assert benchmark.refused == {
        "b": f"the file {tmp_path}/image/b.png is not there",
        "c": "its dialog has no turn of the assistant",
    }
    assert any("refused, not scored: b" in note for note in benchmark.result().notes)
    blind = GtaSteps(source=source, images=False)
    assert {step.trajectory: step.screenshot for step in asked(blind)} == {"a": None, "b": None}


def test_nothing_to_ask_says_why(tmp_path):
    source = str(write_gta(tmp_path, {"b": query(GOLD, *SUM, image="image/b.png")}))
    with pytest.raises(DataError, match=r"no query can be asked; 1 are refused, e\.g\. b: the file"):
        GtaSteps(source=source)
    for made in (GtaSteps, GtaBenchmark):
        with pytest.raises(ConfigError, match=r"benchmark\.source is missing"):
            made(source=None)
        with pytest.raises(DataError, match="No such file"):
            made(source=str(tmp_path / "none.json"))


def test_the_reference_scores_itself_on_the_real_queries():
    path = SHARED / "gta_first150_restructured.json"
    if not path.is_file():
        pytest.skip(f"needs {path}, which is not part of the repository")
    benchmark = GtaSteps(source=str(path), images=False, draws=20)
    rollouts, steps = [], asked(benchmark)
    for step in steps:
        turn = [t for t in benchmark.queries[step.trajectory].dialogs if t["role"] == "assistant"][step.index]
        function = turn["tool_calls"][0]["function"] if "tool_calls" in turn else None
        text = str(turn.get("content") or "-")
        arguments = None if function is None else function.get("arguments") or {}
        rollouts.append(rollout(step, final(text) if function is None else act(function["name"].lower(), **arguments)))
    benchmark.add(steps, rollouts)
    result = benchmark.result()
    assert value(result, "gta_official.tool_accuracy") == 1.0
    assert value(result, "gta_official.arg_accuracy") > 0.9  # some calls of this dump hold only raw text
    assert result.about["counts"]["without_gold"] == len(benchmark.queries)
