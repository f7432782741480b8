"""A fresh process that runs one model file as a device would: stock ONNX Runtime, one thread, one request at a time.

Usage: ``python -m deployer.optimization.device MODEL REQUESTS.npz ANSWERS.npz SECONDS``. It prints one line of JSON:
the CPU time of each timed run in milliseconds, and the memory that the model took, in bytes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

LEAST_RUNS, MOST_RUNS = 15, 201
MAPPED = ("session.use_memory_mapped_ort_model", "session.use_ort_model_bytes_for_initializers")
"""Options with which an .ort file's weights stay in the file: it is mapped, and no copy is made of them. MiniLM in int8
takes 38 MB so, and 69 MB without."""


def main(model: str, requests: str, answers: str, seconds: float) -> dict[str, Any]:
    """Answer every request, then time the first one; return what is printed."""
    asked = loaded(Path(requests))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for entry in MAPPED if model.endswith(".ort") else ():
        options.add_session_config_entry(entry, "1")
    before = memory_bytes("VmRSS")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    answered = [session.run(None, feeds) for feeds in asked]
    took = memory_bytes("VmHWM") - before
    names = [each.name for each in session.get_outputs()]
    stored(Path(answers), [dict(zip(names, each, strict=True)) for each in answered])
    times: list[float] = []
    end = time.monotonic() + seconds
    while len(times) < LEAST_RUNS or (len(times) < MOST_RUNS and time.monotonic() < end):
        start = time.thread_time()
        session.run(None, asked[0])
        times.append((time.thread_time() - start) * 1000)
    return {"milliseconds": times, "memory_bytes": took}


def memory_bytes(key: str) -> int:
    """Return what the kernel says of this process: ``VmRSS`` is its memory now, ``VmHWM`` the most it ever had."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split(f"{key}:")[1].split()[0]) * 1024


def stored(path: Path, requests: Sequence[Mapping[str, Any]]) -> None:
    """Write requests or answers, each of named arrays; names go into an array, since not every one can name a file."""
    parts = {
        f"{number}.{place}": value
        for number, each in enumerate(requests)
        for place, value in enumerate(each.values())
    }
    np.savez(path, names=np.array(list(requests[0]), dtype=np.str_), **parts)


def loaded(path: Path) -> list[dict[str, Any]]:
    """Read what ``stored`` wrote."""
    with np.load(path, allow_pickle=False) as held:
        names = [str(name) for name in held["names"]]
        count = (len(held.files) - 1) // len(names)
        return [
            {name: held[f"{number}.{place}"] for place, name in enumerate(names)}
            for number in range(count)
        ]


if __name__ == "__main__":
    model_file, requests_file, answers_file, given_s = sys.argv[1:]
    print(json.dumps(main(model_file, requests_file, answers_file, float(given_s))))  # noqa: T201
