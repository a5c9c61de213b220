"""tools/bench_data.py in small: every feed gives every step, and the tables and the plot come out."""

import json

import pytest

from tracer1.data.bench import feeds, runs
from tracer1.data.bench.made_shards import make_shards, screenshot
from tracer1.data.images import check_image

TINY = runs.Sizes(steps=96, epochs=1, pictures=2, repetitions=1, memory_steps=24, memory_per_shard=24, workers=(0, 1))


def test_made_screenshots_are_pictures_of_a_real_weight():
    image = screenshot(1)
    assert check_image(image) == (1280, 720)
    assert 80_000 < len(image) < 400_000
    assert screenshot(1) == image != screenshot(2)


def test_every_feed_decodes_every_step(tmp_path, monkeypatch):
    urls = make_shards(tmp_path, 96, 24, (64, 36), pictures=3)
    assert len(urls) == 4
    images = feeds.screenshots(urls)
    assert (len(images), len(set(images))) == (96, 3)
    assert feeds.plain(images, 1, 2) > 0
    assert feeds.data_module(urls, 24, 1, 0) > 0
    pytest.importorskip("datasets", reason="pip install -e '.[bench]'")
    decoded: list[bytes] = []
    monkeypatch.setattr(feeds, "decode", decoded.append)
    paths = feeds.as_parquet(urls, tmp_path / "parquet", 3)
    assert feeds.hugging_face(paths, 96, 0, decoded=False) > 0
    assert sorted(decoded) == sorted(images)
    assert feeds.hugging_face(paths, 96, 0, decoded=True) > 0


def test_tables_and_a_plot_come_out_and_are_collected(tmp_path):
    pytest.importorskip("matplotlib", reason="pip install -e '.[bench]'")
    said: list[str] = []
    scaling = runs.scaling(TINY, said.append)
    runs.write(scaling, tmp_path)
    memory = runs.memory(TINY, said.append)
    paths = runs.write(memory, tmp_path)
    assert set(json.loads(paths[0].read_text())) == {"scaling", "memory"}
    assert check_image(paths[1].read_bytes())[0] > 500
    text = runs.tables(scaling | memory)
    assert "| 0 | " in text
    assert "of 48 steps" in text
    assert any("tracer1 data module, 1 processes" in line for line in said)
