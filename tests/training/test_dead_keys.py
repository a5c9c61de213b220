"""Settings that do nothing beside others: each rule fires where it should, and is silent on what is shipped."""

import pytest

from tracer1.training.dry_run.dead_keys import DEFAULTS, dead_keys
from tracer1.training.dry_run.workload import read_workload
from tracer1.training.overrides import CONF, check_overrides

STAGE1 = "+experiment=stage1_gui"
WARM = ("+experiment=warmstart", "model.path=Qwen/Qwen3-VL-2B-Thinking", "model.prompt.pixels=[65536,262144]")
LORA = "model.lora={rank: 32, alpha: 64}"


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACER1_ROOT", str(CONF.parent))


def said(*overrides: str) -> list[str]:
    kahan = (
        []
        if any(o.startswith("optimizer=") for o in overrides) or overrides[0] != STAGE1
        else ["optimizer=adamw_kahan"]
    )
    config = check_overrides("train", [*overrides, *kahan])
    return dead_keys(config, read_workload(config))


@pytest.mark.parametrize(
    ("overrides", "key", "why"),
    [
        (["algorithm.kl_coef=0", "model.reference=x"], "model.reference:", "no reference at all"),
        (["algorithm.kl_coef=0", "algorithm.kl_kind=k1"], "algorithm.kl_kind:", "no reference at all"),
        (["algorithm.kl_coef=0", "model.reference_offload=true"], "model.reference_offload:", "no reference at all"),
        ([LORA, "model.reference=x"], "model.reference:", "the policy without its adapters"),
        ([LORA, "model.reference_offload=true"], "model.reference_offload:", "the policy without its adapters"),
        ([LORA, "model.freeze_vision_tower=true"], "model.freeze_vision_tower:", "nothing but adapters"),
        (["algorithm.importance_cap=3"], "algorithm.importance_cap:", "only old_logprobs=engine"),
        (["algorithm.old_logprobs=engine", "algorithm.clip_low=0.1"], "algorithm.clip_low:", "clips nothing"),
        (
            ["algorithm.prompts_per_update=512"],
            "algorithm.clip_low, algorithm.clip_high, algorithm.clip_dual:",
            "ratio is 1",
        ),
        (
            ["algorithm.prompts_per_update=512", "algorithm.clip_dual=null"],
            "algorithm.clip_low, algorithm.clip_high:",
            "ratio is 1",
        ),
        (["algorithm.prompts_per_update=512"], "algorithm.old_logprobs=recompute:", "saves the pass"),
        (["algorithm.top_p_aware=true", "algorithm.sampling.top_p=1"], "algorithm.top_p_aware:", "whole distribution"),
        (["algorithm.sampling.temperature=0"], "algorithm.*:", "no gradient"),
        (["algorithm.overlong={buffer: 4096, penalty: 1}"], "algorithm.overlong.buffer", "every response"),
        (
            ["algorithm.logprob_error_warn=0.2", "algorithm.logprob_error_stop=0.1"],
            "algorithm.logprob_error_warn=0.2:",
            "stops at 0.1",
        ),
        (["optimizer.lr=0"], "optimizer.lr=0:", "no weight ever changes"),
        (["optimizer=adamw"], "optimizer.lr=1e-06 on bfloat16 weights:", "lost to rounding"),
        (["trainer.precision=32-true", "model.dtype=float32"], "optimizer.kahan_sum:", "lose nothing"),
        (["model.dtype=float32"], "model.dtype=float32:", "casts the policy to bfloat16"),
        (["model.shared_prefix=false", "model.min_shared_prefix=8"], "model.min_shared_prefix:", "shares none"),
        (["model.min_shared_prefix=9999"], "model.shared_prefix:", "shorter"),
        (["model.liger=true", "trainer.accelerator=cpu"], "model.liger=true:", "needs a GPU"),
        (["model.liger=true", "model.dtype=float64"], "model.liger=true:", "in float32"),
        (
            ["model.liger=true", "algorithm.top_p_aware=true", "algorithm.sampling.top_p=0.9"],
            "model.liger=true:",
            "the nucleus",
        ),
        (["model.prompt.max_prompt_tokens=2048"], "model.prompt.pixels up to 4,194,304", "are dropped"),
        (["executor=direct"], "executor=direct:", "no term of the reward reads"),
        (["reward=stage2"], "reward.terms.coordinate_match", "the first round will stop"),
        (["reward.terms.format.weight=0"], "reward.terms.format:", "weight 0"),
        (["data.val_fraction=0"], "evaluation.*:", "no data set has `val`"),
        (["data.val_limit=0"], "evaluation.*:", "data.val_limit=0"),
        (["data.sets.gui.val=[x.tar]"], "data.val_fraction:", "names its own"),
        (["evaluation.table=0"], "evaluation.table=0:", "no rollout is ever shown"),
        (["data.sets.gui.weight=0.5"], "data.sets.gui.weight:", "a single data set"),
        (["rounds=3"], "checkpoint.every=5 is more than the 3 rounds", "only the end is saved"),
        (["rounds=3"], "evaluation.every=10:", "only before the first and after the last"),
        (["checkpoint.keep=99"], "checkpoint.keep=99:", "29 are written"),
        (["algorithm.max_skipped_updates=600"], "algorithm.max_skipped_updates:", "only 572 updates"),
        (["ckpt_path=last", "overwrite=true"], "overwrite:", "nothing is begun anew"),
        (
            ["engine=transformers", "engine.prompts_per_batch=1000"],
            "engine.prompts_per_batch=1000:",
            "512 prompts a round",
        ),
        (
            ["engine=vllm", "engine.max_model_len=4096"],
            "model.prompt.max_prompt_tokens:",
            "exceed engine.max_model_len=4,096",
        ),
        (["strategy=ddp"], "trainer.strategy=ddp:", "there is one process"),
    ],
)
def test_a_setting_without_effect_is_named_with_the_reason(overrides: list[str], key: str, why: str):
    found = [sentence for sentence in said(STAGE1, *overrides) if sentence.startswith(key)]
    assert len(found) == 1
    assert why in found[0]


@pytest.mark.parametrize(
    ("overrides", "key", "why"),
    [
        (["warmstart.updates=410"], "warmstart.updates=410:", "10 of them"),
        (["warmstart.warmup=400"], "optimizer.lr:", "never reached"),
        (["model.reference=x"], "model.reference:", "a warm start has none"),
    ],
)
def test_a_warm_start(overrides: list[str], key: str, why: str):
    found = [sentence for sentence in said(*WARM, *overrides) if sentence.startswith(key)]
    assert len(found) == 1
    assert why in found[0]


@pytest.mark.parametrize(
    "experiment",
    [(STAGE1,), ("+experiment=stage2_gui", "model.path=Qwen/Qwen3-VL-8B-Thinking", "optimizer=adamw_kahan"), WARM],
)
def test_the_shipped_experiments_are_clean(experiment: tuple[str, ...]):
    assert said(*experiment) == []


def test_engine_vllm_and_lora_are_clean():
    assert said(STAGE1, "engine=vllm", LORA, "strategy=ddp", "trainer.devices=8") == []


def test_the_defaults_are_those_of_the_config():
    algorithm = check_overrides("train", [])["algorithm"]
    assert {name: algorithm[name] for name in DEFAULTS} == DEFAULTS
