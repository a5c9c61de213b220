"""A SAM or SAM 2 of transformers in this process. It knows no tool.

Everything in a picture is found as its authors do: a grid of points asks for the mask around each, unsure masks and those that another
one repeats are left out. transformers' own pipeline for it needs torchvision; this does not (SAM 2's image processor still does).
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tracer1.toolbox.backends import BACKENDS, PixelBox
from tracer1.toolbox.backends._local import Local
from tracer1.toolbox.backends._pictures import open_checked

if TYPE_CHECKING:
    import numpy as np

_POINTS_AT_ONCE = 32
_SAME = 0.7  # intersection over union from which two masks are one
_TALLEST = 256  # pixels of the masks that are compared


@BACKENDS.register("segmentation.transformers")
class LocalSegmentation:
    """See `backends.Segmentation`.

    Args:
        model: A folder or a hub's name of a model for "mask-generation".
        device: See `Local`.
        points: On each side of the grid.
        sure: Least quality that the model itself expects of a mask, 0 to 1; its authors take 0.88.
        most: Masks of everything that are kept, the surest.
    """

    def __init__(
        self, *, model: str, device: str = "auto", points: int = 16, sure: float = 0.88, most: int = 64
    ) -> None:
        self.points, self.sure, self.most = points, sure, most
        self.identity = f"transformers {model} {points} {sure} {most}"
        self._local = Local("segmentation", ("AutoModelForMaskGeneration", "AutoProcessor"), model, device)

    def masks(self, image: bytes, boxes: Sequence[PixelBox] | None) -> "np.ndarray":
        """See `backends.Segmentation`."""
        import numpy as np

        picture = open_checked(image)
        if boxes is not None:
            if not boxes:
                return np.zeros((0, picture.height, picture.width), bool)
            given = {"input_boxes": [[[float(x) for x in box] for box in boxes]]}
            return self._asked(picture, given)[0]
        grid = [
            [[(x + 0.5) * picture.width / self.points, (y + 0.5) * picture.height / self.points]]
            for y in range(self.points)
            for x in range(self.points)
        ]
        found = [
            self._asked(picture, {"input_points": [grid[start : start + _POINTS_AT_ONCE]]}, self.sure)
            for start in range(0, len(grid), _POINTS_AT_ONCE)
        ]
        masks, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return masks[different(masks, scores, self.most)]

    def _asked(self, picture: Any, given: dict[str, Any], sure: float = -math.inf) -> tuple["np.ndarray", "np.ndarray"]:
        """Masks (count, height, width) and how sure the model is of each, of those that it is sure enough of."""

        def work(model: Any, processor: Any) -> Any:
            inputs = processor(images=picture, return_tensors="pt", **given)
            outputs = model(**inputs.to(model.device, dtype=model.dtype), multimask_output="input_points" in given)
            sizes = [inputs[name].cpu() for name in ("original_sizes", "reshaped_input_sizes") if name in inputs]
            scores, best = outputs.iou_scores[0].float().cpu().max(dim=-1)
            kept = (scores >= sure).nonzero()[:, 0]
            masks = outputs.pred_masks[:, kept].float().cpu()
            (full,) = processor.post_process_masks(masks, *sizes)
            return full[range(len(kept)), best[kept]].numpy().astype(bool), scores[kept].numpy()

        return self._local.use(work)


def different(masks: "np.ndarray", scores: "np.ndarray", most: int) -> list[int]:
    """Which masks to keep: from the surest on, without empty ones and those that one before repeats, at most `most`.

    Args:
        masks: (count, height, width) booleans.
        scores: (count,)
        most: Count.
    """
    import numpy as np

    if not len(masks):
        return []
    step = max(1, -(-max(masks.shape[1:]) // _TALLEST))
    small = masks[:, ::step, ::step].reshape(len(masks), -1)
    kept: list[int] = []
    for place in np.argsort(-scores, kind="stable"):
        mask = small[place]
        size = mask.sum()
        if (
            len(kept) < most
            and size
            and not any((mask & small[other]).sum() > _SAME * (mask | small[other]).sum() for other in kept)
        ):
            kept.append(int(place))
    return kept
