"""Kill a climb at moments drawn at random, in every way, and run the same command again: does it end alike?

    pip install -e '.[dev]' -c constraints.txt
    python tests/benchmarks/faults/rungs.py out/ --times 20     # about half an hour on two busy cores

`deployer optimize` runs as a process of its own. Killed are: the process of the piece at work, the one that starts the
pieces, the command itself, all three at once (SIGKILL); the command is told to end by SIGTERM and by SIGINT. With a
killed piece or starter the command has to end by itself, exit 0, with every other rung judged. Else the same command
runs again until it ends. Its rungs and its best.onnx must be the bytes of a run that nobody disturbed; nothing else may
lie in or beside its folder, and no process of the climb may live 3 s after its end. The clock is a record, so that the
choice cannot differ. `full`: the same on a disk (tmpfs, where the user may mount one) of every size up to enough.

Exit 1 when one run does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from deployer import machine

RUNGS = ("int8-static-minmax", "int8-equalized-static", "int8-dynamic", "int8-weights", "fp16")
WAYS = ("piece", "starter", "command", "all", "SIGTERM", "SIGINT")
_LIVES_S = 3.0


def prepare(base: Path) -> None:
    """Write a model, its rows and a record of speeds."""
    rng = np.random.default_rng(0)
    sizes = (64, 512, 512, 10)
    nodes, weights, name = [], [], "x"
    for place, (wide, tall) in enumerate(itertools.pairwise(sizes)):
        weights.append(
            numpy_helper.from_array(
                (rng.normal(size=(wide, tall)) / wide**0.5).astype("f4"), f"w{place}"
            )
        )
        nodes.append(helper.make_node("MatMul", [name, f"w{place}"], [f"m{place}"]))
        nodes.append(helper.make_node("Relu", [f"m{place}"], [f"r{place}"]))
        name = f"r{place}"
    nodes[-1].output[0] = "y"
    ends = [
        helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["n", size])
        for n, size in (("x", 64), ("y", 10))
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    opset = helper.make_opsetid("", 11)  # so that there is something to normalise
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=7), base / "m.onnx")
    rows = rng.normal(size=(600, 64)).astype("f4")
    np.savez(base / "c.npz", x=rows[:200])
    np.savez(base / "e.npz", x=rows[200:])
    cases = dict.fromkeys(("batch 1", "batch 8"), 8.0)
    speeds = {}
    for place, rung in enumerate(("fp32-as-given", *RUNGS)):
        speed = 1.0 + place / 10
        times = {"fp32_ms": cases, "candidate_ms": {k: v / speed for k, v in cases.items()}}
        speeds[rung] = {"median": speed, "low": speed, "high": speed, "rounds": 15, **times}
    (base / "latencies.json").write_text(json.dumps({"schema_version": 1, "rungs": speeds}))


def command(base: Path, out: Path) -> list[str]:
    """Return the command line."""
    words = [sys.executable, "-m", "deployer", "optimize", str(base / "m.onnx")]
    words += ["--calibration", str(base / "c.npz"), "--eval", str(base / "e.npz")]
    words += ["--metric", "cosine", "--max-drop", "0.5", "-o", str(out)]
    words += ["--latencies", str(base / "latencies.json")]
    return words + [word for rung in RUNGS for word in ("--rung", rung)]


def below(pid: int) -> list[int]:
    """Return the processes that descend from one, the nearest first."""
    found = []
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    for child in map(int, children):
        found += [child, *below(child)]
    return found


def kill(pid: int, how: signal.Signals) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)


def strike(process: subprocess.Popen[str], way: str) -> list[int]:
    """Kill or stop in the named way; return the processes that there were."""
    there = below(process.pid)
    if way == "piece":
        victims = there[1:2]
    elif way == "starter":
        victims = there[:1]
    else:
        victims = [process.pid, *there] if way == "all" else [process.pid]
    for victim in victims:
        kill(victim, signal.Signals[way] if way.startswith("SIG") else signal.SIGKILL)
    return there


def alive(pid: int) -> bool:
    """Say whether a process of a climb still runs."""
    try:
        return b"deployer" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def contents(out: Path) -> dict[str, bytes]:
    """Return the models of a climb by their names."""
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*.onnx"))}


ENDS = {
    "SIGTERM": (
        130,
        -signal.SIGTERM,
    ),  # -15 and -2: Python itself was starting, and had no handler yet
    "SIGINT": (130, -signal.SIGINT),
    "command": (-signal.SIGKILL,),
    "all": (-signal.SIGKILL,),
    "piece": (2,),  # a model whose opening is killed cannot be climbed from
    "starter": (2,),
}
"""How a command may end, beside 0."""


def wrong(base: Path, out: Path, way: str, wait_s: float, whole: dict[str, bytes]) -> str:
    """Disturb a climb after ``wait_s``, run it to its end, and return what does not hold, "" when all does."""
    process = subprocess.Popen(
        command(base, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    time.sleep(wait_s)
    there = strike(process, way)
    said, code = process.communicate()[1], process.returncode
    if left := survivors(there):
        return f"{left} still run, {there} were there"
    if "Traceback" in said or (code and code not in ENDS[way]):
        return f"exit {code}: {said}"
    if code or (way in ("piece", "starter") and there):
        done = subprocess.run(command(base, out), capture_output=True, text=True, check=False)
        if done.returncode:
            return f"again: exit {done.returncode}: {done.stderr}"
    found = contents(out)
    if found != whole:
        return f"other bytes: {[n for n in {*found, *whole} if found.get(n) != whole.get(n)]}"
    strays = [path.name for path in out.parent.iterdir() if path != out]
    strays += ["unfinished"] if (out / "unfinished").exists() else []
    return f"left behind: {strays}" if strays else ""


def survivors(processes: list[int]) -> list[int]:
    """Return those that still run after the time that they may take to end."""
    end = time.monotonic() + _LIVES_S
    while (left := [pid for pid in processes if alive(pid)]) and time.monotonic() < end:
        time.sleep(0.02)
    return left


def full(base: Path, folder: Path, megabytes: list[int]) -> dict[int, str]:
    """Climb on disks of so many MB; return by size what does not hold.

    That is exit 0 with the output folder, or one sentence and an empty disk.
    """
    found = {}
    folder.mkdir(exist_ok=True)
    for size in megabytes:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(folder)], check=False
        )
        if mounted.returncode:
            return {0: "not run: no tmpfs can be mounted here"}
        try:
            done = subprocess.run(
                command(base, folder / "out"), capture_output=True, text=True, check=False
            )
            left = [path.name for path in folder.iterdir()]
            room = "no room" in done.stderr or "No space left" in done.stderr
            holds = left == ["out"] if done.returncode == 0 else room and not left
            found[size] = "" if holds else f"exit {done.returncode}, {left}: {done.stderr}"
            told = done.stderr.strip().splitlines()[-2:]
            print(
                f"{size} MB: exit {done.returncode}, {left or 'nothing'} left; {told}", flush=True
            )
        finally:
            subprocess.run(["umount", str(folder)], check=True)
    return found


def main() -> int:
    """Strike so many times in each way, print what came of it, and write it to OUT/rungs.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", type=Path)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    base = options.out
    shutil.rmtree(base, ignore_errors=True)
    (base / "climbs").mkdir(parents=True)
    prepare(base)
    out = base / "climbs/out"
    start = time.monotonic()
    subprocess.run(command(base, out), check=True, stdout=subprocess.DEVNULL)
    took, whole = time.monotonic() - start, contents(out)
    print(f"undisturbed: {took:.1f} s, {len(whole)} models", flush=True)
    moments = random.Random(options.seed)
    failed: dict[str, list[str]] = {way: [] for way in WAYS}
    for number in range(options.times):
        for way in WAYS:
            shutil.rmtree(out, ignore_errors=True)
            wait_s = moments.uniform(0.5, took)
            if told := wrong(base, out, way, wait_s, whole):
                failed[way].append(f"after {wait_s:.2f} s: {told}")
                print(f"{way} {number} after {wait_s:.2f} s: {told}", flush=True)
        print(f"{number + 1} of each way: {sum(map(len, failed.values()))} do not hold", flush=True)
    for way, found in failed.items():
        print(f"{way}: {options.times - len(found)} of {options.times} hold", flush=True)
    disks = full(base, base / "disk", [1, 2, 3, 4, 6, 8, 12, 20])
    document = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "undisturbed_s": took,
        "times": options.times,
        "failed": failed,
        "disks": disks,
    }
    (base / "rungs.json").write_text(json.dumps(document, indent=1))
    return 1 if any(failed.values()) or any(disks.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
