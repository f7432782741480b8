"""Our server and its peers, in turn, on one core; the load on another. See README.md."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from generator import OPEN_CONNECTIONS

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
NEEDS = {
    "ours": "uvloop",
    "mosec": "mosec",
    "granian": "granian",
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
    "litserve": "litserve",
    "plain": "numpy",
}


def tiny(folder: Path) -> tuple[Path, Path]:
    """Make a 64-128-10 network and 64 JSON bodies; return model folder and bodies."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    sizes = {"a": (64, 128), "b": (128,), "c": (128, 10), "d": (10,)}
    weights = [
        numpy_helper.from_array(rng.normal(size=s).astype("f4") / 8, n) for n, s in sizes.items()
    ]
    steps = [("MatMul", "x", "a", "h"), ("Add", "h", "b", "i"), ("Relu", "i", "", "j"),
             ("MatMul", "j", "c", "k"), ("Add", "k", "d", "y")]  # fmt: skip
    nodes = [
        helper.make_node(op, [n for n in (left, right) if n], [out])
        for op, left, right, out in steps
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])
    graph = helper.make_graph(nodes, "tiny", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    (folder / "model").mkdir()
    (folder / "bodies").mkdir()
    onnx.save(model, str(folder / "model" / "tiny.onnx"))
    for number in range(64):
        row = [round(float(value), 4) for value in rng.normal(size=64)]
        (folder / "bodies" / f"{number:02}.json").write_text(json.dumps({"instances": [row]}))
    return sealed(folder / "model"), folder / "bodies"


def sealed(folder: Path) -> Path:
    """Turn a model folder into an unpacked bundle: its manifest proves that requests may be joined."""
    from deployer.bundle.archive import unpack
    from deployer.bundle.build import build

    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        bundle = build(folder, Path(place), name=folder.name)
        shutil.rmtree(folder)
        unpack(bundle.path, folder)
    return folder


def command(name: str, port: int, options: argparse.Namespace) -> list[str]:
    """Return how a server is started."""
    if name == "ours":
        return [sys.executable, "-m", "inference_code", "serve", "--host", "127.0.0.1", "--port", str(port),
                "--model-dir", str(options.model_dir), "--max-batch", str(options.max_batch)]  # fmt: skip
    script = str(HERE / "peers.py")
    python = options.python.get(name, sys.executable)
    return [python, script, name, str(port), str(options.model_dir), str(options.max_batch)]


def pinned(arguments: list[str], core: int) -> list[str]:
    """Return a command that runs on one core."""
    return ["taskset", "-c", str(core), *arguments]


def output(arguments: list[str], core: int) -> Any:
    """Run a command on a core; return the JSON that it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        pinned(arguments, core), capture_output=True, text=True, check=True, env=environment
    )
    return json.loads(done.stdout)


def wait_until_ready(port: int, body: Path, content_type: str) -> float:
    """Return the seconds until the first answered request."""
    start = time.perf_counter()
    while time.perf_counter() - start < 60:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            body.read_bytes(),
            {"Content-Type": content_type},
        )
        try:
            with urllib.request.urlopen(request, timeout=10):
                return time.perf_counter() - start
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.005)
    raise SystemExit("the server does not answer")


def measure(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Start one server, load it at each number of connections, stop it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CONTENT_TYPE": options.content_type,
    }
    server = subprocess.Popen(
        pinned(command(name, port, options), options.cores[0]),
        env=environment,
        stderr=None if options.verbose else subprocess.DEVNULL,
    )
    try:
        body = next(iter(sorted(options.bodies.iterdir())))
        cold_s = wait_until_ready(port, body, options.content_type)
        likeness = compare(port, options)
        loads = [(count, None) for count in options.connections]
        loads += [(OPEN_CONNECTIONS, rate) for rate in options.rates]
        return [
            {**point(name, port, load, cold_s, server.pid, options), "cosine": likeness}
            for load in loads
        ]
    finally:
        stop(server)


def stop(server: subprocess.Popen[bytes]) -> None:
    """End a server and what it started."""
    family = psutil.Process(server.pid).children(recursive=True)
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    for process in psutil.wait_procs(family, timeout=2)[1]:
        process.kill()


def compare(port: int, options: argparse.Namespace) -> float:
    """Ask for every body, eight at a time; return the worst cosine to the in-process answers."""

    def ask(path: Path) -> np.ndarray:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            path.read_bytes(),
            {"Content-Type": options.content_type},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            return numbers(json.load(reply))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, sorted(options.bodies.iterdir())))
    return min(
        float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) if a.shape == b.shape else 0.0
        for a, b in zip(found, options.answers, strict=True)
    )


def numbers(answer: object) -> np.ndarray:
    """Return the numbers of a JSON answer, in order."""
    if isinstance(answer, dict):
        return np.concatenate([numbers(value) for value in answer.values()])
    return np.ravel(np.asarray(answer, dtype=np.float64))


def point(
    name: str,
    port: int,
    load: tuple[int, float | None],
    cold_s: float,
    pid: int,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Return one measurement, with the bare loop's rate beside it; ``load`` is connections and rate."""
    connections, rate = load
    script = [sys.executable, str(HERE / "peers.py"), "loop", str(options.model_dir),
              str(options.max_batch), str(options.bodies), str(options.loop_seconds)]  # fmt: skip
    loops = [output(script, options.cores[0])]
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    before = sum(sum(p.cpu_times()[:2]) for p in family)
    arguments = [sys.executable, str(HERE / "generator.py"), str(port), str(options.bodies),
                 options.content_type, str(connections), str(options.seconds)]  # fmt: skip
    arguments += [] if rate is None else [str(rate)]
    found = output(arguments, options.cores[1])
    cpu_s = sum(sum(p.cpu_times()[:2]) for p in family) - before
    loops.append(output(script, options.cores[0]))
    bare, bare_cpu = (statistics.mean(one[key] for one in loops) for key in ("rps", "cpu_rps"))
    answered = found["rps"] * (options.seconds + 1.0)
    return {
        "server": name,
        "load": f"{connections} conns" if rate is None else f"{rate:g}/s open",
        **found,
        "bare_rps": round(bare, 1),
        "ratio": round(found["rps"] / bare, 4),
        "cpu_ratio": round(answered / max(1e-9, cpu_s) / bare_cpu, 4),
        "cpu_us": round(1e6 * cpu_s / max(1.0, answered), 1),
        "cold_s": round(cold_s, 3),
        "pss_mb": round(sum(p.memory_full_info().pss for p in family) / 2**20, 1),
    }


def table(points: list[dict[str, Any]]) -> str:
    """Return the medians over rounds, best first."""
    columns = (
        "rps",
        "ratio",
        "cpu_ratio",
        "p50_ms",
        "p99_ms",
        "cpu_us",
        "cold_s",
        "pss_mb",
        "cosine",
    )
    lines = [
        f"{'server':10} {'load':>12} "
        + " ".join(f"{c:>9}" for c in columns)
        + "  95% of the median ratio"
    ]
    keys = sorted({(p["load"], p["server"]) for p in points})
    for load, name in keys:
        same = [p for p in points if (p["load"], p["server"]) == (load, name)]
        medians = [statistics.median(float(p.get(c, 0)) for p in same) for c in columns]
        low, high = interval([float(p["ratio"]) for p in same])
        cells = " ".join(f"{m:9.3f}" for m in medians)
        lines.append(f"{name:10} {load:>12} {cells}  {low:.3f} to {high:.3f}")
    return "\n".join(lines)


def interval(values: list[float]) -> tuple[float, float]:
    """Return the 95% bootstrap interval of the median; as wide as the values when they are few."""
    drawn = np.random.default_rng(0).choice(values, (4000, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
    return float(low), float(high)


def stolen_percent(core: int) -> float:
    """Return what the host took of a core (of all, when it is none) since the last call, in percent."""
    if 0 <= core < psutil.cpu_count():
        return float(psutil.cpu_times_percent(percpu=True)[core].steal)
    return float(psutil.cpu_times_percent().steal)


def installed(name: str, options: argparse.Namespace) -> bool:
    """Return whether a server's package can be imported by the Python that will run it."""
    python = options.python.get(name, sys.executable)
    done = subprocess.run([python, "-c", f"import {NEEDS[name]}"], capture_output=True)
    return done.returncode == 0


def pythons(text: str) -> dict[str, str]:
    """Read ``NAME=PATH,...``."""
    return dict(pair.split("=", 1) for pair in text.split(",") if pair)


def main() -> None:
    """Measure in alternating rounds; print each point as JSON, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", default=",".join(NEEDS))
    parser.add_argument("--model-dir", type=Path)
    parser.add_argument("--bodies", type=Path, help="a folder with one request body per file")
    parser.add_argument("--content-type", default="application/json")
    parser.add_argument("--max-batch", type=int, default=32)
    parser.add_argument(
        "--connections", type=lambda s: [int(n) for n in s.split(",") if n], default=[1, 64],
        metavar="N,...", help="closed loop; empty text for none",
    )  # fmt: skip
    parser.add_argument(
        "--rates", type=lambda s: [float(n) for n in s.split(",")], default=[], metavar="R,...",
        help="open loop at these requests per second, besides",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument(
        "--loop-seconds", type=float, default=0.8, help="of the bare loop, per batch size"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=lambda s: [int(n) for n in s.split(",")], default=[0, 1])
    parser.add_argument("--verbose", action="store_true", help="show what the servers log")
    parser.add_argument(
        "--python", type=pythons, default={}, metavar="NAME=PATH,...",
        help="the Python of a peer whose packages do not go with ours",
    )  # fmt: skip
    options = parser.parse_args()
    names = [n for n in options.servers.split(",") if installed(n, options)]
    points: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        if options.model_dir is None:
            options.model_dir, options.bodies = tiny(Path(folder))
        script = [sys.executable, str(HERE / "peers.py"), "answers"]
        options.answers = [
            numbers(answer)
            for answer in output(
                [*script, str(options.model_dir), str(options.bodies)], options.cores[0]
            )
        ]
        for turn in range(options.rounds):
            for name in names if turn % 2 == 0 else reversed(names):
                for found in measure(name, options):
                    points.append({**found, "round": turn})
                    print(json.dumps(points[-1]), file=sys.stderr, flush=True)
    print(table(points))


if __name__ == "__main__":
    main()
