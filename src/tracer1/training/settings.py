"""The closed list of settings, and what each may be: a value that cannot work is answered before torch is loaded.

It knows names, kinds and bounds, not meanings. Groups whose settings belong to a library or to a registered class (reward,
engine, executor, optimizer, trainer, logger, benchmark, environment) are open here: whoever takes their settings checks them.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tracer1.errors import ConfigError
from tracer1.registry import nearest


@dataclass(frozen=True, slots=True)
class Number:
    """A number from `least` to `most`, both allowed; `above` instead of `least` is not allowed itself."""

    least: float = 0
    most: float = math.inf
    whole: bool = False
    above: bool = False
    optional: bool = False  # null is allowed

    def problem(self, value: Any) -> str | None:
        """What the value must be, or None when it is that."""
        if value is None and self.optional:
            return None
        kind = int if self.whole else (int, float)
        fits = isinstance(value, kind) and not isinstance(value, bool) and self.least <= value <= self.most
        if fits and math.isfinite(value) and not (self.above and value == self.least):
            return None
        what = "a whole number" if self.whole else "a number"
        low = f"above {self.least}" if self.above else f"of at least {self.least}"
        return f"{what} {low}" + (self.most < math.inf) * f" and at most {self.most}" + self.optional * ", or null"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few values."""

    known: tuple[Any, ...]

    def problem(self, value: Any) -> str | None:
        """What the value must be, or None when it is that."""
        if any(value is known or (value == known and isinstance(value, str)) for known in self.known):
            return None
        return f"one of {', '.join(str(known).lower() for known in self.known)}"


@dataclass(frozen=True, slots=True)
class Text:
    """A text that is not empty."""

    optional: bool = False  # null is allowed

    def problem(self, value: Any) -> str | None:
        """What the value must be, or None when it is that. A name may be written like a number."""
        if (value is None and self.optional) or (not isinstance(value, bool) and str(value or "")):
            return None
        return "a text" + self.optional * ", or null"


@dataclass(frozen=True, slots=True)
class Fields:
    """Null, or exactly these settings."""

    known: Mapping[str, Any]  # name -> kind

    def problem(self, value: Any) -> str | None:
        """What the value must be, or None when it is that."""
        if value is None:
            return None
        if not isinstance(value, Mapping) or set(value) != set(self.known):
            return f"null, or all of {', '.join(self.known)}"
        wrong = ((name, kind.problem(value[name])) for name, kind in self.known.items())
        return next((f"{problem} for {name}" for name, problem in wrong if problem), None)


@dataclass(frozen=True, slots=True)
class Anything:
    """Whoever takes it checks it."""

    def problem(self, value: Any) -> str | None:
        """None."""
        return None


COUNT = Number(1, whole=True)
FROM_ZERO = Number(0, whole=True)
SHARE = Number(0, 1)
SWITCH = Choice((True, False))
_SAMPLING = {"temperature": Number(), "top_p": Number(0, 1, above=True), "max_tokens": COUNT}

# A dotted name stands for itself; a name below it is unknown unless it is listed too.
SETTINGS: dict[str, Number | Choice | Text | Fields | Anything] = {
    "run_name": Text(),
    "recipe": Choice(("grpo", "warmstart", "online", "demo", "study")),
    "demo": Choice((None, "gui", "tool")),
    "study": Anything(),
    "seed": Number(0, 2**32 - 1, whole=True),
    "rounds": COUNT,
    "ckpt_path": Text(optional=True),
    "overwrite": SWITCH,
    "plugins": Anything(),
    "rollout.dump": Text(optional=True),
    "rollout.max_faults": SHARE,
    "rollout.staleness": Number(0, 1, whole=True),
    "dry_run": SWITCH,
    "assume.device": Choice(("h100", "h200", "a100", "l40s")),
    "assume.mfu": Number(0, 1, above=True),
    "assume.bandwidth": Number(0, 1, above=True),
    "assume.screenshot": Anything(),
    "assume.text_tokens": Number(1, whole=True, optional=True),
    "assume.response_tokens": Number(1, whole=True, optional=True),
    "assume.strategies": SWITCH,
    "assume.network_gbit": Number(0, above=True),
    "assume.link_share": Number(0, 1, above=True),
    "assume.price": Number(optional=True),
    "checkpoint.every": COUNT,
    "checkpoint.keep": COUNT,
    "checkpoint.keep_best": FROM_ZERO,
    "checkpoint.best_by": Text(),
    "checkpoint.best_mode": Choice(("max", "min")),
    "checkpoint.max_hours": Number(0, above=True, optional=True),
    "checkpoint.before_time_limit_s": Number(),
    "ranks.timeout_s": Number(0, above=True),
    "paths.root": Text(),
    "paths.outputs": Text(),
    "paths.output_dir": Text(),
    "algorithm.prompts_per_round": COUNT,
    "algorithm.prompts_per_update": COUNT,
    "algorithm.group_size": Number(2, whole=True),
    "algorithm.groups_per_micro_batch": COUNT,
    # the names are those of algorithms/objective.py, which loads torch: a test compares them
    "algorithm.advantages": Choice(("z_score", "centred", "leave_one_out", "round_z_score", "centred_round_z_score")),
    "algorithm.surrogate": Choice(("token", "sequence")),
    "algorithm.average": Choice(("tokens", "sequences", "constant")),
    "algorithm.clip_low": SHARE,
    "algorithm.clip_high": Number(),
    "algorithm.clip_dual": Number(1, above=True, optional=True),
    "algorithm.kl_coef": Number(),
    "algorithm.kl_kind": Choice(("k1", "k2", "k3")),
    "algorithm.kl_in": Choice(("loss", "reward")),
    "algorithm.old_logprobs": Choice(("recompute", "first_update_on_policy", "engine")),
    "algorithm.importance_cap": Number(0, above=True),
    "algorithm.logprob_error_warn": Number(optional=True),
    "algorithm.logprob_error_stop": Number(optional=True),
    "algorithm.dynamic_sampling": Fields({"max_draws": Number(2, whole=True)}),
    "algorithm.overlong": Fields({"buffer": COUNT, "penalty": Number(0, above=True)}),
    "algorithm.max_skipped_updates": COUNT,
    "algorithm.top_p_aware": SWITCH,
    **{f"algorithm.sampling.{name}": kind for name, kind in _SAMPLING.items()},
    "online.max_steps": COUNT,
    "online.max_lost": COUNT,
    "online.restarts": FROM_ZERO,
    "online.parallel": COUNT,
    "online.batch": COUNT,
    "online.lockstep": SWITCH,
    "online.credit": Choice(("plan", "first_step")),
    "online.heldout.first_seed": FROM_ZERO,
    "online.heldout.seeds": COUNT,
    "evaluation.name": Text(),
    "evaluation.every": COUNT,
    "evaluation.table": FROM_ZERO,
    **{f"evaluation.sampling.{name}": kind for name, kind in _SAMPLING.items()},
    "replay": Text(optional=True),
    "agent.max_steps": COUNT,
    "agent.max_lost": COUNT,
    "agent.restarts": FROM_ZERO,
    "agent.parallel": COUNT,
    "agent.batch": COUNT,
    "agent.tracking_uri": Text(optional=True),
    **{f"agent.sampling.{name}": kind for name, kind in _SAMPLING.items()},
    "model.path": Text(),
    "model.reference": Text(),
    "model.dtype": Choice(("float32", "bfloat16", "float64")),
    "model.attention": Text(),
    "model.shared_prefix": SWITCH,
    "model.min_shared_prefix": FROM_ZERO,
    "model.freeze_vision_tower": SWITCH,
    "model.gradient_checkpointing": SWITCH,
    "model.liger": Choice(("auto", True, False)),
    "model.lora": Anything(),
    "model.reference_offload": SWITCH,
    "model.prompt.horizon": COUNT,
    "model.prompt.style": Choice(("full", "brief")),
    "model.prompt.max_prompt_tokens": COUNT,
    "model.prompt.pixels": Anything(),
    "data.sets": Anything(),
    "data.horizon": COUNT,
    "data.history": FROM_ZERO,
    "data.seed": FROM_ZERO,
    "data.num_workers": FROM_ZERO,
    "data.val_fraction": SHARE,
    "data.val_limit": Number(0, whole=True, optional=True),
    "data.on_bad_step": Choice(("error", "warn")),
    "data.verify_images": SWITCH,
    "data.shuffle_shards": COUNT,
    "data.needs": Anything(),
    "data.cache": Text(optional=True),
    "warmstart.updates": COUNT,
    "warmstart.updates_per_round": COUNT,
    "warmstart.batch_size": COUNT,
    "warmstart.workers": FROM_ZERO,
    "warmstart.place_weight": Number(),
    "warmstart.warmup": FROM_ZERO,
    "warmstart.decay": SHARE,
    "warmstart.plan_cut": SHARE,
    "warmstart.shift": FROM_ZERO,
    # of open groups only the kind is looked at
    "engine.prompts_per_batch": COUNT,
    "optimizer.lr": Number(),
    "optimizer.weight_decay": Number(),
    "trainer.gradient_clip_val": Number(optional=True),
    "trainer.num_nodes": COUNT,
}

OPEN_GROUPS = ("reward", "engine", "executor", "optimizer", "trainer", "logger", "benchmark", "environment")


def check_settings(config: Mapping[str, Any], more: tuple[str, ...] = ()) -> None:
    """Checks a resolved config.

    Args:
        config: Plain values, nested.
        more: Top-level settings that this program has beside the list.

    Raises:
        ConfigError: a setting that nobody reads, or a value of the wrong kind or out of its bounds.
    """
    for name, value in _leaves(config):
        kind = SETTINGS.get(name)
        if kind is not None and (problem := kind.problem(value)):
            hint = nearest(str(value), [str(known) for known in getattr(kind, "known", ())])
            raise ConfigError(f"{name}={_written(value)} cannot work: it must be {problem}.{hint}")
        if kind is None and name.split(".")[0] not in (*OPEN_GROUPS, *more):
            raise ConfigError(
                f"There is no setting {name!r}.{nearest(name, list(SETTINGS))} See all of them with --cfg job."
            )


def _leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names with their values; a listed name is a leaf whatever it holds."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and name not in SETTINGS:
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value


def _written(value: Any) -> str:
    """A value as it would stand on the command line, not too long."""
    return "null" if value is None else f"{value!r:.60}"
