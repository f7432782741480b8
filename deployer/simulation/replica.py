"""One server: admission and batching by the server's own ``policy``, service times by a Profile's laws.

Requests that wait form a linked list through ``Requests.following``; those of one batch are neighbours
in it, so a worker remembers only the first and how many.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deployer.simulation import events as heap
from deployer.simulation import laws as service
from deployer.simulation.compiled import inner
from deployer.simulation.events import Events
from deployer.simulation.laws import Laws
from inference_code import policy

OK, REFUSED, TOO_LATE = 200, 503, 504

batch_size = inner(policy.batch_size)
predicted_wait_s = inner(policy.predicted_wait_s)
admit = inner(policy.admit)


class Serving(NamedTuple):
    """Numbers of one server."""

    workers: int
    max_batch: int
    max_wait_s: float
    queue_limit: int
    deadline_s: float
    laws: Laws


class Requests(NamedTuple):
    """Every request: when it comes, its random numbers, its place in a queue, its fate."""

    arrival_s: NDArray[np.float64]
    service_u: NDArray[np.float64]
    routing_u: NDArray[np.float64]
    following: NDArray[np.int64]
    done_s: NDArray[np.float64]
    status: NDArray[np.int16]


class Replicas(NamedTuple):
    """Every place for a server.

    By slot: ``queued`` requests wait, ``busy`` workers are taken, ``outstanding`` requests wait or are served.
    By worker (slot x workers + w): the ``first`` request of its batch, and how many it has ``taken``.
    """

    phase: NDArray[np.int64]
    head: NDArray[np.int64]
    tail: NDArray[np.int64]
    queued: NDArray[np.int64]
    busy: NDArray[np.int64]
    outstanding: NDArray[np.int64]
    timer_s: NDArray[np.float64]
    first: NDArray[np.int64]
    taken: NDArray[np.int64]


class Levels(NamedTuple):
    """Totals of the fleet, and their integrals over time since the last reading."""

    now: NDArray[np.float64]
    total: NDArray[np.int64]
    area: NDArray[np.float64]


BUSY, OUTSTANDING, ACTIVE = 0, 1, 2
"""Rows of Levels: busy workers, outstanding requests, instances in service."""


def make(slots: int, workers: int) -> Replicas:
    """Return ``slots`` empty places."""
    return Replicas(
        phase=np.zeros(slots, np.int64),
        head=np.zeros(slots, np.int64),
        tail=np.zeros(slots, np.int64),
        queued=np.zeros(slots, np.int64),
        busy=np.zeros(slots, np.int64),
        outstanding=np.zeros(slots, np.int64),
        timer_s=np.full(slots, -1.0),
        first=np.zeros(slots * workers, np.int64),
        taken=np.zeros(slots * workers, np.int64),
    )


def make_levels() -> Levels:
    """Return totals of an empty fleet."""
    return Levels(np.zeros(1), np.zeros(3, np.int64), np.zeros(3))


@inner
def advance(levels: Levels, now_s: float) -> None:
    """Add the time since the last event to the integrals."""
    passed_s = now_s - levels.now[0]
    for i in range(len(levels.area)):  # an array expression would allocate at every event
        levels.area[i] += levels.total[i] * passed_s
    levels.now[0] = now_s


@inner
def offer(
    now_s: float,
    request: int,
    slot: int,
    serving: Serving,
    requests: Requests,
    replicas: Replicas,
    events: Events,
    levels: Levels,
) -> bool:
    """Let a request into the server's queue if the server's admission rule says so."""
    full_batch_s = serving.laws.mean_s[serving.max_batch]
    queued, busy = replicas.queued[slot], replicas.busy[slot]
    wait_s = predicted_wait_s(queued, busy, serving.workers, serving.max_batch, full_batch_s)
    if not admit(queued, serving.queue_limit, wait_s, serving.deadline_s):
        return False
    if queued == 0:
        replicas.head[slot] = request
    else:
        requests.following[replicas.tail[slot]] = request
    replicas.tail[slot] = request
    replicas.queued[slot] += 1
    replicas.outstanding[slot] += 1
    levels.total[OUTSTANDING] += 1
    start_batches(now_s, slot, serving, requests, replicas, events, levels)
    return True


@inner
def start_batches(
    now_s: float,
    slot: int,
    serving: Serving,
    requests: Requests,
    replicas: Replicas,
    events: Events,
    levels: Levels,
) -> None:
    """Hand waiting requests to idle workers, as many at a time as the server's batching rule says."""
    while replicas.busy[slot] < serving.workers and replicas.queued[slot] > 0:
        arrived_s = requests.arrival_s[replicas.head[slot]]
        waited_s = now_s - arrived_s
        if (
            now_s >= arrived_s + serving.max_wait_s
        ):  # the timer's own sum: rounding must not lose it
            waited_s = max(waited_s, serving.max_wait_s)
        size = batch_size(replicas.queued[slot], waited_s, serving.max_batch, serving.max_wait_s)
        if size == 0:
            _set_timer(slot, arrived_s + serving.max_wait_s, serving, replicas, events)
            return
        _start(now_s, slot, size, serving, requests, replicas, events)
        levels.total[BUSY] += 1


@inner
def _set_timer(
    slot: int, time_s: float, serving: Serving, replicas: Replicas, events: Events
) -> None:
    if replicas.timer_s[slot] < 0:
        replicas.timer_s[slot] = time_s
        heap.push(events, time_s, timer_code(slot, serving, replicas))


@inner
def timer_code(slot: int, serving: Serving, replicas: Replicas) -> int:
    """Return the event code of a slot's batching timer: after those of workers and of boots."""
    return int(len(replicas.phase) * (serving.workers + 1) + slot)


@inner
def _start(
    now_s: float,
    slot: int,
    size: int,
    serving: Serving,
    requests: Requests,
    replicas: Replicas,
    events: Events,
) -> None:
    worker = slot * serving.workers
    while replicas.taken[worker] > 0:
        worker += 1
    first = replicas.head[slot]
    replicas.first[worker] = first
    replicas.taken[worker] = size
    for _ in range(size):
        replicas.head[slot] = requests.following[replicas.head[slot]]
    replicas.queued[slot] -= size
    replicas.busy[slot] += 1
    done_s = now_s + service.draw_s(serving.laws, size, requests.service_u[first])
    heap.push(events, done_s, worker)


@inner
def finish(
    now_s: float,
    worker: int,
    serving: Serving,
    requests: Requests,
    replicas: Replicas,
    levels: Levels,
) -> int:
    """Answer the batch of a worker, free the worker, and return its slot."""
    slot = worker // serving.workers
    size = replicas.taken[worker]
    request = replicas.first[worker]
    for _ in range(size):
        late = now_s - requests.arrival_s[request] > serving.deadline_s
        requests.status[request] = TOO_LATE if late else OK
        requests.done_s[request] = now_s
        request = requests.following[request]
    replicas.taken[worker] = 0
    replicas.busy[slot] -= 1
    replicas.outstanding[slot] -= size
    levels.total[OUTSTANDING] -= size
    levels.total[BUSY] -= 1
    return int(slot)
