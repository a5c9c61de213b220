"""Multimodal-Mind2Web in small, in the owner's format: parquet rows with JSON in their texts, and drawn pages."""

import functools
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

WIDTH = 1280
TASK = "Rent a bicycle in Ghent"
REPRS = ["[link]  Bicycles -> CLICK", "[textbox]  Town -> TYPE: Ghent", "[combobox]  Days -> SELECT: 3 days"]


@functools.cache
def page(height: int = 2600, target: tuple[float, ...] | None = None, kind: str = "JPEG", width: int = WIDTH) -> bytes:
    """A white page with a grey ruler on its left, and a red rectangle where the target is."""
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    for y in range(0, height, 100):
        draw.rectangle([0, y, 20, y + 50], fill="grey")
    if target:
        x, y, w, h = target
        draw.rectangle([x, y, x + w - 1, y + h - 1], fill="red")
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def candidate(box: str | None, original: bool = True, node: str = "12") -> str:
    """A positive candidate as released: a JSON text whose `attributes` are a JSON text again."""
    attributes = {"backend_node_id": node, "class": 'a "quoted" class'}
    if box is not None:
        attributes["bounding_box_rect"] = box
    return json.dumps(
        {
            "tag": "a",
            "attributes": json.dumps(attributes),
            "backend_node_id": node,
            "is_original_target": original,
            "is_top_level_target": original,
        }
    )


def operation(op: str, value: str = "", original: str | None = None) -> str:
    return json.dumps({"original_op": original or op, "value": value, "op": op})


def row(task: str, index: int, boxes: Sequence[str] = ("100,500,200,40",), **fields: Any) -> dict[str, Any]:
    """A row; its operation follows from its place in REPRS."""
    reprs = fields.pop("action_reprs", REPRS)
    kind, _, value = reprs[index].rpartition(" -> ")[2].partition(": ") if index < len(reprs) else ("CLICK", "", "")
    image = fields.pop("image", None) or page(height=1200)
    return {
        "action_uid": f"uid-{task}-{index}",
        "raw_html": "<html/>",
        "cleaned_html": "<html/>",
        "operation": operation(kind, value),
        "pos_candidates": [candidate(box, original=n == 0, node=str(n)) for n, box in enumerate(boxes)],
        "neg_candidates": [candidate("0,0,1280,2000", original=False)],
        "website": "bikes",
        "domain": "Travel",
        "subdomain": "Rental",
        "annotation_id": task,
        "confirmed_task": TASK,
        "screenshot": {"bytes": image, "path": None},
        "action_reprs": reprs,
        "target_action_index": str(index),
        "target_action_reprs": reprs[index] if index < len(reprs) else "",
        **fields,
    }


def write_parquet(path: Path, rows: Sequence[dict[str, Any]], group: int = 2) -> Path:
    """A file of row groups of `group` rows."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    lists = ("pos_candidates", "neg_candidates", "action_reprs")
    types = {"screenshot": image, **dict.fromkeys(lists, pa.list_(pa.string()))}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in rows[0]])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(pa.Table.from_pylist(list(rows), schema), path, row_group_size=group)
    return path


def whole_task(task: str, **fields: Any) -> list[dict[str, Any]]:
    """The three rows of a task."""
    return [row(task, index, **fields) for index in range(len(REPRS))]
