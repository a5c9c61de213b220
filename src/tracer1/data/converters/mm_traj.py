"""MM-Traj: the trajectories of T3-Agent, which thinks, writes a block of Python that may call tools, and reads what it printed.

A step is one block: its type is the first tool called in it (`python_interpreter` where none is), its arguments are that call's, and
the whole block stays in `code`. Format and traps: tools, section 2. It knows nothing about how tools are run.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracer1.data.converters import CONVERTERS
from tracer1.data.converters._json_spans import json_spans
from tracer1.data.converters._t3_code import FINAL, PYTHON, TOOLS, CodeReader, ToolCall
from tracer1.data.converters._t3_turns import Conversation, Turn, read_conversation, short_instruction
from tracer1.data.converters._text import load_json
from tracer1.data.drafts import Draft, Unusable, finish
from tracer1.data.images import check_image, image_format
from tracer1.errors import DataError
from tracer1.interfaces import Converted, Note, Task, Unit
from tracer1.schema import Action

NAME = "mm_traj"
ABSTRACTION = 200  # characters of what the step before printed
SEEN = 2000  # characters of it that the step's prompt shows
KEPT = 20_000  # characters of a step's own output that are kept for comparison


class MMTraj:
    """The converter; see `interfaces.Converter`."""

    licence = "MIT (of the owner's repository; the data card states none that was seen)"
    release = (
        "PengxiangLi/MAT on Hugging Face: agent_tune_dataset_*.json, and files.zip unpacked beside them for the images"
    )
    platform = "tool"

    def units(self, source: Path) -> Sequence[Unit]:
        """One unit per JSON file directly in the folder that holds an array of trajectories."""
        source = Path(source)
        paths = [source] if source.is_file() else sorted(source.glob("*.json"))
        found = [path for path in paths if source.is_file() or _holds_trajectories(path)]
        if not found:
            raise DataError(
                f"{source} holds no JSON file with trajectories of T3-Agent. They are released as {self.release}."
            )
        root = source.parent if source.is_file() else source
        return [Unit(path.name, str(path), more={"root": str(root)}) for path in found]

    def read(self, unit: Unit) -> Iterator[Converted]:
        """Each trajectory once: the releases hold some of them several times over, under the same id."""
        seen: set[bytes] = set()
        for number, (record, _, _) in enumerate(json_spans(Path(unit.path))):
            if not isinstance(record, dict) or not record.get("id"):
                yield _dropped(f"record {number}", "no id", f"{record!r:.60}")
                continue
            record = load_json(json.dumps(record, sort_keys=True).encode())
            name = str(record["id"])
            content = json.dumps([name, record.get("conversations")]).encode()
            digest = hashlib.blake2b(content, digest_size=16).digest()
            if digest in seen:
                yield _dropped(name, "the same trajectory again", f"record {number} of {unit.name}")
                continue
            seen.add(digest)
            yield _converted(name, record, Path(unit.more["root"]), f"{unit.name}#{number}")


def _holds_trajectories(path: Path) -> bool:
    """Whether the first element is one; a file that is no array of anything is another's."""
    try:
        first = next(json_spans(path), (None, 0, 0))[0]
    except DataError:
        return False
    return isinstance(first, Mapping) and "conversations" in first


def _dropped(name: str, reason: str, detail: str = "") -> Converted:
    return Converted(Task(NAME, name, "", MMTraj.platform), (), (Note("dropped", name, reason, detail),))


def _converted(name: str, record: Mapping[str, Any], root: Path, source_ref: str) -> Converted:
    if str(record.get("correct", "yes")).lower() != "yes":
        return _dropped(name, "not verified as correct", f"correct={record['correct']!r:.40}")
    try:
        talk = read_conversation(record)
    except ValueError as error:
        return _dropped(name, "conversation is damaged", str(error))
    said: list[Note] = []
    images = _images(record, talk)
    screenshot, size, missing = _media(root, images, talk.files)
    if missing:
        said.append(Note("repaired", name, "media missing", f"{len(missing)} of them, {missing[0]}"))
    tools = {**talk.tools, **{tool: names for tool, names in TOOLS.items() if tool in talk.tools or not talk.tools}}
    meta = {
        "licence": MMTraj.licence,
        "source_ref": source_ref,
        "tools": [f"{tool}({', '.join(names)})" for tool, names in tools.items() if tool != FINAL]
        + [f"{PYTHON}(code)"],
        "files": list(talk.files),
        "images": list(images),
        "missing_media": missing,
        "answer": record.get("answer"),
    }
    task = Task(NAME, name, talk.task, MMTraj.platform, meta=meta)
    done = finish(task, _drafts(talk, str(record.get("answer") or ""), CodeReader({**tools, **TOOLS}), said, name))
    steps = tuple(replace(step, screenshot=screenshot, image_size=size) for step in done.steps)
    return replace(done, steps=steps, notes=(*said, *done.notes))


def _drafts(talk: Conversation, answer: str, reader: CodeReader, said: list[Note], name: str) -> Iterator[Draft]:
    """The steps, without the turns in which nothing ran and those that a tool's server spoilt."""
    before: Turn | None = None
    count, ended = 0, False
    spoilt: list[str | None] = []  # code whose tool failed: it may have set names that a later block uses
    for number, turn in enumerate(talk.turns):
        if ended:
            raise Unusable("steps after the end", f"turn {number}", whole=True)
        calls, reason = _calls(turn, reader, number)
        if reason is not None:
            said.append(Note("repaired", f"{name}/{count}", reason, f"turn {number} left out"))
            spoilt += [turn.code] if turn.fault else []
            continue
        ended = not turn.failed and any(call.name == FINAL for call in calls)
        draft = _draft(turn, calls, before, answer if ended else "")
        yield replace(draft, meta={**draft.meta, "code_before": spoilt}) if spoilt else draft
        before, count, spoilt = turn, count + 1, []
    if not ended:
        raise Unusable("no final answer")


def _calls(turn: Turn, reader: CodeReader, number: int) -> tuple[list[ToolCall], str | None]:
    """The turn's tool calls, and why it is left out, if it is. Raises Unusable for code that ran but is no Python."""
    if turn.code is None:
        return [], "turn without code"
    try:
        calls = reader.calls(turn.code, turn.failed)
    except ValueError as error:
        if turn.failed:
            return [], "code does not parse"
        raise Unusable("code does not parse", f"turn {number}: {error}") from error
    return calls, "tool server failed" if turn.fault else None


def _draft(turn: Turn, calls: Sequence[ToolCall], before: Turn | None, answer: str) -> Draft:
    first = calls[0] if calls else None
    final = next((call for call in calls if call.name == FINAL), None)
    seen = "" if before is None else ("error: " if before.failed else "") + (before.output or "")
    action = Action(
        first.name if first else PYTHON,
        short_instruction(turn.thought),
        content=None if final is None else answer or _as_text(final.arguments.get("answer", "")),
        arguments=None if first is None or first is final else dict(first.arguments),
        code=turn.code,
    )
    meta = {
        "thought": turn.thought,
        "calls": [call.name for call in calls],
        "observation": _middle_out(seen, SEEN),
        "outcome": {"text": _middle_out(turn.output or "", KEPT), "failed": turn.failed},
    }
    short = " ".join(seen.split())[:ABSTRACTION]
    return Draft(
        action, abstraction=short, abstraction_source="output of the step before" if short else "none", meta=meta
    )


def _as_text(value: Any) -> str:
    """An answer as the agent would print it; an expression by its source."""
    return value["$expr"] if isinstance(value, dict) and set(value) == {"$expr"} else str(value)


def _middle_out(text: str, most: int) -> str:
    """The text, without its middle where it has more characters than `most`."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"


def _images(record: Mapping[str, Any], talk: Conversation) -> tuple[str, ...]:
    """The task's images in order: a path, or `{"<image_00>": path, ...}`, or what the question shows."""
    given = record.get("image")
    if isinstance(given, Mapping):
        return tuple(str(given[key]) for key in sorted(given)) or talk.images
    return (given,) if isinstance(given, str) and given else talk.images


def _media(
    root: Path, images: Sequence[str], files: Sequence[str]
) -> tuple[bytes | None, tuple[int, int] | None, list[str]]:
    """The first image where it is there, PNG or JPEG, and decodes; its size; and which images and files cannot be had."""
    found = {path: _find(root, path) for path in dict.fromkeys((*images, *files))}
    missing = [path for path, place in found.items() if place is None]
    if not images or images[0] in missing:
        return None, None, missing
    screenshot = found[images[0]].read_bytes()
    try:
        if image_format(screenshot) is not None:
            return screenshot, check_image(screenshot), missing
    except ValueError:
        pass
    return None, None, [images[0], *missing]


def _find(root: Path, path: str) -> Path | None:
    """A file below `root` by the longest end of its path that is there: images and attachments lie under different folders."""
    parts = [part for part in Path(path).parts if part not in ("/", "..")]
    tries = (root.joinpath(*parts[start:]) for start in range(len(parts)))
    return next((place for place in tries if place.is_file()), None)


CONVERTERS.register(NAME)(MMTraj())
