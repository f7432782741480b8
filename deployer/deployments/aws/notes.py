"""What this machine remembers of a deployment in AWS.

The note (``STATE/NAME/aws.json``) only spares typing a region, and the copy of ``resolved.json`` beside
it only spares naming that file to a batch job: AWS's tags are the record.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from deployer.deployments.state import Store, write_whole
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.resolved import Resolved

FILE = "aws.json"
FILE_0_1 = "sagemaker.json"
"""What version 0.1 called it, for fleets too."""


@dataclass(frozen=True)
class Note:
    """Where a deployment was last seen from here."""

    kind: str
    account: str
    region: str
    bucket: str


def remember(resolved: Resolved | ResolvedFleet, store: Store) -> None:
    """Note where a deployment is, before anything of it is made."""
    place = resolved.place
    note = Note(resolved.spec.target.kind, place.account, place.region, resolved.artifact.bucket)
    folder = store.folder(resolved.spec.name)
    (folder / FILE_0_1).unlink(missing_ok=True)
    write_whole(folder / FILE, json.dumps(asdict(note), indent=1) + "\n")
    write_whole(folder / "resolved.json", json.dumps(resolved.to_json(), indent=1) + "\n")


def recall(name: str, store: Store) -> Note | None:
    """Return the note; None when there is none that can be read."""
    folder = store.folder(name)
    for file in (FILE, FILE_0_1):
        try:
            data: Mapping[str, str] = json.loads((folder / file).read_text(encoding="utf-8"))
            return Note(**data)
        except (OSError, ValueError, TypeError):
            continue
    return None


def resolved_path(name: str, store: Store) -> Path | None:
    """Return where the document lies that was deployed last from this machine; None when that is not known here."""
    path = store.folder(name) / "resolved.json"
    return path if path.exists() else None


def forget(name: str, store: Store) -> None:
    """Remove the note, and the folder when nothing else is in it."""
    folder = store.folder(name)
    for file in (FILE, FILE_0_1, "resolved.json"):
        (folder / file).unlink(missing_ok=True)
    try:
        folder.rmdir()
    except OSError:
        return  # not there, or it holds something else


def removed(name: str, region: str, remove: Callable[[str], tuple[str, ...]]) -> tuple[str, ...]:
    """Return what ``remove`` removed, given the noted bucket, and forget the note.

    A note of another region is neither used (the bucket is empty text then) nor forgotten.
    """
    store = Store()
    note = recall(name, store)
    with store.lock(name):
        if note is None or note.region != region:
            return remove("")
        found = remove(note.bucket)
        forget(name, store)
    return found
