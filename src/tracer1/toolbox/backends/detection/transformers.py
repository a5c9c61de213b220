"""A detector that takes names, of transformers, in this process: OWL-ViT, OWLv2, Grounding DINO. It knows no tool."""

from typing import Any

from tracer1.toolbox.backends import BACKENDS, PixelBox
from tracer1.toolbox.backends._local import Local
from tracer1.toolbox.backends._pictures import open_checked


@BACKENDS.register("detection.transformers")
class LocalDetection:
    """See `backends.Detection`.

    Args:
        model: A folder or a hub's name of a model for "zero-shot-object-detection".
        device: See `Local`.
        threshold: Least score, 0 to 1; T3 takes 0.1 with OWL-ViT (tools, section 1), Grounding DINO's authors take 0.25 to 0.35.
        prompt: What `{name}` is put into; T3's for OWL-ViT. Grounding DINO wants `{name}.`, which it gets whatever is here.
    """

    def __init__(
        self, *, model: str, device: str = "auto", threshold: float = 0.1, prompt: str = "a photo of {name}"
    ) -> None:
        self.threshold, self.prompt = threshold, prompt
        self.identity = f"transformers {model} {threshold} {prompt}"
        self._local = Local("detection", ("AutoModelForZeroShotObjectDetection", "AutoProcessor"), model, device)

    def find(self, image: bytes, name: str) -> list[tuple[PixelBox, float]]:
        """See `backends.Detection`."""
        picture = open_checked(image)

        def work(model: Any, processor: Any) -> Any:
            dino = "dino" in model.config.model_type
            text = f"{name.strip().lower().rstrip('.')}." if dino else self.prompt.replace("{name}", name)
            settings = {"padding": "max_length", "truncation": True} if not dino else {"truncation": True}
            inputs = processor(text=[text] if dino else [[text]], images=picture, return_tensors="pt", **settings)
            outputs = model(**inputs.to(model.device, dtype=model.dtype))
            (found,) = processor.post_process_grounded_object_detection(
                outputs, threshold=self.threshold, target_sizes=[(picture.height, picture.width)]
            )
            return found["boxes"].float().tolist(), found["scores"].float().tolist()

        boxes, scores = self._local.use(work)
        inside = [(_cut(box, picture.size), score) for box, score in zip(boxes, scores, strict=True)]
        kept = [(box, score) for box, score in inside if box[2] > box[0] and box[3] > box[1]]
        return sorted(kept, key=lambda found: -found[1])


def _cut(box: list[float], size: tuple[int, int]) -> PixelBox:
    """The part of a box that lies in the picture."""
    x1, y1, x2, y2 = box
    width, height = map(float, size)
    return min(max(x1, 0.0), width), min(max(y1, 0.0), height), min(max(x2, 0.0), width), min(max(y2, 0.0), height)
