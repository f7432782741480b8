"""A model from PyTorch or elsewhere as one ONNX file, proved to answer as its source does.

A file never gets to run code: ``torch.load`` is called with ``weights_only=True`` alone, and a pickled module
is refused with what to do instead.
"""

from __future__ import annotations

import io
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from deployer.errors import ConditionFailed, InputError
from deployer.optimization import estimators, graph, huggingface, program
from deployer.optimization.data import check
from deployer.optimization.onnxfile import external_files, save
from deployer.optimization.session import Array, Arrays, Session, rows
from deployer.optimization.variant import Variant, describe

OPSET = 20
CHECK_BATCHES = (1, 2, 5)
TOLERANCE = 1e-4
"""Largest difference allowed, relative to the largest source answer (or to 1 where answers are smaller)."""


def export(
    model: Any,
    example: Arrays,
    out: Path,
    *,
    dynamic_axes: Mapping[str, Sequence[int]] | None = None,
    name: str = "fp32",
    tolerance: float = TOLERANCE,
) -> Variant:
    """Write ``model`` as ONNX to ``out`` and return its Variant.

    ``model`` is a module, a fitted estimator (scikit-learn, XGBoost, LightGBM), or a file: .onnx, TorchScript (.pt),
    ExportedProgram (.pt2), or a Hugging Face folder, whose lengths (axis 1) are free unless ``dynamic_axes`` says
    otherwise. ``example`` holds real inputs by the names of its arguments; a module whose arguments are named otherwise
    takes them in the order given. Axis 0 is the batch and always free, others named in ``dynamic_axes`` are free too.
    The export is run against its source at batch 1, 2 and 5, all outputs.
    Raises InputError for what cannot be exported and ConditionFailed, with the largest difference,
    when the two do not agree; ``out`` is then not written.
    """
    if not example or any(array.ndim == 0 or len(array) == 0 for array in example.values()):
        raise InputError("export: needs an example with at least one row for each input")
    if isinstance(model, Path) and model.is_dir():
        source: Any = huggingface.load(model, example)
        texts = [name for name, array in example.items() if array.ndim == 2]
        dynamic_axes = dict.fromkeys(texts, (1,)) if dynamic_axes is None else dynamic_axes
    else:
        source = load(model) if isinstance(model, Path) else model
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder:
        draft = Path(folder) / out.name
        if estimators.is_estimator(source):
            estimators.write(source, example, draft, CHECK_BATCHES, tolerance)
        elif isinstance(source, onnx.ModelProto):
            save(source, draft)
            check(example, Session(draft).inputs, "example")
        else:
            if isinstance(source, torch.nn.Module):
                source.eval()  # before it runs at all: in training a run changes it
            _convert(source, example, draft, dynamic_axes or {})
            compare(program.runner(source, example), draft, example, tolerance=tolerance)
        _move(draft, out)
    return describe(out, name, "fp32")


def load(path: Path) -> Any:
    """Return what the path holds: an onnx.ModelProto, a ScriptModule, an ExportedProgram, or a folder's module.

    Raises InputError for a missing file, an unknown kind, and a pickle that would run code.
    """
    if path.is_dir():
        return huggingface.load(path)
    if not path.is_file():
        raise InputError(f"no model file at {str(path)!r}")
    readers: dict[str, Callable[[Path], Any]] = {
        ".onnx": _load_onnx,
        ".pt2": lambda file: torch.export.load(file),
        ".pt": _load_torchscript,
        ".pth": _load_torchscript,
        ".ts": _load_torchscript,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        pickled = path.suffix.lower() in (".pkl", ".pickle", ".joblib")
        told = "a pickle runs code and is not read: hand over the fitted estimator in Python"
        raise InputError(
            f"{path.name!r} is no model that can be read",
            hint=told if pickled else f"known: {', '.join(sorted(readers))}",
        )
    try:
        return reader(path)
    except InputError:
        raise
    except Exception as error:  # each reader has its own zoo of exceptions
        raise InputError(f"cannot read {path.name!r}: {_first_line(error)}") from error


def compare(
    source: Callable[[Arrays], Mapping[str, Array]],
    exported: Path,
    example: Arrays,
    *,
    tolerance: float = TOLERANCE,
) -> float:
    """Return the largest relative difference between source and export over all outputs at several batch sizes.

    Raises ConditionFailed naming it, with its batch size, when it is above ``tolerance``, and for outputs that are
    not the source's.
    """
    session = Session(exported)
    names = [spec.name for spec in session.outputs]
    worst = 0.0
    for batch in (session.fixed_batch,) if session.fixed_batch else CHECK_BATCHES:
        feeds = {key: rows(value, batch) for key, value in example.items()}
        wanted = source(feeds)
        if list(wanted) != names:
            raise ConditionFailed(
                f"the export answers with {', '.join(names)}, its source with {', '.join(wanted)}"
            )
        for name, given in zip(names, session.run_all(feeds, names), strict=True):
            worst = max(
                worst, _gap(wanted[name], given, f"at batch {batch} of {name!r}", tolerance)
            )
    return worst


def _gap(wanted: Array, given: Array, where: str, tolerance: float) -> float:
    if wanted.shape != given.shape:
        raise ConditionFailed(
            f"{where} the export answers with shape {given.shape}, its source with {wanted.shape}"
        )
    scale = max(1.0, float(np.abs(wanted).max(initial=0)))
    gap = float(np.abs(wanted.astype(np.float64) - given).max(initial=0)) / scale
    if not gap <= tolerance:  # NaN fails too
        raise ConditionFailed(
            f"the export does not answer as its source: largest difference {gap:.3g} {where}, "
            f"{tolerance:g} is allowed",
            hint="look for randomness, training mode, or control flow that depends on the values",
        )
    return gap


def _convert(
    source: Any, example: Arrays, draft: Path, dynamic_axes: Mapping[str, Sequence[int]]
) -> None:
    names = program.ordered(source, example)
    outputs = list(program.runner(source, example)({k: rows(v, 2) for k, v in example.items()}))
    # Two rows or more: a batch of one is taken for a constant by the exporter.
    arguments = tuple(torch.from_numpy(rows(example[name], 2)) for name in names)
    shapes = tuple(
        dict.fromkeys({0, *dynamic_axes.get(name, ())}, torch.export.Dim.DYNAMIC) for name in names
    )
    try:
        with _quiet(), torch.no_grad():
            if isinstance(source, torch.jit.ScriptModule):
                model = _trace(source, names, arguments, shapes, outputs)
            else:
                model = _capture(source, names, arguments, shapes)
        graph.rename_outputs(model, outputs)
    except Exception as error:  # torch raises from deep inside; the last cause says what it is
        raise InputError(
            f"cannot export the model: {_first_line(error.__cause__ or error)}",
            hint="the named operator or control flow must be replaced by one that ONNX has",
        ) from error
    save(model, draft)


def _capture(
    source: Any, names: tuple[str, ...], arguments: tuple[Any, ...], shapes: tuple[Any, ...]
) -> onnx.ModelProto:
    is_program = isinstance(source, torch.export.ExportedProgram)
    exported = torch.onnx.export(
        source if is_program else source.eval(),
        () if is_program else arguments,
        dynamo=True,
        verbose=False,
        opset_version=OPSET,
        input_names=list(names),
        dynamic_shapes=None if is_program else shapes,
    )
    if exported is None:
        raise ValueError("the exporter returned nothing")
    model: onnx.ModelProto = exported.model_proto
    return model


def _trace(
    source: Any,
    names: tuple[str, ...],
    arguments: tuple[Any, ...],
    shapes: tuple[Any, ...],
    outputs: list[str],
) -> onnx.ModelProto:
    """TorchScript has no exported program; the older exporter reads its graph directly."""
    written = io.BytesIO()
    axes = {name: sorted(free) for name, free in zip(names, shapes, strict=True)}
    torch.onnx.export(
        source.eval(),
        arguments,
        written,
        dynamo=False,
        opset_version=OPSET,
        input_names=list(names),
        output_names=outputs,
        dynamic_axes={**axes, **{name: [0] for name in outputs}},
    )
    return onnx.load_from_string(written.getvalue())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes on its own internals off the screen: the export is checked by running it."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _load_onnx(path: Path) -> onnx.ModelProto:
    # Paths, not messages: the checker then reads models over 2 GB and refuses data outside the folder.
    onnx.checker.check_model(str(path))
    return onnx.load(str(path))


def _load_torchscript(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # TorchScript is deprecated; people still have such files
            return torch.jit.load(path, map_location="cpu")
    except RuntimeError:
        return _refuse_pickle(path)


def _refuse_pickle(path: Path) -> Any:
    hint = "load it in Python and hand over the module, or save it with torch.export.save as .pt2"
    try:
        held = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise InputError(
            f"{path.name!r} is neither TorchScript nor plain weights; a pickle that runs code is not read",
            hint=hint,
        ) from error
    raise InputError(
        f"{path.name!r} holds a {type(held).__name__} of weights, not a model", hint=hint
    )


def _move(draft: Path, out: Path) -> None:
    for data in external_files(draft):
        os.replace(data, out.with_name(data.name))
    os.replace(draft, out)


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
