"""Pruning and distillation on real digits: much faster, nearly as right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deployer.errors import InputError
from deployer.optimization import ladder
from deployer.optimization.distill import distill
from deployer.optimization.export import export
from deployer.optimization.prune import prune
from deployer.optimization.session import Session
from deployer.optimization.timing import clock_for, compare

datasets = pytest.importorskip("sklearn.datasets")
pytestmark = pytest.mark.optimize


def net(first: int, second: int, dense: int) -> Any:
    nn = torch.nn
    return nn.Sequential(
        *(nn.Conv2d(1, first, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(second, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(4 * second, dense), nn.ReLU(), nn.Linear(dense, 10)),
    )


@pytest.fixture(scope="module")
def digits() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    pixels, labels = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)[order]
    cut = len(labels) // 2
    return (
        {"image": images[:cut], "label": labels[order][:cut]},
        {"image": images[cut:], "label": labels[order][cut:]},
    )


@pytest.fixture(scope="module")
def teacher(digits: Any) -> Any:
    training, _ = digits
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = net(32, 64, 128)
        optimizer = torch.optim.Adam(model.parameters(), 2e-3)
        images, labels = (torch.from_numpy(training[name]) for name in ("image", "label"))
        for _ in range(12):
            for rows in torch.randperm(len(images)).split(64):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
                optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def pruned(teacher: Any, digits: Any) -> Any:
    training, _ = digits
    return prune(teacher, {"image": training["image"]}, remove=0.5, training=training, epochs=5)


def accuracy(model: Any, rows: dict[str, np.ndarray]) -> float:
    with torch.no_grad():
        given = model(torch.from_numpy(rows["image"])).argmax(1).numpy()
    return float((given == rows["label"]).mean())


def speed(teacher: Any, student: Any, rows: dict[str, np.ndarray], folder: Path) -> float:
    """Return the best of three medians: what other work takes from a machine only hides a difference."""
    example = {"image": rows["image"][:4]}
    paths = [
        export(model, example, folder / f"{name}.onnx").path
        for name, model in (("teacher", teacher), ("student", student))
    ]
    cases = {f"batch {size}": {"image": rows["image"][:size]} for size in (8, 64)}
    fp32, small = (Session(path, threads=1) for path in paths)
    return max(
        compare(fp32, {"small": small}, cases, clock=clock_for(1), budget_s=1)["small"].median
        for _ in range(3)
    )


def test_pruned_digits_are_faster_at_no_more_than_a_point_lost(
    teacher: Any, pruned: Any, digits: Any, tmp_path: Path
) -> None:
    _, held_out = digits
    assert pruned[0].weight.shape[0] == 16  # channels are gone, not zeroed
    assert accuracy(pruned, held_out) >= accuracy(teacher, held_out) - 0.01
    assert speed(teacher, pruned, held_out, tmp_path) >= 1.5


def test_distilled_digits_are_faster_at_no_more_than_a_point_lost(
    teacher: Any, digits: Any, tmp_path: Path
) -> None:
    training, held_out = digits
    torch.manual_seed(1)
    student = net(16, 32, 64)
    taught = distill(student, teacher, training, epochs=30, learning_rate=5e-3)
    assert accuracy(taught, held_out) >= accuracy(teacher, held_out) - 0.01
    assert speed(teacher, taught, held_out, tmp_path) >= 1.5


def test_smaller_model_climbs_the_ladder_as_an_alternative(
    teacher: Any, pruned: Any, digits: Any, tmp_path: Path
) -> None:
    training, held_out = digits
    example = {"image": training["image"][:4]}
    report = ladder.climb(
        export(teacher, example, tmp_path / "teacher.onnx").path,
        calibration={"image": training["image"][:64]},
        evaluation=held_out,
        max_drop=0.02,
        out=tmp_path / "out",
        rungs=[],
        alternatives={"pruned": export(pruned, example, tmp_path / "pruned.onnx").path},
    )
    assert report.best.name in ("pruned", "pruned-int8")
    assert report.speedup >= 1.5


def test_distilling_twice_gives_the_same_weights_and_leaves_the_student_alone(
    teacher: Any, digits: Any
) -> None:
    few = {name: value[:64] for name, value in digits[0].items()}
    torch.manual_seed(1)
    student = net(4, 4, 8)
    before = [value.clone() for value in student.parameters()]
    first, second = (distill(student, teacher, few, epochs=2, seed=3) for _ in range(2))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert all(torch.equal(a, b) for a, b in zip(before, student.parameters(), strict=True))


@pytest.mark.parametrize("remove", [0.0, 1.0, -0.5, float("nan")])
def test_share_to_remove_must_lie_between_0_and_1(remove: float, teacher: Any, digits: Any) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        prune(teacher, digits[0], remove=remove)


def test_unknown_module_to_keep_is_named(teacher: Any, digits: Any) -> None:
    with pytest.raises(InputError, match="no module 'head'"):
        prune(teacher, digits[0], remove=0.5, keep=["head"])


def test_student_with_another_answer_is_refused(teacher: Any, digits: Any) -> None:
    student = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    with pytest.raises(InputError, match=r"answers with \(3,\) per row"):
        distill(student, teacher, digits[0])
