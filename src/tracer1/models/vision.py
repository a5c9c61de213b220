"""Pictures into a Qwen3-VL: the vision tower's features, and where they go in the text. It knows nothing of training."""

import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers import Qwen3VLForConditionalGeneration
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionPatchEmbed

from tracer1.models.batch import PictureFeatures, PromptBatch
from tracer1.models.sharding import inside


class LinearPatchEmbed(Qwen3VLVisionPatchEmbed):
    """The same weights as one matrix product: a convolution whose stride is its kernel, several times faster
    (https://github.com/pytorch/pytorch/issues/174051)."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(patches, D) -> (patches, E)."""
        return inside(self.proj, self._project, hidden_states)

    def _project(self, patches: Tensor) -> Tensor:
        weight = self.proj.weight.flatten(1)
        return linear(patches.reshape(-1, weight.shape[1]).to(weight.dtype), weight, self.proj.bias)


def use_linear_patches(model: Qwen3VLForConditionalGeneration) -> None:
    """Swaps the patch embedding's forward; names and weights stay."""
    model.model.visual.patch_embed.__class__ = LinearPatchEmbed


def picture_features(model: Qwen3VLForConditionalGeneration, prompts: PromptBatch) -> PictureFeatures | None:
    """The features of all pictures of a batch; None without pictures."""
    if prompts.features is not None:
        return prompts.features
    if prompts.pixel_values is None:
        return _blind(model)
    return _features(model, prompts.pixel_values, prompts.image_grid_thw)


def _features(model: Qwen3VLForConditionalGeneration, pixels: Tensor, grids: Tensor) -> PictureFeatures:
    found = model.model.get_image_features(pixels, grids, return_dict=True)
    deepstack = tuple(torch.cat(level) for level in found.deepstack_features)
    return PictureFeatures(torch.cat(found.pooler_output), deepstack)


def _blind(model: Qwen3VLForConditionalGeneration) -> PictureFeatures | None:
    """No tokens, but all of the tower's parameters: DDP waits for the gradient of each, and ZeRO-3 gathers them on all ranks."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return None
    tower = model.model.visual
    side = tower.spatial_merge_size
    patch = tower.patch_embed
    width = patch.in_channels * patch.temporal_patch_size * patch.patch_size**2
    grid = torch.tensor([[1, side, side]], device=tower.device)
    black = _features(model, torch.zeros(side * side, width, device=tower.device), grid)
    nothing = 0.0 * (black.embeds.sum() + sum(level.sum() for level in black.deepstack))
    return PictureFeatures(black.embeds[:0] + nothing, tuple(level[:0] for level in black.deepstack))


def put_pictures(embeds: Tensor, picture: Tensor, features: PictureFeatures | None) -> tuple[Tensor, dict]:
    """Text embeddings with the pictures in their places.

    Args:
        embeds: (B, L, H) of the tokens.
        picture: (B, L) bool: the image tokens of prompts. A sampled image token is only text.
        features: Of all pictures, in order.

    Returns:
        The embeddings, and what the language model takes for DeepStack.
    """
    if features is None:
        return embeds, {}
    assert int(picture.sum()) == len(features.embeds), "one feature for each image token"
    if not len(features.embeds):  # keeps the tower in the graph
        return embeds + features.embeds.sum(), {}
    embeds = embeds.masked_scatter(picture[..., None], features.embeds.to(embeds.dtype))
    return embeds, {"visual_pos_masks": picture, "deepstack_visual_embeds": list(features.deepstack)}
