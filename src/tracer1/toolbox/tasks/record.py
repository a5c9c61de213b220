"""Runs the reference calls of tasks through the toolbox, checks what they give, and makes steps of them. It writes no shard.

A step's `meta` has the form that the converter of MM-Traj gives: `tools`, `files`, `images`, `observation` (of the step before),
`outcome` (of its own), `answer`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from tracer1.errors import DataError
from tracer1.schema import DONE, NOT_DONE, Action, PlanStep, Step
from tracer1.toolbox.checking import signature
from tracer1.toolbox.spec import Desk
from tracer1.toolbox.tasks.families import Made
from tracer1.toolbox.tasks.task import FINAL, MADE, Call
from tracer1.toolbox.toolbox import INTERPRETER, Toolbox
from tracer1.toolbox.workspace import write_new

DATASET = "tool_tasks"
TOOLS = (
    INTERPRETER, "calculator", "solver", "inspect_file_as_text", "ocr", "qr_code", "image_info", "crop_image", "rotate_image",
    "segment_box", FINAL,
)  # fmt: skip
PICTURES = (".png", ".jpg")


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a task: its steps where every tool answered as the task's own truth says, else none and the reason."""

    made: Made
    steps: tuple[Step, ...] = ()
    reason: str = ""


@dataclass(slots=True)
class _Done:
    """A call that was made."""

    action: Action
    call: Call
    text: str  # what it printed, or gave
    value: Any = None  # the same as plain JSON; None of Python
    files: tuple[str, ...] = ()
    error: str = ""
    shown: str = ""  # what the step before gave

    def outcome(self) -> dict[str, Any]:
        """What it gave, as a record."""
        return {"text": self.text, "failed": False, **({} if self.value is None else {"value": self.value})}


def record(jobs: Iterable[Made], toolbox: Toolbox, workers: int = 2) -> Iterator[Recorded]:
    """Yields one result per task, in order, whatever the number of workers.

    Args:
        jobs: The tasks.
        toolbox: It has at least TOOLS.
        workers: Tasks that run at the same time.

    Raises:
        ExecutorError: The sandbox failed.
    """
    with ThreadPoolExecutor(max(1, workers)) as pool:
        yield from pool.map(lambda made: solve(made, toolbox), jobs)


def solve(made: Made, toolbox: Toolbox) -> Recorded:
    """Runs a task's calls one after the other in a folder with its files."""
    task = made.task
    final = Call(FINAL, task.purpose, "the answer", {"answer": task.answer}, shows=(task.answer,))
    done: list[_Done] = []
    with toolbox.desk() as desk:
        for name, content in task.files.items():
            write_new(desk.workspace.folder / name, content)
        for call in (*task.calls, final):
            now = _called(toolbox, desk, call, done)
            if reason := _wrong(now, now.call):
                return Recorded(made, reason=reason)
            done.append(now)
    if not _shows(done[-2].text, task.answer):
        return Recorded(made, reason=f"{task.answer!r} is not what the last call gave: {done[-2].text!r:.60}")
    return Recorded(made, _steps(made, done, toolbox))


def write_files(results: Iterable[Recorded], folder: Path) -> Iterator[tuple[Step, ...]]:
    """Writes the files of solved tasks and passes the tasks' steps on.

    Raises:
        DataError: Another task has a file of the same name: the seeds are a thousand or more apart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for result in results:
        if not result.steps:
            continue
        for name, content in result.made.task.files.items():
            place = folder / name
            if place.exists() and place.read_bytes() != content:
                raise DataError(
                    f"{place} belongs to another task: file names are unique among a thousand successive seeds only. Choose other "
                    "--seeds, or another --out."
                )
            place.write_bytes(content)
        yield result.steps


def _called(toolbox: Toolbox, desk: Desk, call: Call, done: list[_Done]) -> _Done:
    """Makes one call, as the executor makes a predicted one."""
    made = next((file for earlier in reversed(done) for file in earlier.files), "")
    arguments = None if call.arguments is None else {k: made if v == MADE else v for k, v in call.arguments.items()}
    shown = done[-1].text if done else ""
    if call.code is not None:
        action = Action(INTERPRETER, call.purpose, code=call.code)
        ran = desk.session().run(call.code)
        return _Done(action, call, ran.output, error=ran.error, shown=shown)
    result = toolbox.call(desk, call.tool, arguments)
    action = Action(call.tool, call.purpose, arguments=arguments)
    if call.tool == FINAL:
        action = replace(action, arguments=None, content=arguments["answer"])
    text = result.value if isinstance(result.value, str) else str(result.value)
    return _Done(action, call, text, result.value, result.files, result.error, shown)


def _wrong(done: _Done, call: Call) -> str:
    """Why a call is of no use; empty where it gave what it must."""
    if done.error:
        return f"{call.tool}: {done.error}"
    lacking = [part for part in call.shows if not _shows(done.text, part)]
    return f"{call.tool} gave {done.text!r:.80}, without {lacking[0]!r}" if lacking else ""


def _shows(text: str, part: str) -> bool:
    """Whether a word or number stands in a text by itself; 12 in "12.0", but not in "120" or "12.5"."""
    return re.search(rf"(?<![\w.]){re.escape(part)}(?:\.0+)?(?![\w]|\.\d)", text) is not None


def _steps(made: Made, done: list[_Done], toolbox: Toolbox) -> tuple[Step, ...]:
    last = len(done) - 1
    plan = tuple(
        PlanStep(d.action, DONE if t == last else NOT_DONE, d.call.known, number=t + 1) for t, d in enumerate(done)
    )
    names = list(made.task.files)
    shared: Mapping[str, Any] = {
        "family": made.family,
        "seed": made.seed,
        "licence": "made for this repository by tools/record_tool_tasks.py",
        "tools": [signature(name, toolbox.tools[name]) for name in TOOLS if name != FINAL],
        "files": [name for name in names if PurePosixPath(name).suffix not in PICTURES],
        "images": [name for name in names if PurePosixPath(name).suffix in PICTURES],
        "answer": made.task.answer,
        "abstraction_source": "written by the task's maker",
    }
    return tuple(
        Step(
            key=f"{DATASET}-{made.name}-{t:03d}",
            dataset=DATASET,
            trajectory=made.name,
            index=t,
            instruction=made.task.instruction,
            screenshot=None,
            history=plan[:t],
            future=plan[t:],
            platform="tool",
            meta={**shared, "observation": d.shown, "outcome": d.outcome()},
        )
        for t, d in enumerate(done)
    )
