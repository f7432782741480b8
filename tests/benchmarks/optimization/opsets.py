"""Climb from one network saved at every opset from 7 to 21, in each form: is there one verdict?

    pip install -e '.[dev]' -c constraints.txt
    python tests/benchmarks/optimization/opsets.py out/           # 60 climbs; about ten minutes on two quiet cores
    python tests/benchmarks/optimization/opsets.py out/ --all     # all 496 forms: IR 3 to 10, too

The network is that of the fast test (Conv, BatchNormalization, Clip, MaxPool, ReduceMean, Gemm), four times as wide and
as high, so that the clock tells its rungs apart. Every climb times with a real clock. Told are, by verdict, the forms
that got it, and the spread of the speeds measured. Exit 1 where there is more than one verdict.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from deployer import machine
from deployer.optimization import ladder

_path = Path(__file__).resolve().parents[2] / "fakes/one_net.py"
_spec = importlib.util.spec_from_file_location("one_net", _path)
assert _spec is not None
assert _spec.loader is not None
one_net: Any = importlib.util.module_from_spec(_spec)
sys.modules["one_net"] = one_net
_spec.loader.exec_module(one_net)

SIZE = 4
RUNGS = ["int8-static-minmax", "int8-dynamic-per-channel", "fp16"]


def chosen(everything: bool) -> list[Any]:
    """Return all forms, or of each opset four: as it is, weights as inputs, in float16, weights beside."""
    if everything:
        return list(one_net.forms())
    found = []
    for opset in one_net.OPSETS:
        ir = one_net.least_ir(opset)
        plain = one_net.Form(opset, ir, inputs=ir == 3)
        found += [
            plain,
            one_net.Form(opset, 10, inputs=True),
            plain._replace(half=True),
            plain._replace(beside=True),
        ]
    return list(dict.fromkeys(found))


def climbed(form: Any, folder: Path) -> tuple[str, float, float]:
    """Return the best rung's name, its speed against FP32, and the seconds that the climb took."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = one_net.rows(440, form.half, SIZE)
    start = time.monotonic()
    report = ladder.climb(
        one_net.save(folder / "m.onnx", form, SIZE),
        calibration={"x": rows[:40]},
        evaluation={"x": rows[40:]},
        metric="fidelity",
        max_drop=0.3,
        rungs=RUNGS,
        out=folder / "out",
    )
    best = next(rung for rung in report.rungs if rung.name == report.best.name)
    speed = best.speedup.median if best.speedup else 1.0
    return report.best.name, speed, time.monotonic() - start


def main() -> int:
    """Climb from each form, print what came of it, and write it to OUT/opsets.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", type=Path)
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    verdicts: dict[str, list[tuple[str, float, float]]] = defaultdict(list)
    for form in chosen(options.all):
        name, speed, seconds = climbed(form, options.out / "climb")
        verdicts[name].append((str(form), speed, seconds))
        print(f"{form!s:48} {name:28} {speed:5.2f}x {seconds:5.1f} s", flush=True)
    for name, found in verdicts.items():
        speeds = [speed for _, speed, _ in found]
        middle = float(np.median(speeds))
        print(f"{name}: {len(found)} forms, {middle:.2f}x ({min(speeds):.2f} to {max(speeds):.2f})")
    document = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "verdicts": verdicts,
    }
    (options.out / "opsets.json").write_text(json.dumps(document, indent=1))
    return 0 if len(verdicts) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
