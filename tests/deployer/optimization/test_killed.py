"""A climb that is killed or stopped at any moment ends with the rest, or is taken up and ends alike."""

from __future__ import annotations

import json
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deployer.errors import EnvironmentProblem, Interrupted
from deployer.optimization import ladder

pytestmark = pytest.mark.optimize

RUNGS = ["int8-dynamic", "int8-weights", "int8-dynamic-per-channel"]


def climb(classifier: Path, calibration: Any, evaluation: Any, out: Path, **more: Any) -> Any:
    given: dict[str, Any] = {"rungs": RUNGS, "batch_sizes": (1,), "max_drop": 0.5} | more
    return ladder.climb(
        classifier, calibration=calibration, evaluation=evaluation, out=out, **given
    )


def below(pid: int) -> list[int]:
    """Return the worker that a process has started, and the process of the piece below it."""
    found: list[int] = []
    while True:
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            named = [
                int(c)
                for c in children
                if b"optimization.worker" in Path(f"/proc/{c}/cmdline").read_bytes()
            ]
        except OSError:
            return found
        if not named:
            return found
        pid = named[0]
        found.append(pid)


@contextmanager
def at_pieces(meet: Callable[[int, list[int]], None]) -> Iterator[None]:
    """Call ``meet`` with the number (from 1) of each piece of a climb as it appears, and with worker and piece."""
    over = threading.Event()

    def watch() -> None:
        seen: set[int] = set()
        while not over.is_set():
            found = below(os.getpid())
            if len(found) == 2 and found[1] not in seen:
                seen.add(found[1])
                meet(len(seen), found)
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def test_pieces_that_are_killed_are_told_and_the_climb_ends_with_the_rest(
    classifier: Path, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    """Killed are normalising, the first rung, and while the second is made the process that starts them all.

    Then the disk fills up for the pieces of another climb, which ends with a sentence.
    """
    begin, first, second = 2, 4, 5  # 1 opens the model; 3 is the start again, without a change

    def kill(number: int, found: list[int]) -> None:
        if number in (begin, first):
            os.kill(found[1], signal.SIGKILL)
        elif number == second:
            os.kill(found[0], signal.SIGKILL)

    with at_pieces(kill):
        report = climb(classifier, calibration, evaluation, tmp_path / "out")
    killed = "its process was killed (SIGKILL), as the kernel does when memory runs out"
    assert report.details["normalised"]["not_changed"] == [f"{killed} while it was normalised"]
    rungs = {rung.name: rung for rung in report.rungs}
    assert rungs[RUNGS[0]].status == "failed"
    assert rungs[RUNGS[0]].reason.startswith(killed)
    assert rungs[RUNGS[1]].reason.startswith("the process that starts the others ended")
    assert rungs[RUNGS[2]].speedup is not None
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    (worker,) = below(os.getpid())  # a new one, and no piece
    limits = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    for most in (2000, 0):  # bytes of each file: too few for a model; for the piece's answer, too
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (most, limits[1]))
        with pytest.raises(EnvironmentProblem, match="no room on the disk") as caught:
            climb(classifier, calibration, evaluation, tmp_path / "full")
        assert "make room there" in (caught.value.hint or "")
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
    resource.prlimit(worker, resource.RLIMIT_FSIZE, limits)


def test_climb_that_is_stopped_twice_is_taken_up_and_writes_the_same_bytes(
    classifier: Path, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    """Ctrl-C while it is normalised, then while it is timed, then on: as a climb that nobody stopped."""
    times = {"fp32_ms": {"batch 1": 8.0}, "candidate_ms": {"batch 1": 4.0}}
    speed = {"median": 2.0, "low": 2.0, "high": 2.0, "rounds": 15, **times}
    record = tmp_path / "latencies.json"
    record.write_text(json.dumps({"schema_version": 1, "rungs": dict.fromkeys(RUNGS, speed)}))
    given = (classifier, calibration, evaluation)
    climb(*given, tmp_path / "whole", latencies=record)
    out = tmp_path / "out"

    def stop(number: int, found: list[int]) -> None:
        if number == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), at_pieces(stop):
        climb(*given, out)
    assert not out.exists()

    def ctrl_c(line: str) -> None:
        if line.startswith("timing"):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="stopped; 3 finished rungs are kept"):
        climb(*given, out, progress=ctrl_c)
    said: list[str] = []
    climb(*given, out, latencies=record, progress=said.append)
    assert "taken up from the climb that was stopped: 3 rungs" in said
    names = ["best.onnx", "ladder.json", *(f"rungs/{name}.onnx" for name in ("fp32", *RUNGS))]
    for name in names:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list(tmp_path.glob(".*"))
