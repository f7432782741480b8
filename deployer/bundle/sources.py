"""Which files become which members of a bundle."""

from __future__ import annotations

import importlib.util
import io
import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from deployer.bundle.beside import Beside
from deployer.bundle.disk import DiskFile, file_at, file_below, files_in, is_folder, reading
from deployer.bundle.given import given_files
from deployer.bundle.members import PLAIN, Paths, path_problem
from deployer.bundle.onnxfile import OnnxFile, data_member, read_onnx
from deployer.bundle.provided import Provided
from deployer.bundle.readymade import ReadyMade
from deployer.bundle.requirements import merge
from deployer.bundle.script import check_handler
from deployer.errors import EnvironmentProblem, InputError
from inference_code.contract import (
    CONTENT_TYPES,
    ENGINES,
    HANDLER_PATH,
    MANIFEST_PATH,
    REQUIREMENTS_PATH,
    SAMPLES_PATH,
    SERVING_CODE_PATH,
)

DEFAULT_HANDLER = '''"""Serves this bundle's ONNX model by its own inputs and outputs."""

from inference_code.handlers.onnx import Handler

__all__ = ["Handler"]
'''
_CODE = str(PurePosixPath(HANDLER_PATH).parent)
_SERVING_REQUIREMENTS = "requirements.txt"
_SERVING_DATA = ("py.typed", _SERVING_REQUIREMENTS)


@dataclass(frozen=True)
class Text:
    """A member that is made here; ``origin`` says of what."""

    origin: str
    text: str
    mode: str = PLAIN

    def __str__(self) -> str:
        return self.origin

    def open(self) -> BinaryIO:
        """Open for reading."""
        return io.BytesIO(self.text.encode())


Source = DiskFile | Text


class Sources:
    """The members of a bundle to be, by path, each with what its content comes from."""

    def __init__(self) -> None:
        self.by_path: dict[str, Source] = {}
        self._paths = Paths()
        self._requirements: DiskFile | None = None
        self.engine: str | None = None
        self.ready: ReadyMade | None = None

    def add(self, path: str, source: Source) -> None:
        """Add a member. Raises InputError when it may not have this path, or another has it."""
        problem = path_problem(path) or self._paths.add(path)
        if problem is not None:
            raise InputError(f"{str(source)!r} cannot be bundled: member {path!r} {problem}")
        self.by_path[path] = source

    def add_model(self, model: Path) -> None:
        """Add the model file and the files that hold its weights, or all files of a model folder.

        A folder may hold ``code/inference.py`` and ``code/requirements.txt``, as SageMaker's do.
        """
        if not is_folder(model):
            file = file_at(model)
            self.add(file.name, file)
            onnx = _read(file)
            self.engine = onnx.engine if onnx else None
            for name in _data_files(file, onnx):
                self.add(name, file_below(file.root, name))
            return
        for file in given_files(model):
            if file.name == MANIFEST_PATH or file.name.startswith(f"{SERVING_CODE_PATH}/"):
                raise InputError(
                    f"{str(file)!r} is part of a bundle already",
                    hint="package the model's files, not an unpacked bundle",
                )
            if file.name == REQUIREMENTS_PATH:
                self._requirements = file
            else:
                self.add(file.name, file)

    def add_extra(self, path: Path) -> None:
        """Add a file, or a folder under its own name, at the bundle's root."""
        if is_folder(path):
            for file in given_files(path):
                self.add(f"{path.name}/{file.name}", file)
        else:
            self.add(path.name, file_at(path))

    def add_ready_made(self, ready: ReadyMade, model: Path) -> None:
        """Add a handler by its name, and those of its files that lie beside a model that is one file."""
        self.ready = ready
        self.add(HANDLER_PATH, Text(f"the handler {ready.name}", ready.source))
        if is_folder(model):
            return
        for name in ready.files:
            if name not in self.by_path and (model.parent / name).is_file():
                self.add(name, file_below(model.parent, name))

    def add_handler(self, handler: Path | None) -> None:
        """Add the user's handler, or the one that serves any ONNX model when the model brings none."""
        if handler is not None:
            self.add(HANDLER_PATH, _plain(file_at(handler)))
        elif HANDLER_PATH not in self.by_path:
            self.add(HANDLER_PATH, Text("the default handler", DEFAULT_HANDLER))

    def add_modules(self) -> None:
        """Add the modules that lie beside the handler and that it imports, once requirements are there.

        Raises InputError when one is missing, or when its name is taken.
        """
        handler, needs = self.by_path[HANDLER_PATH], self.by_path[REQUIREMENTS_PATH]
        if not isinstance(handler, DiskFile) or not isinstance(needs, Text):
            return
        check_handler(handler)
        packaged = {_module(path) for path in self.by_path if path.startswith(f"{_CODE}/")}
        beside = Beside(handler, Provided(needs.text, packaged))
        beside.follow()
        for name, file in sorted(beside.files.items()):
            path = f"{_CODE}/{name}"
            if path not in self.by_path:  # a model folder brought it in its code/
                self.add(path, _plain(file))

    def add_samples(self, samples: Path) -> None:
        """Add one sample request, or a folder of them."""
        files = list(given_files(samples)) if is_folder(samples) else [file_at(samples)]
        if not files:
            raise InputError(
                f"{str(samples)!r} holds no sample request",
                hint=f"put request bodies into it, as files that end in {', '.join(CONTENT_TYPES)}",
            )
        for file in files:
            if "/" in file.name or PurePosixPath(file.name).suffix not in CONTENT_TYPES:
                raise InputError(
                    f"{str(file)!r} is no sample request",
                    hint=f"samples lie in one folder and end in {', '.join(CONTENT_TYPES)}",
                )
            self.add(f"{SAMPLES_PATH}/{file.name}", _plain(file))

    def add_serving_code(self, requirements: Path | None, engine: str) -> None:
        """Add the serving code, and one list of the packages that it, the engine and the handler need."""
        code = _serving_code()
        needs = [("the serving code's requirements.txt", code.pop(_SERVING_REQUIREMENTS))]
        if requirements is not None:
            needs.append((str(requirements), file_at(requirements)))
        if self._requirements is not None:
            needs.append((str(self._requirements), self._requirements))
        texts = [(name, _text(file)) for name, file in needs]
        if self.ready is not None:
            texts.append((f"the handler {self.ready.name}", "\n".join(self.ready.requirements)))
        text = merge(*texts, (f"the engine {engine}", "\n".join(ENGINES[engine])))
        self.add(REQUIREMENTS_PATH, Text("the merged requirements", text))
        for name, file in code.items():
            self.add(f"{SERVING_CODE_PATH}/{name}", _plain(file))


def _module(path: str) -> str:
    """Return what a member below ``code/`` is imported as, there."""
    return PurePosixPath(path).parts[1].partition(".")[0]


def _read(model: DiskFile) -> OnnxFile | None:
    if not model.name.lower().endswith(".onnx"):
        return None
    with model.open() as stream:
        return read_onnx(str(model), stream)


def _data_files(model: DiskFile, onnx: OnnxFile | None) -> list[str]:
    locations = onnx.data_files if onnx else ()
    names = [(location, data_member(model.name, location)) for location in locations]
    for location, name in names:
        if name is None:
            raise InputError(f"{str(model)!r} keeps weights outside its folder, in {location!r}")
    found = sorted({name for _, name in names if name is not None})
    for name in found:
        if not os.path.lexists(model.root / name):
            raise InputError(
                f"{str(model)!r} keeps weights in {name!r}, which is missing",
                hint=f"put {name!r} beside the model, as the export wrote it",
            )
    return found


def _serving_code() -> dict[str, DiskFile]:
    """Find the installed serving code without importing it, caches and strays left out."""
    spec = importlib.util.find_spec(PurePosixPath(SERVING_CODE_PATH).name)
    folders = (spec and spec.submodule_search_locations) or []
    files = {file.name: file for folder in folders for file in files_in(Path(folder))}
    code = {name: file for name, file in files.items() if _is_code(PurePosixPath(name))}
    if _SERVING_REQUIREMENTS not in code:
        raise EnvironmentProblem(
            "the serving code is not installed whole: its requirements.txt is missing",
            hint="install deployer again",
        )
    return code


def _is_code(name: PurePosixPath) -> bool:
    return name.suffix == ".py" or str(name) in _SERVING_DATA


def _plain(file: DiskFile) -> DiskFile:
    return replace(file, mode=PLAIN)


def _text(file: DiskFile) -> str:
    with file.open() as stream, reading(str(file)):
        data = stream.read()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{str(file)!r} is not UTF-8: {error}") from error
