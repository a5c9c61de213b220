"""The converter of MM-Traj: code to steps, what is left out, what ends a trajectory, media, and what the prompt shows."""

import json
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from raw_mind2web import page
from raw_mm_traj import ATTACHED, IMAGE, LIMIT, NO_CODE, counting, error, observation, record, say

from tracer1.alignment import trajectory_accuracy, types_of
from tracer1.data.converters import CONVERTERS
from tracer1.data.converters._t3_code import TOOLS, CodeReader
from tracer1.data.converters._t3_turns import short_instruction
from tracer1.data.records import reread
from tracer1.data.shards import read_trajectories, write_shards
from tracer1.errors import DataError
from tracer1.parsing import format_plan, parse_plan
from tracer1.prompts import STYLES, to_messages

DATA = Path(__file__).parents[4] / "shared" / "data" / "mm_traj"
MM_TRAJ = CONVERTERS.get("mm_traj")


def convert(folder: Path, *records) -> list:
    (folder / "agent_tune_dataset.json").write_text(json.dumps(records), encoding="utf-8")
    return [done for unit in MM_TRAJ.units(folder) for done in MM_TRAJ.read(unit)]


def one(folder: Path, *turns: str, **fields):
    [done] = convert(folder, record("r", list(turns), **fields))
    return done


def reasons(done) -> list[tuple[str, str, str]]:
    return [(note.kind, note.record, note.reason) for note in done.notes]


def actions(done) -> list:
    return [step.future[0].action for step in done.steps]


@pytest.mark.parametrize("layout", [("from", "value"), ("role", "content")])
def test_a_trajectory_becomes_steps_of_tools_code_and_answer(tmp_path: Path, layout):
    [done] = convert(tmp_path, counting(layout=layout))
    assert [action.action_type for action in actions(done)] == ["visualizer", "python_interpreter", "final_answer"]
    look, add, answer = actions(done)
    assert look.arguments == {"question": "What is there?", "image_path": ATTACHED}
    assert look.code.startswith("path = ")
    assert (add.arguments, add.code) == (None, "total = 2 + 1\nprint(total)")
    assert (answer.content, answer.arguments) == ("3", None)  # the expression's value as the owner recorded it
    assert [a.step_instruction for a in actions(done)] == ["I'll look.", "I can add them up, e.g. 2 and 1.", "Done."]
    assert [step.future[0].status for step in done.steps] == ["not done", "not done", "done"]
    step = done.steps[1]
    assert (step.instruction, step.platform, step.screenshot) == ("How many apples are there?", "tool", None)
    assert (step.meta["files"], step.meta["images"]) == ([ATTACHED], [IMAGE])
    assert step.meta["tools"] == [
        "visualizer(question, image_path)",
        "inspect_file_as_text(file_path, question)",  # as the tool takes them, not as the prompt lists them
        "barcode(image_path, kind)",
        "python_interpreter(code)",
    ]
    assert step.meta["outcome"] == {"text": "3", "failed": False}


def test_a_step_knows_what_was_printed_before_it_and_never_its_own_output(tmp_path: Path):
    [done] = convert(tmp_path, counting())
    seen = [step.future[0].screenshot_abstraction for step in done.steps]
    assert seen == ["", "Two red apples and a green one.", "3"]
    assert [step.meta["abstraction_source"] for step in done.steps] == ["none", *["output of the step before"] * 2]
    for style in STYLES:
        first, second = (json.dumps(to_messages(step, 3, style)) for step in done.steps[:2])
        assert "red apples" not in first
        assert "Two red apples" in second
        assert done.steps[1].meta["outcome"]["text"] not in second.partition("Last output")[2].partition("Plan")[0]


def test_long_outputs_are_shortened_for_the_prompt_and_the_history(tmp_path: Path):
    text = "".join(f"line {n}\n" for n in range(5000))
    done = one(tmp_path, say("print(1)"), observation(0, text), say("final_answer(1)"))
    assert len(done.steps[1].future[0].screenshot_abstraction) == 200
    assert len(done.steps[1].meta["observation"]) < 2010
    assert done.steps[1].meta["observation"].endswith("line 4999")
    assert len(done.steps[0].meta["outcome"]["text"]) < 20_010


def test_the_prompt_names_the_tools_and_a_perfect_plan_aligns_by_them(tmp_path: Path):
    [done] = convert(tmp_path, counting())
    system = to_messages(done.steps[0], 3)[0]["content"][0]["text"]
    for line in ("- visualizer(question, image_path)", "- python_interpreter(code)", "- final_answer(content)"):
        assert system.count(line) == 1
    assert "screenshot and predict" not in system
    assert f"Files: {ATTACHED}" in to_messages(done.steps[0], 3)[1]["content"][-1]["text"]
    future = done.steps[0].future
    plan = parse_plan(format_plan(future, 1))
    assert [step.action for step in plan.steps] == [step.action for step in future]
    types, statuses = types_of(plan.steps), [step.status for step in plan.steps]
    assert trajectory_accuracy(types, statuses, types_of(future)) == 1.0
    assert trajectory_accuracy(("ocr", *types[1:]), statuses, types_of(future)) < 1.0


# --- code ------------------------------------------------------------------------------------------------------------


def calls(*blocks: str) -> list:
    reader = CodeReader(TOOLS)
    return [(call.name, dict(call.arguments)) for block in blocks for call in reader.calls(block)]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("final_answer(visualizer('q', 'p'))", [("visualizer", {"question": "q", "image_path": "p"})]),
        ("x = [ocr(p) for p in facedetection('f')]", [("facedetection", {"image_path": "f"})]),
        ("for b in objectlocation('cup', 'p'):\n    image_edit('cut', b)", [("objectlocation", {"object": "cup", "image_path": "p"})]),
        ("a = ocr('1') if facedetection('2') else 0", [("facedetection", {"image_path": "2"})]),
        ("print(len('x'))\nx.visualizer('q')", []),
        ("segmentation('p', prompt=[[1, 2.5, (3)], (None,)])", [("segmentation", {"image_path": "p", "prompt": [[1, 2.5, 3], [None]]})]),
        ("ocr(f'{i}.png')", [("ocr", {"image_path": {"$expr": "f'{i}.png'"}})]),
        ("ocr('a', 'b', *c, **d)", [("ocr", {"image_path": "a", "argument 2": "b", "*": {"$expr": "*c"}, "**": {"$expr": "d"}})]),
        ("ocr('\\ud83d')", [("ocr", {"image_path": {"$expr": "'\\ud83d'"}})]),
        ("ocr(1e999)", [("ocr", {"image_path": {"$expr": "1e999"}})]),
        ("ocr({1, 2})", [("ocr", {"image_path": {"$expr": "{1, 2}"}})]),
        ("visualizer('é 😀 \\'\"', image_path='مرحبا')", [("visualizer", {"question": "é 😀 '\"", "image_path": "مرحبا"})]),
    ],
)  # fmt: skip
def test_the_first_call_in_the_order_of_evaluation(code: str, expected: list):
    assert calls(code)[:1] == expected


def test_names_are_resolved_over_the_blocks_where_their_value_is_sure():
    known = ("ocr", {"image_path": "a"})
    unknown = ("ocr", {"image_path": {"$expr": "p"}})
    assert calls("p = 'a'", "ocr(p)") == [known]
    assert calls("p = q = 'a'\nocr(p)") == [known]
    assert calls("p = 'a'\nfor i in x:\n    ocr(p)") == [known]
    assert calls("p = 'a'\np = ocr(p)", "ocr(p)") == [known, unknown]
    assert calls("p = 'a'\nif x:\n    p = 'b'\nocr(p)") == [unknown]
    assert calls("p = 'a'\nfor p in x:\n    ocr(p)") == [unknown]
    assert calls("p = 'a'\np += 'b'\nocr(p)") == [unknown]
    assert calls("p = 'a'\ndel p\nocr(p)") == [unknown]
    assert calls("p = 'a'\ndef f(p):\n    return ocr(p)") == [unknown]
    reader = CodeReader(TOOLS)
    assert reader.calls("p = 'a'\nocr(p)", failed=True)[0].arguments == {"image_path": "a"}
    assert reader.calls("ocr(p)")[0].arguments == {"image_path": {"$expr": "p"}}
    assert calls("p = ['a']\np.append('b')\nocr(p)") == [unknown]


def test_several_calls_in_a_block_are_one_step_named_by_the_first(tmp_path: Path):
    block = 'a = ask_search_agent("x")\nb = ask_search_agent(query="y")\nfinal_answer(a + b)'
    done = one(tmp_path, say(block))
    [action] = actions(done)
    assert (action.action_type, action.arguments, action.content) == ("ask_search_agent", {"query": "x"}, "3")
    assert done.steps[0].meta["calls"] == ["ask_search_agent", "ask_search_agent", "final_answer"]
    assert done.steps[0].future[0].status == "done"


def test_a_tool_that_only_the_records_prompt_knows(tmp_path: Path):
    done = one(tmp_path, say("print(barcode('p.png', 'ean'))"), observation(0, "1"), say("final_answer(1)"))
    assert actions(done)[0].arguments == {"image_path": "p.png", "kind": "ean"}


def test_half_a_surrogate_pair_is_replaced(tmp_path: Path):
    done = one(tmp_path, say("final_answer('\ud83d')", "I'll say \udc00."), answer="\ud83d")
    [shard] = write_shards([done.steps], tmp_path / "out", split="train", prefix="mm_traj")
    [[again]] = read_trajectories(str(shard))
    assert again.future[0].action.content == "\ufffd"


@pytest.mark.parametrize(
    ("thought", "expected"),
    [
        ("The image is clear. I will count the apples, i.e. all of them. Then I'll stop.", "I will count the apples, i.e. all of them."),
        ("It has 3.5 apples. Nothing more.", "It has 3.5 apples."),
        ("Results:\n- one\n- two\n**Thought:** Let me add them.", "Let me add them."),
        ("", ""),
    ],
)  # fmt: skip
def test_the_instruction_is_the_sentence_that_says_what_comes_next(thought: str, expected: str):
    assert short_instruction(thought) == expected


# --- what is left out, and endings -----------------------------------------------------------------------------------


def test_turns_without_code_and_faults_of_a_tools_server_are_left_out(tmp_path: Path):
    done = one(
        tmp_path,
        say(None, "It is surely 3."),
        error(0, NO_CODE),
        say("path = 'a.png'\nprint(visualizer('q', path))"),
        error(1, LIMIT),
        say("print(ask_search_agent('q'))"),
        observation(2, "Error code: 429 is what the page explains"),
        say("print(ocr(path))"),
        error(3, "Code execution failed due to the following error:\nname 'ocr' is not defined"),
        say("final_answer(3)"),
    )
    assert [a.action_type for a in actions(done)] == [
        "ask_search_agent",
        "ocr",
        "final_answer",
    ]  # its own error is a step
    assert reasons(done) == [("repaired", "r/0", "turn without code"), ("repaired", "r/0", "tool server failed")]
    assert done.steps[0].future[0].screenshot_abstraction == ""
    assert done.steps[0].meta["code_before"] == ["path = 'a.png'\nprint(visualizer('q', path))"]
    assert actions(done)[1].arguments == {"image_path": {"$expr": "path"}}  # who knows what of the spoilt block ran
    assert done.steps[1].meta["outcome"]["failed"]
    assert done.steps[2].future[0].screenshot_abstraction.startswith("error: Code execution failed")
    assert "retry" not in done.steps[2].meta["observation"]
    assert done.steps[2].future[0].status == "done"


def test_code_that_is_no_python_is_left_out_where_it_failed_and_ends_the_trajectory_elsewhere(tmp_path: Path):
    broken, failed = say("print((1)"), error(0, "Code execution failed: invalid syntax")
    done = one(tmp_path, broken, failed, say("final_answer(3)"))
    assert len(done.steps) == 1
    assert reasons(done) == [("repaired", "r/0", "code does not parse")]
    done = one(tmp_path, say("print(1)"), observation(0, "1"), broken, observation(1, "1"), say("final_answer(3)"))
    assert len(done.steps) == 1
    assert done.steps[0].future[0].status == "not done"
    assert reasons(done) == [("cut", "r/1", "code does not parse")]
    deep = one(tmp_path, say("x = " + "(" * 3000 + ")" * 3000), failed, say("final_answer(3)"))
    assert len(deep.steps) == 1


def test_without_a_final_answer_no_step_is_done(tmp_path: Path):
    for last in (
        [say("print(2)")],
        [say("print(2)"), observation(1, "2")],
        [say("print(2)"), error(1, NO_CODE), say(None, "So, 3.")],
    ):
        done = one(tmp_path, say("print(1)"), observation(0, "1"), *last)
        assert [step.future[0].status for step in done.steps] == ["not done"] * 2
        assert reasons(done)[-1] == ("cut", "r/2", "no final answer")
    assert reasons(one(tmp_path, say(None, "3"))) == [
        ("repaired", "r/0", "turn without code"),
        ("dropped", "r", "no final answer"),
    ]


def test_an_answer_whose_code_failed_is_no_end_and_steps_after_the_end_drop_the_trajectory(tmp_path: Path):
    failed = error(0, "Code execution failed due to the following error:\nname 'x' is not defined")
    done = one(tmp_path, say("final_answer(x)"), failed, say("final_answer('three')"))
    assert [(a.action_type, a.content) for a in actions(done)] == [("final_answer", "x"), ("final_answer", "3")]
    assert [step.future[0].status for step in done.steps] == ["not done", "done"]
    done = one(tmp_path, say("final_answer(3)"), observation(0, "3"), say("print(4)"))
    assert not done.steps
    assert reasons(done) == [("dropped", "r", "steps after the end")]


def test_records_that_cannot_be_used_are_dropped_with_their_reason(tmp_path: Path):
    good, wrong = counting("good"), counting("wrong", correct="no")
    nameless, empty = counting("x", id=""), {"id": "empty", "conversations": []}
    twice = record("twice", [say("print(1)")])
    twice["conversations"].append({"from": "assistant", "value": "again"})
    odd = record("odd", [say("print(1)"), "no output", say("final_answer(1)")])
    mute = record("mute", [say("print(1)")])
    mute["conversations"][1]["value"] = None
    aimless = counting("aimless", question="Task: \n")
    done = convert(
        tmp_path, good, wrong, nameless, empty, twice, odd, mute, aimless, good, counting("good", answer="4"), 7
    )
    assert [note for d in done for note in reasons(d) if note[0] == "dropped"] == [
        ("dropped", "wrong", "not verified as correct"),
        ("dropped", "record 2", "no id"),
        *[("dropped", name, "conversation is damaged") for name in ("empty", "twice", "odd", "mute")],
        ("dropped", "aimless", "no instruction"),
        *[("dropped", "good", "the same trajectory again")] * 2,
        ("dropped", "record 10", "no id"),
    ]
    assert len(done) == 11


# --- media, files, real records --------------------------------------------------------------------------------------


def test_the_first_image_is_the_screenshot_where_it_is_there(tmp_path: Path):
    picture = page(height=90)
    for place in (tmp_path / IMAGE, tmp_path / "coco" / "train2017" / Path(IMAGE).name):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture)
        [done] = convert(tmp_path, counting())
        assert [step.screenshot == picture for step in done.steps] == [True] * 3
        assert done.steps[0].image_size == (1280, 90)
        if place != tmp_path / IMAGE:  # the attachment's path ends alike
            assert not done.notes
            assert done.steps[0].meta["missing_media"] == []
        place.unlink()
    for bad in (page(height=90)[:-300], b"GIF89a", page(height=90, kind="WEBP")):
        place.write_bytes(bad)
        [done] = convert(tmp_path, counting())
        assert done.steps[0].screenshot is None
        assert done.steps[0].meta["missing_media"] == [IMAGE]
        assert reasons(done) == [("repaired", "abc", "media missing")]


def test_images_are_taken_in_order_and_a_path_never_leaves_the_folder(tmp_path: Path):
    outside = tmp_path / "secret.png"
    outside.write_bytes(page(height=90, kind="PNG"))
    inside = tmp_path / "set"
    inside.mkdir()
    images = {"<image_01>": "b.png", "<image_00>": "../secret.png"}
    [done] = convert(inside, counting(image=images))
    assert done.steps[0].meta["images"] == ["../secret.png", "b.png"]
    assert done.steps[0].screenshot is None


def test_the_files_of_a_folder(tmp_path: Path):
    with pytest.raises(DataError, match="holds no JSON file with trajectories of T3-Agent"):
        MM_TRAJ.units(tmp_path)
    (tmp_path / "info.json").write_text('{"name": "MAT"}')
    (tmp_path / "numbers.json").write_text("[1, 2]")
    with pytest.raises(DataError, match="holds no JSON file"):
        MM_TRAJ.units(tmp_path)
    path = tmp_path / "b.json"
    path.write_text(json.dumps([counting()]))
    assert [unit.name for unit in MM_TRAJ.units(tmp_path)] == ["b.json"]
    assert [unit.path for unit in MM_TRAJ.units(path)] == [str(path)]
    text = json.dumps([counting("a"), counting("b")])
    path.write_text(text[: len(text) - 700])
    units = MM_TRAJ.units(path)
    with pytest.raises(DataError, match=r"b\.json: the JSON array is cut off or damaged at byte \d+"):
        list(MM_TRAJ.read(units[0]))


def test_memory_stays_flat_over_a_long_file(tmp_path: Path):
    def peak(count: int) -> int:
        path = tmp_path / "long.json"
        with open(path, "w", encoding="utf-8") as stream:
            stream.write("[" + ",".join(json.dumps(counting(f"id{n}", pad="x" * 400_000)) for n in range(count)) + "]")
        [unit] = MM_TRAJ.units(path)
        tracemalloc.start()
        assert sum(len(done.steps) for done in MM_TRAJ.read(unit)) == 3 * count
        return tracemalloc.get_traced_memory()[1], tracemalloc.stop()

    small, large = peak(40)[0], peak(120)[0]  # 16 MB and 48 MB of JSON, read 4 MB at a time
    assert large < small + 2_000_000


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real records: {DATA} is absent")
def test_the_real_trajectories_all_convert(tmp_path: Path):
    done = [d for unit in MM_TRAJ.units(DATA) for d in MM_TRAJ.read(unit)]
    assert len(done) == 74
    assert all(d.steps and d.steps[-1].future[0].status == "done" for d in done)
    notes = Counter((note.kind, note.reason) for d in done for note in d.notes)
    assert notes[("repaired", "turn without code")] == 16
    assert notes[("repaired", "tool server failed")] == 4
    assert {kind for kind, _ in notes} == {"repaired"}
    steps = [step for d in done for step in d.steps]
    blocks = len(steps) + sum(len(step.meta.get("code_before", ())) for step in steps)
    assert (len(steps), blocks) == (181, 185)  # every code block parsed
    kinds = Counter(step.future[0].action.action_type for step in steps)
    assert (kinds["final_answer"], kinds["python_interpreter"], kinds["ask_search_agent"]) == (74, 33, 32)
    shards = write_shards((d.steps for d in done), tmp_path, split="train", prefix="mm_traj")
    again = [
        step
        for path in shards
        for trajectory in read_trajectories(str(path), history=None, horizon=None)
        for step in trajectory
    ]
    assert again == [step for d in done for step in reread(d.steps)]
