"""Bias correction: what rounding shifts a layer's answers by, on average, is taken off its bias.

Rounded weights and clipped activations move the mean of a layer's output by channel. The mean is measured on
calibration rows in FP32 and in int8, layer by layer from the input on, each with those before it corrected. Source:
Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2 and its
empirical form (appendix D).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from deployer.optimization import graph, nearness
from deployer.optimization.onnxfile import copied, save
from deployer.optimization.session import Array, Arrays, Session, batches

ROWS = 32
"""Rows that a mean is measured on, and as many others that decide whether the correction helps."""

LEAST = 0.99
"""Of the error before: a correction that takes off less than 1% is the noise of rounding."""

_INTEGER, _PASSING = "MatMulIntegerToFloat", ("QuantizeLinear", "DequantizeLinear")
_INTEGER_BIAS = 6  # its place among the inputs


@dataclass(frozen=True)
class _Layer:
    """A layer of the int8 model: what it writes, and what FP32 has in its place."""

    node: str
    output: str
    wanted: str
    axis: int


def correct(source: Path, made: Path, calibration: Arrays) -> int:
    """Correct the biases of the int8 file ``made`` of ``source`` in place; return of how many layers.

    Raises graph.Unfit, with the file as it was, where there is no bias to correct or the answers to calibration rows
    do not come nearer to FP32's by it.
    """
    few = {name: value[:ROWS] for name, value in calibration.items()}
    others = {name: value[ROWS : 2 * ROWS] for name, value in calibration.items()}
    judged = others if len(next(iter(others.values()))) else few
    model, fp32 = onnx.load(str(made)), onnx.load(str(source))
    layers = list(_layers(model, fp32))
    if not layers:
        raise graph.Unfit("no layer has a bias to correct")
    with tempfile.TemporaryDirectory(dir=made.parent) as folder:
        probe = Path(folder) / "probe.onnx"
        wanted = _means(fp32, {layer.wanted: layer.axis for layer in layers}, few, probe)
        for layer in layers:
            given = _means(model, {layer.output: layer.axis}, few, probe)[layer.output]
            _add(model, layer.node, wanted[layer.wanted] - given)
        reference = nearness.answers(source, judged)
        before = nearness.error(nearness.answers(made, judged), reference)
        save(model, probe)
        after = nearness.error(nearness.answers(probe, judged), reference)
    if not after < LEAST * before:
        raise graph.Unfit(
            f"bias correction does not lower the error on calibration rows ({before:.4g} to {after:.4g})"
        )
    save(model, made)
    return len(layers)


def _layers(model: onnx.ModelProto, fp32: onnx.ModelProto) -> Iterator[_Layer]:
    """Yield the layers with a bias that can be changed, in the order in which they run."""
    there = {node.name: node for node in fp32.graph.node}
    readers = _readers(fp32)
    for node in model.graph.node:
        same = there.get(node.name)
        if same is None:
            continue
        wanted = same.output[0]
        if node.op_type == _INTEGER:
            summed = len(node.input) > _INTEGER_BIAS
            if summed and same.op_type == "MatMul":
                wanted = _sum(readers, wanted)
            if same.op_type == "MatMul" or summed == (len(same.input) > 2):
                yield _Layer(node.name, node.output[0], wanted, -1)
        elif node.op_type in ("Conv", "Gemm") and (_whole_bias(model, node) or _bare(model, node)):
            yield _Layer(node.name, node.output[0], wanted, 1 if node.op_type == "Conv" else -1)
        elif node.op_type == "MatMul" and _from_int8(model, node.input[1]) and _after(model, node):
            yield _Layer(node.name, node.output[0], wanted, -1)


def _means(
    model: onnx.ModelProto, wanted: Mapping[str, int], rows: Arrays, path: Path
) -> dict[str, Array]:
    """Return the mean of each named value by its channel axis over all rows."""
    probe = copied(model)
    inner = {item.name for item in probe.graph.output}
    probe.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name in wanted if name not in inner
    )
    save(probe, path)
    session = Session(path)
    sums: dict[str, Array] = {}
    counts = dict.fromkeys(wanted, 0)
    fixed = session.fixed_batch
    for feeds in batches(rows, fixed or nearness.BATCH, fixed=fixed is not None):
        for name, value in zip(wanted, session.run_all(feeds, list(wanted)), strict=True):
            last = np.moveaxis(value, wanted[name], -1)
            flat = last.reshape(-1, last.shape[-1]).astype(np.float64)
            sums[name] = sums.get(name, 0.0) + flat.sum(axis=0)
            counts[name] += len(flat)
    return {name: total / counts[name] for name, total in sums.items()}


def _add(model: onnx.ModelProto, name: str, shift: Array) -> None:
    """Add ``shift`` (by channel) to the bias of the named layer."""
    node = next(item for item in model.graph.node if item.name == name)
    known = graph.weights(model)
    if node.op_type == _INTEGER:
        old = known[node.input[_INTEGER_BIAS]] if len(node.input) > _INTEGER_BIAS else None
        value = shift if old is None else numpy_helper.to_array(old) + shift
        corrected = graph.add_constant(model, f"{name}.bias", value.astype(np.float32))
        node.input[:] = [*node.input[:_INTEGER_BIAS], corrected]
        graph.drop_unused(model)
    elif node.op_type == "MatMul":
        added, place = _after(model, node) or (node, 0)
        value = numpy_helper.to_array(known[added.input[place]]) + shift
        added.input[place] = graph.add_constant(model, f"{name}.shifted", value.astype(np.float32))
        graph.drop_unused(model)
    else:
        whole = _whole_bias(model, node) or _with_bias(model, node)
        known = graph.weights(model)
        scale = numpy_helper.to_array(known[whole.input[1]]).astype(np.float64)
        tensor = known[whole.input[0]]
        ends = np.iinfo(np.int32)
        value = np.round(numpy_helper.to_array(tensor) + shift / scale).clip(ends.min, ends.max)
        tensor.CopyFrom(numpy_helper.from_array(value.astype(np.int32), tensor.name))


def _whole_bias(model: onnx.ModelProto, node: onnx.NodeProto) -> onnx.NodeProto | None:
    """Return the DequantizeLinear of a bias in 32 bits that this layer alone reads."""
    if len(node.input) < 3 or len(_readers(model).get(node.input[2], [])) != 1:
        return None
    made = _maker(model, node.input[2])
    tensor = graph.weights(model).get(made.input[0]) if made is not None else None
    return made if tensor is not None and tensor.data_type == onnx.TensorProto.INT32 else None


def _bare(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    """Whether it is a layer in int8 without a bias, which can be given one."""
    both = all(_from_int8(model, value) for value in node.input[:2])
    return len(node.input) == 2 and both


def _with_bias(model: onnx.ModelProto, node: onnx.NodeProto) -> onnx.NodeProto:
    """Give a bare layer a bias of zeros in 32 bits, as the quantizer would have; return its DequantizeLinear."""
    known = graph.weights(model)
    input_, weight = (_from_int8(model, value) for value in node.input[:2])
    assert input_ is not None
    assert weight is not None
    scales = [numpy_helper.to_array(known[made.input[1]]) for made in (input_, weight)]
    channels = known[weight.input[0]].dims[_channels(node)]
    scale = np.broadcast_to(scales[0] * scales[1], channels).astype(np.float32)
    zeros = np.zeros(channels, np.int32)
    names = [
        graph.add_constant(model, f"{node.name}.bias_{part}", value)
        for part, value in (("whole", zeros), ("scale", scale), ("zero", zeros))
    ]
    made = helper.make_node(
        "DequantizeLinear", names, [f"{node.name}.bias"], name=f"{node.name}.bias", axis=0
    )
    node.input.append(f"{node.name}.bias")
    model.graph.node.insert(0, made)
    return made


def _channels(node: onnx.NodeProto) -> int:
    """Return the axis of a layer's weight that holds its output channels."""
    transposed = any(item.name == "transB" and item.i for item in node.attribute)
    return 0 if node.op_type == "Conv" or transposed else 1


def _from_int8(model: onnx.ModelProto, value: str) -> onnx.NodeProto | None:
    """Return the DequantizeLinear that makes a value, None where something else does."""
    made = _maker(model, value)
    return made if made is not None and made.op_type == "DequantizeLinear" else None


def _maker(model: onnx.ModelProto, value: str) -> onnx.NodeProto | None:
    return next((item for item in model.graph.node if value in item.output), None)


def _after(model: onnx.ModelProto, node: onnx.NodeProto) -> tuple[onnx.NodeProto, int] | None:
    """Return the Add of a constant row that follows a product, and the constant's place among its inputs."""
    known, readers = graph.weights(model), _readers(model)
    value = node.output[0]
    while len(followers := readers.get(value, [])) == 1 and followers[0].op_type in _PASSING:
        value = followers[0].output[0]
    if len(followers) != 1 or followers[0].op_type != "Add":
        return None
    for place, name in enumerate(followers[0].input):
        if name in known and len(known[name].dims) == 1 and len(readers[name]) == 1:
            return followers[0], place
    return None


def _sum(readers: Mapping[str, list[onnx.NodeProto]], value: str) -> str:
    """Return what the Add that follows ``value`` writes."""
    added = [node for node in readers.get(value, []) if node.op_type == "Add"]
    return added[0].output[0] if len(added) == 1 else value


def _readers(model: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found
