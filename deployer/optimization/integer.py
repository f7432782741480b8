"""Int8 with equalised activations: matrix products on ONNX Runtime's integer kernels, tables by row.

Weights get one scale per output channel, activations one per tensor: fixed from calibration (static, so that
an answer never depends on its batchmates) or taken anew at each call (dynamic). Look-up tables (embeddings)
get one scale per row. How hard to equalise is found on the calibration rows: the strength whose answers
lie nearest to FP32's; activations that are even enough are then spared, as long as that hardly shows.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from deployer.errors import InputError
from deployer.optimization import attention, graph
from deployer.optimization.answers import by_row
from deployer.optimization.embeddings import shrink_tables
from deployer.optimization.onnxfile import copied, save
from deployer.optimization.searches import Store
from deployer.optimization.session import Array, Arrays, Session
from deployer.optimization.smoothquant import Range, equalize, ranges

STRENGTHS = (0.6, 0.7, 0.8, 0.9)
SPARED = (4.0, 6.0, 8.0, 12.0, 16.0)
CAREFUL, LEAN = 1.1, 1.6
"""Activations are spared while the error grows by no more than this: each costs a multiplication at every call."""

SEARCH_ROWS = 32
ROUNDED = 0.01
"""Answers this near to each other differ by rounding alone: what was read in a wrong order is off by about one."""

QUIET = 1e-5
"""Of the largest channel's size: what a channel is at least taken for when its error is measured."""

_STEPS = 255
_TINY = 1e-12


@dataclass(frozen=True)
class Recipe:
    """How hard to equalise, which activations to spare, and the ranges of all of them."""

    found: Mapping[str, Range]
    strength: float
    spare: float


class Recipes:
    """The recipes of one climb: what one rung has searched for, the next one uses, also in another process.

    Between processes they go through files in ``folder``; without one they stay in this.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._store = Store(folder)
        self._tried: dict[tuple[Path, frozenset[str], bool], list[tuple[Recipe, float]]] = {}
        self._found: dict[Path, Mapping[str, Range]] = {}

    def of(
        self,
        source: Path,
        calibration: Arrays,
        exclude: frozenset[str],
        *,
        reduce_range: bool,
        slack: float,
    ) -> Recipe:
        """Return the recipe for ``source``, always of the same ``calibration``, with static scales and int8 tables.

        It spares as many activations as ``slack`` times the least error allows. Raises graph.Unfit when the model
        has nothing to quantize this way.
        """
        key = (source, exclude, reduce_range)
        if key not in self._tried:
            model = _opened(source)
            found = self._ranges(model, source, calibration)
            words = [source.name, *sorted(exclude), str(reduce_range)]
            numbers = self._store.numbers(
                words,
                lambda: [
                    (recipe.strength, recipe.spare, error)
                    for recipe, error in _search(
                        model, source, calibration, found, exclude, reduce_range=reduce_range
                    )
                ],
            )
            self._tried[key] = [(Recipe(found, s, spare), error) for s, spare, error in numbers]
        tried = self._tried[key]
        least = tried[0][1]
        good = itertools.takewhile(lambda item: item[1] <= slack * least, tried)
        return [recipe for recipe, _ in good][-1]

    def _ranges(
        self, model: onnx.ModelProto, source: Path, calibration: Arrays
    ) -> Mapping[str, Range]:
        if source not in self._found:
            wanted = {layer.activation for layer in graph.layers(model)}
            self._found[source] = self._store.ranges(
                source.name, lambda: ranges(model, calibration, wanted)
            )
        return self._found[source]


def build(
    source: Path,
    calibration: Arrays,
    target: Path,
    exclude: frozenset[str],
    *,
    static: bool,
    reduce_range: bool,
    table_bits: int = 8,
    slack: float = CAREFUL,
    recipes: Recipes | None = None,
) -> None:
    """Write equalised int8 of ``source`` to ``target``; layers named in ``exclude`` stay FP32.

    ``table_bits`` is 8 or 4; ``slack`` is how many times the least error may be made for speed. Raises graph.Unfit
    when the model has nothing to quantize this way.
    """
    recipe = (recipes or Recipes()).of(
        source, calibration, exclude, reduce_range=reduce_range, slack=slack
    )
    made = quantize(
        _opened(source),
        recipe,
        static=static,
        reduce_range=reduce_range,
        exclude=exclude,
        table_bits=table_bits,
    )
    lighter = attention.lighten(made)
    alike = lighter is not None and _alike(made, lighter, calibration, target.parent)
    save(lighter if lighter is not None and alike else made, target)


def _alike(made: onnx.ModelProto, other: onnx.ModelProto, rows: Arrays, folder: Path) -> bool:
    """Whether two models give the same answers, alone and in a batch, but for values rounded to the next step."""
    few = {name: value[:3] for name, value in rows.items()}
    with tempfile.TemporaryDirectory(dir=folder) as inner:
        answers = []
        for number, model in enumerate((made, other)):
            path = Path(inner) / f"{number}.onnx"
            save(model, path)
            try:
                session = Session(path)
                answers.append([by_row(session, few, batch) for batch in (1, 3)])
            except InputError:
                if number == 0:
                    raise
                return False
    return all(
        name in new and distance(new[name], value) <= ROUNDED
        for old, new in zip(*answers, strict=True)
        for name, value in old.items()
    )


def _opened(source: Path) -> onnx.ModelProto:
    model = onnx.load(str(source))
    graph.gemm_to_matmul(model)
    if not graph.layers(model):
        raise graph.Unfit("the model has no matrix products with constant weights")
    return model


def _search(
    model: onnx.ModelProto,
    source: Path,
    calibration: Arrays,
    found: Mapping[str, Range],
    exclude: frozenset[str],
    *,
    reduce_range: bool,
) -> list[tuple[Recipe, float]]:
    """Return recipes with their errors: the one with the least first, then those that spare more and more."""
    few = {name: value[:SEARCH_ROWS] for name, value in calibration.items()}
    reference = by_row(Session(source), few, SEARCH_ROWS)

    def error(recipe: Recipe) -> float:
        made = quantize(model, recipe, static=True, reduce_range=reduce_range, exclude=exclude)
        with tempfile.TemporaryDirectory(dir=source.parent) as folder:
            path = Path(folder) / "tried.onnx"
            save(made, path)
            return farthest(by_row(Session(path), few, SEARCH_ROWS), reference)

    errors = {strength: error(Recipe(found, strength, 0.0)) for strength in STRENGTHS}
    strength = min(errors, key=lambda tried: (errors[tried], tried))
    best = Recipe(found, strength, 0.0)
    lighter = [replace(best, spare=spare) for spare in SPARED]
    return [(best, errors[strength]), *((recipe, error(recipe)) for recipe in lighter)]


def quantize(
    model: onnx.ModelProto,
    recipe: Recipe,
    *,
    static: bool,
    reduce_range: bool,
    exclude: frozenset[str] = frozenset(),
    table_bits: int = 8,
) -> onnx.ModelProto:
    """Return a copy of ``model`` with its layers and tables in int8."""
    made = copied(model)
    after = equalize(made, recipe.found, recipe.strength, recipe.spare)
    shrink_tables(made, table_bits)
    _quantize_layers(made, after if static else None, 63 if reduce_range else 127, exclude)
    graph.use_contrib(made)
    graph.drop_unused(made)
    return made


def distance(given: Array, reference: Array) -> float:
    """Return the size of the error relative to the size of the reference (0 is equal)."""
    finite = np.isfinite(reference) & np.isfinite(given)  # a masked class is infinite in both
    wanted = np.where(finite, reference, 0).astype(np.float64)
    gap = float(np.linalg.norm(np.where(finite, given, 0).astype(np.float64) - wanted))
    return gap / max(float(np.linalg.norm(wanted)), float(np.finfo(np.float64).tiny))


def farthest(given: Arrays, reference: Arrays) -> float:
    """Return the error of the output that lies farthest from its reference, each relative to its own channels.

    Channels are those of the second or of the last axis, whichever shows more: a score of 0 to 1 beside boxes of 0 to
    640 is seen either way. An output that is missing, or of another shape, is infinitely far.
    """
    errors = [0.0]
    for name, wanted in reference.items():
        value = given.get(name)
        if wanted.dtype.kind != "f":
            continue
        if value is None or value.shape != wanted.shape:
            return float("inf")
        axes = {1, wanted.ndim - 1} if wanted.ndim > 1 else {0}
        errors += [_by_channel(value, wanted, axis) for axis in axes]
    return max(errors)


def _by_channel(given: Array, reference: Array, channel: int) -> float:
    """Return the root mean square, over the channels, of each one's relative error.

    A channel smaller than ``QUIET`` times the largest is measured as if it were not: it may hold noise alone. Scores
    that are near 0 almost everywhere are thousands of times smaller than boxes, and matter.
    """
    finite = np.isfinite(reference) & np.isfinite(given)  # a masked class is infinite in both
    wanted, have = (
        np.moveaxis(np.where(finite, x, 0).astype(np.float64), channel, 0).reshape(
            reference.shape[channel], -1
        )
        for x in (reference, given)
    )
    size, gap = (np.linalg.norm(x, axis=1) for x in (wanted, have - wanted))
    least = max(QUIET * float(size.max()), _TINY)
    return float(np.sqrt(np.mean((gap / np.maximum(size, least)) ** 2)))


def _quantize_layers(
    model: onnx.ModelProto,
    static_ranges: Mapping[str, Range] | None,
    steps: int,
    exclude: frozenset[str],
) -> None:
    biases = _biases(model)
    new: dict[str, list[onnx.NodeProto]] = {}
    quantized: dict[str, list[onnx.NodeProto]] = {}
    for layer in graph.layers(model):
        x = layer.activation
        unseen = static_ranges is not None and not static_ranges[x].span
        if layer.name in exclude or unseen:  # no scale holds what was never seen
            continue
        if x not in quantized:
            quantized[x] = _quantize_activation(model, x, static_ranges)
        scale, zero = f"{x}.scale", f"{x}.zero"
        bias = biases.get(layer.output)
        weight = numpy_helper.to_array(graph.weights(model)[layer.weight])
        largest = np.abs(weight).max(axis=0)
        # A column of zeros has no scale of its own.
        scales = np.where(largest > 0, largest, 1) / steps
        whole = np.clip(np.round(weight / scales), -steps, steps).astype(np.int8)
        inputs = [
            f"{x}.int8",
            graph.add_constant(model, f"{layer.name}.int8", whole),
            scale,
            graph.add_constant(model, f"{layer.name}.scale", scales.astype(np.float32)),
            zero,
            "",
            *([bias.constant] if bias else []),
        ]
        output = bias.output if bias else layer.output
        product = helper.make_node(
            "MatMulIntegerToFloat", inputs, [output], name=layer.name, domain="com.microsoft"
        )
        new[layer.name] = [product]
        if bias:
            new[bias.name] = []
    graph.replace_nodes(model, new)
    graph.insert_after(model, quantized)


def _quantize_activation(
    model: onnx.ModelProto, x: str, static_ranges: Mapping[str, Range] | None
) -> list[onnx.NodeProto]:
    scale, zero, whole = f"{x}.scale", f"{x}.zero", f"{x}.int8"
    if static_ranges is None:
        return [helper.make_node("DynamicQuantizeLinear", [x], [whole, scale, zero], name=whole)]
    # Zero must be a step of the scale: padding and ReLU produce exact zeros.
    low = min(0.0, float(static_ranges[x].low.min()))
    step = max(static_ranges[x].span / _STEPS, float(np.finfo(np.float32).tiny))
    graph.add_constant(model, scale, np.array(step, np.float32))
    graph.add_constant(model, zero, np.array(round(-low / step), np.uint8))
    return [helper.make_node("QuantizeLinear", [x, scale, zero], [whole], name=whole)]


class _Bias:
    """An Add of a constant row right after a layer, which the integer kernel takes along."""

    def __init__(self, node: onnx.NodeProto, constant: str) -> None:
        self.name = node.name
        self.output = node.output[0]
        self.constant = constant


def _biases(model: onnx.ModelProto) -> dict[str, _Bias]:
    known = graph.weights(model)
    widths = {layer.output: known[layer.weight].dims[1] for layer in graph.layers(model)}
    readers: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    kept = {item.name for item in model.graph.output}
    found = {}
    for node in model.graph.node:
        if node.op_type != "Add":
            continue
        for value, constant in (node.input, reversed(node.input)):
            alone = readers[value] == 1 and value not in kept
            if constant in known and alone and list(known[constant].dims) == [widths.get(value)]:
                found[value] = _Bias(node, constant)
    return found
