"""Step -> Prompt: chat template, token ids, image patches, once. Everything after it carries these and tokenises nothing again."""

import io
from collections.abc import Sequence

import torch
from PIL import Image

from tracer1.errors import DataError
from tracer1.models.backbone import Backbone
from tracer1.prompts import to_messages
from tracer1.schema import Prompt, Step


class PromptEncoder:
    """Turns steps into prompts for one backbone.

    Args:
        backbone: Tokenizer, image processor and the id of the image token.
        horizon: T, the most steps that a plan may have.
        style: The prompt's style, see `prompts.STYLES`.
        max_prompt_tokens: A longer prompt is dropped (and counted by the caller), never cut: a cut image is garbage.
        pixels: Least and most pixels of the resized screenshot; None keeps the model's own.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        horizon: int,
        style: str = "full",
        max_prompt_tokens: int = 6144,
        pixels: Sequence[int] | None = None,
    ) -> None:
        self.tokenizer, self.processor = backbone.tokenizer, backbone.image_processor
        self.image_token = backbone.model.config.image_token_id
        self.horizon, self.style, self.max_prompt_tokens = horizon, style, max_prompt_tokens
        if pixels is not None:
            self.processor.size = {"shortest_edge": pixels[0], "longest_edge": pixels[1]}

    def encode(self, step: Step) -> Prompt | None:
        """The prompt of a step, or None when it has more than `max_prompt_tokens` tokens.

        Raises:
            DataError: a screenshot that does not decode, or that the image processor refuses.
        """
        messages = to_messages(step, self.horizon, self.style)
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        token_ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        tensors: dict[str, torch.Tensor] = {}
        if step.screenshot is not None:
            try:
                tensors = self._patches(step.screenshot)
            except (
                OSError,
                SyntaxError,
                ValueError,
            ) as error:  # what Pillow raises, and the processor for extreme shapes
                raise DataError(
                    f"Step {step.key!r}: its screenshot does not decode ({error}). Find more of them with "
                    "tools/check_shards.py; data.verify_images=true tells while loading."
                ) from error
            merged = int(tensors["image_grid_thw"].prod()) // self.processor.merge_size**2
            at = token_ids.index(self.image_token)
            token_ids[at : at + 1] = [self.image_token] * merged
        if len(token_ids) > self.max_prompt_tokens:
            return None
        return Prompt(step.key, tuple(token_ids), tensors, starts_in_think=text.rstrip().endswith("<think>"))

    def _patches(self, screenshot: bytes) -> dict[str, torch.Tensor]:
        with Image.open(io.BytesIO(screenshot)) as image:
            features = self.processor(images=[image.convert("RGB")], return_tensors="pt")
        return {"pixel_values": features["pixel_values"], "image_grid_thw": features["image_grid_thw"]}
