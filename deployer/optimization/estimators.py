"""Fitted estimators of scikit-learn, XGBoost and LightGBM as ONNX, proved to answer as they predict.

An estimator is handed over in Python; no file of one is read, for reading a pickle runs what is in it.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from deployer.distribution import install_hint
from deployer.errors import ConditionFailed, EnvironmentProblem, InputError
from deployer.optimization import graph
from deployer.optimization.onnxfile import save
from deployer.optimization.session import Array, Arrays, Session, rows

_TARGET = {"": 17, "ai.onnx.ml": 3}
_KINDS = {"float32": "FloatTensorType", "float64": "DoubleTensorType", "int64": "Int64TensorType"}
_SHAPES = "skl2onnx.common.shape_calculator"
_BOOSTED = (
    (
        "lightgbm",
        "LGBM",
        "onnxmltools.convert.lightgbm.operator_converters.LightGbm",
        "convert_lightgbm",
    ),
    (
        "xgboost",
        "XGB",
        "onnxmltools.convert.xgboost.operator_converters.XGBoost",
        "convert_xgboost",
    ),
)


def is_estimator(model: Any) -> bool:
    """Return whether ``model`` is an object that predicts, as estimators of scikit-learn do."""
    return all(callable(getattr(model, name, None)) for name in ("fit", "predict", "get_params"))


def write(
    estimator: Any, example: Arrays, draft: Path, batches: Sequence[int], tolerance: float
) -> None:
    """Write the estimator to ``draft`` and check it at each of the ``batches`` against its own predictions.

    A classifier answers with ``probabilities`` (rows, classes) first and ``label`` second, one without probabilities
    with ``label`` alone, a regressor with ``output``. Raises InputError for what cannot be exported, ConditionFailed
    when the predictions differ, EnvironmentProblem without the packages of the extra ``trees``.
    """
    name, array = _one(example)
    model = _converted(estimator, name, array)
    _arrange(model, estimator)
    save(model, draft)
    session = _opened(draft, array)
    names = [spec.name for spec in session.outputs]
    for batch in (*batches, len(array)):
        few = rows(array, batch)
        found = dict(zip(names, session.run_all({name: few}, names), strict=True))
        for output, wanted in _predicted(estimator, few).items():
            _check(wanted, found[output], f"at batch {batch} of {output!r}", tolerance)


def _opened(draft: Path, array: Array) -> Session:
    try:
        return Session(draft)
    except InputError as error:
        hint = "give the example as float32" if array.dtype.name == "float64" else error.hint
        raise InputError(
            f"the exported estimator does not run: {error.message}", hint=hint
        ) from error


def _one(example: Arrays) -> tuple[str, Array]:
    """Return the example's one table."""
    if len(example) != 1:
        raise InputError(
            f"an estimator takes one table, the example holds {', '.join(example)}",
            hint="join the columns: numpy.column_stack",
        )
    ((name, array),) = example.items()
    if array.ndim != 2 or array.dtype.name not in _KINDS:
        raise InputError(
            f"{name!r} is {array.dtype.name} {array.shape}; an estimator takes (rows, columns) of {', '.join(_KINDS)}"
        )
    return name, array


def _converted(estimator: Any, name: str, array: Array) -> onnx.ModelProto:
    skl2onnx = _package("skl2onnx")
    types = _package("skl2onnx.common.data_types")
    kind = getattr(types, _KINDS[array.dtype.name])([None, array.shape[1]])
    _register(skl2onnx)
    scored = _classifies(estimator) and hasattr(estimator, "predict_proba")
    options = {id(estimator): {"zipmap": False}} if scored else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made: onnx.ModelProto = skl2onnx.to_onnx(
                estimator, initial_types=[(name, kind)], options=options, target_opset=_TARGET
            )
    except Exception as error:  # each converter has its own
        line = (str(error).strip().splitlines() or [""])[0]
        raise InputError(
            f"cannot export the {type(estimator).__name__}: {type(error).__name__}: {line}",
            hint="fit it first; skl2onnx lists the estimators that it knows",
        ) from error
    return made


def _register(skl2onnx: Any) -> None:
    """Tell skl2onnx how to convert the boosted trees of the packages that are loaded: no other can be at hand."""
    shapes = _package(_SHAPES)
    for package, prefix, converter, function in _BOOSTED:
        loaded = sys.modules.get(package)
        if loaded is None:
            continue
        convert = getattr(_package(converter), function)
        for suffix, shape, options in (
            (
                "Classifier",
                "linear_classifier",
                {"nocl": [True, False], "zipmap": [True, False, "columns"]},
            ),
            ("Regressor", "linear_regressor", {}),
        ):
            skl2onnx.update_registered_converter(
                getattr(loaded, prefix + suffix),
                f"Deployer{prefix}{suffix}",
                getattr(shapes, f"calculate_{shape}_output_shapes"),
                convert,
                options=options or None,
            )


def _arrange(model: onnx.ModelProto, estimator: Any) -> None:
    """Put the probabilities first, which is what serves, and drop scores that are none."""
    outputs = {item.name: item for item in model.graph.output}
    if _classifies(estimator):
        kept = ["probabilities", "label"] if hasattr(estimator, "predict_proba") else ["label"]
        label, *others = list(outputs)
        old = {"label": label, "probabilities": others[0] if others else ""}
    else:
        kept, old = ["output"], {"output": next(iter(outputs))}
    copies = [
        onnx.ValueInfoProto.FromString(outputs[old[name]].SerializeToString()) for name in kept
    ]
    del model.graph.output[:]
    model.graph.output.extend(copies)
    graph.rename_outputs(model, kept)


def _predicted(estimator: Any, table: Array) -> dict[str, Array]:
    """Return what the estimator itself answers, by the names of the export's outputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the columns have no names
        if not _classifies(estimator):
            return {"output": np.asarray(estimator.predict(table))}
        found = {"label": np.asarray(estimator.predict(table))}
        if hasattr(estimator, "predict_proba"):
            found["probabilities"] = np.asarray(estimator.predict_proba(table))
        return found


def _check(wanted: Array, given: Any, where: str, tolerance: float) -> None:
    given = np.asarray(given).reshape(wanted.shape)
    if wanted.dtype.kind not in "fiub":
        if list(map(str, given.ravel())) != list(map(str, wanted.ravel())):
            raise ConditionFailed(f"{where} the export does not predict as the estimator")
        return
    scale = max(1.0, float(np.abs(wanted).max(initial=0)))
    gap = float(np.abs(wanted.astype(np.float64) - given).max(initial=0)) / scale
    if not gap <= tolerance:
        raise ConditionFailed(
            f"the export does not predict as the estimator: largest difference {gap:.3g} {where}, "
            f"{tolerance:g} is allowed",
            hint="a row between a threshold in 64 bits and in 32 goes the other way: fit on float32 rows",
        )


def _classifies(estimator: Any) -> bool:
    return hasattr(estimator, "classes_")


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise EnvironmentProblem(
            f"an estimator's export needs the package {name.partition('.')[0]!r}: {error}",
            hint=install_hint("trees"),
        ) from error
