"""The closed list of metric names, each with its explanation. It knows nothing about who logs them or where they go.

A closed list keeps two runs comparable: the same figure always has the same name, and a typing error is found at the
first log call instead of in an empty plot.
"""

import re
from collections.abc import Iterable

from tracer1.errors import ConfigError
from tracer1.registry import nearest

METRICS: dict[str, str] = {
    "round": "the round these figures belong to; the x axis of every plot counts optimizer steps",
    "reward/total": "mean total reward of the round's rollouts, 0 to 1",
    "reward/<term>": "mean of one term of the reward before weighting, e.g. reward/format",
    "rollout/response_length": "mean length of a response, in tokens",
    "rollout/truncated": "share of responses stopped by the token limit, 0 to 1",
    "rollout/ties": "share of groups whose rewards are all equal: they give no gradient, 0 to 1",
    "rollout/dropped_groups": "groups of equal rewards that dynamic sampling replaced in this round, all ranks",
    "rollout/logprob_error": "mean |engine - trainer| log-probability of a sampled token; grows when weights are stale",
    "rollout/staleness": "1 where the round was sampled before the last one's updates (rollout.staleness=1), else 0",
    "rollout/importance_weight": "mean weight of a token for having been sampled by older weights (rollout.staleness=1); 1 is on policy",
    "executor/infra_errors": "rollouts of the round that a fault of the infrastructure masked out of their groups, all ranks",
    "executor/bad_actions": "share of executed rollouts whose action could not be run or failed, masked ones left out, 0 to 1",
    "executor/cache_hits": "share of executed rollouts that were answered from a cache, 0 to 1",
    "reward_by_tool/<tool>": "mean total reward of the rollouts whose expert called this tool",
    "episode/score": "mean score that the environment gave the round's episodes (stage 3)",
    "episode/success": "share of the round's episodes with the best score, 1 (stage 3)",
    "episode/steps": "mean steps that were executed in an episode (stage 3)",
    "episode/lost": "mean turns of an episode in which no plan could be acted upon (stage 3)",
    "rollout/tokens_per_s": "response tokens sampled per second, all ranks",
    "policy/kl": "mean KL estimate between policy and reference per token, in nats",
    "policy/clip_fraction": "share of tokens whose probability ratio was clipped, 0 to 1",
    "policy/entropy": "mean entropy of the policy per response token, in nats",
    "policy/loss": "GRPO loss, the token mean over one optimizer update",
    "optim/lr": "learning rate",
    "optim/grad_norm": "gradient norm before clipping",
    "optim/skipped": "optimizer updates skipped because loss or gradient was not finite",
    "data/epoch": "whole passes over the training steps so far",
    "data/dropped_prompts": "prompts dropped because they exceed the prompt limit",
    "time/<stage>_s": "wall time of one stage of the round, e.g. time/generating_s",
    "balance/before": "what the heaviest rank has to train on, in tokens over the mean rank's, as it was drawn",
    "balance/after": "the same after whole groups have changed places",
    "time/straggler_s": "how long the slowest process was busy beyond the median one, in the stage of the round where that is longest",
    "sft/loss": "supervised loss: mean cross-entropy per target token, in nats",
    "sft/place_loss": "the same over the tokens of coordinates only",
    "val/<benchmark>/<metric>": "a benchmark's metric on held-out steps",
    "system/<figure>": "the machine of rank 0: cpu_percent, rss_gb, ram_percent, disk_free_gb, gpu_percent, gpu_memory_gb",
}

_PATTERNS = [re.compile(re.sub(r"<\w+>", r"[\\w.-]+", name)) for name in METRICS]


def check_names(names: Iterable[str]) -> None:
    """Raises ConfigError for the first name that is not in the closed list, and names the nearest one."""
    for name in names:
        if not any(pattern.fullmatch(name) for pattern in _PATTERNS):
            raise ConfigError(
                f"No metric is called {name!r}.{nearest(name, list(METRICS))} Metric names are a closed list: log under "
                "one of its names, or add the new name with its explanation to METRICS in tracer1/tracking/metric_names.py."
            )


def explain() -> str:
    """The list as a Markdown table, for docs/metrics.md and for `--help`."""
    rows = [f"| `{name}` | {text} |" for name, text in METRICS.items()]
    return "\n".join(["| metric | what it says |", "|---|---|", *rows])
