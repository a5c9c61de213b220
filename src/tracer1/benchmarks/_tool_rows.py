"""What the benchmarks of tool use keep of an episode, and how they pool shares of queries. It knows no benchmark's rule.

Everything is read from what the environment `tools` put into its observations (`did`, `answer`) and from the turns of the loop.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tracer1.benchmarks._result import BenchmarkResult
from tracer1.metrics.episodes import Estimate, Statistic, bootstrap_weights, estimate, ratio
from tracer1.metrics.gta_t3 import Emitted
from tracer1.metrics.share import Share
from tracer1.plan_act.episode import Episode


def answer_of_episode(episode: Episode) -> str | None:
    """The final answer that was given; None where there is none."""
    return None if episode.last is None else episode.last.meta.get("answer")


def did_in_episode(episode: Episode) -> list[Mapping[str, Any]]:
    """The actions that ran, in order: see the environment's `did`."""
    return [] if episode.last is None else list(episode.last.meta.get("did") or ())


def emitted_in_episode(episode: Episode) -> list[dict[str, Any]]:
    """Every action that the agent gave, plans that could not be acted upon included: those have failed, and call nothing."""
    ran = iter(did_in_episode(episode))
    found: list[dict[str, Any]] = []
    for turn in episode.turns:
        for one in turn.tries:
            action = None if one.error else next(ran, None)
            if action is not None:
                found.append({"tools": list(action["tools"]), "failed": bool(action["error"])})
            elif one.error:
                found.append({"tools": [], "failed": True})
    return found


def emitted(row: Mapping[str, Any]) -> list[Emitted]:
    """The same out of a row."""
    return [Emitted(tuple(action["tools"]), action["failed"]) for action in row["emitted"]]


def calls_of(episode: Episode) -> list[str]:
    """Readable lines of what was called, for whoever reads predictions: `ocr: error`."""
    return [
        ", ".join(action["tools"]) + (f": {action['error']}" if action["error"] else "")
        for action in did_in_episode(episode)
    ]


# --- figures ---------------------------------------------------------------------------------------------------------


def pooled(shares: Sequence[Share], draws: int, seed: int) -> Estimate:
    """The hits of all queries by all their denominators, with the interval for queries like these.

    Args:
        shares: (Q,) of each query; with an unknown one among them the figure is not known.
        draws: Bootstrap draws over queries.
        seed: Of the draws.
    """
    if any(share.unknown for share in shares):
        return Estimate(math.nan, math.nan, math.nan)
    columns = {"hits": [share.hits for share in shares], "of": [share.of for share in shares]}
    return over_queries(columns, ratio("hits", "of"), draws, seed)


def over_queries(columns: Mapping[str, Sequence[float]], figure: Statistic, draws: int, seed: int) -> Estimate:
    """A figure of columns with a number for each query.

    Args:
        columns: Name -> (Q,) numbers.
        figure: Of them.
        draws: Bootstrap draws over queries.
        seed: Of the draws.
    """
    sums = {name: np.asarray(column, dtype=float) for name, column in columns.items()}
    queries = len(next(iter(sums.values())))
    return estimate(sums, figure, bootstrap_weights([""] * queries, draws, seed))


METHOD = "queries drawn with replacement, percentiles 2.5 and 97.5"


def plain_result(result: BenchmarkResult, notes: Sequence[str]) -> BenchmarkResult:
    """Without what says nothing here: each query is played once, and some have no score of their own."""
    means = {name: value for name, value in result.about["means"].items() if name != "score"}
    bootstrap = {**result.about["bootstrap"], "method": METHOD}
    kept = [f"intervals: {METHOD}" if note.startswith("intervals: ") else note for note in result.notes]
    return replace(
        result, by_task={}, about={**result.about, "means": means, "bootstrap": bootstrap}, notes=(*kept, *notes)
    )
