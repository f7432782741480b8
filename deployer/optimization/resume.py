"""The finished rungs of a climb that was stopped: the same climb, started again, takes them up.

They lie in ``unfinished`` in the output folder, under a key of all that a rung depends on: the model, the rows, the
rungs' own code by its version, the processor. Another climb to the same folder removes them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from deployer.optimization.onnxfile import external_files
from deployer.optimization.session import Arrays

FOLDER = "unfinished"
_PACKAGES = ("deployer-ml", "onnx", "onnxruntime", "numpy", "openvino", "nncf")


def key(files: Iterable[Path], groups: Iterable[Arrays], settings: Mapping[str, Any]) -> str:
    """Return the digest of model files, rows and settings, and of the versions of what builds and runs the rungs."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    for arrays in groups:
        for name, array in sorted(arrays.items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(hashlib.sha256(array.tobytes()).digest())
    digest.update(json.dumps([dict(settings), _versions()], sort_keys=True).encode())
    return digest.hexdigest()


class Finished:
    """The rungs that are finished, each with what its piece answered, its file and its outputs; and small notes."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._folder = out / FOLDER
        self._key: str | None = None
        self.taken_up = 0

    def begin(self, wanted: str) -> None:
        """Take this for the climb's key; rungs of another one are removed."""
        self._key = wanted
        if self._held_key() not in (None, wanted):
            shutil.rmtree(self._folder, ignore_errors=True)

    def take(self, name: str, folder: Path, outputs: Path) -> dict[str, Any] | None:
        """Put a finished rung's file and outputs back where its piece left them; return its answer, None without."""
        try:
            answer: dict[str, Any] = json.loads(self._file(f"{name}.json").read_text("utf-8"))
            for part in answer.pop("files"):
                _link(self._file(part), folder / part)
            if "failed" not in answer:
                _link(self._file(f"{name}.npz"), outputs)
        except (OSError, ValueError, KeyError):
            return None
        self.taken_up += 1
        return answer

    def keep(self, name: str, answer: Mapping[str, Any], model: Path, outputs: Path) -> None:
        """Keep a rung that is finished, by links where the file system has them. A full disk keeps none."""
        if self._key is None:
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file("key").write_text(self._key, encoding="ascii")
            parts = (model, *external_files(model)) if model.exists() else ()
            for part in parts:
                _link(part, self._file(part.name))
            if "failed" not in answer:
                _link(outputs, self._file(f"{name}.npz"))
            draft = self._file(f"{name}.part")
            document = {**answer, "files": [part.name for part in parts]}
            draft.write_text(json.dumps(document), encoding="utf-8")
            os.replace(draft, self._file(f"{name}.json"))

    def note(self, name: str, value: Any) -> None:
        """Keep a small answer (what JSON holds) by a name of its own, as ``keep`` does a rung."""
        if self._key is None:
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file("key").write_text(self._key, encoding="ascii")
            draft = self._file(f"{name}.part")
            draft.write_text(json.dumps(value), encoding="utf-8")
            os.replace(draft, self._file(f"{name}.note"))

    def noted(self, name: str) -> Any:
        """Return what was noted under the name, None where nothing was."""
        try:
            return json.loads(self._file(f"{name}.note").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def count(self) -> int:
        """Return how many rungs of this climb are kept."""
        return 0 if self._key is None else len(list(self._folder.glob("*.json")))

    def forget(self) -> None:
        """Remove what this climb kept; the output folder too where nothing else is in it."""
        if self._key is not None and self._folder.exists():
            shutil.rmtree(self._folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                self._out.rmdir()

    def _held_key(self) -> str | None:
        try:
            return self._file("key").read_text(encoding="ascii")
        except (OSError, ValueError):
            return "" if self._folder.exists() else None

    def _file(self, name: str) -> Path:
        return self._folder / name


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
