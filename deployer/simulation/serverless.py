"""Serverless containers: one request each, started when none is free, gone when idle for too long."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deployer.simulation import distributions as service
from deployer.simulation.compiled import entry, inner, sources_digest
from deployer.simulation.distributions import Distributions
from deployer.simulation.state import OK, THROTTLED, TOO_LATE, Requests


class Containers(NamedTuple):
    """Numbers of the endpoint, and ``free_s``: when each container ends its last request (-inf: never used).

    The first ``provisioned`` containers are always warm. ``cold_starts[0]`` counts.
    """

    cold_start_s: float
    idle_s: float
    provisioned: int
    deadline_s: float
    distributions: Distributions
    free_s: NDArray[np.float64]
    cold_starts: NDArray[np.int64]


@inner
def _choose(now_s: float, containers: Containers) -> tuple[int, bool]:
    """Return a free container and whether it is warm: a provisioned one, else the last used; -1 if none."""
    cold, warm = -1, -1
    for i in range(len(containers.free_s)):
        free_s = containers.free_s[i]
        if free_s > now_s:
            continue
        if i < containers.provisioned:
            return i, True
        if now_s - free_s > containers.idle_s:
            cold = i
        elif warm < 0 or free_s > containers.free_s[warm]:
            warm = i
    return (warm, True) if warm >= 0 else (cold, False)


@inner
def play(containers: Containers, requests: Requests, billed_s: NDArray[np.float64]) -> None:
    """Play the whole trace; ``billed_s`` gets the billed time of each request, its cold start included."""
    for request in range(len(requests.arrival_s)):
        now_s = requests.arrival_s[request]
        container, is_warm = _choose(now_s, containers)
        if container < 0:
            requests.status[request] = THROTTLED
            requests.done_s[request] = now_s
            continue
        duration_s = service.draw_s(containers.distributions, 1, requests.service_u[request])
        if not is_warm:
            duration_s += containers.cold_start_s
            containers.cold_starts[0] += 1
        containers.free_s[container] = now_s + duration_s
        requests.done_s[request] = now_s + duration_s
        requests.status[request] = TOO_LATE if duration_s > containers.deadline_s else OK
        billed_s[request] = duration_s


def _cached(version: str) -> Callable[[Containers, Requests, NDArray[np.float64]], None]:
    def play_cached(
        containers: Containers, requests: Requests, billed_s: NDArray[np.float64]
    ) -> None:
        if version != "":  # makes the version part of numba's cache key
            play(containers, requests, billed_s)

    return entry(play_cached)


play_cached = _cached(sources_digest())
"""The compiled ``play``, kept on disk."""
