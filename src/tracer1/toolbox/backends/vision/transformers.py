"""A vision-language model of transformers in this process. It knows no tool."""

from collections.abc import Sequence
from typing import Any

from tracer1.toolbox.backends import BACKENDS
from tracer1.toolbox.backends._local import Local
from tracer1.toolbox.backends._pictures import open_checked


@BACKENDS.register("vision.transformers")
class LocalVision:
    """See `backends.Vision`.

    Args:
        model: A folder or a hub's name of a model for "image-text-to-text", with a chat template.
        device: See `Local`.
        max_tokens: Of an answer; it is greedy.
    """

    def __init__(self, *, model: str, device: str = "auto", max_tokens: int = 500) -> None:
        self.max_tokens, self.identity = max_tokens, f"transformers {model} {max_tokens}"
        self._local = Local("vision", ("AutoModelForImageTextToText", "AutoProcessor"), model, device)

    def ask(self, question: str, images: Sequence[bytes]) -> str:
        """See `backends.Vision`."""
        parts = [{"type": "image", "image": open_checked(image)} for image in images]
        talk = [{"role": "user", "content": [*parts, {"type": "text", "text": question}]}]

        def work(model: Any, processor: Any) -> str:
            inputs = processor.apply_chat_template(
                talk, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
            ).to(model.device, dtype=model.dtype)
            ids = model.generate(**inputs, max_new_tokens=self.max_tokens, do_sample=False)
            return processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()

        return self._local.use(work)
