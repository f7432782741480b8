"""Tunes a model and leaves it in the climb's folder as FP32 ONNX: in a process of its own where it has a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deployer.errors import DeployerError
from deployer.optimization import answers, context, data, qat, sources
from deployer.optimization.export import export
from deployer.optimization.session import Array, Arrays
from deployer.optimization.tuned import FILE
from deployer.progress import Say

ROWS = "training.npz"


def tuned(
    model: sources.Model,
    training: Arrays,
    held: context.Context,
    folder: Path,
    *,
    seed: int,
    seconds: float,
    progress: Say | None,
) -> dict[str, Any]:
    """Tune the model and write it to ``folder`` as FP32 ONNX; return an empty answer, or why it ``failed``."""
    try:
        module = sources.trainable(sources.resolve(model, "model", seed), "model")
        small = qat.tune(
            module,
            training,
            held.calibration,
            reduce_range=held.reduce_range,
            seconds=seconds,
            seed=seed,
            progress=progress,
        )
        example = {
            k: v[: sources.EXAMPLE_ROWS] for k, v in training.items() if k not in data.LABELS
        }
        free = {name: (1,) for name, value in example.items() if value.ndim == 2}
        axes = free if isinstance(model, Path) else None  # as the folder itself is exported
        export(small, example, folder / FILE, dynamic_axes=axes)
    except DeployerError as error:
        return {"failed": error.message}
    except qat.TooSlow as error:
        return {"failed": str(error)}
    except Exception as error:  # the user's own code, and torch's
        return {
            "failed": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        }
    return {}


def rows(folder: Path) -> dict[str, Array]:
    """Return the training rows that were left in the climb's folder."""
    return answers.arrays(folder / ROWS)
