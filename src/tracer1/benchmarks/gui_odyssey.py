"""GUI-Odyssey with high-level goals: step success as UI-TARS tabulates it, the owner's AMS, and episode success.

The four ways of splitting (random, task, device, app) are shards of their own: `split` says which of them these are.
"""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tracer1.benchmarks import BENCHMARKS
from tracer1.benchmarks._offline import OfflineBenchmark
from tracer1.benchmarks._published import GUI_ODYSSEY
from tracer1.errors import ConfigError
from tracer1.metrics.comparing import TOUCHES
from tracer1.metrics.episodes import Statistic, all_right, mean_of, ratio, within
from tracer1.metrics.rules import Gold
from tracer1.metrics.rules.gui_odyssey.ams import passes_for_being_empty
from tracer1.registry import nearest
from tracer1.schema import Action, Step

SPLITS = ("random", "task", "device", "app")
CATEGORIES = 6  # all must occur for the owner's mean over them


@BENCHMARKS.register("gui_odyssey")
@dataclass(kw_only=True)
class GuiOdyssey(OfflineBenchmark):
    """Step success, AMS, episode success.

    Args:
        rule, beside: `os_atlas`, `ams`.
        split: Which of the owner's splits the shards are the test part of. The owner's AMS is the mean over steps, but for `random`
            the mean over the six categories.
    """

    rule: str = "os_atlas"
    split: str = "random"

    name: ClassVar[str] = "gui_odyssey"
    family: ClassVar[str] = "gui_odyssey"
    dataset: ClassVar[str] = "gui_odyssey"
    headline: ClassVar[str] = "step_success"
    published = GUI_ODYSSEY

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.split not in SPLITS:
            hint = nearest(str(self.split), list(SPLITS))
            raise ConfigError(f"benchmark.split is {self.split!r}; it is one of {', '.join(SPLITS)}.{hint}")
        self.counts |= {"split": self.split, "no_box": 0, "passed_for_being_empty": 0}

    def gold(self, step: Step) -> Gold:
        """A box that does not hold the expert's own tap is no target, but the owner's rule counts it all the same."""
        raw = step.meta.get("sam2_bbox")
        return Gold(step.future[0].action, (tuple(raw),) if raw else step.boxes, step.image_size)

    def due(self, steps: list[Step]) -> int:
        """The owner's count; an episode that has others is left out of episode success."""
        length = steps[0].meta.get("step_length")
        return length if isinstance(length, int) else len(steps)

    def remark(self, step: Step, predicted: Action | None) -> None:
        """How often there is no box to hit, and how often an empty text passes."""
        self.counts["no_box"] += self.kind(step) in TOUCHES and not self.gold(step).boxes
        self.counts["passed_for_being_empty"] += passes_for_being_empty(predicted, step.future[0].action)

    def headline_of(self, rule: str) -> str:
        """The owner's own number is called AMS."""
        return "ams" if rule == "ams" else self.headline

    def figures(self, name: str) -> dict[str, Statistic]:
        """Over steps and episodes, and by category."""
        by_category = self._by_category(ratio("success"))
        whole = self.split == "random" and len(by_category) == CATEGORIES
        score = self.headline_of(name)
        found = {
            score: mean_of(list(by_category.values())) if name == "ams" and whole else ratio("success"),
            "type_match": ratio("type_match"),
        }
        if name == "ams":
            found["over_steps"] = ratio("success")
            success = self._by_category(all_right())
            found["episode_success"] = mean_of(list(success.values())) if whole else all_right()
            found["episode_success.over_episodes"] = all_right()
        else:
            found["grounding"] = ratio("hits", "clicks")
            found["episode_success"] = all_right()
        return found | {f"{score}.{category}": figure for category, figure in by_category.items()}

    def _by_category(self, figure: Statistic) -> dict[str, Statistic]:
        categories = [str(episode.meta.get("category") or "") for episode in self.episodes]
        names = sorted(name for name in Counter(categories) if name)
        return {name: within(np.array([c == name for c in categories], dtype=bool), figure) for name in names}
