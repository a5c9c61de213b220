"""The patch embedding as a matrix product, and pictures in their places."""

import torch
from torch.testing import assert_close
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionPatchEmbed

from tracer1.models.backbone import Backbone
from tracer1.models.batch import PictureFeatures, PromptBatch
from tracer1.models.vision import LinearPatchEmbed, picture_features, put_pictures


def test_patches_by_matrix_product_equal_the_convolution(own_tiny: Backbone):
    embed = own_tiny.model.double().model.visual.patch_embed
    assert isinstance(embed, LinearPatchEmbed)
    pixels = torch.randn(6, 1536, dtype=torch.float64)
    weights = tuple(embed.parameters())
    ours, theirs = embed(pixels), Qwen3VLVisionPatchEmbed.forward(embed, pixels)
    assert_close(ours, theirs, atol=1e-12, rtol=0)
    for a, b in zip(*(torch.autograd.grad(out.square().sum(), weights) for out in (ours, theirs)), strict=True):
        assert_close(a, b, atol=1e-10, rtol=0)


def test_pictures_go_where_their_tokens_are():
    embeds = torch.zeros(1, 4, 2)
    features = PictureFeatures(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), (torch.ones(2, 2),))
    picture = torch.tensor([[False, True, False, True]])
    put, deepstack = put_pictures(embeds, picture, features)
    assert put.tolist() == [[[0, 0], [1, 2], [0, 0], [3, 4]]]
    assert deepstack["visual_pos_masks"] is picture
    assert put_pictures(embeds, picture, None) == (embeds, {})


def test_a_batch_without_pictures_asks_the_tower_only_among_several_ranks(tiny: Backbone, prompts):
    blind = PromptBatch.collate([prompts["blind"]], tiny.pad_id, tiny.rope_index)
    assert picture_features(tiny.model, blind) is None
