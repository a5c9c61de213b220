"""A group: one prompt with its rollouts, and what is made of responses before anything is trained. It knows no tensors' devices."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tracer1.engines.rollout_file import RolloutRecord
from tracer1.parsing import parse_plan
from tracer1.schema import Prompt, Response, Rollout, Step

RewardFunction = Callable[[Rollout], tuple[float, dict[str, float]]]


@dataclass(frozen=True, slots=True)
class Group:
    """One prompt on its way through a round; each stage adds to it, left to right."""

    step: Step
    prompt: Prompt
    seeds: tuple[int, ...] = ()  # of the sampling noise, one for each rollout
    rollouts: tuple[Rollout, ...] = ()

    @property
    def tied(self) -> bool:
        """Whether all rewards are equal."""
        return tied(self.rollouts)

    def with_advantages(self, advantages: Iterable[float]) -> "Group":
        """The group with an advantage for each rollout."""
        pairs = zip(self.rollouts, advantages, strict=True)
        return replace(self, rollouts=tuple(replace(rollout, advantage=advantage) for rollout, advantage in pairs))


def tied(members: Iterable[Any]) -> bool:
    """Whether all rewards are equal: compared with each other, the members teach nothing. Masked ones are not compared.

    Args:
        members: With `reward` and `masked`: rollouts, or whole episodes.
    """
    return len({member.reward for member in members if not member.masked}) < 2


def make_rollouts(steps: Sequence[Step], prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[Rollout]:
    """Group-adjacent responses with their steps and parsed plans."""
    group_size = len(responses) // len(steps)
    return [
        Rollout(steps[i // group_size], response, parse_plan(response.text, prompts[i // group_size].starts_in_think))
        for i, response in enumerate(responses)
    ]


def regrouped(groups: Sequence[Group], rollouts: Sequence[Rollout]) -> list[Group]:
    """The groups with these group-adjacent rollouts."""
    if not groups:
        return []
    size = len(rollouts) // len(groups)
    return [replace(group, rollouts=tuple(rollouts[i * size : (i + 1) * size])) for i, group in enumerate(groups)]


def flat(groups: Iterable[Group]) -> list[Rollout]:
    """All rollouts, group-adjacent."""
    return [rollout for group in groups for rollout in group.rollouts]


def score(rollouts: Sequence[Rollout], reward: RewardFunction) -> list[Rollout]:
    """Fills in the reward and its terms; a masked rollout gets none."""
    scored = []
    for rollout in rollouts:
        if rollout.masked:
            scored.append(rollout)
            continue
        total, terms = reward(rollout)
        scored.append(replace(rollout, reward=total, terms=terms))
    return scored


def records(groups: Iterable[Group], round_number: int) -> Iterator[RolloutRecord]:
    """The lines of a round's file; rounds count from 1."""
    for group in groups:
        for i, (seed, rollout) in enumerate(zip(group.seeds, group.rollouts, strict=True)):
            response = rollout.response
            yield RolloutRecord(
                round=round_number,
                key=group.prompt.key,
                i=i,
                seed=seed,
                token_ids=response.token_ids,
                logprobs=response.logprobs,
                text=response.text,
                truncated=response.truncated,
                reward=rollout.reward,
                terms=rollout.terms,
                advantage=rollout.advantage,
                fault=rollout.outcome.fault if rollout.outcome is not None else "",
            )
