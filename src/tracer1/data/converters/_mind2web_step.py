"""One step of Mind2Web -> a draft: the operation, the positive candidates' boxes, and the part of the page that is kept.

It knows nothing about files or the order of steps.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tracer1.data.converters._text import load_json
from tracer1.data.converters._web_page import Rect, view
from tracer1.data.drafts import Draft, Unusable
from tracer1.interfaces import Note
from tracer1.schema import Action

COLUMNS = (
    "action_uid", "annotation_id", "website", "domain", "subdomain", "confirmed_task", "screenshot", "operation",
    "pos_candidates", "action_reprs", "target_action_index", "target_action_reprs",
)  # fmt: skip

# The owner's `op`, which is also what the owner scores; `original_op` (HOVER and ENTER are CLICK) stays in the step's meta.
_TYPES = {"CLICK": "click", "HOVER": "click", "ENTER": "click", "TYPE": "type", "SELECT": "select"}
_WRITTEN = re.compile(
    r"(?P<element>.*?)\s*->\s*(?P<op>CLICK|HOVER|ENTER|TYPE|SELECT)(?:\s*:\s?(?P<value>.*))?", re.DOTALL
)


def row_draft(row: Mapping[str, Any], written: str, record: str, said: list[Note]) -> Draft:
    """The draft of a recorded step.

    Args:
        row: Its columns; the JSON in some of them still as text.
        written: Its entry of `action_reprs`, used where `target_action_reprs` is empty.
        record: What notes call it.
        said: Takes the notes.

    Raises:
        Unusable: An operation that is none of the owner's, damaged JSON, or a screenshot that does not decode.
    """
    operation = _object(row.get("operation"), "operation")
    targets = _targets(row.get("pos_candidates") or ())
    written = row.get("target_action_reprs") or written
    draft = Draft(
        _action(operation.get("op"), operation.get("value"), written),
        abstraction=_abstraction(row.get("website"), written),
        abstraction_source=_SOURCE,
        meta={
            "action_uid": row.get("action_uid"),
            "op": operation.get("op"),
            "original_op": operation.get("original_op"),
            "page_boxes": [list(target) for target in targets],  # x, y, width, height in pixels of the page
        },
    )
    page = row.get("screenshot")
    page = page.get("bytes") if isinstance(page, Mapping) else page
    if page:
        return _with_page(draft, page, targets, record, said)
    if "screenshot" in row:  # Mind2Web's own JSON has none at all
        said.append(Note("repaired", record, "screenshot missing", "kept without screenshot and place"))
    return draft


def _with_page(draft: Draft, page: bytes, targets: Sequence[Rect], record: str, said: list[Note]) -> Draft:
    """The draft with the part of the page that it keeps, and its places there."""
    try:
        seen = view(page, targets, str(draft.meta["action_uid"] or record))
    except ValueError as error:
        raise Unusable("screenshot does not decode", str(error)) from error
    if targets and not seen.boxes:
        said.append(Note("repaired", record, "target outside the screenshot", "kept without a place"))
    return replace(
        draft,
        action=replace(draft.action, point=seen.point),
        screenshot=seen.image,
        boxes=seen.boxes,
        image_size=seen.size,
        meta={**draft.meta, "page_size": list(seen.page_size), "crop_y0": seen.top},
    )


_SOURCE = "website and the element of action_reprs"


def written_draft(written: str, website: Any, record: str, said: list[Note]) -> Draft:
    """The draft of a step whose row is missing, from what the other rows' `action_reprs` say of it: no screenshot, no place.

    Raises:
        Unusable: They do not say what was done.
    """
    found = _WRITTEN.fullmatch(written)
    if found is None:
        raise Unusable("row missing", f"{record}, and action_reprs has {written!r:.60}")
    said.append(Note("repaired", record, "row missing", "taken from action_reprs, without screenshot and place"))
    action = _action(found["op"], found["value"], written)
    meta = {"row_missing": True, "original_op": found["op"], "page_boxes": []}
    return Draft(action, abstraction=_abstraction(website, written), abstraction_source=_SOURCE, meta=meta)


def _action(op: Any, value: Any, written: str) -> Action:
    kind = _TYPES.get(op)
    if kind is None:
        raise Unusable("unknown operation", repr(op)[:60])
    content = None if kind == "click" else str(value or "")
    return Action(kind, " ".join(written.split()), content=content)


def _abstraction(website: Any, written: str) -> str:
    """What is surely seen before the step: the element that it acts on, on that website."""
    found = _WRITTEN.fullmatch(written)
    element = " ".join((found["element"] if found else "").split())
    return f"page of {website or 'a website'}" + (f" with {element}" if element else "")


def _object(value: Any, what: str) -> Mapping[str, Any]:
    """A JSON object that is given as one or as text."""
    if isinstance(value, str):
        try:
            value = load_json(value.encode())
        except ValueError as error:
            raise Unusable(f"{what} is not JSON", f"{error} in {value!r:.60}") from error
    if not isinstance(value, Mapping):
        raise Unusable(f"{what} is no JSON object", repr(value)[:60])
    return value


def _targets(candidates: Iterable[Any]) -> list[Rect]:
    """The positive candidates' boxes in pixels of the page, the original target first; those without one are left out."""
    found: list[tuple[bool, Rect]] = []
    for candidate in candidates:
        fields = _object(candidate, "candidate")
        attributes = _object(fields.get("attributes") or {}, "candidate's attributes")
        rect = _rect(attributes.get("bounding_box_rect") or fields.get("bounding_box_rect"))
        if rect is not None:
            found.append((not fields.get("is_original_target"), rect))
    return [rect for _, rect in sorted(found, key=lambda pair: pair[0])]


def _rect(text: Any) -> Rect | None:
    """`"x,y,width,height"`; None for what is none, or has no extent at all."""
    try:
        x, y, width, height = (float(part) for part in str(text).split(","))
    except ValueError:
        return None
    whole = all(map(math.isfinite, (x, y, width, height))) and width >= 0 and height >= 0 and (width or height)
    return (x, y, width, height) if whole else None
