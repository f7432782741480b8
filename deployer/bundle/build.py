"""Seal model, handler and serving code into one archive."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from deployer.bundle.archive import pack
from deployer.bundle.batching import proven
from deployer.bundle.bundle import Bundle, archive_name
from deployer.bundle.disk import is_folder, reading
from deployer.bundle.manifest import WHOLE_FOLDER, check_manifest
from deployer.bundle.measure import Measured, measure
from deployer.bundle.members import LIMITS
from deployer.bundle.onnxfile import OnnxFile
from deployer.bundle.readymade import ready_made
from deployer.bundle.sources import Source, Sources, Text
from deployer.bundle.staging import new_file
from deployer.bundle.verify import check_weights
from deployer.errors import InputError
from deployer.spec import checks
from inference_code.contract import (
    ENGINES,
    HANDLER_PATH,
    ONNXRUNTIME,
    UNSTATED,
    Manifest,
    Member,
    ServingConfig,
)

_NO_LINEAGE: Mapping[str, str] = {}


def build(
    model: Path,
    out_dir: Path,
    *,
    name: str,
    handler: Path | str | None = None,
    requirements: Path | None = None,
    extra: Sequence[Path] = (),
    samples: Path | None = None,
    serving: ServingConfig = ServingConfig(),  # noqa: B008 - frozen
    precision: str | None = None,
    lineage: Mapping[str, str] = _NO_LINEAGE,
    engine: str | None = None,
) -> Bundle:
    """Write ``out_dir/NAME-<first 12 of its digest>.tar.gz`` and return it.

    ``model`` is a file, with the ONNX data files beside it, or a folder whose files all go in, strays excepted.
    Without a ``handler`` it must be ONNX, and so with one that is named (``image``, ``text``) and no file. ``extra``
    files go to the bundle's root, ``samples`` (.json, .csv or .npy; a file or a folder) to ``code/samples``.
    ``engine`` (onnxruntime or openvino) runs the model; by default the one that the ONNX file names, as a rung of
    the ladder does. Whether requests may be joined is proven on the model's graph and tried on the installed
    runtime, whose version the manifest then names: the same input gives the same digest wherever that is the same,
    and the same bytes wherever zlib is, too.

    ``precision`` is read from the graph; of a model that is none, it is what is stated, else ``unstated``.

    Raises InputError when an input is wrong, any link among the files included, and EnvironmentProblem
    when ``out_dir`` cannot be written; either way nothing is left there.

    >>> build(Path("model.onnx"), Path("out"), name="digits").path  # doctest: +SKIP
    PosixPath('out/digits-3f9a1c2b77d0.tar.gz')
    """
    checks.name("name", name)
    sources = _sources(model, out_dir, handler, extra, samples)
    chosen = _engine(engine or sources.engine or ONNXRUNTIME)
    sources.add_serving_code(requirements, chosen)
    sources.add_modules()
    contents = {path: _measured(path, source) for path, source in sorted(sources.by_path.items())}
    main = _main_file(model, sources)
    onnx = contents[main].onnx if main in contents else None
    if isinstance(sources.by_path[HANDLER_PATH], Text):
        _check_our_handler(model, onnx, sources, main)
    manifest = Manifest(
        name=name,
        model=main,
        precision=_precision(precision, onnx, chosen),
        members=tuple(_member(sources.by_path[path], path, contents[path]) for path in contents),
        inputs=onnx.inputs if onnx else (),
        outputs=onnx.outputs if onnx else (),
        serving=serving,
        lineage=dict(lineage),
        engine=chosen,
    )
    check_manifest(manifest, LIMITS)
    check_weights(out_dir / archive_name(manifest), contents)
    manifest = replace(manifest, batching=proven(manifest, sources.by_path))
    path = out_dir / archive_name(manifest)
    with new_file(path) as file:
        pack(file, manifest, sources.by_path)
    return Bundle(path, manifest)


def _precision(stated: str | None, onnx: OnnxFile | None, engine: str) -> str:
    """Return the precision for the manifest. Raises InputError for one that the graph contradicts.

    OpenVINO may compute a graph in fewer bits than it holds: there the word of whoever measured it counts.
    """
    if onnx is None:
        return stated or UNSTATED
    if stated is None:
        return onnx.precision
    if engine == ONNXRUNTIME and not stated.startswith(onnx.precision):
        raise InputError(
            f"precision: {stated!r} is stated, and the graph computes in {onnx.precision}",
            hint="leave it out: it is read from the graph",
        )
    return stated


def _sources(
    model: Path,
    out_dir: Path,
    handler: Path | str | None,
    extra: Sequence[Path],
    samples: Path | None,
) -> Sources:
    for folder in (model, *extra, *([samples] if samples else [])):
        if is_folder(folder) and Path(os.path.realpath(out_dir)).is_relative_to(
            os.path.realpath(folder)
        ):
            raise InputError(
                f"{str(out_dir)!r} lies in {str(folder)!r}, which goes into the bundle",
                hint="choose an output folder outside it",
            )
    sources = Sources()
    sources.add_model(model)
    for path in extra:
        sources.add_extra(path)
    if samples is not None:
        sources.add_samples(samples)
    script = None if handler is None else Path(handler)
    ready = ready_made(script)
    if ready is None:
        sources.add_handler(script)
    else:
        sources.add_ready_made(ready, model)
    return sources


def _engine(name: str) -> str:
    if name not in ENGINES:
        raise InputError(f"no engine {name!r}", hint=f"known: {', '.join(ENGINES)}")
    return name


def _main_file(model: Path, sources: Sources) -> str:
    """Return the member that is the model: a folder's only ONNX file, or the folder."""
    if not is_folder(model):
        return model.name
    files = [path for path in sources.by_path if path.lower().endswith(".onnx")]
    return files[0] if len(files) == 1 else WHOLE_FOLDER


def _measured(path: str, source: Source) -> Measured:
    with source.open() as file, reading(str(source)):
        return measure(file, name=path)


def _member(source: Source, path: str, content: Measured) -> Member:
    return Member(path, source.mode, content.size, content.sha256)


def _check_our_handler(model: Path, onnx: OnnxFile | None, sources: Sources, main: str) -> None:
    """The handler that a bundle gets by default, or by its name, serves one ONNX model of tensors."""
    ready = sources.ready
    hint = "give a handler that serves it: --handler inference.py"
    if onnx is None:
        without = (
            f"the handler {ready.name!r} serves nothing else"
            if ready
            else "comes without a handler"
        )
        files = sorted(path for path in sources.by_path if path.lower().endswith(".onnx"))
        several = f" but {len(files)} ({', '.join(files)})" if files else ""
        raise InputError(
            f"{str(model)!r} is not one ONNX model{several}, and {without}",
            hint=f"name one of the files, or {hint}" if files else hint,
        )
    for name, problem in onnx.unclear.items():
        raise InputError(f"{str(model)!r}: {name!r} {problem}", hint=hint)
    if ready is not None:
        ready.check(model, sources.by_path, main)
