"""A model that SageMaker trained, as files on this machine, with where it came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from deployer.errors import InputError
from deployer.progress import Say, silent

if TYPE_CHECKING:
    from deployer.aws.session import Aws
    from deployer.aws.training import Trained

LINEAGE_FILE = "lineage.json"
"""Beside the models that ``optimize`` writes: where they came from; ``package`` takes it into the manifest."""

_MODELS = ("*.onnx", "*.pt2", "*.pt", "*.pth")


@dataclass(frozen=True)
class TrainedModel:
    """The unpacked artifact, and its lineage: text by name, as a bundle's manifest holds it."""

    folder: Path
    lineage: Mapping[str, str]

    def member(self, name: str) -> Path:
        """Return a file or folder of the artifact. Raises InputError when there is none."""
        path = self.folder / name
        if ".." in Path(name).parts or Path(name).is_absolute() or not path.exists():
            held = sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*"))
            raise InputError(
                f"the artifact holds no {name!r}", hint=f"it holds {', '.join(held[:12])}"
            )
        return path

    def model(self) -> Path:
        """Return what `optimize` can read: the only model file, or the folder of a Hugging Face model.

        Raises InputError when there is none, or more than one.
        """
        for pattern in _MODELS:
            found = sorted(self.folder.glob(pattern))
            if len(found) == 1:
                return found[0]
            if found:
                names = ", ".join(path.name for path in found)
                raise InputError(f"the artifact holds several models: {names}", hint="name one")
        if (self.folder / "config.json").is_file() and any(self.folder.glob("*.safetensors")):
            return self.folder
        raise InputError(
            "the artifact holds no .onnx, .pt2, TorchScript or Hugging Face model",
            hint="name the file that is the model; `deployer package` takes any, with a handler",
        )


@contextmanager
def trained(name: str, *, say: Say = silent) -> Iterator[TrainedModel]:
    """Fetch the model of a training job (its name or ARN) or a model package (its ARN) while the block runs.

    The artifact is checked on its way: size, S3's checksums and ETag, and every member of its tar. Raises InputError
    for what is not there, not finished or not safe.
    """
    from deployer.aws import session, training

    region = name.split(":")[3] if name.startswith("arn:") and name.count(":") >= 5 else ""
    aws = session.connect((region, "the ARN") if region else None)
    found = training.find(aws, name)
    with TemporaryDirectory(prefix="deployer-trained-") as scratch:
        folder = Path(scratch) / "model"
        say(f"fetch {found.uri}")
        facts = fetch(aws, found, folder)
        say(f"{facts['artifact_bytes']} bytes, sha256 {facts['artifact_sha256'][:12]}")
        yield TrainedModel(folder, {**found.lineage, **facts})


def fetch(aws: Aws, found: Trained, folder: Path) -> dict[str, str]:
    """Write the files of an artifact to the new folder ``folder`` and return what came: bytes, sha256, ETag, version.

    An archive is kept beside the folder while it is unpacked. Raises InputError for what is not safe.
    """
    from deployer.aws.download import download
    from deployer.bundle.artifact import unpack_artifact
    from deployer.bundle.members import LIMITS

    if found.loose or found.uri.endswith("/"):
        return _fetch_loose(aws, found, folder)
    packed = folder.with_name(f"{folder.name}.artifact")
    came = download(aws, found.uri, packed, most=LIMITS.total_bytes, etag=found.etag)
    if found.uri.endswith((".tar.gz", ".tgz", ".tar")):
        unpack_artifact(packed, folder)
        packed.unlink()
    else:
        folder.mkdir()
        packed.rename(folder / found.uri.rpartition("/")[2])
    facts = {"artifact_bytes": str(came.size), "artifact_sha256": came.sha256}
    facts |= {"artifact_etag": came.etag} if came.etag else {}
    return facts | ({"artifact_version": came.version} if came.version else {})


def _fetch_loose(aws: Aws, found: Trained, folder: Path) -> dict[str, str]:
    """Fetch an artifact that is no archive; its digest is that of its files' paths and digests, sorted."""
    from deployer.aws.download import download, listed
    from deployer.bundle.members import LIMITS, Paths, path_problem

    folder.mkdir()
    seen, total = Paths(), 0
    rows: list[str] = []
    for path, size in listed(aws, found.uri):
        problem = path_problem(path) or seen.add(path)
        if problem is not None:
            raise InputError(f"{found.uri}: {path!r} {problem}")
        total += size
        if total > LIMITS.total_bytes or len(rows) >= LIMITS.members:
            raise InputError(
                f"{found.uri} holds more than {LIMITS.total_bytes:,} bytes or {LIMITS.members:,} files"
            )
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        came = download(aws, f"{found.uri.rstrip('/')}/{path}", target, most=size)
        rows.append(f"{came.sha256} {path}\n")
    if not rows:
        raise InputError(f"{found.uri} holds nothing")
    digest = hashlib.sha256("".join(rows).encode()).hexdigest()
    return {"artifact_bytes": str(total), "artifact_sha256": digest}


def write_lineage(lineage: Mapping[str, str], folder: Path) -> None:
    """Write where the models in ``folder`` came from, and by what they were judged; without either leave no note."""
    if not lineage:
        (folder / LINEAGE_FILE).unlink(missing_ok=True)
        return
    text = json.dumps({"schema_version": 1, "lineage": dict(sorted(lineage.items()))}, indent=1)
    (folder / LINEAGE_FILE).write_text(f"{text}\n", encoding="utf-8")


def lineage_beside(model: Path) -> dict[str, str]:
    """Return what ``optimize`` noted beside a model file; empty without a note. Raises InputError for a broken one."""
    path = model.parent / LINEAGE_FILE
    if model.is_dir() or not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["lineage"]
        return {str(key): str(value) for key, value in found.items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{str(path)!r} is no note of a lineage: {error!r}") from error
