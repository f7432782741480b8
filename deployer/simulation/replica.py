"""One server: admission and batching by the server's own ``policy``, service times by a Profile's distributions.

Requests that wait form a linked list through ``Requests.following``; those of one batch are neighbours
in it, so a worker remembers only the first and how many.
"""

from __future__ import annotations

from deployer.simulation import distributions, events
from deployer.simulation.compiled import inner
from deployer.simulation.state import BUSY, OK, OUTSTANDING, TOO_LATE, State
from inference_code import policy

batch_size = inner(policy.batch_size)
predicted_wait_s = inner(policy.predicted_wait_s)
admit = inner(policy.admit)


@inner
def offer(now_s: float, request: int, slot: int, state: State) -> bool:
    """Let a request into the server's queue if the server's admission rule says so."""
    serving, replicas = state.serving, state.replicas
    queued, busy = replicas.queued[slot], replicas.busy[slot]
    full_batch_s = serving.distributions.mean_s[serving.max_batch]
    wait_s = predicted_wait_s(queued, busy, serving.workers, serving.max_batch, full_batch_s)
    if not admit(queued, serving.queue_limit, wait_s + full_batch_s, serving.deadline_s):
        return False
    if queued == 0:
        replicas.head[slot] = request
    else:
        state.requests.following[replicas.tail[slot]] = request
    replicas.tail[slot] = request
    replicas.queued[slot] += 1
    replicas.outstanding[slot] += 1
    state.levels.total[OUTSTANDING] += 1
    start_batches(now_s, slot, state)
    return True


@inner
def start_batches(now_s: float, slot: int, state: State) -> None:
    """Hand waiting requests to idle workers, as many at a time as the server's batching rule says."""
    serving, replicas = state.serving, state.replicas
    while replicas.busy[slot] < serving.workers and replicas.queued[slot] > 0:
        arrived_s = state.requests.arrival_s[replicas.head[slot]]
        waited_s = now_s - arrived_s
        if (
            now_s >= arrived_s + serving.max_wait_s
        ):  # the timer's own sum: rounding must not lose it
            waited_s = max(waited_s, serving.max_wait_s)
        size = batch_size(replicas.queued[slot], waited_s, serving.max_batch, serving.max_wait_s)
        if size == 0:
            _set_timer(slot, arrived_s + serving.max_wait_s, state)
            return
        _start(now_s, slot, size, state)


@inner
def _set_timer(slot: int, time_s: float, state: State) -> None:
    replicas = state.replicas
    if replicas.timer_s[slot] < 0:
        replicas.timer_s[slot] = time_s
        events.push(state.events, time_s, len(replicas.taken) + len(replicas.phase) + slot)


@inner
def _start(now_s: float, slot: int, size: int, state: State) -> None:
    replicas, requests = state.replicas, state.requests
    worker = slot * state.serving.workers
    while replicas.taken[worker] > 0:
        worker += 1
    first = replicas.head[slot]
    replicas.first[worker] = first
    replicas.taken[worker] = size
    for _ in range(size):
        replicas.head[slot] = requests.following[replicas.head[slot]]
    replicas.queued[slot] -= size
    replicas.busy[slot] += 1
    state.levels.total[BUSY] += 1
    service_s = distributions.draw_s(state.serving.distributions, size, requests.service_u[first])
    events.push(state.events, now_s + service_s, worker)


@inner
def finish(now_s: float, worker: int, state: State) -> int:
    """Answer the batch of a worker, let the worker take the next one, and return its slot."""
    replicas, requests = state.replicas, state.requests
    slot = worker // state.serving.workers
    size = replicas.taken[worker]
    request = replicas.first[worker]
    for _ in range(size):
        late = now_s - requests.arrival_s[request] > state.serving.deadline_s
        requests.status[request] = TOO_LATE if late else OK
        requests.done_s[request] = now_s
        request = requests.following[request]
    replicas.taken[worker] = 0
    replicas.busy[slot] -= 1
    replicas.outstanding[slot] -= size
    state.levels.total[OUTSTANDING] -= size
    state.levels.total[BUSY] -= 1
    start_batches(now_s, slot, state)
    return int(slot)
