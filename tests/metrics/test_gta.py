"""GTA's figures, worked out by hand: the official ones with their odd denominators, and T3's."""

import json
import math

import pytest

from tracer1.errors import DataError
from tracer1.metrics.answer_rules import Verdict
from tracer1.metrics.gta import CATEGORIES, IMAGE_TOOLS, NAMES, GtaTask, Selection, episode_figures, step_figures
from tracer1.metrics.gta_t3 import (
    T3_TOOL_OF,
    T3_TOOLS,
    Emitted,
    ToolEpisode,
    code_exec_step,
    code_exec_task,
    t3_ans_acc,
    tool_acc_step,
    tool_acc_task,
)
from tracer1.metrics.share import Share, share_of

USER = {"role": "user", "content": "How many?"}
SEEN = {"role": "tool", "name": "OCR", "content": {"type": "text", "content": "2"}}
TWO = {"whitelist": [["2", "two"]], "blacklist": None}
SENTENCES = ["A cat.", "It is a cat.", "There is a cat."]


def call(name: str, *, error: bool = False, **arguments: object) -> dict:
    function = {"name": name, "arguments": arguments}
    failed = {"error": {"type": "API_ERROR", "msg": "no such file"}} if error else {}
    return {"role": "assistant", "tool_calls": [{"type": "function", "function": function}], **failed}


def answer(text: object) -> dict:
    return {"role": "assistant", "content": text}


def half(one: str, other: str) -> float:
    """A similarity: 1 for equal texts, 0.5 for texts of the same first letter, else -1."""
    return 1.0 if one == other else 0.5 if one[:1] == other[:1] else -1.0


READ = [USER, call("OCR", image="a.jpg"), SEEN, call("Calculator", expression="1+1"), SEEN, answer("2")]
DRAW = [USER, call("DrawBox", image="a.jpg", bbox="(1, 2, 3, 4)"), SEEN, answer("Here it is.")]
TELL = [USER, call("ImageDescription", image="a.jpg"), SEEN, answer("A cat.")]


# --- step by step ----------------------------------------------------------------------------------------------------


def test_step_by_step_by_hand():
    tasks = [
        GtaTask(
            READ, TWO, [call("OCR", image="a.jpg"), call("Calculator", expression="1 + 1"), answer("There are two.")]
        ),
        GtaTask(DRAW, None, [answer("done"), answer("done")]),
        GtaTask(TELL, SENTENCES, [call("OCR", image="a.jpg"), answer("A dog.")]),
    ]
    found = step_figures(tasks, half)
    assert found.tool_acc == Share(2, 4)  # four reference calls
    assert found.arg_acc == Share(1, 4)  # arguments are compared to the letter
    assert found.inst_acc == Share(6, 4 + 2)  # all but DrawBox: the last turn of the query for an image is a hit, too
    assert found.summ_acc == Share(1 + 0.5, 2)
    assert (found.calls, found.failed_calls) == (3, 0)


def test_inst_acc_may_pass_one():
    assert step_figures([GtaTask(DRAW, None, [call("AddText"), answer("done")])]).inst_acc.value == 2.0


def test_a_failed_call_is_no_instruction_followed_but_has_a_right_name():
    found = step_figures([GtaTask(TELL, None, [call("ImageDescription", error=True, image="a.jpg"), answer("A cat.")])])
    assert (found.inst_acc, found.tool_acc, found.arg_acc) == (Share(1, 1), Share(1, 1), Share(1, 1))
    assert (found.calls, found.failed_calls) == (1, 1)


def test_an_answer_with_an_error_is_scored_but_not_followed():
    found = step_figures([GtaTask(READ, TWO, [None, None, {**answer("2"), "error": {}}])])
    assert (found.inst_acc, found.summ_acc) == (Share(0, 3), Share(1, 1))


def test_a_call_where_an_answer_is_due_is_wrong_and_counted_as_a_call():
    found = step_figures([GtaTask(READ, TWO, [answer("2"), answer("2"), call("OCR", image="a.jpg")])])
    assert (found.inst_acc, found.tool_acc, found.summ_acc, found.calls) == (Share(0, 3), Share(0, 2), Share(0, 1), 1)


@pytest.mark.parametrize(
    "bad",
    [
        None,
        {},
        {"role": "assistant", "tool_calls": []},
        {"role": "assistant", "tool_calls": None},
        {"role": "assistant", "tool_calls": [{"type": "function"}]},
        {"role": "assistant", "tool_calls": ["OCR"]},
        {"role": "assistant", "content": None},
        {"role": "tool", "name": "OCR", "content": "2"},
    ],
)
def test_a_turn_that_cannot_be_read_is_wrong_never_left_out(bad: dict | None):
    found = step_figures([GtaTask(READ, TWO, [bad] * 3)])
    assert (found.inst_acc, found.tool_acc, found.arg_acc) == (Share(0, 3), Share(0, 2), Share(0, 2))
    assert (found.summ_acc, found.calls) == (Share(0, 1), 0)
    ended = episode_figures([GtaTask(READ, TWO, [bad])])
    assert (ended.ans_acc, ended.calls) == (Share(0, 1), 0)


def test_every_turn_must_have_a_prediction():
    with pytest.raises(DataError, match="GTA task 1: 2 predictions for 3 turns of the assistant"):
        step_figures([GtaTask(TELL, None, [None] * 2), GtaTask(READ, TWO, [None] * 2)])


def test_without_an_embedder_the_figure_is_unknown_only_where_a_sentence_was_answered():
    said = GtaTask(TELL, SENTENCES, [None, answer("A cat.")])
    silent = GtaTask(TELL, SENTENCES, [None, None])
    right = GtaTask(READ, TWO, [None, None, answer("2")])
    assert step_figures([right, silent]).summ_acc == Share(1, 2)
    found = step_figures([right, said]).summ_acc
    assert found == Share(1, 2, unknown=1)
    assert math.isnan(found.value)
    assert str(found) == "1/2, 1 not computed"


# --- end to end ------------------------------------------------------------------------------------------------------


def test_the_last_step_is_the_answer():
    right = [call("OCR", image="a.jpg"), answer("2")]
    cases = [right, [*right, call("OCR", image="a.jpg")], [answer("2"), answer("3")], [answer("")], [], [answer(2)]]
    found = episode_figures([GtaTask(READ, TWO, steps) for steps in cases])
    assert found.ans_acc == found.ans_acc_with_images == Share(1, len(cases))


def test_an_empty_answer_is_none_at_the_end_but_not_step_by_step():
    task = GtaTask(TELL, SENTENCES, [None, answer("")])
    assert episode_figures([task], lambda one, other: 1.0).ans_acc == Share(0, 1)
    assert step_figures([task], lambda one, other: 1.0).summ_acc == Share(1, 1)
    assert episode_figures([GtaTask(READ, {"whitelist": [], "blacklist": None}, [answer("")])]).ans_acc == Share(0, 1)


def test_answers_with_images_by_hand():
    image = [USER, call("AddText", text="x"), call("Plot", command="y"), call("AddText", text="z"), answer("done")]
    plain = [USER, call("OCR", image="a.jpg"), answer("done")]
    args = json.dumps({"text": "z"})
    table = {(json.dumps({"text": "x"}), args): 0.5, (args, args): 1.0, (json.dumps({"command": "y"}), "{}"): 0.5}

    def similarity(reference: str, predicted: str) -> float:
        return table[reference, predicted]  # in this order, and of these texts alone

    made = [call("AddText", text="w"), call("Plot"), call("AddText", text="z"), call("AddText", error=True, text="v")]
    tasks = [
        GtaTask(image, None, made),  # 0.5 * 0.5 * 1: the last AddText that did not fail, for both of the reference's
        GtaTask(image, None, [call("AddText", text="z"), call("Plot", error=True)]),  # a failed Plot is none
        GtaTask(plain, None, []),  # no image tool in the reference: right whatever is done
        GtaTask(READ, TWO, [answer("two")]),
    ]
    found = episode_figures(tasks, similarity)
    assert found.ans_acc == Share(1, 1)
    assert found.ans_acc_with_images == Share(0.25 + 0 + 1 + 1, 4)
    assert (found.calls, found.failed_calls) == (6, 2)


def test_unlike_arguments_are_zero_and_no_less():
    found = episode_figures([GtaTask(DRAW, None, [call("DrawBox")])], lambda one, other: -0.3)
    assert found.ans_acc_with_images == Share(0, 1)


def test_images_without_an_embedder():
    missing, made = GtaTask(DRAW, None, [call("AddText")]), GtaTask(DRAW, None, [call("DrawBox")])
    assert episode_figures([missing]).ans_acc_with_images == Share(0, 1)  # settled: the tool was not called
    found = episode_figures([missing, made])
    assert found.ans_acc_with_images == Share(0, 2, unknown=1)
    assert math.isnan(found.ans_acc.value)  # no query with a gold


def test_selection_by_hand():
    reference = [
        USER,
        call("OCR"),
        call("OCR"),
        call("MathOCR"),
        call("CountGivenObject"),
        call("TextToImage"),
        answer("2"),
    ]
    steps = [call("OCR", error=True), call("Plot"), call("MathOCR"), call("Magic"), call("TextToImage"), answer("2")]
    found = episode_figures([GtaTask(reference, TWO, steps)]).selection
    assert found == {
        "perception": Selection(hits=2, predicted=1, reference=2),
        "operation": Selection(hits=0, predicted=0, reference=0),
        "logic": Selection(hits=1, predicted=2, reference=2),
        "creativity": Selection(hits=1, predicted=1, reference=1),
    }
    assert found["perception"].precision == pytest.approx(2.0, abs=1e-4)  # more than 1
    assert found["perception"].recall == 1.0
    assert found["perception"].f1 == pytest.approx(4 / 3, abs=1e-4)
    assert (found["operation"].precision, found["operation"].recall, found["operation"].f1) == (0.0, 0.0, 0.0)
    assert found["logic"].f1 == pytest.approx(2 * 0.25 / 1.0, abs=1e-4)


def test_a_tool_of_another_query_is_no_hit():
    found = episode_figures([GtaTask(READ, TWO, [answer("2")]), GtaTask(TELL, None, [call("OCR"), answer("2")])])
    assert found.selection["perception"] == Selection(hits=0, predicted=1, reference=2)


def test_the_tools_there_are():
    assert len(NAMES) == len(T3_TOOL_OF) == 14
    assert set(T3_TOOL_OF) == set(NAMES) == {name for names in CATEGORIES.values() for name in names}
    assert set(IMAGE_TOOLS) <= set(NAMES)
    assert (NAMES["MathOCR"], NAMES["CountGivenObject"]) == ("logic", "logic")
    assert len(T3_TOOLS) == 9
    assert set(T3_TOOL_OF.values()) <= T3_TOOLS


# --- what others have published --------------------------------------------------------------------------------------


def whole_benchmark() -> list[tuple[list[dict], object]]:
    """As many queries and calls as GTA has: 156 objective, 16 subjective, 57 for images; 557 calls."""
    golds = [TWO] * 156 + [SENTENCES] * 16 + [None] * 57
    calls = [2 if number < 130 else 3 for number in range(229)]  # 130 * 2 + 99 * 3
    return [
        ([USER, *[call("OCR", image="a.jpg")] * n, answer("2")], gold) for n, gold in zip(calls, golds, strict=True)
    ]


def test_gta_s_denominators():
    tasks = [GtaTask(turns, gold, turns[1:]) for turns, gold in whole_benchmark()]
    stepwise, ended = step_figures(tasks, half), episode_figures(tasks, half)
    assert (stepwise.tool_acc, stepwise.arg_acc) == (Share(557, 557), Share(557, 557))
    assert stepwise.inst_acc == Share(557 + 229, 729)
    assert (stepwise.summ_acc.of, ended.ans_acc.of, ended.ans_acc_with_images.of) == (172, 172, 229)
    assert [share.of for share in t3_ans_acc((None, gold) for _, gold in whole_benchmark())] == [156, 229]


def test_published_figures_are_fractions_of_them():
    assert Share(630, 729).percent == 86.42  # InstAcc of GPT-4o
    assert Share(392, 557).percent == 70.38  # its ToolAcc


@pytest.mark.parametrize(
    ("hits", "percent"),
    [(89, 57.05), (90, 57.69), (22, 14.10), (50, 32.05), (53, 33.97), (66, 42.31), (82, 52.56), (84, 53.85)],
)
def test_t3_s_published_answers_are_fractions_of_156(hits: int, percent: float):
    tasks = whole_benchmark()
    answers = [("2" if number < hits else "no", gold) for number, (_, gold) in enumerate(tasks)]
    counted, over_all = t3_ans_acc(answers)
    assert (counted, counted.percent) == (Share(hits, 156), percent)
    assert over_all == Share(hits, 229)


@pytest.mark.parametrize(("hits", "percent"), [(26, 63.41), (39, 95.12)])
def test_t3_s_other_figures_look_like_fractions_of_41(hits: int, percent: float):
    assert Share(hits, 41).percent == percent


def test_a_share_of_nothing_is_not_zero():
    assert math.isnan(Share(0, 0).value)
    assert str(Share(0.5, 3)) == "0.5/3"
    assert share_of([Verdict(None, False, "no embedder"), Verdict(True, True), Verdict(False, False)]) == Share(1, 2, 1)


# --- T3's ------------------------------------------------------------------------------------------------------------


def test_t3_s_answers_leave_out_what_has_no_aliases():
    answers = [
        ("12", TWO),
        ("3", TWO),
        ("A cat.", SENTENCES),
        ("done", None),
        ("x", {"whitelist": [], "blacklist": []}),
    ]
    assert t3_ans_acc(answers) == (Share(1, 2), Share(1, 5))


def test_tools_of_a_query():
    def chosen(*actions: Emitted, reference: tuple[str, ...] = ("OCR", "Calculator")) -> bool:
        return tool_acc_task([ToolEpisode(actions, reference)]) == Share(1, 1)

    see, python, final = Emitted(["visualizer"]), Emitted(["python_interpreter"]), Emitted(["final_answer"])
    assert chosen(see, python, final)
    assert chosen(Emitted(["visualizer", "python_interpreter"], failed=True))  # chosen, though it failed
    assert chosen(see, python, Emitted(["facedetection"]))  # one more than the reference
    assert chosen(see, python, Emitted(failed=True))  # an action that could not be read chooses nothing
    assert chosen(Emitted(["OCR"]), Emitted(["Calculator"]))  # GTA's own names
    assert chosen(final, reference=())
    assert not chosen(see, final)
    assert not chosen(see, python, Emitted(["vizualizer"]))  # there is no such tool
    assert not chosen()
    extra = ToolEpisode([see, python, Emitted(["my_tool"])], ["OCR"])
    assert tool_acc_task([extra], known={*T3_TOOLS, "my_tool"}) == Share(1, 1)


def test_tools_step_by_step_by_t3_s_names():
    steps = [call("visualizer", question="what?"), call("Solver"), answer("2")]
    task = GtaTask(READ, TWO, steps)
    assert tool_acc_step([task]) == Share(2, 2)  # Solver and Calculator are both Python
    assert step_figures([task]).tool_acc == Share(0, 2)
    assert tool_acc_step([GtaTask(READ, TWO, [answer("2"), call("OCR"), call("OCR")])]) == Share(0, 2)
    with pytest.raises(DataError, match="GTA task 0: 1 predictions for 3 turns"):
        tool_acc_step([GtaTask(READ, TWO, [None])])


def test_code_that_ran():
    ran, failed = Emitted(["python_interpreter"]), Emitted(failed=True)
    episodes = [ToolEpisode(actions, ["OCR"]) for actions in ([ran, ran, ran], [ran, failed], [])]
    assert code_exec_step(episodes) == Share(4, 5)
    assert code_exec_task(episodes) == Share(1, 3)  # without any action nothing was executed
