"""Bundle: a sealed artifact that has been verified."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from deployer.bundle.archive import verify_archive
from deployer.bundle.disk import is_folder
from deployer.bundle.folder import verify_folder
from deployer.bundle.members import LIMITS, Limits
from deployer.errors import InputError
from inference_code.contract import Manifest

SHORT_DIGEST = 12
_DIGEST = re.compile("[0-9a-f]{12,64}")
_NAMED = re.compile(r".*-([0-9a-f]{12})\.tar\.gz")


@dataclass(frozen=True)
class Bundle:
    """A bundle that verified: ``path`` is its archive, or the folder it was unpacked to."""

    path: Path
    manifest: Manifest

    @property
    def digest(self) -> str:
        """The bundle's identity, in hex: the same for the archive and the folder."""
        return self.manifest.digest


def archive_name(manifest: Manifest) -> str:
    """Return the file name of a bundle's archive: ``NAME-<first 12 of its digest>.tar.gz``."""
    return f"{manifest.name}-{manifest.digest[:SHORT_DIGEST]}.tar.gz"


def open_bundle(path: Path, *, digest: str | None = None, limits: Limits = LIMITS) -> Bundle:
    """Open the bundle at ``path``, an archive or an unpacked folder, and verify all of it.

    With ``digest`` (hex, whole or its beginning) only that bundle will do: a digest inside the file tells
    damage from the whole, not a friend from a stranger. Raises InputError naming what is wrong.
    """
    if digest is not None and not _DIGEST.fullmatch(digest):
        raise InputError(f"{digest!r} is no bundle's digest: 12 to 64 hex digits")
    manifest = verify_folder(path, limits) if is_folder(path) else verify_archive(path, limits)
    named = _NAMED.fullmatch(path.name)
    if named and not manifest.digest.startswith(named[1]):
        raise InputError(
            f"{path.name}: holds the bundle {manifest.digest[:SHORT_DIGEST]}, not the one it is named for",
            hint=f"its own name is {archive_name(manifest)!r}",
        )
    if digest is not None and not manifest.digest.startswith(digest):
        raise InputError(f"{path.name}: holds the bundle {manifest.digest}, not {digest}")
    return Bundle(path, manifest)
