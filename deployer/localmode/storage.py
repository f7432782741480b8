"""Objects in a folder: ``ROOT/BUCKET/KEY``, so that a file put there by hand is an object too."""

from __future__ import annotations

import contextlib
import re
import secrets
from pathlib import Path
from urllib.parse import urlsplit

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_DEFAULT_TYPE = "binary/octet-stream"


class NoSuchObject(Exception):
    """There is no object of this name."""


class BadName(Exception):
    """A bucket or key that cannot be a folder and a file here."""


class Objects:
    """A few S3 buckets on disk; content types are remembered while this process runs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._types: dict[tuple[str, str], str] = {}

    def put(self, bucket: str, key: str, content: bytes, content_type: str = _DEFAULT_TYPE) -> None:
        """Write an object whole, in place of an older one."""
        path = self._path(bucket, key)
        draft = path.with_name(f".{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(content)
            draft.replace(path)
        except OSError as error:
            raise BadName(f"{bucket}/{key}: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
        self._types[bucket, key] = content_type

    def get(self, bucket: str, key: str) -> tuple[bytes, str]:
        """Return an object and its content type. Raises NoSuchObject."""
        path = self._path(bucket, key)
        try:
            return path.read_bytes(), self._types.get((bucket, key), _DEFAULT_TYPE)
        except OSError as error:
            raise NoSuchObject(f"s3://{bucket}/{key}") from error

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object; as in S3, one that is not there is removed already."""
        with contextlib.suppress(OSError):
            self._path(bucket, key).unlink()

    def check(self, bucket: str, key: str) -> None:
        """Raise BadName unless an object may have this name."""
        self._path(bucket, key)

    def _path(self, bucket: str, key: str) -> Path:
        parts = key.split("/")
        if not _BUCKET.fullmatch(bucket):
            raise BadName(f"{bucket!r} is no name of a bucket")
        if any(part in ("", ".", "..") or "\0" in part or part.startswith(".") for part in parts):
            raise BadName(f"the key {key!r} cannot be a file here")
        return self.root.joinpath(bucket, *parts)


def split(uri: str) -> tuple[str, str]:
    """Return bucket and key of an ``s3://BUCKET/KEY``. Raises BadName."""
    parts = urlsplit(uri)
    key = parts.path.removeprefix("/")
    if parts.scheme != "s3" or not parts.netloc or not key:
        raise BadName(f"{uri!r} is not s3://BUCKET/KEY")
    return parts.netloc, key
