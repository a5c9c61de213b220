"""Our own tool-use tasks: the same in every run, apart between the splits, and right: every recorded answer comes out again."""

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from desks import LocalSandbox, need_tesseract, real_sandbox
from PIL import Image

from tracer1.data.shards import expand_urls, read_steps
from tracer1.errors import DataError
from tracer1.schema import DONE, Plan, Response, Rollout
from tracer1.toolbox.tasks.families import FAMILIES, make_task
from tracer1.toolbox.tasks.record import TOOLS, Recorded, record, solve, write_files
from tracer1.toolbox.tasks.survey import counted
from tracer1.toolbox.toolbox import Toolbox

SHIPPED = Path(__file__).parents[2] / "demo" / "tool_tasks"
SEEDS = {"train": range(600), "heldout": range(600, 720)}  # demo/README.md


@pytest.fixture(scope="module")
def shipped() -> dict[str, list]:
    """The steps of the repository's own set."""
    return {s: list(read_steps(expand_urls([str(SHIPPED / f"tool_tasks-{s}-*.tar.gz")]))) for s in SEEDS}


@pytest.fixture(scope="module")
def toolbox():
    need_tesseract()
    with real_sandbox() as sandbox:
        yield Toolbox(TOOLS, sandbox=sandbox)


@pytest.fixture
def here() -> Toolbox:
    """Without walls: enough for what opens no file."""
    return Toolbox(TOOLS, sandbox=LocalSandbox())


@pytest.mark.parametrize("split", SEEDS)
def test_a_seed_makes_one_task_and_its_files_byte_by_byte(split):
    for seed in range(len(FAMILIES)):
        assert make_task(seed, split) == make_task(seed, split)
        assert make_task(seed, split).task != make_task(seed + len(FAMILIES), split).task


def test_a_task_has_two_to_four_steps_and_its_files_are_named_in_it():
    for seed in range(3 * len(FAMILIES)):
        task = make_task(seed, "train").task
        assert 1 <= len(task.calls) <= 3  # and the final answer
        assert all(name in task.instruction for name in task.files)


def test_pictures_and_tables_open():
    made = {name: data for seed in range(96) for name, data in make_task(seed, "train").task.files.items()}
    pictures = [data for name, data in made.items() if name.endswith(".png")]
    assert all(Image.open(io.BytesIO(data)).size > (30, 30) for data in pictures)
    assert {name.rpartition(".")[2] for name in made} == {"png", "csv", "xlsx", "json", "txt", "docx"}


def test_what_cannot_be_seen_in_the_answer_of_a_tool_is_left_out_with_the_reason(here):
    made = make_task(0, "train")
    first = replace(made.task.calls[0], shows=("31.7",))
    found = solve(replace(made, task=replace(made.task, calls=(first, *made.task.calls[1:]))), here)
    assert (found.steps, found.reason) == ((), "calculator gave '30', without '31.7'")
    assert "is not what the last call gave" in solve(replace(made, task=replace(made.task, answer="7")), here).reason
    broken = replace(first, arguments={"expression": "1 /"})
    assert solve(replace(made, task=replace(made.task, calls=(broken,))), here).reason.startswith("calculator: ")


def test_a_number_is_shown_by_itself_only(here):
    made = make_task(0, "train")
    for expression, shows, kept in (
        ("120 / 10", "12", True),
        ("120", "12", False),
        ("12.5", "12", False),
        ("-12", "12", True),
    ):
        call = replace(made.task.calls[0], arguments={"expression": expression}, shows=(shows,))
        task = replace(made.task, calls=(call,), answer=shows)
        assert bool(solve(replace(made, task=task), here).steps) is kept, expression


def test_a_file_of_another_task_is_not_written_over(tmp_path, here):
    one = solve(make_task(0, "train"), here)
    for content in (b"a", b"a"):  # the same task again
        list(write_files([replace(one, made=_with_file(one.made, content))], tmp_path))
    with pytest.raises(DataError, match="unique among a thousand successive seeds"):
        list(write_files([replace(one, made=_with_file(one.made, b"b"))], tmp_path))
    assert (tmp_path / "a.txt").read_bytes() == b"a"
    assert list(write_files([Recorded(one.made, reason="no")], tmp_path / "none")) == []


def _with_file(made, content: bytes):
    return replace(made, task=replace(made.task, files={"a.txt": content}))


def test_the_survey_counts_and_names_what_was_left_out(here):
    from rich.console import Console

    made = make_task(0, "train")
    console = Console(file=io.StringIO(), width=100)
    console.print(counted([solve(made, here), Recorded(made, reason="ocr gave nothing")], Path("here")))
    text = console.file.getvalue()
    assert "1 tasks of 2 in here" in text
    assert "calculator" in text
    assert "left out: change-0000: ocr gave nothing" in text


# --- what the repository ships ---------------------------------------------------------------------------------------------


def test_the_shipped_set_is_large_and_small_enough(shipped):
    steps = [step for split in shipped.values() for step in split]
    tasks = {step.trajectory for step in steps}
    assert len(tasks) >= 200
    assert len({step.future[0].action.action_type for step in steps}) >= 8
    assert set(Counter(step.trajectory for step in steps).values()) <= {2, 3, 4}
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) <= 3_000_000
    for step in steps:
        last = step.future[-1]
        assert (last.action.action_type, last.status, last.action.content) == (
            "final_answer",
            DONE,
            step.meta["answer"],
        )


def test_the_shipped_splits_have_no_sentence_and_no_file_in_common(shipped):
    for what in (lambda s: {s.instruction}, lambda s: {*s.meta["files"], *s.meta["images"]}):
        train, heldout = ({x for step in steps for x in what(step)} for steps in shipped.values())
        assert train
        assert heldout
        assert not train & heldout
    for steps in shipped.values():
        assert len({s.instruction for s in steps}) == len({s.trajectory for s in steps})


def test_the_shipped_files_are_those_that_the_steps_name(shipped):
    named = {
        name for steps in shipped.values() for step in steps for name in (*step.meta["files"], *step.meta["images"])
    }
    assert {path.name for path in (SHIPPED / "files").iterdir()} == named


def test_the_shipped_files_are_those_that_the_seeds_make():
    for split, seeds in SEEDS.items():
        for seed in seeds[:: 1 if split == "heldout" else 11]:
            for name, content in make_task(seed, split).task.files.items():
                assert (SHIPPED / "files" / name).read_bytes() == content, name


def test_every_recorded_answer_comes_out_again(shipped, toolbox):
    seeds = SEEDS["heldout"][: 2 * len(FAMILIES)]
    again = [step for found in record((make_task(s, "heldout") for s in seeds), toolbox) for step in found.steps]
    stored = {step.key: step for step in shipped["heldout"]}
    assert len(again) == 72
    for step in again:
        before = stored[step.key].meta["before"]  # put together when a shard is read
        assert replace(step, meta={**step.meta, "before": before}) == stored[step.key]


def test_the_answer_reward_is_one_for_the_experts_call_and_zero_for_another(shipped, toolbox, tmp_path):
    from tracer1.executors.t3 import T3Executor
    from tracer1.rewards.answer_match import answer_match

    executor = T3Executor(sandbox=toolbox.sandbox, files=[str(SHIPPED / "files")], cache=str(tmp_path))
    steps = shipped["heldout"][: 3 * len(FAMILIES)]
    right = [Rollout(step, Response("", (), ()), Plan(step.future, framed=True)) for step in steps]
    other = [Rollout(step, Response("", (), ()), Plan(steps[n - 7].future)) for n, step in enumerate(steps)]
    for rollouts, wanted in ((right, {1.0}), (other, {0.0})):
        outcomes = executor.execute(rollouts)
        assert [outcome.fault for outcome in outcomes] == [""] * len(steps)
        given = [answer_match(replace(r, outcome=o), arguments=1.0) for r, o in zip(rollouts, outcomes, strict=True)]
        wrong = [(r.step.key, o) for r, o, g in zip(rollouts, outcomes, given, strict=True) if g not in wanted]
        assert not wrong, wrong[:3]
