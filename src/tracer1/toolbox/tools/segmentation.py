"""segmentation: outlines of things in an image as a NumPy archive (tools, section 1; there it is a pickle, which can run code).

It knows no model.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracer1.toolbox import TOOLS
from tracer1.toolbox.spec import Desk, ToolError, boxes, path, tool
from tracer1.toolbox.tools._pictures import shown
from tracer1.toolbox.workspace import write_new

if TYPE_CHECKING:
    import numpy as np

_MOST_BYTES = 512 << 20  # of the masks in memory: one byte a pixel and mask


@TOOLS.register("segmentation")
@tool(
    "Outlines the things in given boxes of an image, or everything in it.",
    {
        "image_path": path("the image"),
        "prompt": boxes("boxes [x1, y1, x2, y2] in pixels; none: everything", optional=True),
    },
    returns="the path of an .npz file with the arrays masks (count, height, width) of booleans and boxes (count, 4) around them",
    backend="segmentation",
)
def segmentation(desk: Desk, image_path: Path, prompt: Sequence[Sequence[float]] | None = None) -> str:
    """Raises ToolError for what is no image, and for more masks than can be held."""
    import numpy as np

    model = desk.backends.need("segmentation")
    picture = shown(desk, image_path)
    scaled = [tuple(place / picture.scale for place in box) for box in prompt] if prompt else None
    masks = model.masks(picture.data, scaled)
    most = _MOST_BYTES // (picture.width * picture.height)
    if scaled is not None and len(masks) > most:
        raise ToolError("refused", f"An image of this size takes at most {most} boxes at once.")
    masks = enlarged(masks[:most], picture.width, picture.height)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, masks=masks, boxes=around(masks))
    place, name = desk.workspace.new("segmentation", ".npz")
    write_new(place, buffer.getvalue())
    return name


def enlarged(masks: "np.ndarray", width: int, height: int) -> "np.ndarray":
    """Masks (count, h, w) in the size of the image, by the nearest pixel."""
    rows = [min(masks.shape[1] - 1, int((y + 0.5) * masks.shape[1] / height)) for y in range(height)]
    columns = [min(masks.shape[2] - 1, int((x + 0.5) * masks.shape[2] / width)) for x in range(width)]
    return masks[:, rows][:, :, columns]


def around(masks: "np.ndarray") -> "np.ndarray":
    """The box (count, 4) around each mask, in pixels; zeros for an empty one."""
    import numpy as np

    found = np.zeros((len(masks), 4), np.int32)
    for place, mask in enumerate(masks):
        rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
        if len(rows):
            found[place] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return found
