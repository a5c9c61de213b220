"""vLLM on both sides of the benchmark: what can be looked at without vLLM and without TRL."""

from dataclasses import replace
from pathlib import Path

import pytest

from tracer1.errors import MissingDependency
from tracer1.training.bench import ours, runs, theirs_vllm
from tracer1.training.bench.cases import Case, make_backbone, never_ends

CASE = Case((64, 96), 6, 2, engine="vllm")


def test_both_sides_are_given_the_same_sizes():
    given = theirs_vllm.settings(image_token=7)
    assert given["use_vllm"]
    assert given["vllm_max_model_length"] == ours.MODEL_LENGTH
    assert f"engine.max_model_len={ours.MODEL_LENGTH}" in ours.overrides(CASE, Path("POLICY"))
    assert theirs_vllm.engine_arguments(CASE)["dtype"] == "float32"


def test_no_response_ends_early():
    given = theirs_vllm.settings(image_token=7)["generation_kwargs"]
    assert given["ignore_eos"]
    assert given["logit_bias"] == {7: -100.0}
    backbone = make_backbone(CASE)
    never_ends(backbone)
    assert backbone.stop_ids == frozenset()  # -1, which no token is, would be refused by vLLM


def test_without_the_engine_nothing_is_different():
    plain = ours.overrides(replace(CASE, engine="transformers"), Path("POLICY"))
    assert "engine=transformers" in plain
    assert not any("max_model_len" in override for override in plain)
    assert "vLLM" in str(CASE)
    assert "vLLM" not in str(replace(CASE, engine="transformers"))


def test_a_picture_is_one_token_in_a_prompt_for_vllm():
    assert theirs_vllm.one_per_picture([1, 9, 9, 9, 2, 9, 3], image_token=9) == [1, 9, 2, 9, 3]
    assert theirs_vllm.one_per_picture([9, 9, 4, 4], image_token=9) == [9, 4, 4]
    assert theirs_vllm.one_per_picture([], image_token=9) == []


def test_vllm_that_is_not_installed_is_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runs, "has", lambda package: package != "vllm")
    with pytest.raises(MissingDependency, match="vLLM is not installed"):
        runs.run("trl", runs.Options(engine="vllm"))
