"""A bundle as one file: written the same everywhere, verified as a whole whenever it is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from deployer.bundle.disk import open_file
from deployer.bundle.manifest import LONGEST_MANIFEST
from deployer.bundle.measure import Sink, measure
from deployer.bundle.members import EXECUTABLE, LIMITS, PLAIN, Limits, Paths, refused
from deployer.bundle.sealed import Inflater, SealedWriter, check_seal
from deployer.bundle.staging import new_folder
from deployer.bundle.tarball import END, Header, header_bytes, headers, inflated_limit, padding
from deployer.bundle.verify import Found, verified
from deployer.errors import InputError
from inference_code.contract import MANIFEST_PATH, Manifest, Member

OpenMember = Callable[[Header], AbstractContextManager[Sink | None]]


class Source(Protocol):
    """Where a member's content comes from; its text is a name for messages."""

    def open(self) -> BinaryIO:
        """Open for reading."""


def pack(file: BinaryIO, manifest: Manifest, sources: Mapping[str, Source]) -> None:
    """Write the archive of ``manifest`` into an empty file.

    The bytes depend on the manifest alone, and on the zlib that compresses them. Raises InputError when a
    source no longer has the content that the manifest lists.
    """
    out = SealedWriter(file)
    text = manifest.to_json().encode()
    members: dict[str, Member | None] = {member.path: member for member in manifest.members}
    members[MANIFEST_PATH] = None
    for path, member in sorted(members.items()):
        if member is None:
            out.write(header_bytes(Header(path, PLAIN, len(text))) + text + padding(len(text)))
        else:
            _pack_member(out, member, sources[path])
    out.write(END)
    out.close()


def _pack_member(out: SealedWriter, member: Member, source: Source) -> None:
    out.write(header_bytes(Header(member.path, member.mode, member.size)))
    with source.open() as file:
        measured = measure(file, size=member.size, sink=out.write)
        if (measured.size, measured.sha256) != (member.size, member.sha256) or file.read(1):
            raise InputError(f"{str(source)!r} changed while it was packed", hint="try again")
    out.write(padding(member.size))


def verify_archive(path: Path, limits: Limits) -> Manifest:
    """Return the manifest of the bundle in the file ``path``, verified whole.

    Raises InputError naming the first thing that is wrong.
    """
    return _read(path, limits, _discard)


def unpack(path: Path, into: Path, limits: Limits = LIMITS) -> Manifest:
    """Unpack the bundle in the file ``path`` to the folder ``into`` and return its manifest.

    The folder appears when all of the bundle has been verified: not before, and not in part. Raises
    InputError when the bundle is refused or ``into`` holds something, EnvironmentProblem when it cannot be
    written.
    """
    with new_folder(into) as draft:
        return _read(path, limits, lambda header: _new_member(draft, header))


def _read(path: Path, limits: Limits, open_member: OpenMember) -> Manifest:
    text: bytes | None = None
    found: dict[str, Found] = {}
    seen = Paths()
    with open_file(path) as file:
        check_seal(path, file)
        stream = Inflater(path, file, inflated_limit(limits))
        for header in headers(path, stream, limits):
            problem = seen.add(header.path)
            if problem is not None:
                raise refused(path, header.path, problem)
            with open_member(header) as sink:
                if header.path == MANIFEST_PATH:
                    text = _read_manifest(path, stream, header, sink)
                else:
                    found[header.path] = _read_member(path, stream, header, sink)
    return verified(path, text, found, limits)


def _read_member(path: Path, stream: Inflater, header: Header, sink: Sink | None) -> Found:
    content = measure(stream, name=header.path, size=header.size, sink=sink)
    if content.size != header.size:
        raise refused(path, header.path, "ends too early")
    return Found(header.mode, content)


def _read_manifest(path: Path, stream: Inflater, header: Header, sink: Sink | None) -> bytes:
    if header.size > LONGEST_MANIFEST or header.mode != PLAIN:
        raise refused(
            path,
            header.path,
            f"has {header.size:,} bytes and mode {header.mode}: a manifest has mode {PLAIN} and at most "
            f"{LONGEST_MANIFEST:,} bytes",
        )
    text = stream.read(header.size)
    if len(text) != header.size:
        raise refused(path, header.path, "ends too early")
    if sink is not None:
        sink(text)
    return text


@contextmanager
def _discard(header: Header) -> Iterator[Sink | None]:
    yield None


@contextmanager
def _new_member(folder: Path, header: Header) -> Iterator[Sink | None]:
    path = folder / header.path
    for parent in reversed(path.relative_to(folder).parents[:-1]):
        (folder / parent).mkdir(exist_ok=True)
        (folder / parent).chmod(0o755)  # whatever the umask
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY, 0o600)
    with open(handle, "wb") as file:
        yield file.write
        os.fchmod(handle, 0o755 if header.mode == EXECUTABLE else 0o644)
