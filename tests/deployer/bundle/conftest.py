"""Small bundles, whole and hostile, made without onnx."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pytest

from deployer.bundle.archive import pack
from inference_code.contract import MANIFEST_PATH, Manifest, Member

HANDLER = "def model_fn(folder): return None\ndef predict_fn(data, model): return data\n"
Entry = tuple[tarfile.TarInfo, bytes]


@dataclass(frozen=True)
class InMemory:
    """The source of a member whose content is here."""

    data: bytes

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)


class Forge:
    """Makes bundles from members given as path and content, and archives that no builder would make."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, bytes] = {
            "code/inference.py": b"def predict_fn(data, model): return data\n",
            "code/requirements.txt": b"numpy\n",
            "model.bin": b"weights" * 20,
        }

    def manifest(self, files: Mapping[str, bytes] | None = None) -> Manifest:
        """List ``files``."""
        members = [
            Member(path, "0644", len(data), hashlib.sha256(data).hexdigest())
            for path, data in sorted((self.files if files is None else files).items())
        ]
        return Manifest(name="tiny", model=".", precision="fp32", members=tuple(members))

    def sealed(self, files: Mapping[str, bytes] | None = None, name: str = "tiny.tar.gz") -> Path:
        """Write a bundle of ``files`` as the builder does."""
        files = self.files if files is None else files
        with open(self.folder / name, "w+b") as file:
            pack(file, self.manifest(files), self.sources(files))
        return self.folder / name

    def sources(self, files: Mapping[str, bytes]) -> dict[str, InMemory]:
        """Return what ``pack`` reads the members from."""
        return {path: InMemory(data) for path, data in files.items()}

    def entries(self, files: Mapping[str, bytes] | None = None) -> list[Entry]:
        """Return what a tar of a bundle of ``files`` holds, to be tampered with."""
        files = self.files if files is None else files
        whole = {**files, MANIFEST_PATH: self.manifest(files).to_json().encode()}
        return [self.entry(path, data) for path, data in sorted(whole.items())]

    def entry(self, path: str, data: bytes = b"", **fields: object) -> Entry:
        """Return one member of a tar; ``fields`` are set on its header."""
        info = tarfile.TarInfo(path)
        info.size = len(data)
        for key, value in fields.items():
            setattr(info, key, value)
        return info, data

    def tar(self, entries: Iterable[Entry], name: str = "hostile.tar.gz") -> Path:
        """Write an archive as Python's tarfile does."""
        with tarfile.open(self.folder / name, "w:gz") as archive:
            for info, data in entries:
                archive.addfile(info, io.BytesIO(data))
        return self.folder / name

    def folder_of(self, files: Mapping[str, bytes] | None = None, name: str = "unpacked") -> Path:
        """Write a bundle of ``files`` as a folder."""
        files = self.files if files is None else files
        whole = {**files, MANIFEST_PATH: self.manifest(files).to_json().encode()}
        for path, data in whole.items():
            target = self.folder / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            target.chmod(0o644)
        return self.folder / name


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    return Forge(tmp_path)


class OnnxForge:
    """Encodes small ONNX files by hand: enough of the format to say where weights lie."""

    def field(self, number: int, value: int | str | bytes) -> bytes:
        """Encode one field."""
        if isinstance(value, int):
            return self.varint(number << 3) + self.varint(value)
        data = value.encode() if isinstance(value, str) else value
        return self.varint(number << 3 | 2) + self.varint(len(data)) + data

    def varint(self, value: int) -> bytes:
        """Encode one integer."""
        out = b""
        while value > 0x7F:
            out += bytes([value & 0x7F | 0x80])
            value >>= 7
        return out + bytes([value])

    def value(self, name: str, elem_type: int, shape: Sequence[int | str]) -> bytes:
        """Encode an input or output; text in ``shape`` is a free dimension."""
        dims = [self.field(1, self.field(1 if isinstance(d, int) else 2, d)) for d in shape]
        tensor = self.field(1, elem_type) + self.field(2, b"".join(dims))
        return self.field(1, name) + self.field(2, self.field(1, tensor))

    def tensor(self, name: str, location: str | None = None) -> bytes:
        """Encode a weight, in the file or at ``location``."""
        if location is None:
            return self.field(8, name) + self.field(9, b"\0" * 16)
        place = self.field(1, "location") + self.field(2, location)
        return self.field(8, name) + self.field(13, place)

    def graph(self, *locations: str) -> bytes:
        """Encode a graph with weights in its own file and at ``locations``."""
        weights = [self.tensor(f"w{index}", place) for index, place in enumerate(locations)]
        parts = [self.field(5, weight) for weight in (self.tensor("w"), *weights)]
        parts.append(self.field(11, self.value("x", 1, ["n", 4])))
        parts.append(self.field(12, self.value("y", 1, ["n", 2])))
        return self.field(2, "g") + b"".join(parts)

    def model(self, *locations: str) -> bytes:
        """Encode a model with weights in its own file and at ``locations``."""
        return self.field(1, 10) + self.field(7, self.graph(*locations))


@pytest.fixture(scope="session")
def onnx_forge() -> OnnxForge:
    return OnnxForge()


@pytest.fixture
def model(tmp_path: Path, onnx_forge: OnnxForge) -> Path:
    path = tmp_path / "in" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(onnx_forge.model())
    return path


@pytest.fixture
def handler(tmp_path: Path) -> Path:
    path = tmp_path / "my_handler.py"
    path.write_text(HANDLER)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"
