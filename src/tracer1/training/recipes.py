"""Wires the parts of a training together from plain arguments. The entry points read the config; nothing below them does."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from tracer1.algorithms.objective import make_objective
from tracer1.data.datamodule import StepDataModule
from tracer1.errors import ConfigError
from tracer1.interfaces import Sampling
from tracer1.models.options import ModelOptions
from tracer1.models.planner import OptimizerFactory
from tracer1.models.policy import PolicyModule
from tracer1.models.reference import make_reference
from tracer1.models.sft import SFTModule
from tracer1.registry import Registry, nearest
from tracer1.rewards import build_reward, reward_needs
from tracer1.schema import Step
from tracer1.tracking.mlflow_logger import RunLogger
from tracer1.training.ahead import AheadEngine
from tracer1.training.callbacks import RoundLog, RoundStream, RunPosition, SkipNonFinite, Validate
from tracer1.training.checkpoints import Best, FolderCheckpointIO, KeepCheckpoints, RunFacts, find_checkpoint
from tracer1.training.evaluation import Evaluator
from tracer1.training.experience import ExperienceStream
from tracer1.training.fitting import fit_and_export
from tracer1.training.heartbeat import Heartbeat
from tracer1.training.lost_ranks import RankWatch, with_timeout
from tracer1.training.progress import RoundProgress, Says
from tracer1.training.round_rules import RoundRules
from tracer1.training.round_size import RoundSize
from tracer1.training.stopping import TimeLimit, stoppable
from tracer1.training.strategies import keep_inputs
from tracer1.training.warmstart import ExampleBatches, Recipe, WarmstartStream

Group = Mapping[str, Any]  # one group of the config, as plain values
SIZES = ("prompts_per_round", "prompts_per_update", "group_size", "groups_per_micro_batch")


@dataclass(frozen=True, slots=True)
class Run:
    """What every training has, whatever it trains."""

    output_dir: Path
    seed: int
    optimizer: OptimizerFactory
    trainer: Callable[..., L.Trainer]  # takes callbacks, plugins, limits
    logger: RunLogger | None
    config: Group  # as it is logged
    ckpt_path: str | None = None
    overwrite: bool = False
    checkpoint_every: int = 5
    checkpoint_keep: int = 2
    checkpoint_best: Best = field(default_factory=Best)
    time_limit: TimeLimit = field(default_factory=TimeLimit)
    ranks_timeout_s: float = 1800.0
    rounds: int = 143  # in all, those of the checkpoint included; a warm start counts its own


def build(registry: Registry, spec: Group) -> Any:
    """The registered class that `spec.name` names, made with the rest of `spec`; None for no name.

    Raises:
        ConfigError: no such name, or a setting that it does not have.
    """
    settings = {key: value for key, value in spec.items() if key != "name"}
    if spec.get("name") is None:
        return None
    made = registry.get(spec["name"])
    known = list(inspect.signature(made).parameters)
    for key in settings:
        if key not in known:
            raise ConfigError(
                f"{registry.kind} {spec['name']!r} has no setting {key!r}.{nearest(key, known)} Known: {known}."
            )
    return made(**settings)


def make_steps(data: Group, reward: Group) -> StepDataModule:
    """The data module of a data group; unless that says what steps need, they need what the reward group's terms do.

    Raises:
        ConfigError: settings that cannot work.
    """
    asked = data.get("needs")
    return StepDataModule(**{**data, "needs": reward_needs(reward["terms"]) if asked is None else asked})


def make_policy(model: Group, algorithm: Group, optimizer: OptimizerFactory) -> PolicyModule:
    """The policy of a model group and the loss settings of an algorithm group.

    Raises:
        ConfigError: settings that make no sense together.
    """
    sampling = algorithm["sampling"]
    return PolicyModule(
        model["path"],
        prompt=dict(model["prompt"]),
        optimizer=optimizer,
        objective=make_objective(algorithm),
        options=ModelOptions.of(model),
        top_p=sampling["top_p"] if algorithm["top_p_aware"] else None,
    )


def grpo(run: Run, *, groups: Mapping[str, Group], parts: Mapping[str, Any]) -> Path:
    """Trains a policy by GRPO and exports it.

    Args:
        run: Folder, seed, optimizer, trainer, logger.
        groups: The config's groups data, model, reward, algorithm, rollout, evaluation.
        parts: `engine` and `executor` (or None), already built.

    Returns:
        The folder of the exported policy.
    """
    start, ranks = begin(run)
    model, algorithm = groups["model"], groups["algorithm"]
    if groups["rollout"]["staleness"]:
        parts = {**parts, "engine": AheadEngine(parts["engine"])}
    scored = {**parts, "reward": build_reward(groups["reward"]["terms"])}
    size = RoundSize(*(algorithm[name] for name in SIZES), world_size=ranks.world_size)
    rules = RoundRules.of(algorithm, groups["rollout"])
    progress, steps = RoundProgress(), make_steps(groups["data"], groups["reward"])
    training_steps = steps.train_stream(ranks.global_rank, ranks.world_size)
    policy = make_policy(model, algorithm, run.optimizer)
    stream = ExperienceStream(
        training_steps,
        policy,
        make_reference(policy, model["reference"]) if policy.objective.kl_coef else None,
        size=size,
        sampling=Sampling(**algorithm["sampling"]),
        rules=rules,
        rounds=run.rounds,
        seed=run.seed,
        report=progress.reporter.stage,
        **scored,
    )
    evaluator = make_evaluator(
        steps.val_steps(ranks.global_rank, ranks.world_size), groups["evaluation"], scored, run.seed
    )
    evaluator.faults = rules.faults
    evaluator.report = progress.reporter.stage
    trainer = make_trainer(
        run, stream, progress, run.rounds, (evaluator, groups["evaluation"]), algorithm["max_skipped_updates"]
    )
    trainer.accumulate_grad_batches = size.micro_batches_per_update
    fit_and_export(run, trainer, policy, stream, start, steps)
    return run.output_dir / "policy"


def begin(run: Run) -> tuple[Path | None, L.Trainer]:
    """The checkpoint to go on from, and a trainer that knows this process's rank. Settings that cannot work fail here, early."""
    _checked(run.optimizer, "optimizer", [torch.nn.Parameter(torch.zeros(1))])
    trainer = _checked(run.trainer, "trainer", max_epochs=0, logger=False, callbacks=[])
    return find_checkpoint(run.ckpt_path, run.output_dir, run.overwrite), trainer


def make_evaluator(steps: list[Step], evaluation: Group, scored: Mapping[str, Any], seed: int) -> Evaluator:
    """Validation with the engine, executor and reward of `scored`."""
    return Evaluator(steps, sampling=Sampling(**evaluation["sampling"]), name=evaluation["name"], seed=seed, **scored)


def make_trainer(
    run: Run, stream: RoundStream, progress: RoundProgress, rounds: int, validation: tuple[Evaluator, Group], most: int
) -> L.Trainer:
    """The Lightning trainer with everything that happens around a round, in the order in which it happens."""
    evaluator, settings = validation
    guard = SkipNonFinite(most)
    validate = Validate(evaluator, settings["every"], settings["table"], run.logger)
    keep = KeepCheckpoints(
        run.output_dir,
        run.checkpoint_every,
        run.checkpoint_keep,
        best=run.checkpoint_best,
        validation=validate.fresh,
        facts=RunFacts(run.config, lambda: run.logger and run.logger.run_id),
    )
    progress.reporter.heard = Heartbeat(run.output_dir)
    callbacks = [
        RankWatch(run.output_dir, run.ranks_timeout_s, progress.reporter),
        progress,
        guard,
        RunPosition(stream, run.logger),
        RoundLog(stream, guard),
        validate,
        Says(progress.reporter, "saving"),
        keep,
    ]
    trainer = _checked(
        run.trainer,
        "trainer",
        max_epochs=rounds,
        callbacks=stoppable(callbacks, keep, run.time_limit),
        plugins=[FolderCheckpointIO()],
        logger=run.logger or False,
    )
    return keep_inputs(with_timeout(trainer, run.ranks_timeout_s))


def _checked(make: Callable[..., Any], group: str, *args: Any, **kwargs: Any) -> Any:
    """What a library's class makes of a group's settings; what it does not like becomes a ConfigError."""
    try:
        return make(*args, **kwargs)
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(f"{group} cannot be made from these settings: {error}") from error


def warmstart(run: Run, *, groups: Mapping[str, Group], parts: Mapping[str, Any]) -> Path:
    """Teaches a model expert plans by supervised fine-tuning and exports it.

    Args:
        run: Folder, seed, optimizer, trainer, logger.
        groups: The config's groups data, model, reward, algorithm, evaluation, and warmstart: updates, updates_per_round, batch_size,
            workers; place_weight, warmup, decay (SFTModule); plan_cut, shift (Recipe).
        parts: `engine` and `executor` (or None) for the validation.

    Returns:
        The folder of the exported policy.
    """
    if (settings := groups["warmstart"]) is None:
        raise ConfigError("recipe=warmstart needs the settings of a warm start: add +experiment=warmstart.")
    start, ranks = begin(run)
    share = ranks.global_rank, ranks.world_size
    model = groups["model"]
    module = SFTModule(
        model["path"],
        prompt=dict(model["prompt"]),
        optimizer=run.optimizer,
        options=ModelOptions.of(model),
        **{name: settings[name] for name in ("place_weight", "warmup", "decay")},
    )
    scored = {**parts, "reward": build_reward(groups["reward"]["terms"])}
    steps = make_steps(groups["data"], groups["reward"])
    recipe = Recipe(settings["plan_cut"], settings["shift"], run.seed)
    batches = ExampleBatches(
        partial(steps.train_stream, *share), module.encoder, module.backbone, recipe, settings["batch_size"]
    )
    stream = WarmstartStream(
        batches, settings["updates_per_round"], settings["workers"], steps_of=steps.train_stream, share=share
    )
    progress = RoundProgress()
    evaluator = make_evaluator(steps.val_steps(*share), groups["evaluation"], scored, run.seed)
    evaluator.report = progress.reporter.stage
    rounds = settings["updates"] // settings["updates_per_round"]
    trainer = make_trainer(
        run, stream, progress, rounds, (evaluator, groups["evaluation"]), groups["algorithm"]["max_skipped_updates"]
    )
    fit_and_export(run, trainer, module, stream, start, steps)
    return run.output_dir / "policy"
