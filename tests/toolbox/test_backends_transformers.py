"""Models of transformers in this process: tiny ones with random weights, of the classes that real ones have, loaded from a folder."""

import io

import pytest

from tracer1.errors import ConfigError, MissingDependency
from tracer1.toolbox.backends import make_backends
from tracer1.toolbox.spec import ToolError

pytestmark = pytest.mark.filterwarnings("ignore")

WORDS = ["<pad>", "<bos>", "<eos>", "<unk>", "<image>", "a", "photo", "of", "dog", "cat", "what", "is", "it", ".", "?"]


def tokenizer(folder, words=WORDS, **more):
    """A tokenizer that knows a few words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit()])
    if more.pop("ends", False):  # CLIP finds the end of a text by its token
        made.post_processor = processors.TemplateProcessing(
            single="<bos> $A <eos>", special_tokens=[("<bos>", words.index("<bos>")), ("<eos>", words.index("<eos>"))]
        )
    names = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, **{**names, **more})


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    """A Llava of a CLIP and a Llama."""
    import torch
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=16
    )
    language = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, eos_token_id=2,
        pad_token_id=0, bos_token_id=1,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=language, image_token_index=4))
    folder = tmp_path_factory.mktemp("llava")
    model.save_pretrained(folder)
    template = (
        "{% for message in messages %}{% for part in message.content %}{% if part.type == 'image' %}<image> "
        "{% else %}{{ part.text }} {% endif %}{% endfor %}{% endfor %}"
    )
    LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        tokenizer(folder, extra_special_tokens={"image_token": "<image>"}),
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
        image_token="<image>",
    ).save_pretrained(folder)
    return folder


def owl(folder, version):
    """An OWL-ViT, or an OWLv2."""
    import torch
    import transformers

    torch.manual_seed(0)
    name = {"1": "OwlViT", "2": "Owlv2"}[version]
    text = {
        "vocab_size": 49408, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "max_position_embeddings": 16,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 64, "patch_size": 16,
    }  # fmt: skip
    config = getattr(transformers, f"{name}Config")(text_config=text, vision_config=vision, projection_dim=16)
    getattr(transformers, f"{name}ForObjectDetection")(config).save_pretrained(folder)
    images = getattr(transformers, f"{name}ImageProcessorPil")(size={"height": 64, "width": 64})
    words = tokenizer(folder, ends=True, model_max_length=16)
    getattr(transformers, f"{name}Processor")(images, words).save_pretrained(folder)
    return folder


def grounding_dino(folder):
    """A Grounding DINO of a Swin and a BERT."""
    import torch
    from transformers import (
        BertConfig,
        BertTokenizerFast,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessorPil,
        GroundingDinoProcessor,
        SwinConfig,
    )

    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "dog", "cat"]
    (folder / "vocab.txt").write_text("\n".join(words))
    swin = SwinConfig(
        window_size=7, image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], out_features=["stage2", "stage3", "stage4"],
        out_indices=[2, 3, 4],
    )  # fmt: skip
    bert = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    config = GroundingDinoConfig(
        backbone_config=swin, text_config=bert, d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_queries=8, num_feature_levels=4, max_text_len=16,
    )  # fmt: skip
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    images = GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})
    GroundingDinoProcessor(images, BertTokenizerFast(str(folder / "vocab.txt"))).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sam(tmp_path_factory):
    """A SAM."""
    import torch
    from transformers import SamConfig, SamImageProcessorPil, SamModel, SamProcessor

    torch.manual_seed(0)
    config = SamConfig(
        vision_config={
            "hidden_size": 16, "output_channels": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 64, "patch_size": 8,
            "window_size": 4, "global_attn_indexes": [0], "mlp_dim": 32, "num_pos_feats": 8,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 8, "mask_input_channels": 8},
        mask_decoder_config={"hidden_size": 16, "mlp_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("sam")
    SamModel(config).save_pretrained(folder)
    images = SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    SamProcessor(images).save_pretrained(folder)
    return folder


def made(role, folder, **settings):
    return getattr(
        make_backends({role: {"kind": "transformers", "model": str(folder), "device": "cpu", **settings}}), role
    )


def test_a_vision_language_model_answers(llava, picture):
    model = made("vision", llava, max_tokens=4)
    answer = model.ask("what is it ?", [picture])
    assert answer == model.ask("what is it ?", [picture])
    assert len(answer.split()) <= 4
    assert set(answer.split()) <= set(WORDS)


@pytest.mark.parametrize("kind", ["owl 1", "owl 2", "dino"])
def test_a_detector_gives_boxes_within_the_picture(tmp_path, picture, kind):
    folder = grounding_dino(tmp_path) if kind == "dino" else owl(tmp_path, kind[-1])
    found = made("detection", folder, threshold=0.0).find(picture, "Dog")
    assert found
    for (x1, y1, x2, y2), score in found:
        assert 0 <= x1 < x2 <= 96
        assert 0 <= y1 < y2 <= 64
        assert 0 <= score <= 1
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    assert made("detection", folder, threshold=1.0).find(picture, "dog") == []


def test_masks_of_boxes_come_in_their_order_and_in_the_size_of_the_picture(sam, picture):
    model = made("segmentation", sam)
    one, other = (10.0, 10.0, 30.0, 30.0), (40.0, 20.0, 56.0, 36.0)
    masks = model.masks(picture, [one, other])
    assert (masks.shape, masks.dtype) == ((2, 64, 96), bool)
    assert (masks[0] == model.masks(picture, [one])[0]).all()
    assert model.masks(picture, []).shape == (0, 64, 96)


def test_masks_of_everything(sam, picture):
    masks = made("segmentation", sam, points=4, sure=-1e9, most=3).masks(picture, None)
    assert masks.shape[1:] == (64, 96)
    assert len(masks) <= 3
    assert made("segmentation", sam, points=2, sure=1e9).masks(picture, None).shape == (0, 64, 96)


def test_masks_that_repeat_one_another_are_kept_once():
    import numpy as np

    from tracer1.toolbox.backends.segmentation.transformers import different

    masks = np.zeros((5, 300, 600), bool)
    masks[0, :100], masks[1, :101], masks[2, 200:], masks[4, :, :300] = True, True, True, True
    scores = np.array([0.9, 0.95, 0.5, 0.99, 0.7])
    assert different(masks, scores, 9) == [1, 4, 2]
    assert different(masks, scores, 1) == [1]


@pytest.mark.parametrize("role", ["vision", "detection", "segmentation"])
def test_a_folder_that_holds_no_model_is_named(tmp_path, picture, role):
    model = made(role, tmp_path)
    with pytest.raises((ConfigError, MissingDependency), match=str(tmp_path)):
        {"vision": lambda: model.ask("?", [picture]), "detection": lambda: model.find(picture, "dog"),
         "segmentation": lambda: model.masks(picture, None)}[role]()  # fmt: skip


def test_a_folder_that_is_not_there_is_named(tmp_path, picture):
    with pytest.raises(ConfigError, match=f"no folder {tmp_path}/gone"):
        made("vision", tmp_path / "gone").ask("?", [picture])


def test_what_is_no_picture_is_the_callers_mistake(llava):
    gif = io.BytesIO()
    from PIL import Image

    Image.new("RGB", (2, 2)).save(gif, "GIF")
    for data in (b"", b"rubbish", b"\x89PNG\r\n\x1a\n", gif.getvalue()):
        with pytest.raises(ToolError):
            made("vision", llava).ask("?", [data])
