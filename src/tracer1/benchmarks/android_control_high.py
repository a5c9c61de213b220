"""AndroidControl with high-level goals: step accuracy on the official test split.

Sub-splits and OS-Atlas's list of steps are the owners' files, named in the config; without them there is the whole split alone.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tracer1.benchmarks import BENCHMARKS
from tracer1.benchmarks._offline import OfflineBenchmark
from tracer1.benchmarks._published import ANDROID_CONTROL_HIGH
from tracer1.errors import DataError
from tracer1.metrics.episodes import Statistic, ratio, within
from tracer1.metrics.rules import Gold
from tracer1.schema import Step

AC_IDX = "ac_idx"


@BENCHMARKS.register("android_control_high")
@dataclass(kw_only=True)
class AndroidControlHigh(OfflineBenchmark):
    """Type, grounding and step success, as OS-Atlas and UI-TARS tabulate them.

    Args:
        rule, beside: `os_atlas`, `qwen25`, `os_genesis`, `gui_r1`.
        subsplits: The owner's `test_subsplits.json`: IDD, task_unseen, category_unseen, app_unseen. They overlap; an episode counts for
            the first that names it, as in OS-Atlas's script.
        ids: OS-Atlas's `ac_idx.txt`, the 7,708 steps of its table.
    """

    rule: str = "os_atlas"
    subsplits: str | None = None
    ids: str | None = None

    name: ClassVar[str] = "android_control_high"
    family: ClassVar[str] = "android_control"
    dataset: ClassVar[str] = "android_control"
    headline: ClassVar[str] = "step_success"
    published = ANDROID_CONTROL_HIGH

    def __post_init__(self) -> None:
        super().__post_init__()
        self._subsplits: dict[str, set[str]] = {} if self.subsplits is None else _read(self.subsplits, _subsplits_of)
        self._ids: set[str] = set() if self.ids is None else _read(self.ids, lambda text: set(text.split()))

    def gold(self, step: Step) -> Gold:
        """Qwen's rule counts a hit in any box around the place; all of them are in the step's meta data."""
        candidates = step.meta.get("candidate_boxes") or ()
        return replace(super().gold(step), boxes=tuple(tuple(box) for box in candidates) or step.boxes)

    def parts(self, step: Step) -> tuple[str, ...]:
        """OS-Atlas names the step by its picture."""
        return (AC_IDX,) if f"episode_{step.trajectory}_screenshot_{step.index}" in self._ids else ()

    def part_names(self) -> tuple[str, ...]:
        """Only where the list is given."""
        return (AC_IDX,) if self.ids is not None else ()

    def figures(self, name: str) -> dict[str, Statistic]:
        """Over all steps, those of OS-Atlas's list, and each sub-split."""
        found: dict[str, Statistic] = {}
        for part, prefix in (("", ""), *((f".{part}", f"{part}:") for part in self.part_names())):
            steps = f"{prefix}steps"
            found[f"step_success{part}"] = ratio(f"{prefix}success", steps)
            found[f"type_match{part}"] = ratio(f"{prefix}type_match", steps)
            found[f"grounding{part}"] = ratio(f"{prefix}hits", f"{prefix}clicks")
        of = [next((s for s, ids in self._subsplits.items() if e.name in ids), None) for e in self.episodes]
        for subsplit in self._subsplits:
            mask = np.array([name == subsplit for name in of], dtype=bool)
            found[f"step_success.{subsplit}"] = within(mask, ratio("success"))
        return found


def _subsplits_of(text: str) -> dict[str, set[str]]:
    return {name: {str(episode) for episode in ids} for name, ids in json.loads(text).items()}


def _read(path: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}. Fetch the owner's file, or leave the setting null."
        ) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} does not hold what its owner publishes ({error}). Fetch it again.") from error
