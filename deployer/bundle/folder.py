"""A bundle as the folder that its archive unpacks to."""

from __future__ import annotations

from pathlib import Path

from deployer.bundle.disk import DiskFile, files_in, reading
from deployer.bundle.manifest import LONGEST_MANIFEST
from deployer.bundle.measure import measure
from deployer.bundle.members import Limits, refused
from deployer.bundle.verify import Found, verified
from inference_code.contract import MANIFEST_PATH, Manifest


def verify_folder(path: Path, limits: Limits) -> Manifest:
    """Return the manifest of the bundle in the folder ``path``, verified whole.

    Raises InputError naming the first thing that is wrong.
    """
    files = files_in(path)
    _check_limits(path, files, limits)
    text: bytes | None = None
    found: dict[str, Found] = {}
    for file in files:
        with file.open() as stream, reading(str(file)):
            if file.name == MANIFEST_PATH:
                text = stream.read(LONGEST_MANIFEST)
            else:
                found[file.name] = Found(file.mode, measure(stream, name=file.name))
    return verified(path, text, found, limits)


def _check_limits(path: Path, files: list[DiskFile], limits: Limits) -> None:
    total = 0
    for count, file in enumerate(files, start=1):
        total += file.size
        if total > limits.total_bytes:
            raise refused(path, file.name, f"is past the bound of {limits.total_bytes:,} bytes")
        if count > limits.members:
            raise refused(path, file.name, f"is past the bound of {limits.members:,} members")
