"""Where a training plays episodes, and how it plays held-out ones. It knows no environment by name, no reward and no update."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tracer1.interfaces import Environment, Executor, Observation, RolloutEngine, Sampling
from tracer1.models.policy import PolicyModule
from tracer1.plan_act.episode import FAULT, Episode, Job, Rules, Turn
from tracer1.plan_act.planner import SharedPlanner
from tracer1.plan_act.side_by_side import play_all
from tracer1.schema import Rollout
from tracer1.training.episodes import SUCCESS, Played, episode_means
from tracer1.training.ranks import agreed, summed
from tracer1.training.round_figures import means_over_ranks
from tracer1.training.round_rules import FaultLimit
from tracer1.training.rounds import StageReporter


@dataclass(frozen=True)
class Arena:
    """Where episodes are played, and how.

    Args:
        environments: Used side by side; whoever made them closes them.
        executor: Executes the first step of each plan.
        rules: Limits of an episode.
        batch: Plans in one call of the engine, at most.
        lockstep: Plan for all at once and wait for the slowest: a training then repeats itself bit for bit on a CPU.
    """

    environments: Sequence[Environment]
    executor: Executor
    rules: Rules
    batch: int = 64
    lockstep: bool = False

    def play(self, jobs: Sequence[Job], planner: SharedPlanner, report: StageReporter) -> list[Episode]:
        """The last attempt of every job, in order; `report` is told how many are over. Every rank must call it, without jobs too."""
        if not jobs:  # the other ranks play on: weights may be gathered when the engine is served
            with planner.engine.serving(planner.policy):
                return []
        last = _LastAttempts(len(jobs), report)
        play_all(jobs, self.environments, planner, self.executor, self.rules, [last], lockstep=self.lockstep)
        return [last.episodes[number] for number in range(len(jobs))]


@dataclass
class _LastAttempts:
    """A watcher that keeps the episodes."""

    jobs: int
    report: StageReporter
    episodes: dict[int, Episode] = field(default_factory=dict)

    def looked(self, episode: Episode, number: int, seen: Observation) -> None: ...

    def turned(self, episode: Episode, turn: Turn) -> None: ...

    def ended(self, episode: Episode) -> None:
        self.episodes[episode.number] = episode
        self.report("playing", done=len(self.episodes), total=self.jobs)


@dataclass
class EpisodeEvaluator:
    """Validation: plays held-out seeds. See `evaluation.Evaluator`, whose place it takes.

    Args:
        jobs: This rank's episodes.
        arena: Where.
        engine: Samples.
        sampling: How.
        name: In `val/<name>/<metric>`.
        seed: Of the sampling noise, the same for every round.
        faults: Looks at how many episodes met a fault.
        report: Told how far it is.
    """

    jobs: Sequence[Job]
    arena: Arena
    engine: RolloutEngine
    sampling: Sampling
    name: str
    seed: int
    faults: FaultLimit = field(default_factory=FaultLimit)
    report: StageReporter = lambda stage, **figures: None

    def run(self, policy: PolicyModule) -> tuple[dict[str, float], list[Rollout]]:
        """Figures over all ranks under their names, and how each of this rank's episodes began."""
        planner = SharedPlanner(policy, self.engine, self.sampling, seed=self.seed, at_most=self.arena.batch)
        episodes = agreed(self.arena.play, self.jobs, planner, lambda stage, **done: self.report("validating", **done))
        self.faults.check_faults([episode.fault for episode in episodes], policy.device, "episodes")
        played = [Played(e.job, (), e.score, e.score, {}, e.steps, e.lost, e.fault) for e in episodes]
        figures = {key.removeprefix("episode/"): value for key, value in episode_means(played).items()}
        for one in played:
            if not one.masked:
                hits, count = figures.get(f"success.{one.job.task}", (0, 0))
                figures[f"success.{one.job.task}"] = hits + (one.score == SUCCESS), count + 1
        means = means_over_ranks(figures)
        means["infra_errors"] = summed([sum(bool(one.fault) for one in played)], policy.device)[0]
        first = [replace(e.turns[0].tries[-1].rollout, reward=e.score) for e in episodes if e.end != FAULT]
        return {f"val/{self.name}/{metric}": float(value) for metric, value in means.items()}, first
