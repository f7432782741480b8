"""Fuzz everything that reads what a client sends: about a million inputs in a few minutes.

    pip install atheris schemathesis
    python tests/benchmarks/serving/fuzz.py
    python tests/benchmarks/serving/fuzz.py --inputs 5000000            # for a night

Three ways in: every decoder by coverage-guided fuzzing in process; raw HTTP over sockets to a real server,
malformed in known ways (smuggling) and by mutation; and the generated OpenAPI document by schemathesis.
Bars: no 5xx but 503, nothing raised that is not the client's error, no hang, no worker lost, right answers
afterwards, memory and descriptors flat. Two controls must be caught: numpy's own npy reader, and a handler
that leaks 16 KiB per request.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import fuzz_wire
import uvloop
from client import Load, tally
from judge import Judge, golden
from record import Record
from subject import Body, Server, load_apart, moody, more_files, with_fault

HERE = Path(__file__).parent
DECODERS = ("json", "csv", "npy", "tensors", "accept", "trace", "manifest", "http", "whole-path")
#: The share of inputs that go over sockets; the rest goes to the decoders in process.
WIRE_SHARE = 0.15
GROWTH_BAR_MB = 4.0
LEAKS = 4000
COLUMNS = ("part", "inputs", "finding", "statuses", "growth_mb")


def main() -> int:
    """Fuzz; return 0 when nothing was found and both controls were caught."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--examples", type=int, default=400, help="of schemathesis, per operation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--server-core", type=int, default=0, metavar="N", help="-1: any")
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    record = Record("fuzz", "small-cnn", options.results)
    more_files()
    load_apart(options.server_core)
    each = round(options.inputs * (1 - WIRE_SHARE) / len(DECODERS))
    for name in (*DECODERS, "control"):
        row = _decoder(name, each)
        control = name == "control"
        part = "np.load, no pickle" if control else f"decoder {name}"
        record.add({"part": part, **row}, ["finding"] if row["finding"] else [], control)
    with tempfile.TemporaryDirectory(prefix="deployer-fuzz-") as name:
        _server(record, Path(name), options)
    total = sum(row["inputs"] for row in record.rows if not row["control"])
    record.add({"part": "all", "inputs": total}, [] if total >= options.inputs else ["too few"])
    return record.finish(COLUMNS)


def _decoder(name: str, runs: int) -> dict[str, Any]:
    """Fuzz one decoder in a process of its own; a finding is what libFuzzer stopped at."""
    command = [sys.executable, str(HERE / "fuzz_decoders.py"), name, str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    said = done.stdout + done.stderr
    if "hint: pip install" in said:
        raise SystemExit(said.strip())
    stats = dict(re.findall(r"stat::(\w+): +(\d+)", said))
    cause = re.findall(r"^(?:\w+\.)*(\w*(?:Error|Exception|Broken|ALARM)\b.*)$", said, re.M)
    finding = (cause[-1] if cause else said[-300:]) if done.returncode else ""
    return {
        "inputs": int(stats.get("number_of_executed_units", 0)),
        "finding": finding[:120],
        "new_units": int(stats.get("new_units_added", 0)),
        "peak_rss_mb": int(stats.get("peak_rss_mb", 0)),
    }


def _server(record: Record, folder: Path, options: argparse.Namespace) -> None:
    """Fuzz a real server over sockets and by its own OpenAPI document; then let a leak be caught."""
    model_dir, bodies = moody(folder)
    judge = Judge(golden(model_dir, bodies))
    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        Server(model_dir, core=options.server_core) as server,
    ):
        open_ = runner.run(fuzz_wire.smuggling(server.port))
        row = {"part": "smuggling", "inputs": len(fuzz_wire.SMUGGLED), "finding": str(open_ or "")}
        record.add(row, ["not refused"] if open_ else [])
        count = round(options.inputs * WIRE_SHARE * 1.05)
        record.add(*runner.run(_wire(server, bodies, judge, count, options.seed)))
        record.add(*_contract(server.port, folder, options.examples, options.seed))
        record.add(*runner.run(_leak(server, bodies, judge)), control=True)


async def _wire(
    server: Server, bodies: list[Body], judge: Judge, count: int, seed: int
) -> tuple[dict[str, Any], list[str]]:
    """Flood, half of it to warm up; compare memory before and after the rest."""
    statuses = await fuzz_wire.flood(server.port, seed, count // 2, bodies)
    await asyncio.sleep(1.0)
    before_mb, before_files = server.memory_mb(), server.open_files()
    statuses += await fuzz_wire.flood(server.port, seed + 1, count - count // 2, bodies)
    await asyncio.sleep(1.0)
    grown_mb = round(server.memory_mb() - before_mb, 2)
    load = Load(server.port, bodies, judge)
    await load.open_loop([at / 100 for at in range(200)])
    after = tally(load.outcomes)
    odd = sorted(set(statuses) - fuzz_wire.ALLOWED)
    bars = {
        f"statuses {odd}": not odd,
        "memory grew": grown_mb <= GROWTH_BAR_MB,
        "descriptors leaked": server.open_files() <= before_files + 4,
        "a worker died": server.metric("inference_worker_restarts_total") == 0,
        "wrong answers afterwards": after["right"] == after["offered"],
    }
    row = {
        "part": "raw HTTP", "inputs": count, "growth_mb": grown_mb,
        "statuses": " ".join(f"{status}:{n}" for status, n in sorted(statuses.items())),
    }  # fmt: skip
    return row, [name for name, met in bars.items() if not met]


async def _leak(
    server: Server, bodies: list[Body], judge: Judge
) -> tuple[dict[str, Any], list[str]]:
    """The control: the same measure of memory around requests that leak."""
    bad = [with_fault(body, "leak") for body in bodies]
    before_mb = server.memory_mb()
    load = Load(server.port, bad, judge)
    await load.open_loop([at / 250 for at in range(LEAKS)])
    grown_mb = round(server.memory_mb() - before_mb, 2)
    row = {"part": "16 KiB leaked per request", "inputs": LEAKS, "growth_mb": grown_mb}
    return row, ["memory grew"] if grown_mb > GROWTH_BAR_MB else []


def _contract(
    port: int, folder: Path, examples: int, seed: int
) -> tuple[dict[str, Any], list[str]]:
    """Let schemathesis hold the server to its own OpenAPI document."""
    settings = folder / "schemathesis.toml"
    settings.write_text('[checks.not_a_server_error]\nexpected-statuses = ["2xx", "4xx", "503"]\n')
    url = f"http://127.0.0.1:{port}"
    program = str(Path(sys.executable).parent / "schemathesis")
    command = [program, "--config-file", str(settings), "run", f"{url}/openapi.json", "--url", url,
               "--max-examples", str(examples), "--seed", str(seed), "--no-color",
               "--continue-on-failure"]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    except FileNotFoundError:
        raise SystemExit("error: schemathesis is missing\nhint: pip install schemathesis") from None
    cases = re.search(r"([\d,]+) generated", done.stdout)
    failures = re.findall(r"^- (\w+ .+)$", done.stdout, re.M)
    row = {
        "part": "schemathesis",
        "inputs": int(cases[1].replace(",", "")) if cases else 0,
        "finding": "; ".join(sorted(set(failures))) or (done.stderr if done.returncode else ""),
        "log": done.stdout[-9000:] if done.returncode else "",
    }
    return row, ["finding"] if done.returncode or not cases else []


if __name__ == "__main__":
    sys.exit(main())
