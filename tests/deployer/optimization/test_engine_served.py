"""From a rung on OpenVINO to a server that answers with it: the model file carries the engine all the way."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import deployer
from deployer.bundle.archive import unpack
from deployer.optimization.openvino import OpenVinoSession

pytestmark = [pytest.mark.optimize, pytest.mark.openvino, pytest.mark.serve]


def noise(rows: int, seed: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).normal(size=(rows, 512)).astype(np.float32)}


@contextmanager
def serving(bundle: Path, folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Serve the bundle by its own code, as a container does; give its address and its process."""
    unpack(bundle, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "inference_code",
            "serve",
            "--model-dir",
            folder,
            "--port",
            str(port),
        ],
        cwd=folder / "code",
        env={**os.environ, "PYTHONPATH": str(folder / "code"), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 60
        while not _healthy(url):
            assert server.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        yield url, psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait(30)


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ping") as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def libraries(process: psutil.Process) -> str:
    """Return the names of the files that the server and its workers have mapped."""
    tree = [process, *process.children(recursive=True)]
    return "\n".join(item.path for one in tree for item in one.memory_maps())


def test_rung_on_openvino_is_packaged_and_served_by_openvino(
    outlier_model: Path, tmp_path: Path
) -> None:
    report: Any = deployer.optimize(
        outlier_model,
        calibration=noise(32, 1),
        evaluation=noise(100, 2),
        metric="cosine",
        max_drop=0.05,
        rungs=["openvino-int8"],
        out=tmp_path / "out",
    )
    rung = report.rungs[1].variant
    bundle = deployer.package(rung.path, tmp_path / "dist", name="deep", precision=rung.precision)
    assert bundle.manifest.engine == "openvino"
    row = noise(1, 3)
    with serving(bundle.path, tmp_path / "model") as (url, process):
        body = json.dumps({"inputs": {"x": row["x"].tolist()}}).encode()
        request = urllib.request.Request(
            f"{url}/invocations", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            given = json.loads(answer.read())
        mapped = libraries(process)
    assert "libopenvino_intel_cpu_plugin" in mapped
    wanted = OpenVinoSession(rung.path).run(row)
    values = np.array(given["outputs"])
    np.testing.assert_allclose(values, wanted, atol=1e-3 * np.abs(wanted).max())


def test_the_same_model_without_the_note_is_served_without_openvino(
    outlier_model: Path, tmp_path: Path
) -> None:
    bundle = deployer.package(outlier_model, tmp_path / "dist", name="deep")
    assert bundle.manifest.engine == "onnxruntime"
    with serving(bundle.path, tmp_path / "model") as (_, process):
        assert "libopenvino" not in libraries(process)
