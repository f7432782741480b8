"""What may be a member of a bundle: its path, its mode, and how much there may be."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

from deployer.errors import InputError

PLAIN = "0644"
EXECUTABLE = "0755"
_LONGEST_PATH = 1000
_LONGEST_PART = 255


@dataclass(frozen=True)
class Limits:
    """The most that a bundle may expand to: all its members in bytes, and how many they are."""

    total_bytes: int = 16 * 2**30
    members: int = 10_000


LIMITS = Limits()


def normal_mode(mode: int) -> str:
    """Return ``0755`` for a file that its owner may execute, ``0644`` for any other."""
    return EXECUTABLE if mode & 0o100 else PLAIN


def refused(bundle: Path, member: str, problem: str, *, hint: str | None = None) -> InputError:
    """Return the one-line error that names a bundle's member."""
    return InputError(f"{bundle.name}: member {member!r} {problem}", hint=hint)


def path_problem(path: str) -> str | None:
    """Return why ``path`` may not be a member's, or None when it may.

    A member's path is relative, uses ``/``, and means the same file on every system.
    """
    parts = path.split("/")
    if not path.isprintable() or any("\ud800" <= letter <= "\udfff" for letter in path):
        return "holds a character that cannot be printed"
    if "\\" in path:
        return "holds a backslash"
    if path.startswith("/"):
        return "is an absolute path"
    if ".." in parts:
        return "leaves the bundle's folder"
    if "" in parts or "." in parts:
        return "is not a plain path: it has an empty part or a '.'"
    if (
        len(path.encode()) > _LONGEST_PATH
        or max(len(part.encode()) for part in parts) > _LONGEST_PART
    ):
        return f"is longer than {_LONGEST_PATH} bytes, or one of its parts than {_LONGEST_PART}"
    return None


class Paths:
    """The paths seen so far, to find two that cannot lie in one folder.

    Two clash when they are one file where letter case or Unicode form does not count, and when one would be
    both a file and a folder.
    """

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._folders: dict[str, str] = {}

    def add(self, path: str) -> str | None:
        """Add a path; return why it clashes with one seen before, or None."""
        key = _key(path)
        if key in self._files:
            return _same(path, self._files[key])
        if key in self._folders:
            return f"is a folder of member {self._folders[key]!r} too"
        for parent in _parents(key):
            if parent in self._files:
                return f"lies in a folder that is member {self._files[parent]!r} too"
            self._folders.setdefault(parent, path)
        self._files[key] = path
        return None


def _same(path: str, other: str) -> str:
    if path == other:
        return "is there twice"
    return f"is the same file as member {other!r} where upper and lower case do not differ"


def _key(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
