"""What grouping by length does to waiting, simulated: one worker, Poisson arrivals, the server's own ``best_group``.

    python tests/benchmarks/serving/grouping.py

A run of n texts of which the longest has L tokens takes ``RUN_MS + TOKEN_MS * n * L``, as MiniLM int8 was measured to
on one core of a Xeon (AVX512-VNNI, 2026-11-22; 25 to 60 tokens, batches of 1 to 8). Lengths are log-normal: sentences
(23 to 87 tokens) or mixed (4 to 256). ``load`` is the share of time that texts one by one would take. ``belief`` is
the overhead that the grouping is told, over the true one; the server tells it half of what its warm-up measures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from inference_code.grouping import best_group

RUN_MS, TOKEN_MS = 1.28, 0.0866
OVERHEAD = RUN_MS / TOKEN_MS
MOST = 8
REQUESTS = 15_000
Pick = Callable[[Sequence[int]], list[int]]


def main() -> None:
    """Print mean and p99 in ms for each way to choose, load and kind of text."""
    ways: dict[str, Pick] = {
        "one by one": lambda lengths: [0],
        "all that wait": lambda lengths: list(range(min(MOST, len(lengths)))),
    }
    for belief in (0.25, 0.5, 1.0, 2.0, 4.0):
        ways[f"grouped, belief x {belief:g}"] = _grouped(belief * OVERHEAD)
    rng = np.random.default_rng(1)
    texts = {
        "sentences": np.clip(np.exp(rng.normal(3.6, 0.27, 256)), 23, 87).astype(int),
        "mixed": np.clip(np.exp(rng.normal(3.7, 1.2, 256)), 4, 256).astype(int),
    }
    for kind, lengths in texts.items():
        for load in (0.4, 0.6, 0.8, 0.95):
            print(f"{kind}, load {load}: mean and p99 in ms, share of time at work")
            for name, pick in ways.items():
                waited_ms, busy = simulate(load, lengths, pick)
                tail = np.quantile(waited_ms, 0.99)
                print(f"  {name:22} {waited_ms.mean():9.1f} {tail:9.1f} {busy:6.3f}")


def simulate(load: float, lengths: np.ndarray, pick: Pick) -> tuple[np.ndarray, float]:
    """Return each request's time to its answer in ms, and the share of time that the worker worked."""
    rng = np.random.default_rng(2)
    gap_ms = (RUN_MS + TOKEN_MS * float(lengths.mean())) / load
    arrival_ms = np.cumsum(rng.exponential(gap_ms, REQUESTS))
    drawn = rng.choice(lengths, REQUESTS).tolist()
    waited_ms, queue = np.zeros(REQUESTS), list[int]()
    now_ms = busy_ms = 0.0
    coming = 0
    while coming < REQUESTS or queue:
        if not queue:
            now_ms = max(now_ms, arrival_ms[coming])
        while coming < REQUESTS and arrival_ms[coming] <= now_ms:
            queue.append(coming)
            coming += 1
        places = set(pick([drawn[request] for request in queue]))
        batch = [queue[place] for place in places]
        took_ms = RUN_MS + TOKEN_MS * len(batch) * max(drawn[request] for request in batch)
        now_ms += took_ms
        busy_ms += took_ms
        waited_ms[batch] = now_ms - arrival_ms[batch]
        queue = [request for place, request in enumerate(queue) if place not in places]
    return waited_ms, busy_ms / now_ms


def _grouped(overhead: float) -> Pick:
    return lambda lengths: best_group(lengths, MOST, overhead)


if __name__ == "__main__":
    main()
