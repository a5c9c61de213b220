"""AndroidControl (Li et al. 2024, arXiv 2406.03679): 15,283 demonstrations on Android phones and tablets, as Google releases them.

Twenty GZIP TFRecord shards, each record one episode, and `splits.json`, which says who is train, validation and test (GUI data,
section A.2). It knows nothing about the framing (`_tfrecord.py`) or about accessibility trees (`_accessibility.py`).
"""

import io
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tracer1.actions import DIRECTIONS, pixels
from tracer1.data.converters import CONVERTERS
from tracer1.data.converters._accessibility import abstraction, boxes_at, read_forest
from tracer1.data.converters._protobuf import read_example
from tracer1.data.converters._splits import read_splits
from tracer1.data.converters._text import load_json
from tracer1.data.converters._tfrecord import read_records
from tracer1.data.drafts import Draft, Unusable, finish
from tracer1.errors import DataError
from tracer1.interfaces import Converted, Note, Task, Unit
from tracer1.schema import Action, Point

log = logging.getLogger(__name__)

SHARD = re.compile(r"android_control-(\d+)-of-(\d+)")
SPLITS = "splits.json"
MIDDLE: Point = (500.0, 500.0)  # where a scroll is made: the source names no place
_PLAIN = {"navigate_back": "press_back", "navigate_home": "press_home", "wait": "wait"}


@dataclass(frozen=True, slots=True)
class Episode:
    """One record. Screenshot and tree i show the screen before action i; the last of them follows the last action."""

    episode_id: str
    goal: str
    screenshots: list[bytes]  # PNG
    sizes: list[tuple[int, int]]  # width, height in pixels, as the record says
    trees: list[bytes]
    actions: list[bytes]  # JSON objects
    instructions: list[bytes]


class AndroidControl:
    """Reads shards. Points are pixels of the screenshot; a scroll's direction is already the side that it reveals."""

    licence = "Apache-2.0"
    release = "gs://gresearch/android_control (google-research/android_control/README.md): 20 GZIP TFRecord shards, splits.json"
    platform = "mobile"

    def units(self, source: Path) -> Sequence[Unit]:
        """One unit per shard of a folder, or the one file that `source` is. Raises DataError where there is none."""
        source = Path(source)
        if source.is_dir():
            paths = sorted(path for path in source.iterdir() if SHARD.fullmatch(path.name))
            _warn_of_missing(source, paths)
        else:
            paths = [source] if source.exists() else []
        if not paths:
            raise DataError(
                f"{source} holds no AndroidControl shard. Name the folder with android_control-00000-of-00020 and so on, or one of "
                "these files."
            )
        splits = paths[0].parent / SPLITS
        if not splits.exists():
            log.warning(
                "%s is missing, so no episode has a split, and without one nobody can tell the benchmark's test episodes: "
                "tools/make_shards.py leaves all out. Fetch it from the bucket of the shards and put it beside them.",
                splits,
            )
        return [Unit(path.name, str(path), more={"splits": str(splits)}) for path in paths]

    def read(self, unit: Unit) -> Iterator[Converted]:
        """The episodes of one shard. Raises DataError with the offset in the uncompressed stream where it is damaged."""
        splits = read_splits(Path(unit.more["splits"]))
        for number, (offset, data) in enumerate(read_records(unit.path)):
            try:
                features = read_example(data)
            except ValueError as error:
                raise DataError(
                    f"{unit.path}: the record at byte {offset} of the uncompressed stream is no tf.train.Example ({error}). It "
                    "passed its checksums, so the file is whole, but it does not hold AndroidControl."
                ) from error
            source_ref = f"{Path(unit.path).name}#{number}"
            yield self._convert(read_episode(features), source_ref, splits)

    def _convert(self, episode: Episode, source_ref: str, splits: Mapping[str, str]) -> Converted:
        said: list[Note] = []
        name = episode.episode_id or source_ref
        meta = {"licence": self.licence, "source_ref": source_ref}
        task = Task("android_control", name, episode.goal, self.platform, splits.get(episode.episode_id), meta)
        converted = finish(task, _drafts(episode, name, said))
        return replace(converted, notes=(*said, *converted.notes))


def read_episode(features: Mapping[str, list[Any]]) -> Episode:
    """The episode that a record's features hold; what is missing is empty."""

    def listed(name: str, kind: type) -> list[Any]:
        return [value for value in features.get(name, []) if isinstance(value, kind)]

    return Episode(
        episode_id=next(map(str, listed("episode_id", int)), ""),
        goal=b"".join(listed("goal", bytes)[:1]).decode("utf-8", "replace"),
        screenshots=listed("screenshots", bytes),
        sizes=list(zip(listed("screenshot_widths", int), listed("screenshot_heights", int), strict=False)),
        trees=listed("accessibility_trees", bytes),
        actions=listed("actions", bytes),
        instructions=listed("step_instructions", bytes),
    )


def _warn_of_missing(folder: Path, paths: Sequence[Path]) -> None:
    """Logs which shards of the release are not there: a download that was stopped looks like a smaller data set."""
    matches = [match for path in paths if (match := SHARD.fullmatch(path.name))]
    total = max((int(match[2]) for match in matches), default=0)
    missing = sorted(set(range(total)) - {int(match[1]) for match in matches})
    if missing:
        log.warning(
            "%s holds %d of %d shards; missing: %s.",
            folder,
            total - len(missing),
            total,
            ", ".join(f"{number:05d}" for number in missing),
        )


def _drafts(episode: Episode, name: str, said: list[Note]) -> Iterator[Draft]:
    """The steps of an episode, one per action. Raises Unusable; what is repaired on the way is said."""
    count = len(episode.actions)
    if not episode.episode_id:
        raise Unusable("no episode id", whole=True)
    if len(episode.screenshots) != count + 1 or len(episode.instructions) != count:
        lengths = f"{len(episode.screenshots)} screenshots, {count} actions, {len(episode.instructions)} instructions"
        raise Unusable("lists do not belong together", lengths, whole=True)
    trees = episode.trees
    if trees and len(trees) != count + 1:
        said.append(Note("repaired", name, "accessibility trees left out", f"{len(trees)} for {count + 1} screenshots"))
        trees = []
    for t, (raw, instruction) in enumerate(zip(episode.actions, episode.instructions, strict=True)):
        screenshot = episode.screenshots[t]
        if not screenshot:
            raise Unusable("screenshot missing")
        size = _size(screenshot) or (episode.sizes[t] if t < len(episode.sizes) else None)
        if size is None or min(size) < 1:
            raise Unusable("screenshot does not decode", "and its size is not given")
        fields = read_action(raw)
        action = to_action(fields, size, instruction.decode("utf-8", "replace").strip())
        draft = Draft(action, screenshot, image_size=size)
        target = (fields["x"], fields["y"]) if action.action_type != "scroll" and action.point else None
        yield _with_tree(draft, trees[t], target, f"{name}/{t}", said) if trees else draft


def read_action(raw: bytes) -> dict[str, Any]:
    """The JSON object of one action. Raises Unusable."""
    try:
        fields = load_json(raw)
    except ValueError as error:
        raise Unusable("action is not JSON", str(error)) from error
    if not isinstance(fields, dict):
        raise Unusable("action is not JSON", "no object")
    return fields


def to_action(fields: Mapping[str, Any], size: tuple[int, int], instruction: str) -> Action:
    """The action in our terms.

    Args:
        fields: What the source says of it.
        size: Width and height of the screenshot in pixels.
        instruction: What the step is for. Two actions in a row may have the same.

    Raises:
        Unusable: An unknown type, or an argument that is missing or empty.
    """
    kind = fields.get("action_type")
    if kind in ("click", "long_press"):
        return Action(kind, instruction, point=_point(fields, size))
    if kind == "type":  # older dumps: it taps the place, types, and presses enter
        return Action("type", instruction, point=_point(fields, size), content=f"{_text(fields)}\n")
    if kind == "input_text":
        return Action("type", instruction, content=_text(fields))
    if kind == "scroll":
        direction = str(fields.get("direction")).lower()
        if direction not in DIRECTIONS:
            raise Unusable("unknown direction", direction)
        return Action("scroll", instruction, point=MIDDLE, direction=direction)
    if kind == "open_app":
        app_name = fields.get("app_name")
        if not isinstance(app_name, str) or not app_name:
            raise Unusable("argument missing", "open_app without app_name")
        return Action("open_app", instruction, app_name=app_name)
    if kind in _PLAIN:
        return Action(_PLAIN[kind], instruction)
    raise Unusable("unknown action", str(kind))


def _point(fields: Mapping[str, Any], size: tuple[int, int]) -> Point:
    x, y = fields.get("x"), fields.get("y")
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in (x, y)):
        raise Unusable("argument missing", f"{fields['action_type']} without x and y")
    return pixels(*size).to_thousand((x, y))


def _text(fields: Mapping[str, Any]) -> str:
    text = fields.get("text")
    if not isinstance(text, str) or not text:
        raise Unusable("empty text")
    return text


def _size(screenshot: bytes) -> tuple[int, int] | None:
    """Width and height by the picture's header: the places are its pixels, whatever the record says. None if unreadable."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(screenshot)) as picture:
            return picture.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _with_tree(draft: Draft, tree: bytes, target: Point | None, record: str, said: list[Note]) -> Draft:
    """The draft with what the accessibility tree of its screen adds: the box of its target (in pixels), and what is seen.

    Only the smallest box counts as the target: others reach from a label to the whole screen. All of them stand in the meta data
    as `candidate_boxes`, smallest first, for rules that count a hit in any.
    """
    try:
        forest = read_forest(tree)
    except ValueError as error:
        said.append(Note("repaired", record, "accessibility tree unreadable", str(error)))
        return draft
    assert draft.image_size is not None
    space = pixels(*draft.image_size)
    found = boxes_at(forest, *target) if target else []
    boxes = [(*space.to_thousand(box[:2]), *space.to_thousand(box[2:])) for box in found]
    seen = abstraction(forest)
    return replace(
        draft,
        boxes=tuple(boxes[:1]),
        abstraction=seen,
        abstraction_source="accessibility_tree" if seen else "none",
        meta={"candidate_boxes": [list(box) for box in boxes]} if boxes else {},
    )


CONVERTERS.register("android_control")(AndroidControl())
