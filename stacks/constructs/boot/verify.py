"""Unpack a bundle on the instance, and refuse it unless every byte is what the digest says.

``python3 verify.py ARCHIVE DIGEST FOLDER``, on the machine's own Python (3.9 or newer), standard library only. The
digest is the sha256 of the manifest, which lists every other member with its size and sha256. Only listed, regular
files are written, each by name and never through a link.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tarfile

MANIFEST = "code/manifest.json"
BLOCK = 1 << 20


class Refused(Exception):
    """The bundle is not the one that was wanted."""


def read(archive: tarfile.TarFile, member: tarfile.TarInfo, limit: int) -> bytes:
    """Return a member's bytes. Raises Refused for one that is too long."""
    file = archive.extractfile(member)
    if file is None or member.size > limit:
        raise Refused(f"{member.name!r} is no regular file of at most {limit} bytes")
    return file.read()


def write(
    archive: tarfile.TarFile, member: tarfile.TarInfo, row: dict[str, object], folder: str
) -> None:
    """Write one member and compare it with its row of the manifest. Raises Refused."""
    name = member.name
    parts = name.split("/")
    if name.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise Refused(f"{name!r} leaves the folder")
    file = archive.extractfile(member)
    if file is None or member.size != row["size"]:
        raise Refused(f"{name!r} has {member.size} bytes, not {row['size']}")
    path = os.path.join(folder, *parts)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    digest = hashlib.sha256()
    with open(path, "xb") as sink:
        while block := file.read(BLOCK):
            digest.update(block)
            sink.write(block)
    if digest.hexdigest() != row["sha256"]:
        raise Refused(f"{name!r} is not the file of the manifest")
    os.chmod(path, int(str(row["mode"]), 8) & 0o755)


def unpack(source: str, wanted: str, folder: str) -> int:
    """Unpack and return how many members were verified. Raises Refused."""
    with tarfile.open(source, "r:gz") as archive:
        members = archive.getmembers()
        odd = [member.name for member in members if not (member.isreg() or member.isdir())]
        if odd:
            raise Refused(f"{odd[0]!r} is neither file nor folder")
        files = [member for member in members if member.isreg()]
        names = [member.name for member in files]
        if len(set(names)) != len(names) or MANIFEST not in names:
            raise Refused("a member is there twice, or there is no manifest")
        text = read(archive, archive.getmember(MANIFEST), 64 << 20)
        found = hashlib.sha256(text).hexdigest()
        if found != wanted:
            raise Refused(f"its digest is {found}, not {wanted}")
        listed = {str(row["path"]): row for row in json.loads(text)["members"]}
        if set(names) - {MANIFEST} != set(listed):
            raise Refused("its members are not those of the manifest")
        for member in files:
            if member.name != MANIFEST:
                write(archive, member, listed[member.name], folder)
        path = os.path.join(folder, MANIFEST)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as sink:
            sink.write(text)
    return len(listed)


def main() -> int:
    """Return the exit code: 0, or 1 with one line why."""
    try:
        count = unpack(*sys.argv[1:4])
    except (Refused, OSError, ValueError, KeyError, TypeError, tarfile.TarError, EOFError) as error:
        sys.stderr.write(f"bundle refused: {error}\n")
        return 1
    sys.stdout.write(f"bundle verified: {count} members\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
