"""One model taken through optimize, package, check and serve by the command line, as a new user would."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from catalogue import Model
from judges import judge
from pictures import Feeds
from service import CLIENTS, ROUNDS, Alone, Played, Request, play, request, tracebacks
from wheels import Wheels

CALIBRATION, EVALUATION, ASKED = 0, 10_000, 20_000
"""Where the numbers of the examples begin: none is in two sets."""
LATE = "not done"


@dataclass
class Told:
    """What the verbs said: exit codes, seconds and errors, by verb."""

    codes: dict[str, int | None] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    tracebacks: int = 0

    def run(self, verb: str, *arguments: object, limit_s: float, name: str = "") -> str | None:
        """Run a verb; return what it prints, None where it fails or takes longer."""
        name, start = name or verb, time.monotonic()
        command = [sys.executable, "-m", "deployer", verb, *map(str, arguments)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            out, words = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            out, words = process.communicate(timeout=60)
            words = f"{LATE} in {limit_s:.0f} s; after Ctrl-C: {words}"
        self.codes[name], self.seconds[name] = (
            process.returncode,
            round(time.monotonic() - start, 1),
        )
        self.tracebacks += tracebacks(out + words)
        if process.returncode != 0:
            self.errors[name] = words.strip()[-600:]
            return None
        return out


def example(model: Model, wheels: Wheels, number: int) -> Feeds:
    """Return the inputs of one example, without its label."""
    return {name: value for name, value in model.example(wheels, number).items() if name != "label"}


def joined(model: Model, examples: Sequence[Feeds]) -> Feeds:
    """Return examples as one request or one set; what has no axes is that of the first."""
    return {
        name: np.concatenate([each[name] for each in examples], axis=model.axes.get(name, 0))
        if value.ndim
        else value
        for name, value in examples[0].items()
    }


def written(model: Model, wheels: Wheels, folder: Path) -> tuple[Path, Path]:
    """Write calibration and evaluation sets; return them."""
    files = []
    for name, first, count in (
        ("calibration", CALIBRATION, model.calibration),
        ("evaluation", EVALUATION, model.evaluation),
    ):
        arrays = joined(model, [model.example(wheels, first + i) for i in range(count)])
        if name == "calibration":
            arrays.pop("label", None)
        files.append(folder / f"{name}.npz")
        np.savez(files[-1], **arrays)
    return files[0], files[1]


def samples(model: Model, wheels: Wheels, folder: Path) -> Path:
    """Write two examples of the calibration set as sample requests."""
    folder.mkdir(exist_ok=True)
    for number in range(2):
        feeds = example(model, wheels, CALIBRATION + number)
        made = request(feeds, [])
        ending = "npy" if made.sends.endswith("npy") else "json"
        (folder / f"{number}.{ending}").write_bytes(made.body)
    return folder


def asked(model: Model, wheels: Wheels, alone: Alone) -> list[Request]:
    """Return the requests of the crowd in turn, each of 1 to ``most`` examples, with what they must get."""
    made = []
    for number in range(CLIENTS * ROUNDS):
        rows = 1 + (number + number // CLIENTS) % model.most
        first = ASKED + 10 * number
        feeds = joined(model, [example(model, wheels, first + row) for row in range(rows)])
        made.append(request(feeds, alone.answer(feeds)))
    return made


def take(name: str, model: Model, wheels: Wheels, folder: Path, limit_s: float) -> dict[str, Any]:
    """Take one model through everything; return its record. Without time for a climb it is served only."""
    start, cpu = time.monotonic(), _cpu_s()
    given = folder / "given" / Path(model.file).name
    given.parent.mkdir(parents=True, exist_ok=True)
    for file in (model.file, *model.beside):
        (given.parent / Path(file).name).write_bytes(wheels.read(model.wheel, file))
    told, out = Told(), folder / "optimized"
    if limit_s:
        calibration, evaluation = written(model, wheels, folder)
        told.run(
            "optimize", given, "--calibration", calibration, "--eval", evaluation, "--metric", model.metric,
            "--max-drop", model.max_drop, "--batch-sizes", model.batch_sizes, "--rung-minutes", 2,
            "-o", out, "--quiet", limit_s=limit_s,
        )  # fmt: skip
    best = out / "best.onnx"
    record: dict[str, Any] = {
        "model": name,
        "wheel": model.wheel,
        "file": model.file,
        "inputs": model.inputs,
    }
    record["megabytes"] = round(given.stat().st_size / 1e6, 1)
    record["served"] = _serve("given", given, model, wheels, folder, told, with_samples=False)
    if best.is_file():
        record["ladder"] = _ladder(out)
        record["kept"] = _judged(model, wheels, given, best)
        if model.beside or best.read_bytes() != given.read_bytes():
            record["served best"] = _serve(
                "best", best, model, wheels, folder, told, with_samples=True
            )
    record |= {
        "codes": told.codes,
        "took": told.seconds,
        "errors": told.errors,
        "tracebacks": told.tracebacks,
    }
    record["seconds"] = round(time.monotonic() - start, 1)
    record["cpu_seconds"] = round(_cpu_s() - cpu, 1)
    return record


def _cpu_s() -> float:
    """Return the processor time of this process and of all that it started, which other work does not lengthen."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _ladder(out: Path) -> dict[str, Any]:
    """Return what the climb chose and why."""
    report = json.loads((out / "ladder.json").read_text())
    best = report["best"]
    rung = next((each for each in report["rungs"] if each["name"] == best), {})
    return {
        "best": best,
        "speed": (rung.get("speedup") or {}).get("median"),
        "conclusion": report["conclusion"],
        "rungs": {each["name"]: [each["status"], each["reason"]] for each in report["rungs"]},
    }


def _judged(model: Model, wheels: Wheels, given: Path, best: Path) -> dict[str, Any]:
    """Hold the choice against the given model over the evaluation examples, by what the model is for."""
    pair = Alone(given), Alone(best, as_served=True)
    feeds = [example(model, wheels, EVALUATION + i) for i in range(model.evaluation)]
    found = judge(model.judged, *([alone.answer(each) for each in feeds] for alone in pair))
    return {**found._asdict(), "value": round(found.value, 4), "right": found.right}


def _serve(
    name: str,
    file: Path,
    model: Model,
    wheels: Wheels,
    folder: Path,
    told: Told,
    *,
    with_samples: bool,
) -> dict[str, Any]:
    """Package, check and serve a file; return how the crowd was served, or why not."""
    dist = folder / f"dist-{name}"
    given = ["--samples", samples(model, wheels, folder / "samples")] if with_samples else []
    verbs = {
        verb: verb if name == "given" else f"{verb} best" for verb in ("package", "check", "serve")
    }
    printed = told.run(
        "package",
        file,
        "--name",
        name,
        *given,
        "-o",
        dist,
        "--json",
        "--quiet",
        limit_s=150,
        name=verbs["package"],
    )
    if printed is None:
        return {"refused": told.errors[verbs["package"]]}
    bundle = next(dist.glob("*.tar.gz"))
    told.run("check", bundle, "--quiet", limit_s=150, name=verbs["check"])
    alone = Alone(file, as_served=name == "best")
    start = time.monotonic()
    batching = _batching(bundle)
    found = play(
        bundle, alone.names, asked(model, wheels, alone), folder, moves=batching["allowed"]
    )
    told.seconds[verbs["serve"]] = round(time.monotonic() - start, 1)
    told.codes[verbs["serve"]] = found.code
    told.tracebacks += tracebacks(found.log)
    if not found.stats:
        told.errors[verbs["serve"]] = found.log.strip()[-600:]
    return _record(found, batching)


def _batching(bundle: Path) -> dict[str, Any]:
    """Return what the manifest says of joined requests."""
    from deployer.bundle.bundle import open_bundle

    found = open_bundle(bundle).manifest.batching
    if found is None:
        return {"proven": False, "reason": "no proof in the manifest", "allowed": 0.0}
    return {"proven": found.proven, "reason": found.reason, "allowed": found.allowed}


def _record(found: Played, batching: dict[str, Any]) -> dict[str, Any]:
    return {
        "equal": found.equal,
        "asked": found.asked,
        "problems": found.problems[:3],
        "batching": batching,
        "unbatched": found.stats.get("unbatched", ""),
    }
