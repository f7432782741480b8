"""What a searched rung is made by: kernel, how its scales were found, what stays float, whether biases are corrected.

A recipe gives a rung by its name; those of a climb are kept in its folder, where the processes of the rungs find them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import onnx

from deployer.optimization import bias, graph, integer, quantize
from deployer.optimization.searches import Store
from deployer.optimization.session import Arrays
from deployer.optimization.smoothquant import Range, ranges

U8S8, S8S8, EQUALIZED, LEAN, EVEN = "u8s8", "s8s8", "equalized", "lean", "even"
PRODUCTS = (EQUALIZED, LEAN, EVEN)
"""On the integer kernels, which take matrix products and no convolutions."""

_CUTS = ("minmax", "entropy", "p99.9", "p99.99", "p99.999")
FAMILIES: Mapping[str, tuple[str, ...]] = {
    U8S8: _CUTS,
    S8S8: _CUTS,
    EQUALIZED: tuple(f"{strength}" for strength in (0.5, *integer.STRENGTHS)),
    LEAN: ("0.5", "0.7", "0.9"),
    EVEN: ("minmax",),
}
"""Calibrations by kernel, which decide the error and hardly the speed: histograms cut at a percentile, or strengths.

With ``lean`` activations of an unevenness up to 8 are spared, with ``even`` all of them: each costs a multiplication.
"""

_SPARED = {EQUALIZED: 0.0, LEAN: 8.0}

CORRECTED = "-bias"
SAME = {
    (U8S8, "minmax"): "int8-static-minmax",
    (U8S8, "entropy"): "int8-static-entropy",
    (U8S8, "p99.99"): "int8-static-percentile",
    (S8S8, "minmax"): "int8-static-s8s8",
}
"""Rungs of the ladder that a recipe makes again, where all layers are in int8 and no bias is corrected."""

_FILE = "recipes.json"


@dataclass(frozen=True)
class Recipe:
    """One way to static int8; the layers named in ``float_layers`` stay FP32.

    ``source`` names the alternative that is quantized, where it is not the model itself.
    """

    kernel: str
    calibration: str
    float_layers: tuple[str, ...] = ()
    corrected: bool = False
    source: str = ""

    @property
    def name(self) -> str:
        """Return the rung's name: it tells how many layers stay FP32."""
        count = f"-{len(self.float_layers)}" if self.float_layers else ""
        made = f"{self.kernel}-{self.calibration}{count}{CORRECTED * self.corrected}"
        return "-".join(("int8-search", *([self.source] if self.source else []), made))

    @property
    def same(self) -> str | None:
        """Return the name of the ladder's own rung that this makes again, if there is one."""
        plain = not self.float_layers and not self.corrected and not self.source
        return SAME.get((self.kernel, self.calibration)) if plain else None

    def to_json(self) -> dict[str, Any]:
        """Return the record of ladder.json."""
        return {
            "source": self.source or "the model",
            "calibration": f"{self.kernel} {self.calibration}",
            "bias_corrected": "where it lowers the error" if self.corrected else "no",
            "float_layers": list(self.float_layers),
        }


def rung(
    recipe: Recipe, *, reduce_range: bool, searches: Path | None, others: Mapping[str, Path]
) -> quantize.Rung:
    """Return the rung that makes it; what is measured for it is shared through the folder ``searches``.

    ``others`` are the alternatives of the climb.
    """
    made = _build(recipe, reduce_range=reduce_range, searches=searches)
    kept = frozenset(recipe.float_layers)

    def build(
        source: Path, calibration: Arrays, target: Path, exclude: frozenset[str]
    ) -> str | None:
        return made(source, calibration, target, exclude | kept)

    whole = quantize.Rung(recipe.name, "int8", build)
    if recipe.corrected:
        whole = replace(corrected(whole, needed=False), name=recipe.name)
    if recipe.source:
        whole = replace(whole, build=of(others[recipe.source], whole.build))
    return whole


def of(other: Path, build: quantize.Build) -> quantize.Build:
    """Return what builds from another FP32 file, prepared for it, instead of from the model."""

    def made(
        source: Path, calibration: Arrays, target: Path, exclude: frozenset[str]
    ) -> str | None:
        own = target.with_name(f"{target.name}.prepared")
        try:
            quantize.prepare(other, own)
            return build(own, calibration, target, exclude)
        finally:
            own.unlink(missing_ok=True)

    return made


def corrected(plain: quantize.Rung, *, needed: bool = True) -> quantize.Rung:
    """Return the rung that corrects the biases of another one; as ``needed`` it is none where that does not help."""

    def build(
        source: Path, calibration: Arrays, target: Path, exclude: frozenset[str]
    ) -> str | None:
        note = plain.build(source, calibration, target, exclude)
        with suppress(*(() if needed else (graph.Unfit,))):
            bias.correct(source, target, calibration)
        return note

    return replace(plain, name=f"{plain.name}{CORRECTED}", build=build)


def save(recipes: Iterable[Recipe], folder: Path) -> None:
    """Keep the recipes of a climb in its folder, for ``load``."""
    held = [record(recipe) for recipe in recipes]
    (folder / _FILE).write_text(json.dumps(held), encoding="utf-8")


def load(folder: Path) -> list[Recipe]:
    """Return the recipes that were kept; none where there were none."""
    file = folder / _FILE
    return [read(item) for item in json.loads(file.read_text("utf-8"))] if file.exists() else []


def record(recipe: Recipe) -> list[Any]:
    """Return the recipe as ``read`` reads it."""
    layers = list(recipe.float_layers)
    return [recipe.kernel, recipe.calibration, layers, recipe.corrected, recipe.source]


def read(item: list[Any]) -> Recipe:
    """Return the recipe of a record."""
    kernel, calibration, layers, biases, source = item
    return Recipe(kernel, calibration, tuple(layers), biases, source)


class Fixed(integer.Recipes):
    """One strength for every activation that is less even than ``spare``, without a search for it."""

    def __init__(self, folder: Path | None, strength: float, spare: float) -> None:
        super().__init__(folder)
        self._strength, self._spare = strength, spare

    def of(
        self,
        source: Path,
        calibration: Arrays,
        exclude: frozenset[str],
        *,
        reduce_range: bool,
        slack: float,
    ) -> integer.Recipe:
        """Return the ranges on ``calibration`` with this strength."""

        def measured() -> Mapping[str, Range]:
            model = onnx.load(str(source))
            graph.gemm_to_matmul(model)
            return ranges(model, calibration, {layer.activation for layer in graph.layers(model)})

        found = self._store.ranges(source.name, measured)
        if not found:
            raise graph.Unfit("the model has no matrix products with constant weights")
        return integer.Recipe(found, self._strength, self._spare)


def even(*, reduce_range: bool) -> quantize.Build:
    """Return static int8 on the integer kernels that moves nothing between activations and weights."""
    return partial(
        integer.build, static=True, reduce_range=reduce_range, recipes=Fixed(None, 0.5, math.inf)
    )


def _build(recipe: Recipe, *, reduce_range: bool, searches: Path | None) -> quantize.Build:
    if recipe.kernel == EVEN:
        return even(reduce_range=reduce_range)
    if recipe.kernel in PRODUCTS:
        fixed = Fixed(searches, float(recipe.calibration), _SPARED[recipe.kernel])
        return partial(integer.build, static=True, reduce_range=reduce_range, recipes=fixed)
    store = Store(searches)
    if recipe.calibration.startswith("p"):
        cut = float(recipe.calibration[1:])
        return quantize.static("percentile", reduce_range, recipe.kernel, cut, store)
    return quantize.static(recipe.calibration, reduce_range, recipe.kernel, store=store)
