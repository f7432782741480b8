"""Half precision inside, float at the ends and wherever an operator has none."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnxruntime
from onnx import helper

from deployer.optimization import graph
from deployer.optimization.onnxfile import copied, save
from deployer.optimization.session import Session

FLOAT_ONLY = ("Bernoulli", "Celu", "IsInf")
"""Operators that ONNX Runtime's converter believes to have half precision, and ONNX has not, or not on CPUs."""

TRIES = 16
"""Each refusal of ONNX Runtime names one node, which stays float in the next try."""

_NODE = re.compile(r"\bnode ?\((.+?)\)(?: is invalid| does not match|\.| Op|$)")


def write(source: Path, target: Path) -> str | None:
    """Write ``source`` in half precision to ``target``; return which operators stay float, if any.

    Raises graph.Unfit where a branch or loop holds an operator without half precision, and where ONNX Runtime opens
    nothing that its converter makes.
    """
    from onnxruntime.transformers import float16

    blocked = [*float16.DEFAULT_OP_BLOCK_LIST, *FLOAT_ONLY]
    model = onnx.load(str(source))
    graph.name_nodes(model)
    _check_branches(model, set(blocked))
    _state_types(model, source)
    kinds = {node.name: node.op_type for node in model.graph.node}
    left: list[str] = []
    for _ in range(TRIES):
        made = float16.convert_float_to_float16(
            copied(model),
            keep_io_types=True,
            disable_shape_infer=True,
            op_block_list=blocked,
            node_block_list=left,
        )
        _drop_repeated(made)
        save(made, target)
        named = _refused(target)
        if named is None:
            float_kinds = sorted({k for n, k in kinds.items() if k in blocked or n in left})
            return f"without half precision: {', '.join(float_kinds)}" if float_kinds else None
        if named not in kinds or named in left:
            break
        left.append(named)
    where = f"{kinds.get(named, 'node')} {named!r}" if named else "this graph"
    raise graph.Unfit(f"ONNX Runtime's converter makes no valid half precision of {where}")


def _check_branches(model: onnx.ModelProto, blocked: set[str]) -> None:
    """Raise graph.Unfit for an operator that must stay float in a branch: the converter casts at the top alone."""
    for node in model.graph.node:
        for inner in _inside(node):
            if inner.op_type in blocked:
                raise graph.Unfit(
                    f"{node.op_type} {node.name!r} holds {inner.op_type}, which has no half precision"
                )


def _drop_repeated(model: onnx.ModelProto) -> None:
    """Keep one of the casts that the converter makes anew for each operator that reads a value in float."""
    seen: set[str] = set()
    again: dict[int, list[onnx.NodeProto] | None] = {}
    for place, node in enumerate(model.graph.node):
        if node.op_type == "Cast" and node.output[0] in seen:
            again[place] = None
        seen |= set(node.output)
    graph.replace_nodes_at(model, again)


def _inside(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    for attribute in node.attribute:
        for part in (attribute.g, *attribute.graphs):
            yield from graph.every_node(part)


def _state_types(model: onnx.ModelProto, source: Path) -> None:
    """Note which values are float, as ONNX Runtime infers it: between two nodes the converter casts only those."""
    ends = {item.name for item in (*model.graph.input, *model.graph.output)}
    probe = copied(model)
    names = [n for node in model.graph.node for n in node.output if n and n not in ends]
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        path = Path(folder) / "types.onnx"
        save(probe, path)
        dtypes = {spec.name: spec.dtype for spec in Session(path, 1).outputs}
    del model.graph.value_info[:]
    model.graph.value_info.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in names
        if dtypes[name] == "float32"
    )


def _refused(path: Path) -> str | None:
    """Return the node that ONNX Runtime refuses, ``""`` where it names none; None where it opens the file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # The types are what is asked; what optimization makes of the graph is seen when the rung is opened.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a dozen unrelated classes
        found = _NODE.search(str(error))
        return found.group(1) if found else ""
    return None
