"""Multimodal-Mind2Web: element accuracy, operation F1 and step success on the three test splits, and their mean.

Each rule averages, and leaves out, what its owner does.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tracer1.benchmarks import BENCHMARKS
from tracer1.benchmarks._offline import OfflineBenchmark
from tracer1.benchmarks._published import MIND2WEB
from tracer1.metrics.episodes import ELEMENT_COLUMNS, Statistic, mean_of, mean_of_ratios, ratio, within
from tracer1.metrics.operations import OPERATIONS, operation_of
from tracer1.metrics.rules import SKIPPED, Element, ElementVerdict, Gold
from tracer1.schema import Action, Step

_SEEN_ONLY = ("uground", "original")  # rules under which a step that nobody could be shown is wrong


@BENCHMARKS.register("mind2web")
@dataclass(kw_only=True)
class Mind2Web(OfflineBenchmark):
    """Three numbers for each rule, by split and in the mean.

    Args:
        rule, beside: `seeclick`, `uground`, `original`. Shards keep the boxes of the right elements only: under `original` a place in
            one of them chooses it, and any other place chooses nothing.
    """

    rule: str = "seeclick"

    name: ClassVar[str] = "mind2web"
    family: ClassVar[str] = "mind2web"
    dataset: ClassVar[str] = "multimodal_mind2web"
    headline: ClassVar[str] = "step_success"
    columns: ClassVar[tuple[str, ...]] = ELEMENT_COLUMNS
    published = MIND2WEB

    def gold(self, step: Step) -> Gold:
        """Every box is one of a right element."""
        elements = tuple(Element(str(number), box, positive=True) for number, box in enumerate(step.boxes))
        return Gold(step.future[0].action, step.boxes, step.image_size, elements)

    def kind(self, step: Step) -> str:
        """The operation: SeeClick's F1 is averaged by it."""
        return operation_of(step.future[0].action)

    def judge(self, name: str, step: Step, predicted: Action | None) -> ElementVerdict:
        """Steps without a screenshot: SeeClick leaves them out, the others count them as wrong, whatever is answered."""
        if step.screenshot is None:
            return ElementVerdict(False, 0.0, False) if name in _SEEN_ONLY else SKIPPED
        return super().judge(name, step, predicted)

    def figures(self, name: str) -> dict[str, Statistic]:
        """SeeClick's are means over steps, with the macro means it prints beside them; the others' are means over tasks."""
        macro = {
            "element_accuracy": mean_of_ratios("element"),
            "operation_f1": mean_of_ratios("f1"),
            "step_success": mean_of_ratios("success"),
        }
        micro = {
            "element_accuracy": ratio("element"),
            "operation_f1": mean_of([ratio(f"f1_{name}", f"steps_{name}") for name in OPERATIONS]),
            "step_success": ratio("success"),
        }
        chosen = micro | {f"macro_{k}": v for k, v in macro.items()} if name == "seeclick" else macro
        masks = {s: np.array([e.split == s for e in self.episodes], dtype=bool) for s in self.splits()}
        found: dict[str, Statistic] = {}
        for metric, figure in chosen.items():
            by_split = {split: within(mask, figure) for split, mask in masks.items()}
            found[metric] = mean_of(list(by_split.values()))
            found |= {f"{metric}.{split}": of_split for split, of_split in by_split.items()}
        return found

    def splits(self) -> list[str]:
        """The splits that the shards hold, in the order of the tables."""
        order = ("test_task", "test_website", "test_domain")
        there = {episode.split for episode in self.episodes}
        return sorted(there, key=lambda split: (order.index(split) if split in order else len(order), split))
