"""Changes that leave a model's answers as they are: what every file says in its own way, said in one way."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import onnx
from onnx import helper, inliner, numpy_helper, version_converter

from deployer.optimization import graph

_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial")
_RANDOM_TOO = ("Bernoulli", "Dropout")
_SHARED_FROM = 1024
"""Equal weights of fewer numbers stay apart: quantizers give a bias the scale of its own layer."""

_RESIZE_BY_CENTRES = 11
_HALF, _FULL = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT

Change = Callable[[onnx.ModelProto], str | None]
"""Changes a model in place; returns what it did in words, None when there was nothing to do."""


def inline_functions(model: onnx.ModelProto) -> str | None:
    """Put the bodies of the model's own functions where they are called."""
    if not model.functions:
        return None
    count = len(model.functions)
    model.CopyFrom(inliner.inline_local_functions(model))
    return f"{count} functions put where they are called"


def inputs_without_weights(model: onnx.ModelProto) -> str | None:
    """Take the weights out of the graph's inputs, as IR 3 has them: nobody sends them."""
    known = graph.weights(model)
    own = [item for item in model.graph.input if item.name not in known]
    count = len(model.graph.input) - len(own)
    if not count:
        return None
    copies = [onnx.ValueInfoProto.FromString(item.SerializeToString()) for item in own]
    del model.graph.input[:]
    model.graph.input.extend(copies)
    model.ir_version = max(model.ir_version, 4)  # the first that allows it
    return f"{count} weights taken out of the inputs"


def drop_dead(model: onnx.ModelProto) -> str | None:
    """Remove the nodes and weights that no output depends on."""
    dead = _dead_nodes(model.graph)
    graph.replace_nodes_at(model, dict.fromkeys(dead, None))
    weights = len(model.graph.initializer)
    graph.drop_unused(model)
    unused = weights - len(model.graph.initializer)
    return f"{len(dead)} dead nodes and {unused} unused weights" if dead or unused else None


def merge_equal(model: onnx.ModelProto) -> str | None:
    """Keep one of several nodes that compute the same, and one of several large weights of the same numbers."""
    if _has_branches(model.graph):
        return None  # a branch reads names of the graph around it
    renamed = _equal_weights(model)
    weights = len(renamed)
    kept_names = {item.name for item in model.graph.output}
    seen: dict[bytes, onnx.NodeProto] = {}
    twins = []
    for place, node in enumerate(model.graph.node):
        node.input[:] = [renamed.get(name, name) for name in node.input]
        first = seen.setdefault(_meaning(node), node)
        if first is not node and not kept_names & set(node.output):
            renamed |= dict(zip(node.output, first.output, strict=True))
            twins.append(place)
    graph.replace_nodes_at(model, dict.fromkeys(twins, None))
    graph.drop_unused(model)
    return f"{len(twins)} nodes and {weights} weights that others equal" if renamed else None


def raised_to(version: int) -> Change:
    """Return the change that raises ONNX's own opset to ``version``. It raises what onnx's converter raises."""

    def change(model: onnx.ModelProto) -> str | None:
        before = opset(model)
        if not 0 < before < version:
            return None
        others = [item for item in model.opset_import if item.domain]
        converted = version_converter.convert_version(model, version)
        missing = {item.domain for item in others} - {x.domain for x in converted.opset_import}
        converted.opset_import.extend(item for item in others if item.domain in missing)
        if before < _RESIZE_BY_CENTRES:
            _resize_as_before(converted)
        model.CopyFrom(converted)
        model.ir_version = max(model.ir_version, 8)
        return f"opset {before} raised to {version}"

    return change


def _resize_as_before(model: onnx.ModelProto) -> None:
    """Say what a Resize did before it had the choice; the converter leaves it at today's defaults."""
    for node in graph.every_node(model.graph):
        if node.op_type == "Resize":
            ways = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            kept = [item for item in node.attribute if item.name not in ways]
            copies = [onnx.AttributeProto.FromString(item.SerializeToString()) for item in kept]
            del node.attribute[:]
            node.attribute.extend(copies)
            node.attribute.extend(helper.make_attribute(*way) for way in ways.items())


def opset(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators that the model was written for; 0 where it uses none."""
    versions: list[int] = [item.version for item in model.opset_import if not item.domain]
    return max(versions, default=0)


def widened(model: onnx.ModelProto) -> str | None:
    """Turn half precision inside to float: processors without its kernels compute so anyway, and int8 starts there.

    What goes in and comes out keeps its type.
    """
    tensors = [item for item in model.graph.initializer if item.data_type == _HALF]
    halves = [*_half_ends(model.graph.input), *_half_ends(model.graph.output)]
    if not tensors and not halves:
        return None
    for item in tensors:
        item.CopyFrom(_as_float(item))
    for node in graph.every_node(model.graph):
        _widen_attributes(node)
    _cast_ends(model)
    del model.graph.value_info[:]
    return "half precision inside turned to float"


def _widen_attributes(node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.name in ("to", "dtype") and attribute.i == _HALF:
            attribute.i = _FULL
        if attribute.t.data_type == _HALF:
            attribute.t.CopyFrom(_as_float(attribute.t))


def _cast_ends(model: onnx.ModelProto) -> None:
    """Cast half inputs to float behind them and half outputs back before them."""
    inputs = {item.name: f"{item.name}.float" for item in _half_ends(model.graph.input)}
    outputs = {item.name: f"{item.name}.float" for item in _half_ends(model.graph.output)}
    for node in graph.every_node(model.graph):
        node.input[:] = [outputs.get(x, inputs.get(x, x)) for x in node.input]
        node.output[:] = [outputs.get(x, x) for x in node.output]
    before = [helper.make_node("Cast", [x], [y], name=y, to=_FULL) for x, y in inputs.items()]
    after = [helper.make_node("Cast", [y], [x], name=y, to=_HALF) for x, y in outputs.items()]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend([*before, *nodes, *after])


def _half_ends(items: Iterable[onnx.ValueInfoProto]) -> list[onnx.ValueInfoProto]:
    return [item for item in items if item.type.tensor_type.elem_type == _HALF]


def _as_float(item: onnx.TensorProto) -> onnx.TensorProto:
    return numpy_helper.from_array(numpy_helper.to_array(item).astype("float32"), item.name)


def _dead_nodes(part: onnx.GraphProto) -> list[int]:
    """Return the places of the nodes that no output depends on, whatever reads those included."""
    needed = {item.name for item in part.output}
    dead = []
    for place in reversed(range(len(part.node))):
        node = part.node[place]
        if not needed & set(node.output):
            dead.append(place)
            continue
        needed |= graph.reads(node)
    return dead


def _equal_weights(model: onnx.ModelProto) -> dict[str, str]:
    """Return weight by equal weight that came before it."""
    seen: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    renamed = {}
    outputs = {item.name for item in model.graph.output}
    for item in model.graph.initializer:
        array = numpy_helper.to_array(item) if len(item.dims) > 1 else None
        if array is None or array.size < _SHARED_FROM or item.name in outputs:
            continue
        first = seen.setdefault((item.data_type, tuple(item.dims), array.tobytes()), item.name)
        if first != item.name:
            renamed[item.name] = first
    return renamed


def _has_branches(part: onnx.GraphProto) -> bool:
    kinds = {attribute.type for node in part.node for attribute in node.attribute}
    return bool(kinds & {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS})


def _meaning(node: onnx.NodeProto) -> bytes:
    """Return bytes that are equal for nodes that compute the same; those that draw at random never do."""
    copy = onnx.NodeProto.FromString(node.SerializeToString())
    if node.op_type not in (*_RANDOM, *_RANDOM_TOO):
        copy.name, copy.doc_string = "", ""
        copy.output[:] = ["x" if name else "" for name in node.output]
        del copy.metadata_props[:]
    meaning: bytes = copy.SerializeToString(deterministic=True)
    return meaning
