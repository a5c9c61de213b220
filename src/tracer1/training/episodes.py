"""Episodes as groups: how one is scored, what of it is trained on, which tasks come next. It knows no environment and no tensor."""

import random
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import fsum
from statistics import fmean

from tracer1.engines.rollout_file import rollout_seed
from tracer1.parsing import first_step_end
from tracer1.plan_act.episode import FAULT, Episode, Job
from tracer1.schema import Outcome, Prompt, Rollout
from tracer1.training.groups import Group, RewardFunction, tied

SUCCESS = 1.0  # the best score of every environment here


@dataclass(frozen=True, slots=True)
class Played:
    """One episode of a group, its last attempt."""

    job: Job
    turns: tuple[Group, ...] = ()  # a prompt with its one rollout for each sampled response; none after a fault
    score: float | None = None  # the environment's own
    reward: float | None = None  # None: masked, a fault or nothing that was sampled
    terms: Mapping[str, float] = field(default_factory=dict)
    steps: int = 0  # executed
    lost: int = 0  # turns in which nothing could be done
    fault: str = ""

    @property
    def masked(self) -> bool:
        """Whether nobody can say what it is worth."""
        return self.reward is None

    def with_turns(self, turns: Sequence[Group]) -> "Played":
        """With these scored turns; its reward and terms are their means, so that a term of the whole episode is itself."""
        rollouts = [turn.rollouts[0] for turn in turns]
        terms = {name: fmean(rollout.terms[name] for rollout in rollouts) for name in rollouts[0].terms}
        return replace(self, turns=tuple(turns), reward=fmean(rollout.reward for rollout in rollouts), terms=terms)


@dataclass(frozen=True, slots=True)
class EpisodeGroup:
    """n episodes of one seeded task."""

    episodes: tuple[Played, ...]

    @property
    def tied(self) -> bool:
        """Whether all rewards are equal."""
        return tied(self.episodes)

    @property
    def rows(self) -> list[Group]:
        """All turns of all episodes."""
        return [turn for episode in self.episodes for turn in episode.turns]

    def with_advantages(self, advantages: Sequence[float]) -> "EpisodeGroup":
        """The group with each episode's advantage on every one of its turns."""
        pairs = zip(self.episodes, advantages, strict=True)
        return EpisodeGroup(
            tuple(
                replace(episode, turns=tuple(turn.with_advantages([advantage]) for turn in episode.turns))
                for episode, advantage in pairs
            )
        )


def score_episode(
    episode: Episode, prompts: Mapping[str, Prompt], noise: Mapping[str, int], reward: RewardFunction
) -> Played:
    """An episode with its reward.

    Args:
        episode: Played to its end.
        prompts: Of each turn, by the key of its step; a prompt that was too long is missing, and its turn is not trained on.
        noise: The seed of each turn's response, likewise.
        reward: rollout -> total and terms.
    """
    if episode.end == FAULT:
        return Played(episode.job, fault=episode.fault)
    turns = [_scored(turn.tries[0].rollout, episode.score, prompts, noise, reward) for turn in episode.turns]
    turns = [turn for turn in turns if turn is not None]
    played = Played(episode.job, score=episode.score, steps=episode.steps, lost=episode.lost)
    return played.with_turns(turns) if turns else played


def _scored(
    rollout: Rollout,
    score: float,
    prompts: Mapping[str, Prompt],
    noise: Mapping[str, int],
    reward: RewardFunction,
) -> Group | None:
    key = rollout.step.key
    if key not in prompts:
        return None
    rollout = replace(rollout, outcome=replace(rollout.outcome or Outcome(), score=score))
    total, terms = reward(rollout)
    return Group(rollout.step, prompts[key], (noise[key],), (replace(rollout, reward=total, terms=terms),))


@dataclass(frozen=True, slots=True)
class SeededTasks:
    """An endless list of tasks with seeds: each pass over the tasks in another order, each time with another seed.

    Args:
        tasks: Names.
        seeds: Of the environment, to draw from.
        seed: Of the order.
    """

    tasks: Sequence[str]
    seeds: Sequence[int]
    seed: int

    def job(self, number: int) -> Job:
        """The number-th one, from 0; the same whoever asks and whenever."""
        lap, place = divmod(number, len(self.tasks))
        order = random.Random(f"{self.seed}/{lap}").sample(range(len(self.tasks)), len(self.tasks))
        task = self.tasks[order[place]]
        return Job(task, self.seeds[rollout_seed(self.seed, "task", number) % len(self.seeds)])


def executed_part(turn: Group, decode: Callable[[Sequence[int]], str]) -> Group:
    """A turn with its response cut where the plan's second step begins: the rest was never executed and cannot have caused the score.

    A plan that is malformed anywhere, or that nothing could be done with, stays whole: there the rest may be what is at fault.

    Args:
        turn: A prompt with its one rollout.
        decode: Token ids -> their text.
    """
    (rollout,) = turn.rollouts
    response, plan = rollout.response, rollout.plan
    if plan is None or not plan.framed or any(step.error for step in plan.steps) or rollout.outcome.error:
        return turn
    end, ids = first_step_end(response.text), response.token_ids
    if end == len(response.text):
        return turn
    count = bisect_left(range(len(ids)), end, key=lambda tokens: len(decode(ids[:tokens])))
    cut = replace(response, token_ids=ids[:count], logprobs=response.logprobs[:count])
    return replace(turn, rollouts=(replace(rollout, response=cut),))


def episode_means(episodes: Sequence[Played]) -> dict[str, tuple[float, int]]:
    """Sums and counts of what episodes came to, faults left out."""
    over = [episode for episode in episodes if not episode.fault]
    values = {
        "episode/score": [e.score for e in over],
        "episode/success": [float(e.score == SUCCESS) for e in over],
        "episode/steps": [e.steps for e in over],
        "episode/lost": [e.lost for e in over],
    }
    return {name: (fsum(numbers), len(numbers)) for name, numbers in values.items() if numbers}
