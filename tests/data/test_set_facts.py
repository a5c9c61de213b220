"""A data set told by its manifests: the same shards have the same digest wherever they lie, other shards another one."""

import json
import shutil
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from shaky_server import serving
from toy_steps import trajectory

from tracer1.data.set_facts import facts_of_sets
from tracer1.data.shard_writer import MANIFEST
from tracer1.data.shards import write_shards


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    write_shards([trajectory("a", 2), trajectory("b", 3)], folder, split="train", prefix="toy")
    write_shards([trajectory("c", 1)], folder, split="val", prefix="toy")
    return folder


def sets(folder: object, val: bool = True, weight: float = 1.0) -> dict[str, dict[str, object]]:
    patterns = {"train": [f"{folder}/toy-train-*.tar"], "val": [f"{folder}/toy-val-*.tar"] if val else []}
    return {"toy": {**patterns, "weight": weight}}


def test_digest_and_counts_are_those_of_the_manifest_wherever_the_shards_lie(shards: Path, tmp_path: Path):
    training, validation = facts_of_sets(sets(shards), 0.0)
    assert (training.context, validation.context) == ("training", "validation")
    assert (training.profile["trajectories"], training.profile["steps"], training.profile["shards"]) == (2, 5, 1)
    assert training.source == str(shards)
    assert training.digest != validation.digest
    shutil.copytree(shards, tmp_path / "there")
    assert [facts.digest for facts in facts_of_sets(sets(tmp_path / "there"), 0.0)] == [
        training.digest,
        validation.digest,
    ]
    write_shards([trajectory("a", 2), trajectory("z", 3)], shards, split="train", prefix="toy")
    assert facts_of_sets(sets(shards), 0.0)[0].digest != training.digest
    assert [facts.context for facts in facts_of_sets(sets(shards, weight=0), 0.0)] == ["validation"]


def test_held_out_trajectories_are_another_data_set_than_those_that_are_trained_on(shards: Path):
    training, validation = facts_of_sets(sets(shards, val=False), 0.2)
    assert training.shards == validation.shards
    assert len({training.digest, validation.digest, facts_of_sets(sets(shards, val=False), 0.1)[0].digest}) == 3
    assert validation.profile["held_out_share"] == 0.2


def test_a_missing_or_damaged_manifest_leaves_sizes(shards: Path, caplog: pytest.LogCaptureFixture):
    size = (shards / "toy-train-000000.tar").stat().st_size
    for content in (None, "{"):
        (shards / MANIFEST).unlink() if content is None else (shards / MANIFEST).write_text(content)
        training = facts_of_sets(sets(shards), 0.0)[0]
        assert training.profile == {"shards": 1, "trajectories": 0, "steps": 0, "bytes": size, "not_in_a_manifest": 1}
    assert "cannot be read" in caplog.text


def test_a_store_that_fails_in_its_own_way_ends_no_training(monkeypatch):
    class EndpointConnectionError(Exception):
        """botocore's: neither an OSError nor ours."""

    def down(self, *_, **__):
        raise EndpointConnectionError("Could not connect to the endpoint URL")

    monkeypatch.setattr(MemoryFileSystem, "cat_file", down)
    [facts] = facts_of_sets({"a": {"train": ["memory://set/a.tar"], "val": [], "weight": 1.0}}, 0.0)
    assert facts.profile["not_in_a_manifest"] == 1


def test_shards_on_a_web_server_are_those_of_the_folder(shards: Path):
    files = {path.name: path.read_bytes() for path in shards.iterdir()}
    with serving(files) as server:
        remote = facts_of_sets(sets(server.url), 0.0)
        assert [facts.digest for facts in remote] == [facts.digest for facts in facts_of_sets(sets(shards), 0.0)]
        assert remote[0].source == server.url
        assert not any(name.endswith(".tar") for name, _ in server.asked)
        del files[MANIFEST]
        assert facts_of_sets(sets(server.url), 0.0)[0].profile["not_in_a_manifest"] == 1
    assert json.loads(json.dumps(remote[0].as_json()))["shards"][0]["steps"] == 5
