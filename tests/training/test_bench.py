"""The benchmark's parts: operations are counted right without computing them, and sides that differ are not compared."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tracer1.training.bench.cases import Case, make_backbone, make_prompts, make_steps
from tracer1.training.bench.children import BenchFailed, Side, alternate, check_same, forget_peak, peak_memory
from tracer1.training.bench.flops import Attention, count
from tracer1.training.bench.mfu import peak_tflops
from tracer1.training.bench.passes import PATHS, Batch, do_passes

CASE = Case((64, 96), 6, 2, group_size=3, prompt_tokens=20)


@pytest.mark.parametrize("name", PATHS)
def test_counting_fake_weights_equals_counting_real_ones(name: str):
    backbone = make_backbone(CASE)
    with FlopCounterMode(display=False, custom_mapping=Attention().table) as counter:
        do_passes(PATHS[name], backbone.model, backbone.model, Batch.of(CASE, backbone))
    assert sum(count(CASE, name)["whole"].values()) == counter.get_total_flops()


def test_the_dense_path_costs_what_its_tokens_cost():
    counts = count(CASE, "dense")["half"]
    assert counts["old"] == counts["reference"]
    assert 2.9 < counts["update"] / counts["old"] < 3.1  # forward, and twice that backward


def test_prompts_have_the_wanted_length_and_pictures_of_their_own():
    backbone = make_backbone(CASE)
    prompts = make_prompts(backbone, CASE)
    assert [len(p.token_ids) for p in prompts] == [20, 20]
    assert CASE.image_tokens == 6 == sum(t == backbone.model.config.image_token_id for t in prompts[0].token_ids)
    assert not torch.equal(prompts[0].tensors["pixel_values"], prompts[1].tensors["pixel_values"])
    assert len({step.screenshot for step in make_steps(CASE, 3)}) == 3


def toy(name: str, work: str, bytes_held: int) -> Side:
    return Side(name, "toy_sides:holding", ({"prompts": work}, bytes_held), threads=1)


def test_sides_take_turns_and_have_memory_of_their_own():
    said: list[str] = []
    small, large = toy("small", "same", 1_000), toy("large", "same", 200 * 2**20)
    measured = alternate([small, large], 2, said.append)
    check_same([small, large], ["prompts"])
    assert [len(side["steps"]) for side in measured.values()] == [2, 2]
    assert measured["large"]["peak_mib"] - measured["large"]["ready_mib"] > 150
    assert measured["small"]["peak_mib"] - measured["small"]["ready_mib"] < 50
    assert measured["large"]["least_s"] <= measured["large"]["median_s"] <= measured["large"]["most_s"]
    assert len(said) == 4


def test_different_work_is_not_compared():
    sides = [toy("a", "this", 1), toy("b", "that", 1)]
    sides[0].ready, sides[1].ready = {"prompts": "this"}, {"prompts": "that"}
    with pytest.raises(BenchFailed, match="do not have the same prompts"):
        check_same(sides, ["prompts"])


def test_what_goes_wrong_in_a_side_is_told():
    with pytest.raises(BenchFailed, match="the side's own trouble"):
        alternate([Side("broken", "toy_sides:broken", (), threads=1)], 1, lambda line: None)


def test_the_peak_can_be_forgotten():
    block = bytearray(100 * 2**20)
    block[::4096] = b"x" * len(block[::4096])
    high = peak_memory()
    del block
    forget_peak()
    assert peak_memory() < high - 50 * 2**20


def test_peaks_of_known_devices():
    assert peak_tflops("NVIDIA H100 80GB HBM3") == 989
    assert peak_tflops("a toaster") is None
