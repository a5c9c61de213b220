"""Boxes from a vision-language model that was trained to write them as JSON: Qwen2.5-VL, Qwen3-VL. It knows no tool.

Qwen3-VL writes places from 0 to 1000 of the picture, whatever its size; Qwen2.5-VL writes pixels of the picture as it sees it, that is
after it was resized to whole patches. So that these are the picture's own, it is sent at a size that the model leaves alone.
"""

import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from tracer1.errors import ConfigError
from tracer1.registry import nearest
from tracer1.syntax import literal
from tracer1.toolbox.backends import BACKENDS, PixelBox
from tracer1.toolbox.backends._chat import ChatBackend
from tracer1.toolbox.backends._pictures import open_checked

# How a model writes places: 0 to 1000 of the picture, or its pixels
COORDINATES = ("relative", "pixels")
_PATCH = 28  # pixels: Qwen2.5-VL's patch of 14, merged by two
_LEAST, _MOST = (
    4 * _PATCH * _PATCH,
    1280 * _PATCH * _PATCH,
)  # pixels that it takes without resizing, at vLLM's and its own defaults
_PROMPT = (
    "Find every {name} in the picture. Answer with a JSON list only, one entry for each: "
    '[{{"bbox_2d": [x1, y1, x2, y2], "label": "{name}"}}]. Answer [] if there is none.'
)
_FOUR = re.compile(r"[\[(]\s*" + r"\s*,\s*".join([r"(-?\d+(?:\.\d+)?)"] * 4) + r"\s*[\])]")


@BACKENDS.register("detection.grounding")
class Grounding(ChatBackend):
    """See `backends.Detection` and, for the settings, `ChatBackend`.

    Args:
        coordinates: `relative` (Qwen3-VL) or `pixels` (Qwen2.5-VL).
    """

    def __init__(
        self,
        *,
        endpoints: Sequence[str],
        model: str | None = None,
        coordinates: str = "relative",
        api_key_env: str = "",
        max_tokens: int = 1024,
        timeout_s: float = 60.0,
        patience_s: float = 180.0,
    ) -> None:
        if coordinates not in COORDINATES:
            raise ConfigError(
                f"backends.detection.coordinates is {coordinates!r}.{nearest(str(coordinates), [*COORDINATES])} "
                f"Known: {', '.join(COORDINATES)}."
            )
        super().__init__(
            "detection",
            endpoints=endpoints,
            model=model,
            api_key_env=api_key_env,
            max_tokens=max_tokens,
            timeout_s=timeout_s,
            patience_s=patience_s,
        )
        self.coordinates = coordinates
        self.identity += f" {coordinates}"

    def find(self, image: bytes, name: str) -> list[tuple[PixelBox, float]]:
        """See `backends.Detection`; such a model gives no scores, so each box has 1."""
        picture = open_checked(image)
        sent, scale = image, (picture.width / 1000, picture.height / 1000)
        if self.coordinates == "pixels":
            size = whole_patches(*picture.size)
            buffer = io.BytesIO()
            picture.resize(size).save(buffer, "PNG")
            sent, scale = buffer.getvalue(), (picture.width / size[0], picture.height / size[1])
        text = self.answer(sent, _PROMPT.format(name=name.replace('"', "'")))
        return [(box, 1.0) for box in scaled(boxes_in(text), scale, picture.size)]


def boxes_in(text: str) -> list[list[float]]:
    """The boxes in a reply: of the JSON in it, or else whatever looks like four numbers in brackets; in the order of the text."""
    start, end = text.find("["), text.rfind("]")
    for read in (json.loads, literal):
        try:
            found = list(_boxes(read(text[start : end + 1])))
        except (ValueError, RecursionError, TypeError):
            continue
        return found
    return [[float(number) for number in match] for match in _FOUR.findall(text)]


def _boxes(value: Any) -> Iterator[list[float]]:
    if isinstance(value, dict):
        for key in ("bbox_2d", "bbox", "box_2d", "box"):
            if key in value:
                yield from _boxes(value[key])
                return
    elif isinstance(value, (list, tuple)):
        if len(value) == 4 and all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in value):
            yield [float(item) for item in value]
            return
        for item in value:
            yield from _boxes(item)


def scaled(boxes: Sequence[Sequence[float]], scale: tuple[float, float], size: tuple[int, int]) -> list[PixelBox]:
    """Boxes in pixels, cut off at the picture's edges; those that cover nothing are left out."""
    found = []
    for x1, y1, x2, y2 in boxes:
        left, right = sorted(min(max(x * scale[0], 0.0), float(size[0])) for x in (x1, x2))
        top, bottom = sorted(min(max(y * scale[1], 0.0), float(size[1])) for y in (y1, y2))
        if right > left and bottom > top:
            found.append((left, top, right, bottom))
    return found


def whole_patches(width: int, height: int) -> tuple[int, int]:
    """The size nearest to a picture's of which each side is whole patches and which the model takes as it is."""
    factor = min(1.0, (_MOST / (width * height)) ** 0.5) * max(1.0, (_LEAST / (width * height)) ** 0.5)
    rounding = math.floor if factor < 1 else math.ceil if factor > 1 else round
    sides = [max(1, rounding(side * factor / _PATCH)) * _PATCH for side in (width, height)]
    return sides[0], sides[1]
