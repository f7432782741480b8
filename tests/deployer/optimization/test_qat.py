"""Quantization-aware training: a net that int8 breaks learns to stand it, judged as every rung is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deployer.errors import InputError  # noqa: E402
from deployer.optimization import ladder, qat  # noqa: E402
from deployer.optimization.export import export  # noqa: E402
from deployer.optimization.tuning import Tuning  # noqa: E402

pytestmark = pytest.mark.optimize

INPUTS, CLASSES, WIDTH = 17, 4, 128

MODULE = f'''
import torch

def fragile():
    """Tells the largest of four inputs; weights of inputs that are always zero take the whole scale of the others."""
    torch.manual_seed(0)
    nn = torch.nn
    net = nn.Sequential(nn.Linear({INPUTS}, {WIDTH}), nn.ReLU(), nn.Linear({WIDTH}, {CLASSES}))
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].weight[:, :{CLASSES}] = torch.randn({WIDTH}, {CLASSES}) / 4
        net[0].bias.zero_()
        back = torch.linalg.pinv(net[0].weight[:, :{CLASSES}])
        net[2].weight.copy_(2 * back)
        net[2].bias.zero_()
        net[0].weight[:, -1] = 120.0
    return net
'''


def rows(count: int, seed: int, *, label: bool = True) -> dict[str, np.ndarray]:
    inputs = np.random.default_rng(seed).normal(size=(count, INPUTS)).astype(np.float32)
    inputs[:, -1] = 0
    right = {"label": inputs[:, :CLASSES].argmax(axis=1)} if label else {}
    return {"input": inputs, **right}


@pytest.fixture(scope="module")
def fragile() -> Any:
    space: dict[str, Any] = {}
    exec(MODULE, space)
    return space["fragile"]()


@pytest.fixture(scope="module")
def onnx_file(fragile: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fragile") / "model.onnx"
    export(fragile, {"input": rows(4, 0)["input"]}, path)
    return path


def climb(model: Path, out: Path, tuning: Tuning | None, **more: Any) -> dict[str, Any]:
    report = ladder.climb(
        model,
        calibration=rows(64, 1, label=False),
        evaluation=rows(500, 2),
        out=out,
        max_drop=0.03,
        rungs=["int8-static-minmax"],
        tuning=tuning,
        **more,
    )
    return {rung.name: rung for rung in report.rungs}


def test_net_that_int8_breaks_is_right_after_training_and_compared_with_the_one_given(
    fragile: Any, onnx_file: Path, tmp_path: Path
) -> None:
    found = climb(onnx_file, tmp_path / "out", Tuning(fragile, rows(600, 3)))
    plain, tuned = found["int8-static-minmax"], found["int8-qat"]
    assert plain.accuracy.value > 0.2
    assert tuned.accuracy.passed
    assert tuned.accuracy.value == pytest.approx(found["fp32"].variant.score - tuned.variant.score)
    assert tuned.variant.parent_sha256 == found["fp32"].variant.sha256
    assert tuned.speedup is not None


def test_named_module_is_tuned_in_a_process_of_its_own(
    onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fragile_nets.py").write_text(MODULE)
    said: list[str] = []
    tuning = Tuning("fragile_nets:fragile", rows(600, 3))
    found = climb(onnx_file, tmp_path / "out", tuning, progress=said.append)
    assert found["int8-qat"].accuracy.passed
    assert "int8-qat: tune the module while it is rounded, on 600 rows" in said
    assert not any("epoch" in line for line in said)  # said where nobody hears it
    assert "fragile_nets" not in sys.modules


@pytest.mark.parametrize("what", ["file", "time"])
def test_model_that_cannot_be_tuned_is_a_row_that_says_why(
    what: str, fragile: Any, onnx_file: Path, tmp_path: Path
) -> None:
    model, minutes, reason = {
        "file": (onnx_file, 1.0, "QAT needs the torch module: model.onnx holds a fixed graph"),
        "time": (fragile, 0.01, "could not be tuned: stopped after 0.6 s, in epoch"),
    }[what]
    training = {name: np.concatenate([value] * 40) for name, value in rows(600, 3).items()}
    found = climb(onnx_file, tmp_path / "out", Tuning(model, training), rung_minutes=minutes)
    assert found["int8-qat"].status == "failed"
    assert found["int8-qat"].reason.startswith(reason)


def test_rung_that_is_right_needs_no_training(
    fragile: Any, onnx_file: Path, tmp_path: Path
) -> None:
    """Equalisation moves what the zero inputs leave free, so that int8 is right."""
    report = ladder.climb(
        onnx_file,
        calibration=rows(64, 1, label=False),
        evaluation=rows(500, 2),
        out=tmp_path / "out",
        max_drop=0.03,
        rungs=["int8-equalized-static"],
        tuning=Tuning(fragile, rows(600, 3)),
    )
    assert [rung.name for rung in report.rungs] == ["fp32", "int8-equalized-static"]


def test_same_seed_gives_the_same_weights_and_the_module_stays_as_it_was(fragile: Any) -> None:
    before = [value.clone() for value in fragile.state_dict().values()]
    first, second, other = (
        qat.tune(
            fragile,
            rows(64, 3),
            rows(32, 1, label=False),
            reduce_range=False,
            seconds=60,
            epochs=2,
            seed=seed,
        )
        for seed in (1, 1, 2)
    )
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first[0].weight, other[0].weight)
    after = fragile.state_dict()
    assert all(torch.equal(a, b) for a, b in zip(before, after.values(), strict=True))
    assert set(first.state_dict()) == set(after)  # nothing of the rounding is left


@pytest.fixture
def summing() -> Any:
    layer = torch.nn.Linear(2, 1, bias=False)
    layer.weight.data[:] = torch.tensor([[1.0, 1.0]])
    return layer


def tuned(layer: Any, **right: np.ndarray) -> list[float]:
    inputs = np.random.default_rng(0).normal(size=(256, 2)).astype(np.float32)
    made = qat.tune(
        layer,
        {"input": inputs, **right},
        {"input": inputs},
        reduce_range=False,
        seconds=60,
        learning_rate=0.02,
    )
    return [float(value) for value in made.weight[0]]


def test_targets_are_learnt_and_without_them_the_answers_that_are(summing: Any) -> None:
    inputs = np.random.default_rng(0).normal(size=(256, 2)).astype(np.float32)
    assert tuned(summing, target=2 * inputs[:, 0]) == pytest.approx([2, 0], abs=0.05)
    assert tuned(summing) == pytest.approx([1, 1], abs=0.05)


def test_weights_are_rounded_as_the_kernels_round_them() -> None:
    """A channel of 127 and 0.4 has a scale of 1: 0.4 is 0 while it learns; without a sign bit's worth 63 are left."""
    layer = torch.nn.Linear(2, 1, bias=False)
    layer.weight.data[:] = torch.tensor([[127.0, 0.4]])
    for steps, kept in ((127, [127.0, 0.0]), (63, [127.0, 0.0])):
        rounding = qat._Rounding(layer, steps)
        assert layer.weight.tolist() == [kept]
        rounding.remove()
        assert layer.weight.tolist() == [[127.0, pytest.approx(0.4)]]


def test_module_without_layers_is_refused() -> None:
    with pytest.raises(InputError, match="no Linear or Conv layer"):
        qat.tune(torch.nn.ReLU(), rows(4, 0), rows(4, 0), reduce_range=False, seconds=1)
