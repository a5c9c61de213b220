"""From what a raw data set says of a trajectory to checked steps, and a note for whatever was dropped, cut or repaired.

The rules that hold for every source stand here once (GUI data, section A.7); a converter only reads its format. It knows nothing
about files, shards or workers.
"""

import math
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tracer1.actions import ENDINGS, missing_arguments
from tracer1.data.images import check_image, image_format
from tracer1.data.records import make_key
from tracer1.interfaces import Converted, Note, Task
from tracer1.schema import DONE, NOT_DONE, Action, Box, PlanStep, Point, Step

SLACK = 10.0  # 1 % of the screen: a place that lies no further outside is moved to the edge
_TEXTS = ("step_instruction", "content", "app_name")
_PLACES = ("point", "end_point")


@dataclass(frozen=True, slots=True)
class Draft:
    """One recorded step as the source has it, places already in 0..1000 of the screenshot, still unchecked."""

    action: Action
    screenshot: bytes | None = None  # as recorded; None where the source has none
    boxes: tuple[Box, ...] = ()
    abstraction: str = ""  # what is seen before the step; never what the step led to
    abstraction_source: str = "none"  # where it was taken from
    image_size: tuple[int, int] | None = None  # width, height; read from the screenshot where there is one
    meta: Mapping[str, Any] = field(default_factory=dict)


class Unusable(Exception):
    """Raised by a converter while it gives drafts: this step and those after it cannot be used, or (`whole`) no step at all."""

    def __init__(self, reason: str, detail: str = "", whole: bool = False) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail, self.whole = reason, detail, whole


def finish(task: Task, drafts: Iterable[Draft], notes: Iterable[Note] = ()) -> Converted:
    """Checks the drafts of one trajectory and makes its steps.

    A trajectory ends before its first unusable step (no middle step is ever left out) and then has no `done`; otherwise its last
    step is `done`. It is dropped where nothing is left, where steps follow its end, and where the goal is empty.

    Args:
        task: What the steps share.
        drafts: In order; may raise Unusable on the way.
        notes: What the converter repaired before.
    """
    said = list(notes)
    task = replace(task, instruction=_text(task.instruction).strip())
    found: list[Draft] = []
    cut: Unusable | None = None
    try:
        if not task.instruction:
            raise Unusable("no instruction", whole=True)
        for draft in drafts:
            if found and found[-1].action.action_type in ENDINGS:
                raise Unusable("steps after the end", f"step {len(found)}", whole=True)
            found.append(_checked(draft, f"{task.trajectory}/{len(found)}", said))
    except Unusable as problem:
        ended = not problem.whole and bool(found) and found[-1].action.action_type in ENDINGS
        cut = Unusable("steps after the end", problem.reason, whole=True) if ended else problem
    if cut is not None and (cut.whole or not found):
        return Converted(task, (), (*said, Note("dropped", task.trajectory, cut.reason, cut.detail)))
    if not found:
        return Converted(task, (), (*said, Note("dropped", task.trajectory, "no steps")))
    if cut is not None:
        said.append(Note("cut", f"{task.trajectory}/{len(found)}", cut.reason, cut.detail))
    return Converted(task, _steps(task, found, whole=cut is None), tuple(said))


def _checked(draft: Draft, record: str, said: list[Note]) -> Draft:
    """The draft with places within the screenshot, texts in NFC and its image's size. Raises Unusable."""
    size = draft.image_size
    if draft.screenshot is not None:
        try:
            size = check_image(draft.screenshot)
        except ValueError as error:
            raise Unusable("screenshot does not decode", str(error)) from error
        if image_format(draft.screenshot) is None:
            raise Unusable("screenshot is neither PNG nor JPEG")  # shards hold it as it is
    action = draft.action
    values: dict[str, Any] = {name: _text(value) for name in _TEXTS if (value := getattr(action, name)) is not None}
    for name in _PLACES:
        if (place := getattr(action, name)) is not None:
            values[name] = _inside(place, name, record, said)
    action = replace(action, **values)
    if missing := [name for name in missing_arguments(action) if name not in _PLACES]:
        raise Unusable("argument missing", f"{action.action_type} without {missing[0]}")
    boxes = tuple(box for box in map(_box_inside, draft.boxes) if box is not None)
    return replace(draft, action=action, boxes=boxes, image_size=size, abstraction=_text(draft.abstraction))


def _inside(place: Point, name: str, record: str, said: list[Note]) -> Point:
    x, y = (min(1000.0, max(0.0, float(v))) for v in place)
    outside = max(abs(x - place[0]), abs(y - place[1]))
    if not (all(map(math.isfinite, place)) and outside <= SLACK):
        raise Unusable("place outside the screenshot", f"{name} ({place[0]:.1f}, {place[1]:.1f}) of 1000")
    if outside:
        said.append(Note("repaired", record, "place moved to the edge", f"{name} was {outside:.1f} of 1000 outside"))
    return x, y


def _box_inside(box: Box) -> Box | None:
    """The part of a box that can be seen; None where nothing can, and of a box that is none."""
    if not all(map(math.isfinite, box)):
        return None
    x1, y1, x2, y2 = (min(1000.0, max(0.0, float(v))) for v in box)
    return (
        (x1, y1, x2, y2)
        if x1 <= x2 and y1 <= y2 and not (box[2] < 0 or box[3] < 0 or box[0] > 1000 or box[1] > 1000)
        else None
    )


def _text(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _steps(task: Task, drafts: list[Draft], whole: bool) -> tuple[Step, ...]:
    last = len(drafts) - 1
    expert = tuple(
        PlanStep(d.action, DONE if whole and t == last else NOT_DONE, d.abstraction, t + 1)
        for t, d in enumerate(drafts)
    )
    return tuple(
        Step(
            key=make_key(task.dataset, task.trajectory, t),
            dataset=task.dataset,
            trajectory=task.trajectory,
            index=t,
            instruction=task.instruction,
            screenshot=draft.screenshot,
            history=expert[:t],
            future=expert[t:],
            boxes=draft.boxes,
            platform=task.platform,
            image_size=draft.image_size,
            meta={**task.meta, **draft.meta, "abstraction_source": draft.abstraction_source},
        )
        for t, draft in enumerate(drafts)
    )
