"""One candidate of a search, tried on calibration rows alone: made from some of them, its error taken on others."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from deployer.errors import DeployerError
from deployer.optimization import answers, nearness, quantize, recipe, sensitivity
from deployer.optimization.context import Context
from deployer.optimization.graph import Unfit
from deployer.optimization.session import Array, Arrays

FOLDER = "search"
GRAIN = 8
"""The quantizers' histograms want full batches: parts are multiples of this where there are as many rows."""


def largest_part(rows: int) -> int:
    """Return how many rows a part can have, so that two of them have none in common (one row serves for both)."""
    half = max(1, rows // 2)
    return half // GRAIN * GRAIN or half


def parts(rows: Arrays, count: int, seed: int) -> tuple[Arrays, Arrays]:
    """Return ``count`` rows to fit and as many others to judge by, drawn by ``seed``."""
    total = len(next(iter(rows.values())))
    order = np.random.default_rng(seed).permutation(total)
    return tuple(  # type: ignore[return-value]
        {name: np.ascontiguousarray(value[where]) for name, value in rows.items()}
        for where in (order[:count], order[-count:])
    )


def tried(
    source: Path, held: Context, folder: Path, *, made_by: list[Any], count: int, seed: int
) -> dict[str, Any]:
    """Return the ``error`` of a recipe, whose file stays in the climb's folder, or why it ``failed``."""
    found = recipe.read(made_by)
    place = folder / FOLDER / f"{count}"
    place.mkdir(parents=True, exist_ok=True)
    others = held.alternatives
    rung = recipe.rung(found, reduce_range=held.reduce_range, searches=place, others=others)
    exact = others.get(found.source, source)
    fitted, judged = parts(held.calibration, count, seed)
    path = place / f"{rung.name}.onnx"
    try:
        rung.build(source, fitted, path, frozenset())
        given = nearness.answers(path, judged)
    except Unfit as error:
        return {"failed": str(error)}
    except DeployerError as error:
        return {"failed": error.message}
    except Exception as error:  # a quantizer's failure concerns its candidate alone
        return {"failed": f"{type(error).__name__}: {error}"}
    off = nearness.error(given, _reference(exact, judged, place / "reference.npz"))
    if not math.isfinite(off):
        return {"failed": "its answers hold NaN or have another shape"}
    return {"error": off}


def layers(source: Path, held: Context, folder: Path, *, of: str) -> list[tuple[str, str]]:
    """Return the layers and their operators, the most costly in int8 first, of the alternative ``of`` or the model."""
    if of:
        source = folder / f"{of}.prepared"
        quantize.prepare(held.alternatives[of], source)
    nodes = onnx.load(str(source), load_external_data=False).graph.node
    kinds = {node.name: node.op_type for node in nodes}
    return [(name, kinds[name]) for name, _ in sensitivity.rank(source, held.calibration)]


def _reference(source: Path, judged: Arrays, kept: Path) -> dict[str, Array]:
    if not kept.exists():
        found = nearness.answers(source, judged)
        draft = kept.with_name("draft.npz")
        answers.save(found, draft)
        draft.replace(kept)
    return answers.arrays(kept)
