"""The figures of a round's rollouts, over all ranks, under their metric names. It knows nothing of stages or weights."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import fsum
from typing import Any

import torch

from tracer1.models.batch import MicroBatch
from tracer1.schema import Rollout
from tracer1.training.groups import Group, flat
from tracer1.training.ranks import gathered, summed

Sums = Mapping[str, tuple[float, int]]  # name -> sum and count


def rollout_figures(groups: Sequence[Group], dropped: int, device: torch.device) -> tuple[dict[str, float], float]:
    """Means over all groups that were drawn, those that dynamic sampling dropped included: they show the policy as it is.

    Args:
        groups: This rank's.
        dropped: How many of them are not trained on.
        device: Where the ranks' tensors meet.

    Returns:
        The figures, and how many tokens all ranks sampled. Rewards are means over the rollouts that are not masked.
    """
    rollouts = flat(groups)
    lengths = [len(r.response.token_ids) for r in rollouts]
    sums = {"rollout/response_length": sum(lengths), "rollout/truncated": sum(r.response.truncated for r in rollouts)}
    ties = sum(group.tied for group in groups)
    totals = summed([*sums.values(), len(rollouts), ties, len(groups), dropped, sum(lengths)], device)
    count, ties, drawn, dropped, tokens = totals[-5:]
    figures = means_over_ranks(reward_sums(rollouts) | tool_sums(rollouts) | executor_sums(rollouts))
    figures |= {name: total / count for name, total in zip(sums, totals[:-5], strict=True)}
    figures |= {"rollout/ties": ties / drawn, "rollout/dropped_groups": float(dropped)}
    if any(r.outcome is not None for r in rollouts):
        figures["executor/infra_errors"] = summed([sum(r.masked for r in rollouts)], device)[0]
    return figures, tokens


def reward_sums(rollouts: Iterable[Any]) -> dict[str, tuple[float, int]]:
    """Sums of the total and of every term, over the rollouts, or whole episodes, that are not masked."""
    scored = [r for r in rollouts if not r.masked]
    sums = {"reward/total": (fsum(r.reward for r in scored), len(scored))} if scored else {}
    for name in scored[0].terms if scored else ():
        sums[f"reward/{name}"] = fsum(r.terms[name] for r in scored), len(scored)
    return sums


def tool_sums(rollouts: Iterable[Rollout]) -> dict[str, tuple[float, int]]:
    """Sums of the total by the tool that the expert called: shows what a tool that is answered badly does to the rest."""
    rewards: dict[str, list[float]] = defaultdict(list)
    for rollout in rollouts:
        expert = rollout.step.future[0].action if rollout.step.future else None
        if (
            rollout.step.platform == "tool"
            and expert is not None
            and rollout.outcome is not None
            and not rollout.masked
        ):
            rewards[expert.action_type].append(rollout.reward)
    return {f"reward_by_tool/{tool}": (fsum(values), len(values)) for tool, values in sorted(rewards.items())}


def executor_sums(rollouts: Iterable[Rollout]) -> dict[str, tuple[float, int]]:
    """What the executor had to do: answers from a cache, and actions that went wrong."""
    outcomes = [r.outcome for r in rollouts if r.outcome is not None and not r.masked]
    if not outcomes:
        return {}
    return {
        "executor/cache_hits": (sum(outcome.cached for outcome in outcomes), len(outcomes)),
        "executor/bad_actions": (sum(bool(outcome.error) for outcome in outcomes), len(outcomes)),
    }


def means_over_ranks(own: Sums) -> dict[str, float]:
    """Means of sums that every rank has under names of its own: one may have met a tool that the others have not."""
    ranks = gathered(dict(own))
    names = dict.fromkeys(name for rank in ranks for name in rank)
    totals = {name: [rank.get(name, (0.0, 0)) for rank in ranks] for name in names}
    return {name: fsum(s for s, _ in parts) / max(1, sum(n for _, n in parts)) for name, parts in totals.items()}


def logprob_error(rollouts: Sequence[Rollout], batches: Sequence[MicroBatch], device: torch.device) -> float:
    """Mean |engine - trainer| over the log-probs of all sampled tokens that are trained on, in nats, over all ranks."""
    kept = (rollout for rollout in rollouts if not rollout.masked)
    engine = torch.tensor([logprob for r in kept for logprob in r.response.logprobs], dtype=torch.float64)
    trainer = torch.cat([batch.old_logprobs[batch.responses.mask.bool()] for batch in batches])
    difference, tokens = summed([float((engine - trainer).abs().sum()), len(engine)], device)
    return difference / max(1, tokens)
