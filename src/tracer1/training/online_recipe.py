"""Wires stage 3 together from plain arguments: environments, episodes, validation on held-out seeds. See `recipes.py`."""

from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from tracer1.environments import ENVIRONMENTS
from tracer1.errors import ConfigError
from tracer1.interfaces import Environment, Sampling
from tracer1.models.reference import make_reference
from tracer1.plan_act.episode import Job, Rules
from tracer1.plan_act.session import asked_of, jobs_of, seeds_of, without_refused
from tracer1.rewards import build_reward
from tracer1.training import recipes
from tracer1.training.arena import Arena, EpisodeEvaluator
from tracer1.training.episodes import SeededTasks
from tracer1.training.online import EpisodeStream
from tracer1.training.progress import RoundProgress
from tracer1.training.round_rules import RoundRules
from tracer1.training.round_size import RoundSize

Group = Mapping[str, Any]


def online(run: recipes.Run, *, groups: Mapping[str, Group], parts: Mapping[str, Any]) -> Path:
    """Trains a policy by GRPO on whole episodes and exports it.

    Args:
        run: Folder, seed, optimizer, trainer, logger.
        groups: The config's groups environment, online, data (horizon and history), model, reward, algorithm, rollout, evaluation.
        parts: `engine` and `executor`, already built.

    Returns:
        The folder of the exported policy.

    Raises:
        ConfigError: no executor, no environment, no such task, or training seeds among the held-out ones.
    """
    if parts["executor"] is None:
        raise ConfigError("Nobody executes: set an executor, e.g. executor=direct.")
    asked, place = asked_of(groups["environment"], ENVIRONMENTS.names())
    start, ranks = recipes.begin(run)
    settings, algorithm = groups["online"], groups["algorithm"]
    with ExitStack() as stack:
        environments = [
            stack.enter_context(closing(recipes.build(ENVIRONMENTS, place))) for _ in range(settings["parallel"])
        ]
        tasks, heldout = _drawn_and_heldout(asked, settings["heldout"], environments[0], run.seed)
        arena = Arena(
            environments,
            parts["executor"],
            Rules(
                settings["max_steps"],
                settings["max_lost"],
                history=groups["data"]["history"],
                restarts=settings["restarts"],
            ),
            settings["batch"],
            settings["lockstep"],
        )
        share = ranks.global_rank, ranks.world_size
        policy = recipes.make_policy(groups["model"], algorithm, run.optimizer)
        rules, progress = RoundRules.of(algorithm, groups["rollout"]), RoundProgress()
        stream = EpisodeStream(
            tasks,
            arena,
            policy,
            make_reference(policy, groups["model"]["reference"]) if policy.objective.kl_coef else None,
            parts["engine"],
            build_reward(groups["reward"]["terms"]),
            place=share,
            credit=settings["credit"],
            size=RoundSize(*(algorithm[name] for name in recipes.SIZES), world_size=ranks.world_size),
            sampling=Sampling(**algorithm["sampling"]),
            rules=rules,
            seed=run.seed,
            report=progress.reporter.stage,
        )
        evaluation = groups["evaluation"]
        evaluator = EpisodeEvaluator(
            heldout[share[0] :: share[1]], arena, parts["engine"], Sampling(**evaluation["sampling"]),
            evaluation["name"], run.seed, rules.faults, progress.reporter.stage,
        )  # fmt: skip
        trainer = recipes.make_trainer(
            run, stream, progress, run.rounds, (evaluator, evaluation), algorithm["max_skipped_updates"]
        )
        trainer.accumulate_grad_batches = stream.size.micro_batches_per_update
        recipes.fit_and_export(run, trainer, policy, stream, start)
    return run.output_dir / "policy"


def _drawn_and_heldout(
    asked: Group, heldout: Group, environment: Environment, seed: int
) -> tuple[SeededTasks, list[Job]]:
    """What is trained on, and what is played for the validation: the same tasks with other seeds."""
    known = environment.tasks()
    jobs = without_refused(jobs_of(asked["tasks"], **heldout, known=known), environment)
    seeds = seeds_of(asked["seeds"], asked["first_seed"])
    both = sorted({job.seed for job in jobs} & set(seeds))
    if both:
        raise ConfigError(
            f"environment.seeds and online.heldout share seeds, e.g. {both[0]}: what is trained on is no validation. Raise "
            "online.heldout.first_seed, or lower environment.seeds."
        )
    return SeededTasks(list(dict.fromkeys(job.task for job in jobs)), seeds, seed), jobs
