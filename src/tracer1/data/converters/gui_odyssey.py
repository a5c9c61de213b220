"""GUI-Odyssey (Lu et al. 2024, arXiv 2406.08451): tasks across apps on six Android devices, as their owners release them.

`annotations/<episode>.json`, `screenshots/<episode>_<step>.png` and four ways to split in `splits/` (GUI data, section A.3). Version
1 lacks `sam2_bbox` and the texts that a model wrote; otherwise the two are alike. It knows nothing about shards.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracer1.data.converters import CONVERTERS
from tracer1.data.converters._odyssey_actions import boxes_of, instruction_of, outcome_of, to_action
from tracer1.data.converters._pictures import Pictures, find_pictures, pictures_of
from tracer1.data.converters._splits import read_splits
from tracer1.data.converters._text import first_sentence, load_json, shortened, text_in
from tracer1.data.drafts import Draft, Unusable, finish
from tracer1.errors import DataError
from tracer1.interfaces import Converted, Note, Task, Unit

log = logging.getLogger(__name__)

UNIT_EPISODES = 50  # some 750 screenshots: about as much as a shard of 512 MB holds
RANDOM_SPLIT = "random_split.json"


class GuiOdyssey:
    """Reads annotations one by one. Places are whole numbers 0..1000 already; a SCROLL is a finger's path."""

    licence = "CC-BY-4.0"
    release = (
        "huggingface.co/datasets/hflqf88888/GUIOdyssey (version 2) or OpenGVLab/GUI-Odyssey (version 1); introduction.md of "
        "github.com/OpenGVLab/GUI-Odyssey"
    )
    platform = "mobile"

    def units(self, source: Path) -> Sequence[Unit]:
        """Ranges of annotations in the order of their names.

        Args:
            source: The folder with `annotations`, `screenshots` and `splits`, then `splits/random_split.json` says what is
                train and test; or one of its split files, e.g. `…/splits/device_split.json`.

        Raises:
            DataError: A folder is missing, or the screenshots are still in archives.
        """
        source = Path(source)
        is_file = source.suffix == ".json" and source.parent.name == "splits"
        root = source.parent.parent if is_file else source
        splits = source if is_file else root / "splits" / RANDOM_SPLIT
        folder = root / "annotations"
        names = sorted(path.name for path in folder.glob("[!.]*.json"))
        if not names:
            raise DataError(
                f"{folder} holds no annotation. Name the folder of GUI-Odyssey that has annotations/, screenshots/ and splits/, "
                "or one of the files in splits/."
            )
        find_pictures(root / "screenshots")
        if is_file and not splits.exists():
            raise DataError(f"{splits} does not exist. Choose one of random, task, device and app: …_split.json.")
        if not splits.exists():
            log.warning(
                "%s is missing, so no episode has a split, and without one nobody can tell the benchmark's test episodes: "
                "tools/make_shards.py leaves all out. Fetch it.",
                splits,
            )
        units = []
        for start in range(0, len(names), UNIT_EPISODES):
            part = names[start : start + UNIT_EPISODES]
            more = {"splits": str(splits), "names": part}
            units.append(Unit(f"annotations-{start:06d}", str(folder), start, start + len(part), more))
        return units

    def read(self, unit: Unit) -> Iterator[Converted]:
        """The episodes of one range. Raises DataError where the folder or the split file cannot be read."""
        splits = read_splits(Path(unit.more["splits"]))
        screenshots = pictures_of(str(Path(unit.path).parent / "screenshots"))
        for name in unit.more["names"]:
            yield self._convert(Path(unit.path) / name, splits, screenshots)

    def _convert(self, path: Path, splits: Mapping[str, str], screenshots: Pictures) -> Converted:
        trajectory = path.stem
        split = splits.get(trajectory)
        meta = {"licence": self.licence, "source_ref": f"annotations/{path.name}"}
        try:
            episode = _object(load_json(_bytes_of(path)), "the file")
            info = _object(episode.get("task_info"), "task_info")
            steps = episode.get("steps")
            if not isinstance(steps, list):
                raise ValueError("steps is no list")
        except ValueError as error:
            task = Task("gui_odyssey", trajectory, "", self.platform, split, meta)
            return Converted(task, (), (Note("dropped", trajectory, "annotation unreadable", f"{path}: {error}"),))
        said = []
        if episode.get("episode_id") != trajectory:
            said.append(
                Note("repaired", trajectory, "id taken from the file's name", f"{episode.get('episode_id')!r:.80}")
            )
        meta |= _about(episode, info)
        task = Task("gui_odyssey", trajectory, text_in(info, "instruction"), self.platform, split, meta)
        converted = finish(task, _drafts(steps, episode.get("step_length"), trajectory, screenshots, said))
        return replace(converted, notes=(*said, *converted.notes))


def _about(episode: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, Any]:
    """What every step's meta data hold of the episode: what the owners' scores are averaged by, and how it ended."""
    device, outcome = episode.get("device_info"), outcome_of(episode["steps"])
    apps, length = info.get("app"), episode.get("step_length")
    about = {
        "category": text_in(info, "category"),
        "apps": [app for app in apps if isinstance(app, str)] if isinstance(apps, list) else [],
        "device": text_in(device, "device_name"),
        "step_length": length if isinstance(length, int) else None,
    }
    return about | ({"outcome": outcome} if outcome else {})


def _drafts(
    steps: Sequence[Any], length: Any, trajectory: str, screenshots: Pictures, said: list[Note]
) -> Iterator[Draft]:
    """The steps of an episode. Raises Unusable; what is repaired on the way is said."""
    for t, step in enumerate(steps):
        if not isinstance(step, dict) or step.get("step", t) != t:
            raise Unusable("a step is missing", f"step {t} is due")
        action = to_action(step)
        low_level = text_in(step, "low_level_instruction")
        source = "low_level_instruction" if low_level else "action"
        action = replace(action, step_instruction=low_level or instruction_of(action))
        seen = shortened(first_sentence(text_in(step, "description")))
        boxes, meta = boxes_of(step.get("sam2_bbox"), action, f"{trajectory}/{t}", said)
        yield Draft(
            action,
            _screenshot(screenshots, text_in(step, "screenshot") or f"{trajectory}_{t}.png"),
            boxes,
            seen,
            "description" if seen else "none",
            meta={"step_instruction_source": source, **meta},
        )
    if isinstance(length, int) and length > len(steps):
        raise Unusable("a step is missing", f"{len(steps)} of {length} are there")


def _screenshot(screenshots: Pictures, name: str) -> bytes:
    try:
        screenshot = screenshots.read(name)
    except ValueError as error:
        raise Unusable("screenshot does not decode", str(error)) from error
    if screenshot is None:
        raise Unusable("screenshot missing", name)
    return screenshot


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}). Look after the file, then run it again.") from error


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no object")
    return value


CONVERTERS.register("gui_odyssey")(GuiOdyssey())
