"""Follow the batch through an ONNX graph, from each input to each output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np

from deployer.bundle.axes import attention, maths, nets, picks, quantized, shapes, sizes, tables
from deployer.bundle.axes.sizes import Size
from deployer.bundle.axes.values import MixedError, Node, Rules, Value, present
from inference_code.contract import Batching

_SMALL = 64
_ROUNDED = (10, 16)  # float16, bfloat16: a sum in another order rounds to another number
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
RULES = Rules()
for _table in (shapes, picks, maths, nets, quantized, attention, tables):
    RULES.add(_table.RULES)


def prove(path: Path, model_sha256: str = "") -> Batching:
    """Return which axes carry the batch of the model at ``path``, or why no batch may be made.

    Tries the first axis of every input, then axes of one name, then the second axis. Never raises: what
    cannot be followed is not proven.
    """
    try:
        import onnx
    except ImportError:
        return Batching(
            model_sha256=model_sha256, reason="not proven: install onnx, then package again"
        )
    try:
        graph = _Graph(onnx, onnx.load(str(path), load_external_data=False))
        return replace(_proved(graph), model_sha256=model_sha256)
    except (
        Exception
    ) as error:  # a file that breaks ONNX's rules, which ONNX Runtime may load all the same
        why = f"the graph cannot be followed ({type(error).__name__}: {error})"
        return Batching(model_sha256=model_sha256, reason=why)


def _proved(graph: _Graph) -> Batching:
    reasons = []
    for axes in graph.candidates():
        try:
            outputs, tied = graph.follow(axes)
        except MixedError as reason:
            reasons.append(str(reason))
            continue
        return Batching(axes, outputs, "scale" if tied else "rows")
    return Batching(reason=reasons[0] if reasons else _NO_AXIS)


_NO_AXIS = "no axis is free in every input"


@dataclass(frozen=True)
class _Input:
    name: str
    dims: tuple[int | str, ...]


class _Graph:
    def __init__(self, onnx: Any, model: Any) -> None:
        if model.functions:
            from onnx import inliner

            model = inliner.inline_local_functions(model)
        self._onnx = onnx
        self._graph = model.graph
        self._opsets = {each.domain: each.version for each in model.opset_import}
        weights = {each.name for each in self._graph.initializer}
        weights |= {each.values.name for each in self._graph.sparse_initializer}
        self.inputs = [
            _Input(each.name, tuple(_dim(dim) for dim in each.type.tensor_type.shape.dim))
            for each in self._graph.input
            if each.name not in weights
        ]
        self._rounded = any(each.data_type in _ROUNDED for each in self._graph.initializer)

    def candidates(self) -> Iterator[dict[str, int]]:
        """Yield choices of a free axis for each input, the likeliest first."""
        firsts = {each.dims[0] if each.dims else "" for each in self.inputs}
        if len(firsts) == 1 and isinstance(firsts.pop(), int):
            return  # a request's rows are fed so many at a time
        seen: list[dict[str, int]] = []
        for axes in (self._all_on(0), *self._by_name(), self._all_on(1)):
            if axes and axes not in seen:
                seen.append(axes)
                yield axes

    def _all_on(self, axis: int) -> dict[str, int]:
        free = all(len(x.dims) > axis and isinstance(x.dims[axis], str) for x in self.inputs)
        return {each.name: axis for each in self.inputs} if free else {}

    def _by_name(self) -> Iterator[dict[str, int]]:
        counts = Counter(
            dim for each in self.inputs for dim in set(each.dims) if isinstance(dim, str)
        )
        for name, count in counts.items():
            if (
                name
                and count == len(self.inputs)
                and all(x.dims.count(name) == 1 for x in self.inputs)
            ):
                yield {each.name: each.dims.index(name) for each in self.inputs}

    def follow(self, axes: Mapping[str, int]) -> tuple[dict[str, int | None], bool]:
        """Return the axis of each output, and whether rows are tied by a scale. Raises MixedError with the reason."""
        values = {**self._constants(), **self._given(axes)}
        for proto in _in_order(self._graph.node):
            self._step(proto, values)
        outputs: dict[str, int | None] = {}
        tied = self._rounded
        for each in self._graph.output:
            value = values.get(each.name)
            if value is None:
                raise MixedError(f"nothing makes the output {each.name!r}")
            outputs[each.name] = _axis_of_output(each.name, value)
            tied = tied or value.tied
        return outputs, tied

    def _constants(self) -> dict[str, Value]:
        found = {each.name: _constant(self._onnx, each) for each in self._graph.initializer}
        for sparse in self._graph.sparse_initializer:
            found[sparse.values.name] = Value(tuple(sparse.dims))
        return found

    def _given(self, axes: Mapping[str, int]) -> dict[str, Value]:
        found = {}
        for each in self.inputs:
            dims: list[Size] = [
                dim if isinstance(dim, int) else sizes.named(dim or f"{each.name}.{index}")
                for index, dim in enumerate(each.dims)
            ]
            dims[axes[each.name]] = sizes.BATCH
            found[each.name] = Value(tuple(dims), axes[each.name])
        return found

    def _step(self, proto: Any, values: dict[str, Value]) -> None:
        version = self._opsets.get(proto.domain, self._opsets.get("", 1))
        attributes = {each.name: self._attribute(each) for each in proto.attribute}
        node = Node(proto.op_type, version, attributes, list(proto.output))
        given = [values.get(name, _UNKNOWN) if name else None for name in proto.input]
        try:
            if proto.op_type == "Constant" and proto.domain in _DOMAINS[:2]:
                results = [_attribute_constant(attributes)]
            else:
                results = _ruled(node, proto.domain, given)
        except MixedError as reason:
            results = [Value(why=f"{_title(proto)}: {reason}")] * len(proto.output)
        except Exception as error:  # a graph that breaks ONNX's rules, which ONNX Runtime may load
            why = f"{_title(proto)}: cannot be followed ({type(error).__name__})"
            results = [Value(why=why)] * len(proto.output)
        values.update(zip(proto.output, results, strict=False))

    def _attribute(self, proto: Any) -> Any:
        value = self._onnx.helper.get_attribute_value(proto)
        if isinstance(value, self._onnx.TensorProto):
            return _known_array(self._onnx, value)
        return value


def _in_order(nodes: Sequence[Any]) -> Sequence[Any]:
    """Return the nodes with each after those that it reads from: ONNX Runtime loads files that list them otherwise."""
    makers = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    needs = {
        place: {makers[name] for name in node.input if name in makers}
        for place, node in enumerate(nodes)
    }
    if all(before < place for place, found in needs.items() for before in found):
        return nodes
    return [nodes[place] for place in TopologicalSorter(needs).static_order()]


_UNKNOWN = Value(why="an input comes from nowhere")


def _ruled(node: Node, domain: str, given: Sequence[Value | None]) -> list[Value]:
    for value in present(given):
        if value.why and (node.op != "Shape" or value.shape is None):
            return [value] * len(node.outputs)
    rule = RULES.by_op.get(node.op) if domain in _DOMAINS else None
    if rule is None:
        raise MixedError("no rule says what it does to rows")
    if node.op not in RULES.take_sizes and any(value.sized for value in present(given)):
        raise MixedError("it reckons with the number of rows")
    if node.op not in RULES.take_numbers and any(value.numbered for value in present(given)):
        raise MixedError("it reckons with the numbers of rows")
    scales = any(value.tied and not value.rows for value in present(given))
    if scales and node.op not in RULES.take_scales:
        raise MixedError("it reckons with a scale of the whole batch")
    return rule(node, given)


def _axis_of_output(name: str, value: Value) -> int | None:
    if value.why:
        raise MixedError(value.why)
    if value.sized or (value.tied and not value.rows):
        raise MixedError(f"the output {name!r} tells of the whole batch")
    if value.numbered:
        raise MixedError(f"the output {name!r} numbers the rows")
    if value.axis is None:
        return None
    if value.dims[value.axis] != sizes.BATCH or value.outer != 1:
        raise MixedError(f"the output {name!r} has more than one row for each row")
    return value.axis


def _title(proto: Any) -> str:
    return f"{proto.op_type} {proto.name!r}" if proto.name else str(proto.op_type)


def _dim(dim: Any) -> int | str:
    if dim.HasField("dim_value") and dim.dim_value > 0:
        return int(dim.dim_value)
    return str(dim.dim_param)


def _constant(onnx: Any, tensor: Any) -> Value:
    shape = tuple(int(size) for size in tensor.dims)
    if np.prod(shape, dtype=object) > _SMALL or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return Value(shape)
    known = _known_array(onnx, tensor)
    return Value(shape) if known is None else Value(shape, known=_objects(known))


def _known_array(onnx: Any, tensor: Any) -> Any:
    return onnx.numpy_helper.to_array(tensor)


def _objects(array: Any) -> Any:
    found = np.empty(array.shape, dtype=object)
    found[...] = array.tolist()
    return found


def _attribute_constant(attributes: Mapping[str, Any]) -> Value:
    for name in (
        "value",
        "value_int",
        "value_ints",
        "value_float",
        "value_floats",
        "value_string",
        "value_strings",
    ):
        if attributes.get(name) is not None:
            array = np.asarray(attributes[name])
            known = _objects(array) if array.size <= _SMALL else None
            return Value(tuple(array.shape), known=known)
    raise MixedError("no rule reads a constant of this kind")
