"""Settings that do nothing, or undo themselves, beside the others: each with the reason. They are no errors; a run takes them.

A rule says nothing about a setting that stands at its default and misleads nobody.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tracer1.models.options import ModelOptions
from tracer1.rewards import REWARDS
from tracer1.training.dry_run.memory import uses_kahan
from tracer1.training.dry_run.workload import Workload

Config = Mapping[str, Any]
Rule = Callable[[Config, Workload], Iterator[str]]

# what conf/algorithm/grpo.yaml holds (a test compares them): a rule speaks where a value was changed
DEFAULTS = {
    "clip_low": 0.2,
    "clip_high": 0.3,
    "clip_dual": 3.0,
    "kl_kind": "k3",
    "kl_in": "loss",
    "importance_cap": 2.0,
}


def dead_keys(config: Config, load: Workload) -> list[str]:
    """One sentence for each setting without effect, in the order of the config's groups."""
    rules = (_optimizer, _precision, _model, _reward, _data, _rounds, _parts)
    own = (_kl, _clipping, _old_logprobs, _sampling) if load.grpo else (_warmstart,)
    return [sentence for rule in (*own, *rules) for sentence in rule(config, load)]


def _changed(config: Config, *names: str) -> list[str]:
    algorithm = config["algorithm"]
    return [name for name in names if name in algorithm and algorithm[name] != DEFAULTS[name]]


def _keys(group: str, names: list[str]) -> str:
    return ", ".join(f"{group}.{name}" for name in names)


# --- GRPO --------------------------------------------------------------------------------------------------------------------


def _kl(config: Config, load: Workload) -> Iterator[str]:
    model = config["model"]
    other = [] if model["reference"] == model["path"] else ["reference"]
    offload = ["reference_offload"] if model["reference_offload"] else []
    if not config["algorithm"]["kl_coef"]:
        idle = [_keys("algorithm", _changed(config, "kl_kind", "kl_in")), _keys("model", other + offload)]
        if any(idle):
            yield f"{', '.join(filter(None, idle))}: algorithm.kl_coef=0, so there is no reference at all"
    elif model["lora"] is not None and other + offload:
        yield f"{_keys('model', other + offload)}: with model.lora the reference is the policy without its adapters"


def _clipping(config: Config, load: Workload) -> Iterator[str]:
    algorithm = config["algorithm"]
    changed = _changed(config, "clip_low", "clip_high", "clip_dual")
    if algorithm["old_logprobs"] == "engine":
        if changed:
            yield f"{_keys('algorithm', changed)}: old_logprobs=engine weighs by truncated ratios and clips nothing"
    elif load.units.updates_per_round == 1:
        names = ["clip_low", "clip_high", *(["clip_dual"] if algorithm["clip_dual"] is not None else [])]
        yield f"{_keys('algorithm', names)}: with one update a round every ratio is 1, and nothing is ever clipped"


def _old_logprobs(config: Config, load: Workload) -> Iterator[str]:
    algorithm = config["algorithm"]
    how = algorithm["old_logprobs"]
    if how != "engine" and not config["rollout"]["staleness"] and _changed(config, "importance_cap"):
        yield f"algorithm.importance_cap: only old_logprobs=engine and rollout.staleness=1 have importance weights, this is {how}"
    if how == "recompute" and load.units.updates_per_round == 1 and algorithm["kl_in"] == "loss":
        yield (
            "algorithm.old_logprobs=recompute: with one update a round the ratio is 1 by construction; "
            "first_update_on_policy gives the same and saves the pass"
        )
    if algorithm["top_p_aware"] and algorithm["sampling"]["top_p"] == 1:
        yield "algorithm.top_p_aware: sampling.top_p=1 draws from the whole distribution"
    warn, stop = algorithm["logprob_error_warn"], algorithm["logprob_error_stop"]
    if warn is not None and stop is not None and warn >= stop:
        yield f"algorithm.logprob_error_warn={warn}: the run stops at {stop} before"


def _sampling(config: Config, load: Workload) -> Iterator[str]:
    sampling, overlong = config["algorithm"]["sampling"], config["algorithm"]["overlong"]
    if sampling["temperature"] == 0:
        yield "algorithm.*: sampling.temperature=0 gives every group equal responses, and so no gradient at all"
    elif config["engine"].get("name") == "recorded":
        yield "algorithm.sampling.temperature, top_p: engine=recorded replays what was drawn before"
    if overlong is not None and overlong["buffer"] >= sampling["max_tokens"]:
        yield "algorithm.overlong.buffer is not below sampling.max_tokens: every response is penalised, the shortest too"


# --- a warm start ------------------------------------------------------------------------------------------------------------


def _warmstart(config: Config, load: Workload) -> Iterator[str]:
    settings = config["warmstart"]
    rest = settings["updates"] % settings["updates_per_round"]
    if rest:
        yield f"warmstart.updates={settings['updates']}: {rest} of them do not fill a round and are left out"
    if settings["warmup"] >= load.units.updates:
        yield f"optimizer.lr: warmstart.warmup={settings['warmup']} ends after the last update; lr is never reached"
    if config["model"]["reference"] != config["model"]["path"]:
        yield "model.reference: a warm start has none"


# --- both --------------------------------------------------------------------------------------------------------------------


def _optimizer(config: Config, load: Workload) -> Iterator[str]:
    optimizer = config["optimizer"]
    if optimizer.get("lr") == 0:
        yield "optimizer.lr=0: no weight ever changes"
        return
    kahan = uses_kahan(optimizer)
    if (
        load.precision.bf16_weights
        and not kahan
        and "Adam" in str(optimizer.get("_target_"))
        and optimizer["lr"] < 1e-4
    ):
        yield (
            f"optimizer.lr={optimizer['lr']:g} on bfloat16 weights: most steps are lost to rounding. Take optimizer=adamw_kahan, "
            "or model.dtype=float32 with trainer.precision=bf16-mixed"
        )
    if kahan and not load.precision.bf16_weights:
        yield "optimizer.kahan_sum: weights that are not bfloat16 lose nothing that it could keep"


def _precision(config: Config, load: Workload) -> Iterator[str]:
    asked, dtype = str(config["trainer"].get("precision")), config["model"]["dtype"]
    cast = {"bf16-true": "bfloat16", "16-true": "float16", "64-true": "float64"}.get(asked)
    if cast and cast != dtype:
        yield f"model.dtype={dtype}: trainer.precision={asked} casts the policy to {cast} (the reference stays)"


def _model(config: Config, load: Workload) -> Iterator[str]:
    options, units = load.options, load.units
    if options.lora is not None and options.freeze_vision_tower:
        yield "model.freeze_vision_tower: model.lora trains nothing but adapters on the text layers"
    chosen = options.min_shared_prefix not in (0, ModelOptions().min_shared_prefix)
    if chosen and not options.shared_prefix:
        yield "model.min_shared_prefix: model.shared_prefix=false shares none"
    elif options.min_shared_prefix > config["model"]["prompt"]["max_prompt_tokens"]:
        yield "model.shared_prefix: every prompt is shorter than model.min_shared_prefix"
    if units.group_size == 1 and options.shared_prefix and chosen:
        yield "model.min_shared_prefix: a warm start has one response to each prompt"
    if options.liger is True and (why := _without_liger(config, load)):
        yield f"model.liger=true: {why}, so log-probs go through the plain head"
    image = config["model"]["prompt"]["pixels"] or load.shape.pixels
    most, limit = image[1] // load.shape.vision.side**2, config["model"]["prompt"]["max_prompt_tokens"]
    if most + load.assumed.text_tokens > limit:
        yield (
            f"model.prompt.pixels up to {image[1]:,} make {most:,} tokens; with the text more than "
            f"max_prompt_tokens={limit:,}: such prompts are dropped"
        )


def _without_liger(config: Config, load: Workload) -> str | None:
    """Why Liger's kernel serves none of the passes."""
    algorithm = config["algorithm"]
    if config["trainer"].get("accelerator") == "cpu":
        return "trainer.accelerator=cpu, and its kernel needs a GPU"
    if load.options.dtype == "float64":
        return "its kernel computes in float32 and model.dtype=float64"
    if load.grpo and algorithm["top_p_aware"] and algorithm["sampling"]["top_p"] < 1:
        return "algorithm.top_p_aware looks at the nucleus and its kernel at the whole distribution"
    return None


def _reward(config: Config, load: Workload) -> Iterator[str]:
    readers = [name for name in config["reward"]["terms"] if _reads_outcome(name)]
    executor = config["executor"].get("name")
    if executor is not None and not readers:
        yield f"executor={executor}: no term of the reward reads what it does ({', '.join(config['reward']['terms'])})"
    if executor is None and readers:
        yield f"reward.terms.{readers[0]} needs an outcome and executor=none makes none: the first round will stop"
    for name, settings in config["reward"]["terms"].items():
        if (settings or {}).get("weight") == 0:
            yield f"reward.terms.{name}: weight 0 (it is still computed and logged)"


def _reads_outcome(name: str) -> bool:
    """Whether a reward, or a function beside it, looks at `rollout.outcome`; true of what is no plain function."""
    function = REWARDS.get(name)
    if not inspect.isfunction(function):
        return True
    beside = vars(inspect.getmodule(function)).values()
    return any("outcome" in f.__code__.co_names for f in (function, *beside) if inspect.isfunction(f))


def _data(config: Config, load: Workload) -> Iterator[str]:
    data, sets = config["data"], config["data"]["sets"]
    held_out = [name for name, spec in sets.items() if spec.get("val")]
    if data["val_limit"] == 0 or not (held_out or data["val_fraction"]):
        why = "data.val_limit=0" if data["val_limit"] == 0 else "no data set has `val`, and data.val_fraction=0"
        yield f"evaluation.*: there is no validation step ({why})"
    elif data["val_fraction"] and len(held_out) == len(sets):
        yield "data.val_fraction: every data set names its own `val`"
    if config["evaluation"]["table"] == 0:
        yield "evaluation.table=0: no rollout is ever shown"
    weighted = [name for name, spec in sets.items() if spec.get("weight", 1) not in (0, 1)]
    if len(sets) == 1 and weighted:
        yield f"data.sets.{weighted[0]}.weight: a single data set needs no share"


def _rounds(config: Config, load: Workload) -> Iterator[str]:
    rounds, checkpoint = load.units.rounds, config["checkpoint"]
    if checkpoint["every"] > rounds:
        yield f"checkpoint.every={checkpoint['every']} is more than the {rounds} rounds: only the end is saved"
    elif checkpoint["keep"] > -(-rounds // checkpoint["every"]):
        yield f"checkpoint.keep={checkpoint['keep']}: no more than {-(-rounds // checkpoint['every'])} are written"
    if config["evaluation"]["every"] > rounds:
        yield f"evaluation.every={config['evaluation']['every']}: with {rounds} rounds only before the first and after the last"
    if config["algorithm"]["max_skipped_updates"] > load.units.updates:
        yield f"algorithm.max_skipped_updates: there are only {load.units.updates} updates"
    if config["ckpt_path"] is not None and config["overwrite"]:
        yield "overwrite: ckpt_path goes on with the run, nothing is begun anew"


def _parts(config: Config, load: Workload) -> Iterator[str]:
    engine, per_rank = config["engine"], load.units.prompts_per_rank
    if load.grpo and engine.get("name") == "transformers" and engine["prompts_per_batch"] > per_rank:
        yield f"engine.prompts_per_batch={engine['prompts_per_batch']}: a process has {per_rank} prompts a round"
    if engine.get("name") == "vllm" and engine["max_model_len"] < load.worst.prompt + load.worst.response:
        yield (
            f"model.prompt.max_prompt_tokens: the largest prompt and response, {load.worst.prompt + load.worst.response:,} "
            f"tokens, exceed engine.max_model_len={engine['max_model_len']:,}: such a prompt will stop the run"
        )
    strategy = config["trainer"].get("strategy", "auto")
    if load.units.ranks == 1 and isinstance(strategy, str) and strategy.startswith("ddp"):
        yield f"trainer.strategy={strategy}: there is one process"
