"""Every rung on every kind of graph: it is built and runs, or says in our words why it does not fit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import nets
import numpy as np
import pytest

from deployer.optimization import normalise, quantize
from deployer.optimization.answers import by_row
from deployer.optimization.graph import Unfit
from deployer.optimization.session import Session

pytestmark = pytest.mark.optimize

NETS: dict[str, Callable[[Path], Path]] = {
    **{f"cnn of opset {n}": partial(nets.cnn, opset=n) for n in (7, 11, 21)},
    **{f"{kind} bias": partial(nets.mlp, bias=shape) for kind, shape in nets.BIASES.items()},
    "grouped": nets.grouped,
    "attention": nets.attention,
    "GRU": partial(nets.recurrent, kind="GRU"),
    "LSTM": partial(nets.recurrent, kind="LSTM"),
    "odd": nets.odd,
    "branched": nets.branched,
    "detector": nets.detector,
}
UNFIT = {
    "fp32-fused": "finds no attention to fuse",
    "int8-int4-tables": "no look-up tables",
    "int8-weights": "no matrix products with constant weights",
    "int4-weights": "no matrix products with constant weights",
    "fp16": "If 'If_3' holds Max, which has no half precision",
    "int8-equalized-static": "no matrix products with constant weights",
    "int8-equalized-lean": "no matrix products with constant weights",
    "int8-equalized-dynamic": "no matrix products with constant weights",
}


@pytest.mark.parametrize("name", NETS)
def test_rung_is_built_and_runs_or_says_why_not(name: str, tmp_path: Path) -> None:
    source = NETS[name](tmp_path / "net.onnx")
    spec = Session(source, 1).inputs[0]
    rng, shape = np.random.default_rng(1), (13, *spec.shape[1:])
    whole = spec.dtype == "int64"
    rows = {"x": rng.integers(0, 300, shape) if whole else rng.normal(size=shape).astype("f4")}
    assert not normalise.normalise(source, tmp_path / "fp32.onnx", rows).not_changed
    quantize.prepare(tmp_path / "fp32.onnx", tmp_path / "prepared.onnx")
    wanted = by_row(Session(tmp_path / "fp32.onnx", 1), rows, 8)["y"]
    built = 0
    unfit = {}
    for rung in quantize.rungs(reduce_range=True):
        try:
            rung.build(tmp_path / "prepared.onnx", rows, tmp_path / "r.onnx", frozenset())
        except Unfit as error:
            unfit[rung.name] = str(error)
            continue
        answer = by_row(Session(tmp_path / "r.onnx", 1), rows, 8)["y"]
        assert np.abs(answer - wanted).max() < 0.3 * np.abs(wanted).max(), rung.name
        built += 1
    assert {rung: why for rung, why in unfit.items() if UNFIT[rung] not in why} == {}
    assert built >= 9
