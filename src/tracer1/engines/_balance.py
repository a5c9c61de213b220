"""Work shared out by what it costs: whole groups onto servers. Pure functions; they know no server and no tensor."""

from collections.abc import Sequence

from tracer1.schema import Prompt


def group_cost(prompt: Prompt, responses: int, expected: float) -> float:
    """Tokens that a group makes a server work through.

    Args:
        prompt: Read once for the whole group; the tokens of its pictures are among its token ids.
        responses: How many are wanted.
        expected: Tokens of one response, on average.
    """
    return len(prompt.token_ids) + responses * expected


def spread(costs: Sequence[float], shares: int, first: int = 0) -> list[list[int]]:
    """Shares items out, the dearest first, each to whoever has the least so far.

    The largest share is at most the mean share plus the dearest item (Graham's bound for list scheduling); items of equal cost keep
    their order, so the result depends on the arguments alone.

    Args:
        costs: Of each item, 0 or more.
        shares: How many shares, 1 or more.
        first: The share that comes first among equals: callers that share the same servers begin at different ones.

    Returns:
        The items of each share, in ascending order.
    """
    loads, shared = [0.0] * shares, [[] for _ in range(shares)]
    for item in sorted(range(len(costs)), key=lambda i: -costs[i]):
        least = min(range(shares), key=lambda s: (loads[s], (s - first) % shares))
        shared[least].append(item)
        loads[least] += costs[item]
    return [sorted(share) for share in shared]
