"""Rungs that crash, hang, eat memory or are killed: each is a row with its reason, and the climb ends with the rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from deployer.errors import InputError
from deployer.optimization import ladder
from deployer.optimization.isolation import Limits, _Server, memory_bytes
from deployer.optimization.resume import FOLDER

pytestmark = pytest.mark.optimize

F32, I64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
NODE = onnx.helper.make_node


def model(nodes: list[Any], known: dict[str, np.ndarray], path: Path) -> Path:
    """Write a model of ``features`` (n, 16) to ``y`` (n, 10)."""
    ends = [
        onnx.helper.make_tensor_value_info(name, F32, ["n", size])
        for name, size in (("features", 16), ("y", 10))
    ]
    weights = [onnx.numpy_helper.from_array(value, name) for name, value in known.items()]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    opset = onnx.helper.make_opsetid("", 20)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    return path


def endless(path: Path) -> Path:
    """Doubles and halves its input for hours before it answers."""
    at, on = (
        onnx.helper.make_tensor_value_info(*info)
        for info in (("i", I64, []), ("c", onnx.TensorProto.BOOL, []))
    )
    value, again = (onnx.helper.make_tensor_value_info(name, F32, ["n", 10]) for name in "vw")
    stay = onnx.helper.make_tensor_value_info("d", onnx.TensorProto.BOOL, [])
    steps = [NODE("Identity", ["c"], ["d"]), NODE("Mul", ["v", "one"], ["w"])]
    body = onnx.helper.make_graph(steps, "body", [at, on, value], [stay, again])
    nodes = [
        NODE("MatMul", ["features", "w0"], ["m"]),
        NODE("Loop", ["often", "true", "m"], ["y"], body=body),
    ]
    known = {
        "w0": np.ones((16, 10), "f4"),
        "one": np.ones((), "f4"),
        "often": np.array(2**60, np.int64),
        "true": np.array(True),
    }
    return model(nodes, known, path)


def hungry(path: Path, gib: int = 4) -> Path:
    """Fills ``gib`` GiB with numbers before it answers, again and again."""
    nodes = [
        NODE("MatMul", ["features", "w0"], ["m"]),
        NODE("Shape", ["features"], ["s"], start=0, end=1),
        NODE("Concat", ["size", "s"], ["huge"], axis=0),
        NODE("Expand", ["one", "huge"], ["e"]),
        NODE("Exp", ["e"], ["f"]),
        NODE("ReduceMean", ["f"], ["r"], keepdims=0),
        NODE("Add", ["m", "r"], ["y"]),
    ]
    known = {
        "w0": np.ones((16, 10), "f4"),
        "one": np.ones((1, 1), "f4"),
        "size": np.array([gib * 2**28 // 8], np.int64),
    }
    return model(nodes, known, path)


def climb(classifier: Path, calibration: Any, evaluation: Any, out: Path, **more: Any) -> Any:
    given = {"rungs": ["int8-dynamic"], "batch_sizes": (1,)} | more
    return ladder.climb(
        classifier, calibration=calibration, evaluation=evaluation, out=out, **given
    )


def only_the_result(report: Any, out: Path, failed: str, reason: str) -> None:
    """The failed rung is a row with its reason, the other ones were timed, and nothing lies beside the folder."""
    found = {rung.name: rung for rung in report.rungs}
    assert found[failed].status == "failed"
    assert reason in found[failed].reason
    assert found["int8-dynamic"].speedup is not None
    assert sorted(path.name for path in out.iterdir()) == [
        "best.onnx",
        "ladder.json",
        "latencies.json",
        "rungs",
    ]
    assert not [path for path in out.parent.iterdir() if path.name.startswith(".")]


def test_rung_that_hangs_is_stopped_and_the_climb_goes_on(
    classifier: Path, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    others = {"slow": endless(tmp_path / "slow.onnx")}
    out = tmp_path / "out"
    report = climb(classifier, calibration, evaluation, out, alternatives=others, rung_minutes=0.05)
    reason = "stopped after 3 s while it answered the evaluation rows"
    only_the_result(report, out, "slow", reason)


def test_rung_that_eats_memory_is_stopped_at_its_bound(
    classifier: Path, calibration: Any, evaluation: Any, tmp_path: Path
) -> None:
    others = {"fat": hungry(tmp_path / "fat.onnx")}
    out = tmp_path / "out"
    report = climb(
        classifier, calibration, evaluation, out, alternatives=others, rung_memory_gb=0.7
    )
    only_the_result(report, out, "fat", "GB of memory, 0.7 GB is its bound")


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (signal.SIGKILL, "its process was killed (SIGKILL)"),
        (signal.SIGSEGV, "its process crashed (SIGSEGV) while it answered the evaluation rows"),
    ],
)
def test_rung_that_is_killed_or_crashes_is_a_row(
    how: signal.Signals,
    reason: str,
    classifier: Path,
    calibration: Any,
    evaluation: Any,
    tmp_path: Path,
) -> None:
    others = {"slow": endless(tmp_path / "slow.onnx")}
    said: list[str] = []

    def end() -> None:
        until(lambda: any(": slow" in line for line in said))
        time.sleep(0.7)
        os.kill(workers(os.getpid())[1], how)

    killer = threading.Thread(target=end)
    killer.start()
    out = tmp_path / "out"
    report = climb(
        classifier,
        calibration,
        evaluation,
        out,
        alternatives=others,
        progress=said.append,
        rung_minutes=0.05,
    )
    killer.join()
    only_the_result(report, out, "slow", reason)


def workers(pid: int) -> list[int]:
    """Return the worker that ``pid`` started and below it the process of the rung."""
    found = []
    while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        named = [c for c in children if b"optimization.worker" in cmdline(c)]
        if not named:
            break
        pid = int(named[0])
        found.append(pid)
    return found


def cmdline(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from deployer.errors import DeployerError
from deployer.optimization import ladder
base = Path(sys.argv[1])
rng = np.random.default_rng(0)
rows = {"features": rng.normal(size=(40, 16)).astype("f4")}
try:
    ladder.climb(base / "m.onnx", calibration=rows, evaluation=rows, metric="cosine", max_drop=0.5, out=base / "out",
        rungs=["int8-dynamic", "int8-weights"], batch_sizes=(1,),
        alternatives={k: Path(v) for k, v in eval(sys.argv[2]).items()},
        progress=lambda line: print(line, flush=True))
except DeployerError as error:
    print(error.message, flush=True)
    sys.exit(error.exit_code)
"""


def started(base: Path, others: dict[str, str]) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", SCRIPT, str(base), repr(others)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_climb_that_is_stopped_leaves_nothing_but_its_finished_rungs(
    how: signal.Signals, classifier: Path, tmp_path: Path
) -> None:
    (tmp_path / "m.onnx").write_bytes(classifier.read_bytes())
    others = {"slow": str(endless(tmp_path / "slow.onnx"))}
    first = started(tmp_path, others)
    assert first.stdout is not None
    for line in first.stdout:
        if "rung 3 of 4" in line:  # the third never ends
            break
    until(lambda: len(workers(first.pid)) == 2)
    left = workers(first.pid)
    first.send_signal(how)
    rest = first.stdout.read()
    assert first.wait() == (130 if how == signal.SIGINT else -signal.SIGKILL)
    first.stdout.close()
    if how == signal.SIGINT:
        assert "stopped; 2 finished rungs are kept" in rest
    until(lambda: not any(memory_bytes(pid) for pid in left))
    until(lambda: not list(tmp_path.glob(".out-*")))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [FOLDER]
    again = started(tmp_path, {"slow": str(classifier)})  # another alternative: another climb
    assert "taken up" not in again.communicate()[0]
    assert again.returncode == 0
    assert not (tmp_path / "out" / FOLDER).exists()


def test_same_climb_takes_up_what_was_finished_and_ends_alike(
    classifier: Path, tmp_path: Path
) -> None:
    (tmp_path / "m.onnx").write_bytes(classifier.read_bytes())
    first = started(tmp_path, {})
    assert first.stdout is not None
    for line in first.stdout:
        if line.startswith("timing"):
            first.send_signal(signal.SIGINT)
            break
    first.stdout.read()
    first.stdout.close()
    assert first.wait() == 130
    inode = (tmp_path / "out" / FOLDER / "int8-weights.onnx").stat().st_ino
    again = started(tmp_path, {})
    assert "taken up from the climb that was stopped: 2 rungs" in again.communicate()[0]
    assert again.returncode == 0
    assert (tmp_path / "out/rungs/int8-weights.onnx").stat().st_ino == inode  # not made anew
    document = json.loads((tmp_path / "out/ladder.json").read_text())
    assert all(rung["speedup"] for rung in document["rungs"])
    assert not (tmp_path / "out" / FOLDER).exists()


class _Dozing(_Server):
    """Listens only when all that will be said has been said."""

    def _hear(self, timeout_s: float | None) -> dict[str, Any]:
        time.sleep(0.3)
        return super()._hear(timeout_s)


def test_piece_that_ends_before_anyone_listens_is_heard_all_the_same(tmp_path: Path) -> None:
    """Its start and its end then come in one block, of which a buffered reader would hand out the first line only."""
    server = _Dozing()
    (tmp_path / "mark").write_bytes(b"\0")
    task = {
        "call": "no such piece",
        "arguments": {},
        "folder": str(tmp_path),
        "at": str(tmp_path),
        "said": str(tmp_path / "said"),
        "out": str(tmp_path / "out"),
        "cwd": str(tmp_path),
        "path": sys.path,
    }
    try:
        assert server.run(task, Limits(seconds=20)) == (None, True)
    finally:
        server.stop()
    assert "KeyError" in (tmp_path / "answer.json").read_text()


@pytest.mark.parametrize("bad", [{"seconds": 0}, {"seconds": float("nan")}, {"memory_bytes": 0}])
def test_bounds_that_nothing_can_keep_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match="for a rung must be above 0"):
        Limits(**bad)
