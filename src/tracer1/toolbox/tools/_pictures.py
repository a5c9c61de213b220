"""What tools that ask a model about an image have in common. It knows no model."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer1.toolbox.spec import Desk
from tracer1.toolbox.tools._inside import inside
from tracer1.toolbox.workspace import write_new

LONGEST = 1568  # pixels of the longer side of what a model is shown


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as a model is shown it."""

    data: bytes  # PNG or JPEG, written by us
    width: int  # of the image itself, in pixels
    height: int

    @property
    def scale(self) -> float:
        """Pixels of the image for one of what is shown, 1 or more."""
        return max(1.0, max(self.width, self.height) / LONGEST)


def shown(desk: Desk, path: Path, box: Any = None) -> Picture:
    """Decodes an image, or a box of it, inside the sandbox; raises ToolError for what is none."""
    answer = inside(desk, "pixels.encoded", path=path, longest=LONGEST, box=box)
    return Picture(base64.b64decode(answer["data"]), int(answer["width"]), int(answer["height"]))


def kept(desk: Desk, stem: str, data: bytes) -> str:
    """Writes a picture that a model made into the workspace; returns its name there."""
    suffix = ".jpg" if data.startswith(b"\xff\xd8") else ".webp" if data[8:12] == b"WEBP" else ".png"
    path, name = desk.workspace.new(stem, suffix)
    write_new(path, data)
    return name
