"""Faults at every call of a deployment, an update and a removal: the next run converges, and nothing is left.

``DEPLOYER_FAULTS_AT=38,39`` plays the calls of these numbers alone, to look into one that failed.

A scenario is two processes forked from one that holds the account in memory: a client, which meets the fault (or
is killed by SIGKILL), and the account, which then runs the same command again without a fault. What exists after it
must equal what an undisturbed run leaves. Here a sample is played; ``DEPLOYER_ALL_FAULTS=1`` plays all of them
(tests/benchmarks/faults).
"""

from __future__ import annotations

import gc
import itertools
import math
import os
import pickle
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from deployer.errors import DeployerError

KINDS = ("throttled", "denied", "cut", "lost", "slow", "killed")
"""``cut``: not carried out and no answer; ``lost``: carried out, its answer lost; ``slow``: answered too late."""

ALL = bool(os.environ.get("DEPLOYER_ALL_FAULTS"))
ONLY = {int(at) for at in os.environ.get("DEPLOYER_FAULTS_AT", "").split(",") if at}
"""To play again what failed: the numbers of these calls alone."""

SLOW_S = 5.0
LOADED: list[bool] = []
"""Whether this process has loaded, once, what every child would have to load."""


@dataclass(frozen=True)
class Outcome:
    """What came of a scenario: ``fault`` is the client's error in words, ``problem`` what went wrong."""

    injected: bool
    call: str
    fault: str
    problem: str


@pytest.fixture
def account(cloud: Any) -> Iterator[Any]:
    """The account in this process, which does not answer: only children do."""
    if not LOADED:
        cloud.deploy(cloud.spec())
        cloud.destroy()
        LOADED.append(True)
    cloud.fake.reset()
    cloud.image()
    cloud.fake.behaviour.slow_s = SLOW_S
    gc.freeze()  # no child looks through, and so copies, what it will not change
    yield cloud
    gc.unfreeze()
    cloud.fake.resume()


Act = Callable[[], object]


def fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # our own threads are stopped; numpy's pool takes no part
        return os.fork()


def client(cloud: Any, act: Act, kind: str) -> int:
    """Start a client process that does one thing; its exit code is 2 for an error of ours, 99 for another."""
    pid = fork()
    if pid:
        return pid
    if kind == "slow":
        cloud.read_timeout_s = 0.6 * SLOW_S
    code = 0
    try:
        act()
    except DeployerError:
        code = 2
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
        code = 99
    finally:
        os._exit(code)


def play(cloud: Any, at: int, kind: str, act: Act, again: Act, wanted: dict[str, Any]) -> Outcome:
    """Play one scenario in processes of its own and return what came of it."""
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        outcome = Outcome(False, "", "", "died")
        try:
            outcome = _scenario(cloud, at, kind, act, again, wanted)
        except BaseException:
            outcome = Outcome(True, "", "", traceback.format_exc())
        finally:
            with os.fdopen(writer, "wb") as file:
                pickle.dump(outcome, file)
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        content = file.read()
    os.waitpid(pid, 0)
    found: Outcome = pickle.loads(content)
    return found


def _scenario(
    cloud: Any, at: int, kind: str, act: Act, again: Act, wanted: dict[str, Any]
) -> Outcome:
    fake = cloud.fake
    calm, _, word = kind.rpartition("+")
    pid = client(cloud, act, word)
    fake.behaviour.stale = calm == "stale"
    before = fake.faults
    fake.calls.clear()
    fake.inject(at, word, pid)
    fake.resume()
    _, status = os.waitpid(pid, 0)
    injected = fake.faults > before
    call = fake.calls[at - 1] if injected else ""
    fake.fault = None
    code = os.waitstatus_to_exitcode(status)
    if code == 99 or (word == "killed" and injected and code != -9):
        return Outcome(injected, call, str(code), f"the client ended with {code}")
    again()
    state = fake.state()
    differs = {k for k in {*state, *wanted} if state.get(k) != wanted.get(k)}
    problem = "; ".join(f"{k}: {state.get(k)} not {wanted.get(k)}" for k in sorted(differs))
    return Outcome(injected, call, str(code), problem)


def sweep(
    cloud: Any, act: Act, again: Act, end: Undisturbed, kinds: tuple[str, ...], some: int
) -> int:
    """Play all pairs of call and kind, or about ``some`` of them; return how many faults were injected."""
    pairs = list(itertools.product(range(1, end.calls + 1), kinds))
    stride = 1 if ALL else max(1, len(pairs) // some)
    while math.gcd(stride, len(kinds)) > 1:
        stride += 1  # so that the kinds take turns
    chosen = [pair for pair in pairs if pair[0] in ONLY] if ONLY else pairs[::stride]
    cloud.fake.pause()
    injected, bad = 0, []
    for at, kind in chosen:
        outcome = play(cloud, at, kind, act, again, end.state)
        injected += outcome.injected
        if outcome.problem:
            bad.append(f"call {at} {outcome.call} {kind}: {outcome.problem}")
    cloud.fake.resume()
    assert not bad, f"{len(bad)} of {injected}:\n" + "\n".join(bad)
    assert injected >= 0.8 * len(chosen), "few of the calls were reached"
    return injected


def tell(capfd: pytest.CaptureFixture[str], what: str, count: int) -> None:
    with capfd.disabled():
        print(f"\nfaults injected into {what}: {count}", flush=True)


@dataclass(frozen=True)
class Undisturbed:
    """What a run without a fault leaves, and how many calls it makes."""

    state: dict[str, Any]
    calls: int


def undisturbed(cloud: Any, act: Act) -> Undisturbed:
    """Run without a fault in a process of its own: what is here does not change."""
    cloud.fake.pause()
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            cloud.fake.calls.clear()
            cloud.fake.resume()
            act()
            with os.fdopen(writer, "wb") as file:
                pickle.dump(Undisturbed(cloud.fake.state(), len(cloud.fake.calls)), file)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        found: Undisturbed = pickle.load(file)
    os.waitpid(pid, 0)
    cloud.fake.resume()
    return found


def test_a_deployment_converges_after_any_fault(account: Any, capfd: Any) -> None:
    run = deploying(account, "1")
    end = undisturbed(account, run)
    assert any(key.startswith("endpoint") for key in end.state)
    tell(capfd, "a deployment", sweep(account, run, run, end, KINDS, 6))


def test_a_deployment_given_up_after_a_fault_leaves_nothing(account: Any, capfd: Any) -> None:
    assert account.fake.state() == {}
    run = deploying(account, "1")
    end = replace(undisturbed(account, run), state={})
    count = sweep(account, run, account.destroy, end, ("lost", "killed"), 4)
    tell(capfd, "a deployment that is given up", count)


def test_an_update_converges_after_any_fault(account: Any, capfd: Any) -> None:
    account.deploy(account.spec("1"))
    run = deploying(account, "2")
    tell(capfd, "an update", sweep(account, run, run, undisturbed(account, run), KINDS, 6))


def test_an_update_that_removes_the_oldest_version_converges_after_any_fault(
    account: Any, capfd: Any
) -> None:
    for version in "12":
        account.deploy(account.spec(version))
    run = deploying(account, "3")
    kinds = ("lost", "killed", "stale+lost", "stale+killed")
    count = sweep(account, run, run, undisturbed(account, run), kinds, 3)
    tell(capfd, "an update that removes the oldest version", count)


def test_a_removal_leaves_nothing_after_any_fault(account: Any, capfd: Any) -> None:
    nothing = account.fake.state()
    account.deploy(account.spec("1"))
    end = undisturbed(account, account.destroy)
    assert end.state == nothing
    count = sweep(account, account.destroy, account.destroy, end, KINDS, 6)
    tell(capfd, "a removal", count)


@pytest.mark.parametrize("verb", ["deploy", "given up", "update", "destroy"])
def test_stale_answers_and_empty_pages_do_not_mislead(account: Any, capfd: Any, verb: str) -> None:
    if verb in ("update", "destroy"):
        account.deploy(account.spec("1"))
    act = account.destroy if verb == "destroy" else deploying(account, "12"[verb == "update"])
    end = undisturbed(account, act)
    again = act
    if verb == "given up":
        again, end = account.destroy, replace(end, state={})
    count = sweep(account, act, again, end, ("stale+lost", "stale+killed"), 2)
    tell(capfd, f"{verb} with stale answers", count)


def deploying(cloud: Any, version: str) -> Act:
    """Return what deploys a version; the bundle is made here and now, once."""
    spec = cloud.spec(version)
    return lambda: cloud.deploy(spec)
