"""Does a bundle hold exactly what its manifest lists?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deployer.bundle.manifest import read_manifest
from deployer.bundle.measure import Measured
from deployer.bundle.members import Limits, refused
from deployer.bundle.onnxfile import data_member
from deployer.errors import InputError
from inference_code.contract import MANIFEST_PATH, Manifest, Member


@dataclass(frozen=True)
class Found:
    """A member as it was read; ``mode`` is octal text."""

    mode: str
    content: Measured


def verified(
    bundle: Path, text: bytes | None, found: Mapping[str, Found], limits: Limits
) -> Manifest:
    """Return the manifest ``text`` of a bundle whose other members are ``found``.

    Raises InputError naming the first member that is altered, missing, not listed, or an ONNX model whose
    weights lie elsewhere.
    """
    if text is None:
        raise InputError(
            f"{bundle.name}: member {MANIFEST_PATH!r} is missing: this is no bundle",
            hint="make one with: deployer package MODEL --name NAME -o DIR",
        )
    manifest = read_manifest(bundle, text, limits)
    for member in manifest.members:
        if member.path not in found:
            raise refused(bundle, member.path, "is listed in the manifest and missing")
        problem = _difference(member, found[member.path])
        if problem is not None:
            raise refused(bundle, member.path, problem)
    listed = {member.path for member in manifest.members}
    for path in sorted(found.keys() - listed):
        raise refused(bundle, path, "is not listed in the manifest", hint=_hint(path))
    check_weights(bundle, {path: each.content for path, each in found.items()})
    return manifest


def check_weights(bundle: Path, members: Mapping[str, Measured]) -> None:
    """Raise InputError naming the ONNX model whose weights do not all lie in the bundle."""
    for path, content in sorted(members.items()):
        for location in content.onnx.data_files if content.onnx else ():
            member = data_member(path, location)
            if member is None:
                raise refused(bundle, path, f"keeps weights outside its folder, in {location!r}")
            if member not in members:
                raise refused(bundle, path, f"keeps weights in {location!r}, which is missing")


def _difference(member: Member, found: Found) -> str | None:
    if found.content.size != member.size:
        return f"is {found.content.size:,} bytes long; the manifest lists {member.size:,}"
    if found.content.sha256 != member.sha256:
        return "has other content than the manifest lists"
    if found.mode != member.mode:
        return f"has the mode {found.mode}; the manifest lists {member.mode}"
    return None


def _hint(path: str) -> str | None:
    if "__pycache__" in path.split("/"):
        return "Python wrote it: delete it, and run bundles with PYTHONDONTWRITEBYTECODE=1"
    return None
