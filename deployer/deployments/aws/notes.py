"""What came out of a deployment, and what this machine remembers of it.

The note (``STATE/NAME/sagemaker.json``) only spares typing a region, and the copy of ``resolved.json`` beside
it only spares naming that file to a batch job: AWS's tags are the record.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from deployer.deployments.state import Store, write_whole
from deployer.spec import resolved as documents
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.resolved import Resolved


@dataclass(frozen=True)
class SageMakerDeployment:
    """What runs now. ``warnings`` say what the deployment does not prove."""

    name: str
    kind: str
    region: str
    account: str
    endpoint: str
    config: str
    model: str
    bundle_digest: str
    seconds: float
    changed: int
    warnings: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """Where requests go; empty without an endpoint."""
        if not self.endpoint:
            return ""
        host = f"https://runtime.sagemaker.{self.region}.amazonaws.com"
        return f"{host}/endpoints/{self.endpoint}/invocations"

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {**asdict(self), "warnings": list(self.warnings), "url": self.url}


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
    write_whole(folder / "sagemaker.json", json.dumps(asdict(note), indent=1) + "\n")
    write_whole(folder / "resolved.json", json.dumps(resolved.to_json(), indent=1) + "\n")


def recall(name: str, store: Store) -> Note | None:
    """Return the note; None when there is none that can be read."""
    try:
        text = (store.folder(name) / "sagemaker.json").read_text(encoding="utf-8")
        data: Mapping[str, str] = json.loads(text)
        return Note(**data)
    except (OSError, ValueError, TypeError):
        return None


def last_resolved(name: str, store: Store) -> Resolved | None:
    """Return what was deployed last from this machine; None when that is not known here."""
    path = store.folder(name) / "resolved.json"
    return documents.load(path) if path.exists() else None


def forget(name: str, store: Store) -> None:
    """Remove the note, and the folder when nothing else is in it."""
    folder = store.folder(name)
    for file in ("sagemaker.json", "resolved.json"):
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
