"""Sizes of models without weights: a local folder's, a published name's, and what is answered to anything else."""

import json
from pathlib import Path

import pytest

from tracer1.errors import ConfigError
from tracer1.models.shapes import PUBLISHED, read_shape

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "demo" / "tiny_planner"


def test_the_shipped_planner():
    shape = read_shape(str(TINY))
    config = json.loads((TINY / "config.json").read_text())
    assert (shape.text.layers, shape.text.hidden, shape.text.tied) == (4, 160, True)
    assert shape.text.vocabulary == config["text_config"]["vocab_size"]
    assert (shape.vision.depth, shape.vision.deepstack, shape.vision.side) == (4, 2, 32)
    assert shape.pixels == (32_768, 65_536)


def test_every_size_of_the_model_configs_is_known():
    for path in (ROOT / "conf" / "model").glob("qwen3_vl_*.yaml"):
        name = next(line.split()[1] for line in path.read_text().splitlines() if line.startswith("path:"))
        assert name in PUBLISHED


def test_both_kinds_of_a_size_are_alike():
    thinking, instruct = (read_shape(f"Qwen/Qwen3-VL-8B-{kind}") for kind in ("Thinking", "Instruct"))
    assert thinking.text == instruct.text
    assert thinking.vision == instruct.vision
    assert thinking.vision.out == thinking.text.hidden == 4096


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"model.path=Qwen/Qwen3-VL-9B-Thinking: .* Did you mean 'Qwen/Qwen3-VL-"):
        read_shape("Qwen/Qwen3-VL-9B-Thinking")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "is not JSON"),
        ('{"model_type": "qwen2_vl"}', "is of model_type 'qwen2_vl'"),
        ('{"model_type": "qwen3_vl", "text_config": {}}', "lacks a size of the model"),
        ('{"model_type": "qwen3_vl"}', "lacks a size of the model"),
    ],
)
def test_a_config_that_is_no_use(tmp_path: Path, config: str, message: str):
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ConfigError, match=message):
        read_shape(str(tmp_path))


def test_pixels_in_the_file_that_newer_versions_write(tmp_path: Path):
    (tmp_path / "config.json").write_text((TINY / "config.json").read_text())
    size = {"shortest_edge": 1024, "longest_edge": 4096}
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": {"size": size}}))
    assert read_shape(str(tmp_path)).pixels == (1024, 4096)
