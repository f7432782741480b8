from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deployer.optimization.export import export  # noqa: E402

sys.path.append(str(Path(__file__).parent))  # for nets.py, which several tests make models with

CLASSES = 10
FEATURES = 16


class Deep(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Twelve wide layers; the input of one has a channel thousands of times as large as the rest."""

    def __init__(self, outlier: float, width: int = 512, depth: int = 12) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(width, width) for _ in range(depth))
        for layer in self.layers:
            weight = torch.randn(width, width, generator=generator) * (2 / width) ** 0.5
            layer.weight.data.copy_(weight)
            layer.bias.data.zero_()
        scale = torch.ones(width)
        scale[3] = outlier
        self.scale = torch.nn.Parameter(scale)
        self.layers[5].weight.data[:, 3] /= outlier

    def forward(self, x):  # type: ignore[no-untyped-def]
        for place, layer in enumerate(self.layers):
            x = layer(x * self.scale if place == 5 else x)
            if place < len(self.layers) - 1:
                x = torch.relu(x)
        return x


class Classifier(torch.nn.Module):  # type: ignore[misc, name-defined]
    """A small classifier whose classes lie along its input axes."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.first = torch.nn.Linear(FEATURES, 64)
        self.last = torch.nn.Linear(64, CLASSES)
        mix = torch.linalg.qr(torch.randn(64, 64, generator=generator))[0]
        self.first.weight.data.copy_(mix[:, :FEATURES])
        self.first.bias.data.zero_()
        self.last.weight.data.copy_(mix[:, :CLASSES].T)
        self.last.bias.data.zero_()

    def forward(self, features):  # type: ignore[no-untyped-def]
        return self.last(self.first(features))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small models lose more to waiting threads than they gain."""
    torch.set_num_threads(1)


def labelled(rows: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, rows)
    features = rng.normal(0, 0.2, (rows, FEATURES)).astype(np.float32)
    features[np.arange(rows), labels] += 2
    return {"features": features, "label": labels}


@pytest.fixture(scope="session")
def evaluation() -> dict[str, np.ndarray]:
    return labelled(600, seed=1)


@pytest.fixture(scope="session")
def calibration() -> dict[str, np.ndarray]:
    return {"features": labelled(64, seed=2)["features"]}


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("classifier") / "model.onnx"
    export(Classifier(), {"features": labelled(4, seed=3)["features"]}, path)
    return path


@pytest.fixture(scope="session")
def outlier_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("deep") / "model.onnx"
    export(Deep(5000.0), {"x": np.random.default_rng(0).normal(size=(4, 512)).astype("f4")}, path)
    return path
