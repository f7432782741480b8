"""Which waiting requests to compute together when they differ in length.

A batch costs its padded size: as many rows as requests, each as long as the longest. So a batch of random
lengths is slower than none, and the best batch is not always the fullest. What speaks for a larger one is
what every run costs beside its tokens; ``overhead`` is that cost in tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate


def best_group(lengths: Sequence[int], most: int, overhead: float) -> list[int]:
    """Return the places of the requests to run now, in order; the first (the oldest) is always in.

    Of all groups of neighbours in length around the oldest, at most ``most`` long, it is the one that gains
    most over its requests one by one: what they would cost so, over what they cost together. Tokens per
    cost would not do: a long request wastes less than a short one as it is, so the short would always take
    one along and be padded to it.

    >>> best_group([10, 90, 11, 50, 9, 12], most=4, overhead=10)
    [0, 2, 4, 5]
    >>> best_group([8, 42], most=2, overhead=15)
    [0]
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    oldest = order.index(0)
    sums = [0, *accumulate(lengths[place] for place in order)]
    best, found = -1.0, (oldest, oldest + 1)
    for start in range(max(0, oldest - most + 1), oldest + 1):
        for end in range(oldest + 1, min(start + most, len(order)) + 1):
            count = end - start
            apart = count * overhead + sums[end] - sums[start]
            worth = apart / (overhead + count * lengths[order[end - 1]])
            # Among equals the larger group is better: it empties the queue sooner.
            if worth > best or (worth == best and count > found[1] - found[0]):
                best, found = worth, (start, end)
    return sorted(order[found[0] : found[1]])


def overhead_tokens(alone_s: float, full_s: float, size: int, length: int) -> float:
    """Return the overhead to group by, in tokens: half of what a run costs beside its tokens.

    That cost follows from two runs of one request: ``alone_s`` is the time of the request by itself, ``full_s``
    of ``size`` copies of it, ``length`` its tokens. A warm-up may be off by a factor of two, and twice too much
    makes all wait for groups too large (p99 up by 10 to 25% in tests/benchmarks/serving/grouping.py), half too
    little costs nothing. At least half a token: batches of equal lengths are never worse.

    >>> overhead_tokens(alone_s=3.0, full_s=10.0, size=8, length=20)
    20.0
    """
    each_s = (full_s - alone_s) / max(1, size - 1)
    if each_s <= 0.0:
        return float(max(1, length) * size)
    return max(0.5, 0.5 * (alone_s - each_s) / each_s * length)


def batches_pay(alone_s: float, full_s: float, size: int) -> bool:
    """Return whether ``size`` requests together take enough less time than one after another.

    Enough is a twentieth: what is less is within the error of a warm-up, and not worth waiting for others.
    """
    return full_s < 0.95 * size * alone_s
