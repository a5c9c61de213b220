"""What the colocated engine asks of vLLM, and in which order, with a hand-written vLLM: sleep needs a GPU, which tests have not."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tracer1.engines._vllm_sync import in_buckets
from tracer1.engines.vllm import VllmEngine
from tracer1.errors import ConfigError, EngineError

CPU = torch.device("cpu")


class Notes:
    """A vLLM that writes down what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.busy = False
        self.llm_engine = self
        self.model = SimpleNamespace(config=SimpleNamespace(tie_word_embeddings=False), language_model=None)
        self.device, self.dtype = CPU, torch.float32

    def wake_up(self, tags: list[str]) -> None:
        self.asked.append(f"wake {tags[0]}")

    def sleep(self, level: int) -> None:
        self.asked.append(f"sleep {level}")

    def collective_rpc(self, method: str, kwargs: dict[str, Any]) -> None:
        self.asked.append(f"{method} {[name for name, _ in kwargs['weights_iterator']]}")

    def watch(self, weights: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        return weights

    def verify(self) -> None:
        self.asked.append("verify")

    def reset_prefix_cache(self) -> bool:
        self.asked.append("prefix cache")
        return not self.busy

    def reset_mm_cache(self) -> None:
        self.asked.append("multimodal cache")

    def reset_encoder_cache(self) -> None:
        self.asked.append("encoder cache")


class Policy:
    """Two weights."""

    backbone = SimpleNamespace(
        model=SimpleNamespace(config=SimpleNamespace(image_token_id=9)),
        image_processor=SimpleNamespace(merge_size=2),
        tokenizer=None,
        stop_ids=frozenset({1}),
    )

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        yield "a", torch.ones(2)
        yield "b", torch.ones(3)


def on_a_gpu(sleeps: bool = True) -> tuple[VllmEngine, Notes]:
    """An engine that was built before."""
    engine, notes = VllmEngine(), Notes()
    engine._llm, engine._check, engine._sleeps = notes, notes, sleeps
    return engine, notes


PUSH = ["reload_weights ['a', 'b']", "verify", "prefix cache", "multimodal cache", "encoder cache"]


def test_weights_wake_first_the_cache_after_the_push_and_both_sleep_again():
    engine, notes = on_a_gpu()
    with engine.serving(Policy()):
        assert notes.asked == ["wake weights", *PUSH, "wake kv_cache"]
    assert notes.asked[-1] == "sleep 2"


def test_it_sleeps_after_an_error_too():
    engine, notes = on_a_gpu()

    def while_serving() -> None:
        with engine.serving(Policy()):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        while_serving()
    assert notes.asked[-1] == "sleep 2"


def test_on_a_cpu_nothing_sleeps():
    engine, notes = on_a_gpu(sleeps=False)
    with engine.serving(Policy()):
        pass
    assert notes.asked == PUSH


def test_a_prefix_cache_that_stays_is_an_error():
    engine, notes = on_a_gpu()
    notes.busy = True
    with pytest.raises(EngineError, match="kept its prefix cache"), engine.serving(Policy()):
        pass


@pytest.mark.parametrize("size", [0, 4, 9, 1000])
def test_buckets_change_neither_order_nor_names(size: int):
    weights = [(f"w{i}", torch.full((2,), float(i))) for i in range(5)]  # 4 bytes each in bfloat16
    moved = list(in_buckets(iter(weights), size, CPU, torch.bfloat16))
    assert [name for name, _ in moved] == [f"w{i}" for i in range(5)]
    assert [tensor.dtype for _, tensor in moved] == [torch.bfloat16] * 5
    assert [tensor[0].item() for _, tensor in moved] == [0, 1, 2, 3, 4]


def test_a_bucket_holds_no_more_than_its_size():
    taken = 0

    def weights() -> Iterator[tuple[str, Tensor]]:
        nonlocal taken
        for i in range(10):
            taken += 1
            yield f"w{i}", torch.zeros(4)  # 16 bytes

    moved = in_buckets(weights(), 48, CPU, torch.float32)
    next(moved)
    assert taken == 3


@pytest.mark.parametrize("ranks", [2, 3])
def test_tensor_parallelism_needs_as_many_processes(ranks: int):
    engine = VllmEngine(tensor_parallel_size=ranks)
    policy = Policy()
    policy.backbone = SimpleNamespace(model=SimpleNamespace(device=CPU, dtype=torch.float32))
    with (
        pytest.raises(ConfigError, match=rf"tensor_parallel_size={ranks} needs training processes in multiples of it"),
        engine.serving(policy),
    ):
        pass
