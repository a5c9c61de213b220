"""AgentNet (OpenCUA, Wang et al. 2025, arXiv 2508.09123): 22,625 demonstrations on desktops, as its owners release them.

Two jsonl files, one trajectory a line, and folders of screenshots (GUI data, section A.1); or the tasks of AgentNetBench, one JSON
file each, whose boxes go with them. What the calls mean is said by `_pyautogui.py`. What the owners' models wrote about a step
after it was done (`reflection`, `last_step_correct`) is never read.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracer1.actions import PLACE_TYPES
from tracer1.data.converters import CONVERTERS, _agentnetbench
from tracer1.data.converters._pictures import Pictures, find_pictures, pictures_of
from tracer1.data.converters._pyautogui import read_operations
from tracer1.data.converters._text import load_json, shortened, text_in
from tracer1.data.drafts import Draft, Unusable, finish
from tracer1.errors import DataError
from tracer1.interfaces import Converted, Note, Task, Unit

RELEASED = {"agentnet_ubuntu_5k.jsonl": "ubuntu_images", "agentnet_win_mac_18k.jsonl": "win_mac_images"}
OTHER_PICTURES = "images"  # beside a jsonl file of any other name
MERGED = "meta_data_merged.jsonl"
UNIT_BYTES = 16_000_000  # some 200 trajectories
LEAST_ALIGNMENT = 7  # of 10: how well the recording does what the instruction asks


class AgentNet:
    """Reads ranges of lines. Places are shares of the screenshot's sides; a step's code may do several things."""

    licence = "MIT"
    release = (
        f"https://huggingface.co/datasets/xlangai/AgentNet: {', '.join(RELEASED)}, {MERGED}, split zips of screenshots"
    )
    platform = "desktop"

    def units(self, source: Path) -> Sequence[Unit]:
        """Ranges of whole lines of a folder's jsonl files, or its JSON files where it has no other; or the one file that `source` is.

        Raises:
            DataError: There is none, or its screenshots cannot be found.
        """
        source = Path(source)
        files = sorted(source.iterdir()) if source.is_dir() else [source]
        files = [
            path for path in files if path.suffix in (".jsonl", ".json") and path.name != MERGED and path.is_file()
        ]
        lines = [path for path in files if path.suffix == ".jsonl"]
        if not files:
            raise DataError(
                f"{source} holds no {' and no '.join(RELEASED)}. Fetch xlangai/AgentNet from Hugging Face and name its folder, or "
                "one of these files."
            )
        units: list[Unit] = []
        for path in lines or files:
            pictures = path.parent / RELEASED.get(path.name, OTHER_PICTURES)
            find_pictures(pictures)
            more = {"pictures": str(pictures), "merged": str(path.parent / MERGED)}
            if path in lines:
                units += [Unit(f"{path.name}@{a}", str(path), a, b, more) for a, b in _ranges(path)]
            else:
                units.append(Unit(path.name, str(path), more=more))
        return units

    def read(self, unit: Unit) -> Iterator[Converted]:
        """The trajectories whose lines lie in the range. Raises DataError where the last line of the file is cut off."""
        pictures = pictures_of(unit.more["pictures"])
        systems = _systems(unit.more["merged"])
        if unit.path.endswith(".json"):
            yield self._convert(_bench_record(unit.path), unit.name, pictures, systems)
            return
        for offset, line in _lines(unit):
            place = f"{Path(unit.path).name}@{offset}"
            try:
                record = load_json(line)
            except ValueError as error:
                if not line.endswith(b"\n"):
                    raise DataError(
                        f"{unit.path}: the line at byte {offset} is cut off ({error}). Fetch the file again."
                    ) from error
                note = Note("dropped", place, "line is no JSON", str(error))
                yield Converted(Task("agentnet", place, "", self.platform), (), (note,))
                continue
            yield self._convert(record, place, pictures, systems)

    def _convert(self, record: Any, place: str, pictures: Pictures, systems: Mapping[str, str]) -> Converted:
        name = text_in(record, "task_id")
        meta = {"licence": self.licence, "source_ref": place}
        if system := systems.get(name):
            meta["system"] = system
        split = _agentnetbench.SPLIT if place.endswith(".json") else None
        task = Task("agentnet", name or place, text_in(record, "instruction"), self.platform, split, meta)
        said: list[Note] = []
        converted = finish(task, _drafts(record, name, pictures, said))
        return replace(converted, notes=(*said, *converted.notes))


CONVERTERS.register("agentnet")(AgentNet())


def _ranges(path: Path) -> Iterator[tuple[int, int]]:
    """Byte ranges of about UNIT_BYTES that begin and end where a line does."""
    size, start = path.stat().st_size, 0
    with open(path, "rb") as stream:
        while start < size:
            stream.seek(min(size, start + UNIT_BYTES) - 1)
            stream.readline()
            yield start, stream.tell()
            start = stream.tell()


def _lines(unit: Unit) -> Iterator[tuple[int, bytes]]:
    """The lines of a unit that are not empty, with their offsets in bytes."""
    try:
        with open(unit.path, "rb") as stream:
            stream.seek(unit.start)
            while unit.end is None or stream.tell() < unit.end:
                offset = stream.tell()
                if not (line := stream.readline()):
                    return
                if line.strip():
                    yield offset, line
    except OSError as error:
        raise DataError(f"{unit.path} cannot be read ({error.strerror}). Fetch it again.") from error


@functools.lru_cache(maxsize=2)
def _systems(path: str) -> Mapping[str, str]:
    """Task id -> operating system; empty where the file that says so is not there. Raises DataError where it is damaged."""
    if not Path(path).exists():
        return {}
    systems: dict[str, str] = {}
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                record = load_json(line) if line.strip() else None
            except ValueError as error:
                raise DataError(f"{path}: line {number} is no JSON ({error}). Fetch the file again.") from error
            if name := text_in(record, "task_id"):
                systems.setdefault(name, text_in(record, "system"))
    return systems


def _bench_record(path: str) -> dict[str, Any]:
    """The record of an AgentNetBench file. Raises DataError."""
    try:
        task = load_json(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}). Fetch the file again.") from error
    if not _agentnetbench.is_task(task):
        raise DataError(f"{path} is neither a jsonl file of AgentNet nor a task of AgentNetBench. Correct --source.")
    return _agentnetbench.to_record(task)


def _drafts(record: Any, name: str, pictures: Pictures, said: list[Note]) -> Iterator[Draft]:
    """The operations of a record, one draft each. Raises Unusable; what is repaired on the way is said."""
    steps = record.get("traj") if isinstance(record, dict) else None
    if not isinstance(steps, list):
        raise Unusable("no traj", whole=True)
    if not name:
        raise Unusable("no task_id", whole=True)
    _check_quality(record)
    count, first = 0, _index(steps[0]) if steps else 0
    for place, step in enumerate(steps):
        if _index(step) != first + place:
            raise Unusable("step missing in the source", f"index {_index(step)} where {first + place} is due")
        for draft, repair in _of_step(step, pictures):
            if repair:
                said.append(Note("repaired", f"{name}/{count}", repair, str(draft.meta["code"])[:120]))
            count += 1
            yield draft


def _index(step: Any) -> int:
    """The step's own number. Raises Unusable."""
    index = step.get("index") if isinstance(step, dict) else None
    if not isinstance(index, int) or isinstance(index, bool) or not isinstance(step.get("value"), dict):
        raise Unusable("step malformed", f"{step!r:.120}")
    return index


def _check_quality(record: Mapping[str, Any]) -> None:
    """Keeps what its owners' judges find done, and done as asked (GUI data, section A.1). Raises Unusable."""
    infeasible = record.get("domain") == "infeasible"  # there giving up is what is asked for
    if record.get("task_completed") is False and not infeasible:
        raise Unusable("task not completed", text_in(record, "reason")[:200], whole=True)
    score = record.get("alignment_score")
    if isinstance(score, (int, float)) and score < LEAST_ALIGNMENT:
        raise Unusable(f"alignment score below {LEAST_ALIGNMENT}", f"{score} of 10", whole=True)


def _of_step(step: Mapping[str, Any], pictures: Pictures) -> Iterator[tuple[Draft, str]]:
    """One draft for each operation of a recorded step, and what was repaired. Raises Unusable."""
    value = step["value"]
    operations = read_operations(text_in(value, "code"))
    image = text_in(step, "image")
    try:
        screenshot = pictures.read(image)
    except ValueError as error:
        raise Unusable("screenshot does not decode", f"{image}: {error}") from error
    if screenshot is None:
        raise Unusable("screenshot missing", image)
    instruction, seen = text_in(value, "action"), shortened(text_in(value, "observation"))
    meta: dict[str, Any] = {"source_index": step["index"], "instruction_source": "action" if instruction else "code"}
    if value.get("last_step_redundant") is True:
        meta["redundant"] = True  # its owners' judge, for whoever filters plans
    for number, operation in enumerate(operations):
        more: dict[str, Any] = {"code": operation.code, **operation.meta}
        if len(operations) > 1:  # only the first was seen: the others share its screenshot
            more |= {"operation": number, "operations": len(operations), "real_observation": number == 0}
        abstraction = seen if number == 0 else ""
        draft = Draft(
            replace(operation.action, step_instruction=instruction or operation.code),
            screenshot,
            boxes=step.get("boxes", ()) if number == 0 and operation.action.action_type in PLACE_TYPES else (),
            abstraction=abstraction,
            abstraction_source="observation" if abstraction else "none",
            meta=meta | more,
        )
        yield draft, operation.repair
