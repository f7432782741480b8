"""One network as every exporter since 2018 would save it: opset 7 to 21 and IR 3 to 10, in each form that is legal."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSETS = range(7, 22)
_NEWEST_IR = 10
#: Bytes from which a weight goes beside the model: what a shape depends on has to stay, or ONNX Runtime refuses it.
_LARGE = 256
NODE = helper.make_node


class Form(NamedTuple):
    """How the network is saved."""

    opset: int
    ir: int
    inputs: bool = False
    half: bool = False
    beside: bool = False

    def __str__(self) -> str:
        told = {
            "weights as inputs": self.inputs,
            "float16": self.half,
            "weights beside": self.beside,
        }
        return ", ".join(
            [f"opset {self.opset}", f"IR {self.ir}", *(k for k, on in told.items() if on)]
        )


def least_ir(opset: int) -> int:
    """Return the first IR whose release had that opset."""
    return int(helper.find_min_ir_version_for([helper.make_opsetid("", opset)]))


def forms() -> Iterator[Form]:
    """Yield every form: each opset in each IR from its own on; IR 3 wants the weights among the inputs."""
    for opset in OPSETS:
        for ir in range(least_ir(opset), _NEWEST_IR + 1):
            for inputs in (True,) if ir == 3 else (False, True):
                for half in (False, True):
                    for beside in (False, True):
                        yield Form(opset, ir, inputs, half, beside)


@lru_cache
def weights(size: int = 1) -> dict[str, np.ndarray]:
    """Return the numbers, all of which float16 holds exactly; channels grow with ``size``."""
    rng = np.random.default_rng(0)
    few, many = 8 * size, 16 * size
    shapes = {"w1": (few, 3, 3, 3), "b1": (few,), "w2": (many, few, 3, 3), "b2": (many,)}
    known = {name: rng.normal(0, 0.2 / size**0.5, shape) for name, shape in shapes.items()}
    known |= {"scale": rng.uniform(0.5, 1, few), "shift": rng.normal(0, 0.1, few)}
    known |= {"mean": rng.normal(0, 0.1, few), "var": rng.uniform(0.5, 1, few)}
    known |= {
        "b3": rng.normal(0, 0.2, 10),
        "w3": 4 * np.linalg.qr(rng.normal(size=(many, many)))[0][:10],
    }
    return {name: value.astype("f2").astype("f4") for name, value in known.items()}


def nodes(opset: int, dtype: Any) -> tuple[list[Any], dict[str, np.ndarray]]:
    """Return the nodes in the words of an opset, and what they need beside the weights."""
    more: dict[str, np.ndarray] = {}
    clip: dict[str, Any] = {"min": 0.0, "max": 6.0} if opset < 11 else {}
    ends = ["c"]
    if opset >= 11:
        more |= {"low": np.array(0, dtype), "high": np.array(6, dtype)}
        ends += ["low", "high"]
    where: dict[str, Any] = {"axes": [2, 3]} if opset < 18 else {}
    means = ["r2"]
    if opset >= 18:
        more["axes"] = np.array([2, 3])
        means.append("axes")
    parts = [
        NODE("Conv", ["x", "w1", "b1"], ["c1"], pads=[1] * 4),
        NODE("BatchNormalization", ["c1", "scale", "shift", "mean", "var"], ["c"]),
        NODE("Clip", ends, ["r1"], **clip),
        NODE("MaxPool", ["r1"], ["m1"], kernel_shape=[2, 2], strides=[2, 2]),
        NODE("Conv", ["m1", "w2", "b2"], ["c2"], pads=[1] * 4),
        NODE("Relu", ["c2"], ["r2"]),
        NODE("ReduceMean", means, ["p"], keepdims=0, **where),
        NODE("Gemm", ["p", "w3", "b3"], ["y"], transB=1),
    ]
    return parts, more


def save(path: Path, form: Form, size: int = 1) -> Path:
    """Write the network in a form; pictures and channels grow with ``size``."""
    dtype: Any = np.float16 if form.half else np.float32
    kind = onnx.TensorProto.FLOAT16 if form.half else onnx.TensorProto.FLOAT
    parts, more = nodes(form.opset, dtype)
    known = {name: value.astype(dtype) for name, value in weights(size).items()} | more
    held = [numpy_helper.from_array(value, name) for name, value in known.items()]
    own = [helper.make_tensor_value_info("x", kind, ["n", 3, 8 * size, 8 * size])]
    if form.inputs:
        own += [helper.make_tensor_value_info(i.name, i.data_type, i.dims) for i in held]
    out = [helper.make_tensor_value_info("y", kind, ["n", 10])]
    graph = helper.make_graph(parts, "net", own, out, held)
    opset = helper.make_opsetid("", form.opset)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=form.ir)
    if form.beside:
        data = path.name + ".data"
        path.with_name(data).unlink(missing_ok=True)
        onnx.save(model, path, save_as_external_data=True, location=data, size_threshold=_LARGE)
    else:
        onnx.save(model, path)
    return path


def rows(count: int, half: bool = False, size: int = 1) -> np.ndarray:
    """Return pictures of numbers that float16 holds exactly, so that all forms are asked the same."""
    drawn = np.random.default_rng(2).normal(size=(count, 3, 8 * size, 8 * size)).astype("f2")
    return drawn if half else drawn.astype("f4")
