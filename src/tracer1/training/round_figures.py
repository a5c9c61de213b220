"""The figures of a round's rollouts, over all ranks, under their metric names. It knows nothing of stages or weights."""

from collections.abc import Sequence
from math import fsum

import torch

from tracer1.models.batch import MicroBatch
from tracer1.schema import Rollout
from tracer1.training.groups import Group, flat
from tracer1.training.ranks import summed


def rollout_figures(groups: Sequence[Group], dropped: int, device: torch.device) -> tuple[dict[str, float], float]:
    """Means over all groups that were drawn, those that dynamic sampling dropped included: they show the policy as it is.

    Args:
        groups: This rank's.
        dropped: How many of them are not trained on.
        device: Where the ranks' tensors meet.

    Returns:
        The figures, and how many tokens all ranks sampled.
    """
    rollouts = flat(groups)
    lengths = [len(r.response.token_ids) for r in rollouts]
    sums = {"reward/total": fsum(r.reward for r in rollouts)}
    sums |= {f"reward/{name}": fsum(r.terms[name] for r in rollouts) for name in rollouts[0].terms}
    sums |= {"rollout/response_length": sum(lengths), "rollout/truncated": sum(r.response.truncated for r in rollouts)}
    ties = sum(group.tied for group in groups)
    totals = summed([*sums.values(), len(rollouts), ties, len(groups), dropped, sum(lengths)], device)
    count, ties, drawn, dropped, tokens = totals[-5:]
    figures = {name: total / count for name, total in zip(sums, totals[:-5], strict=True)}
    figures |= {"rollout/ties": ties / drawn, "rollout/dropped_groups": float(dropped)}
    return figures, tokens


def logprob_error(rollouts: Sequence[Rollout], batches: Sequence[MicroBatch], device: torch.device) -> float:
    """Mean |engine - trainer| over the log-probs of all sampled tokens that are trained on, in nats, over all ranks."""
    engine = torch.tensor([logprob for r in rollouts for logprob in r.response.logprobs], dtype=torch.float64)
    trainer = torch.cat([batch.old_logprobs[batch.responses.mask.bool()] for batch in batches])
    difference, tokens = summed([float((engine - trainer).abs().sum()), len(engine)], device)
    return difference / max(1, tokens)
