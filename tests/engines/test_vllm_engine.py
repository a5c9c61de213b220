"""A real vLLM in this process, on the tiny planner: seeds, log-probs, pictures, weight pushes, and a round of training.

It runs in `make test-vllm`, whose environment has vLLM's CPU build.
"""

import json
import random
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import conformance
import pytest
import torch
from torch import nn

from tracer1.engines.transformers import TransformersEngine
from tracer1.engines.vllm import VllmEngine
from tracer1.errors import ConfigError, EngineError, MissingDependency
from tracer1.interfaces import Sampling
from tracer1.models.policy import PolicyModule
from tracer1.schema import Prompt

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(
        find_spec("vllm") is None, reason="vLLM is not installed here; `make test-vllm` runs these tests"
    ),
]


@pytest.fixture(scope="module")
def engine(planner: PolicyModule) -> Iterator[VllmEngine]:
    """Built once: a start takes ten seconds. On the way in and out nothing else of the process may change."""
    made = VllmEngine(max_model_len=512, kv_cache_gb=0.25, options={"max_num_seqs": 32})
    torch.manual_seed(11)
    random.seed(11)
    before = torch.get_rng_state(), random.getstate(), torch.set_num_threads, torch.get_num_threads()
    with made.serving(planner):
        pass
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), torch.set_num_threads, torch.get_num_threads()) == before[1:]
    return made


@pytest.fixture
def served(engine: VllmEngine, planner: PolicyModule) -> Iterator[VllmEngine]:
    with engine.serving(planner):
        yield engine


def test_the_same_seed_gives_the_same_response(served: VllmEngine, screens: list[Prompt]):
    conformance.check_the_same_seed_gives_the_same_response(served, screens)


def test_every_response_has_its_own_noise(served: VllmEngine, screens: list[Prompt]):
    conformance.check_every_response_has_its_own_noise(served, screens)


def test_a_response_does_not_depend_on_what_is_sampled_beside_it(served: VllmEngine, screens: list[Prompt]):
    conformance.check_a_response_does_not_depend_on_what_is_sampled_beside_it(served, screens)


def test_ends_and_limits(served: VllmEngine, planner: PolicyModule, screens: list[Prompt]):
    conformance.check_ends_and_limits(served, screens, planner.sampler().stop_ids)


def test_logprobs_are_the_trainers(served: VllmEngine, planner: PolicyModule, screens: list[Prompt]):
    conformance.check_logprobs_are_the_trainers(served, planner, screens, mean=1e-5, largest=1e-3)


def test_no_prompts_no_responses(served: VllmEngine):
    assert served.generate([], Sampling(), []) == []


def test_a_prompt_that_does_not_fit_is_refused(served: VllmEngine, screens: list[Prompt]):
    with pytest.raises(ConfigError, match=r"together more than engine\.max_model_len=512\. Raise it"):
        served.generate(screens[:1], Sampling(1.0, 1.0, 500), [[1]])


def test_generate_outside_of_serving_is_a_bug(engine: VllmEngine, screens: list[Prompt]):
    with pytest.raises(AssertionError, match=r"inside `with engine\.serving"):
        engine.generate(screens[:1], Sampling(), [[1]])


# --- weights -----------------------------------------------------------------------------------------------------------


def test_greedy_follows_the_policys_weights(engine: VllmEngine, planner: PolicyModule, screens: list[Prompt], changed):
    said = []
    embedded = TransformersEngine()
    for seed in (None, 1, 2, None):  # the weights as they are, changed twice, and put back
        with changed(planner, 0.4 if seed else 0.0, seed or 0), engine.serving(planner), embedded.serving(planner):
            said.append([r.token_ids for r in conformance.check_greedy_equals(engine, embedded, screens)])
            conformance.check_logprobs_are_the_trainers(engine, planner, screens, mean=1e-5, largest=1e-3)
    assert said[0] == said[3]
    assert said[0] != said[1] != said[2]


def test_a_picture_is_encoded_with_the_new_tower(engine: VllmEngine, planner: PolicyModule, screens: list[Prompt]):
    """Only the tower changes: prompt and picture are the same, so a stale cache of any kind would answer as before."""
    sampling = Sampling(0.0, 1.0, 8)

    def logprobs() -> list[float]:
        with engine.serving(planner):
            return [lp for r in engine.generate(screens[:2], sampling, [[0], [0]]) for lp in r.logprobs]

    before = logprobs()
    tower = planner.model.model.visual.patch_embed.proj.weight
    with torch.no_grad():
        tower.mul_(-4)
    after = logprobs()
    with torch.no_grad():
        tower.div_(-4)
    assert before != pytest.approx(after, abs=1e-4)
    assert logprobs() == pytest.approx(before, abs=1e-5)


def test_every_weight_is_compared_after_a_push(engine: VllmEngine, planner: PolicyModule):
    from vllm.model_executor.layers.linear import LinearBase

    model, check = engine._check.model, engine._check
    layers = {p for p, m in model.named_modules() if isinstance(m, LinearBase)}
    assert set(check._columns) == layers | {"language_model.lm_head"}
    others = {name for name, _ in model.named_parameters() if name.rpartition(".")[0] not in check._columns}
    assert others <= set(check._elements)  # norms, embeddings, the patches' convolution


@pytest.mark.parametrize(
    "name",
    [
        "model.language_model.norm.weight",
        "model.language_model.layers.1.self_attn.k_proj.weight",
        "model.visual.blocks.0.mlp.linear_fc1.weight",
        "model.language_model.embed_tokens.weight",
    ],
)
def test_a_weight_that_did_not_arrive_is_an_error(engine: VllmEngine, planner: PolicyModule, name: str):
    with engine.serving(planner):
        weights = ((n, w * 1.001 if n == name else w) for n, w in planner.weights())
        assert len(list(engine._check.watch(weights))) > 100
        with pytest.raises(EngineError, match="does not hold the weights that were pushed"):
            engine._check.verify()


def test_small_buckets_push_the_same(engine: VllmEngine, planner: PolicyModule, screens: list[Prompt], changed):
    bucket, engine.bucket_mb = engine.bucket_mb, 0
    with changed(planner, 0.05, 5), engine.serving(planner), (embedded := TransformersEngine()).serving(planner):
        conformance.check_greedy_equals(engine, embedded, screens)
    engine.bucket_mb = bucket


# --- work done once ----------------------------------------------------------------------------------------------------


class Seen:
    """Counts what goes through a module."""

    def __init__(self, module: nn.Module) -> None:
        self.inputs: list[torch.Tensor] = []
        self.handle = module.register_forward_pre_hook(self.note, with_kwargs=True)

    def note(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        found = [v for v in (*args, *kwargs.values()) if isinstance(v, torch.Tensor) and v.is_floating_point()]
        self.inputs.append(found[0])


def test_the_engine_reads_the_trainers_pixels_once_per_prompt(served: VllmEngine, screens: list[Prompt]):
    tower = Seen(served._check.model.visual)
    served.generate(screens[:1], conformance.SAMPLING, conformance.seeds_for(screens[:1], 5))
    (pixels,) = tower.inputs  # one picture, encoded once for five responses
    assert pixels.data_ptr() == screens[0].tensors["pixel_values"].data_ptr()  # the same tensor, not a copy
    tower.inputs.clear()
    served._llm.reset_prefix_cache()
    served._llm.llm_engine.reset_encoder_cache()
    served.generate(screens, conformance.SAMPLING, conformance.seeds_for(screens, 5))
    tower.handle.remove()
    pictures = [p.tensors["pixel_values"] for p in screens if p.tensors]
    assert sum(len(seen) for seen in tower.inputs) <= sum(map(len, pictures))


def test_the_prompt_of_a_group_is_prefilled_once(served: VllmEngine, screens: list[Prompt]):
    """Of the other responses' prompts only what does not fill a block of 32 tokens is read again."""
    text = Seen(served._check.model.language_model.model.layers[0])
    (length,) = {len(p.token_ids) for p in screens[:1]}
    served.generate(screens[:1], Sampling(1.0, 1.0, 1), conformance.seeds_for(screens[:1], 5))
    text.handle.remove()
    assert length > 64
    assert sum(len(seen) for seen in text.inputs) == length + 4 * (length - length // 32 * 32)


# --- a training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "several",
    [
        (),
        ("strategy=ddp", "trainer.devices=2", "model.dtype=bfloat16"),  # each rank has a vLLM of its own
        (
            "strategy=ddp",
            "trainer.devices=2",
            "engine.tensor_parallel_size=2",
            "+engine.options.mm_encoder_tp_mode=data",
        ),
    ],
    ids=["one", "two-bf16", "tensor-parallel"],
)
def test_a_training(tmp_path: Path, several: tuple[str, ...]):
    """Two rounds, each with a push before it and a validation after it."""
    sys.path.insert(0, str(ROOT / "tests" / "training"))
    import toy_run

    toy_run.write_toy_shards(tmp_path)
    toy_run.make_toy_planner(tmp_path / "planner", 128)  # four heads: two halves
    vllm = ("engine=vllm", "engine.max_model_len=512", "engine.kv_cache_gb=0.25", "rounds=2", "evaluation.every=1")
    done = toy_run.train_apart(toy_run.toy_overrides(tmp_path, tmp_path / "out", *vllm, *several))
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in (tmp_path / "out/run/metrics.jsonl").read_text().splitlines()]
    errors = [line["rollout/logprob_error"] for line in lines if "rollout/logprob_error" in line]
    assert len(errors) == 2
    assert max(errors) < (5e-3 if "model.dtype=bfloat16" in several else 1e-5)


def test_without_vllm_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    from tracer1.engines._vllm_build import import_vllm

    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingDependency, match=r"pip install 'tracer1\[vllm\]'.*engine=transformers"):
        import_vllm()
