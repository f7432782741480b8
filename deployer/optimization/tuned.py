"""The rung of a model that was tuned to stand int8: its weights, quantized as they were rounded in training."""

from __future__ import annotations

from pathlib import Path

import onnx

from deployer.optimization import quantize, recipe
from deployer.optimization.searches import Store
from deployer.optimization.session import Arrays

NAME = "int8-qat"
FILE = "tuned.onnx"
"""The tuned weights as FP32, in the climb's folder."""


def rung(folder: Path, *, reduce_range: bool) -> quantize.Rung:
    """Return the rung: scales by output channel of the weights, one range on calibration rows of each activation."""

    def build(
        source: Path, calibration: Arrays, target: Path, exclude: frozenset[str]
    ) -> str | None:
        nodes = onnx.load(str(source), load_external_data=False).graph.node
        convolves = any(node.op_type == "Conv" for node in nodes)
        make = quantize.static("minmax", reduce_range, store=Store(folder)) if convolves else None
        return (make or recipe.even(reduce_range=reduce_range))(
            source, calibration, target, exclude
        )

    return quantize.Rung(NAME, "int8", recipe.of(folder / FILE, build))
