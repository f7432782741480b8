"""Decisions of the server as pure functions of numbers.

The server calls them with its clock's numbers, the simulator compiles the very same functions with
numba and calls them with simulated ones. So: scalars in, scalars out, no helper, no state, no clock.
"""

from __future__ import annotations


def batch_size(queued: int, oldest_wait_s: float, max_batch: int, max_wait_s: float) -> int:
    """Return how many waiting requests an idle worker takes now; 0 means keep waiting.

    A full batch goes at once. A part-full one goes when the oldest request has waited ``max_wait_s``;
    with ``max_wait_s`` 0 (the default) whatever waits goes at once, so a lone client never pays a timer.
    """
    if queued <= 0:
        return 0
    if queued >= max_batch:
        return max_batch
    if oldest_wait_s >= max_wait_s:
        return queued
    return 0


def batch_cap(objective_s: float, alone_s: float, full_s: float, max_batch: int) -> int:
    """Return the largest batch with which a request can be answered within the objective, at least 1.

    It may wait for the batch before its own, so a batch may take half of the time. One request takes
    ``alone_s``, ``max_batch`` take ``full_s``, those between in proportion. When even one alone takes longer
    than the objective, nothing can keep it, and full batches lose the least.
    """
    half_s = 0.5 * objective_s
    if full_s <= half_s or alone_s > objective_s or full_s <= alone_s:
        return max_batch
    if alone_s >= half_s:
        return 1
    return 1 + int((max_batch - 1) * (half_s - alone_s) / (full_s - alone_s))


def useful_wait_s(max_wait_s: float, objective_s: float, gap_s: float) -> float:
    """Return how long to wait for more requests: not at all when none is likely to come in that time.

    ``gap_s`` is the recent mean time between arrivals. The other half of the objective is for the batch.
    """
    wait_s = min(max_wait_s, 0.5 * objective_s)
    return wait_s if gap_s < wait_s else 0.0


def predicted_wait_s(queued: int, busy: int, workers: int, max_batch: int, batch_s: float) -> float:
    """Return how long a request that arrives now will wait for a worker, in seconds.

    ``batch_s`` is the recent mean time of one full batch; ``busy`` workers are taken to be half way through.
    """
    rounds = queued // (max_batch * workers)
    waiting = rounds * batch_s
    if busy >= workers:
        waiting += 0.5 * batch_s
    return waiting


def admit(queued: int, queue_limit: int, wait_s: float, deadline_s: float) -> bool:
    """Return whether to accept a request: the queue has room and the predicted wait is within the deadline.

    ``wait_s`` is the time to the answer: the predicted wait plus the request's own batch.
    """
    return queued < queue_limit and wait_s <= deadline_s


def retry_after_s(wait_s: float) -> float:
    """Return the Retry-After of a refused request: the predicted wait, at least 1 s and at most 60 s."""
    return min(60.0, max(1.0, wait_s))
