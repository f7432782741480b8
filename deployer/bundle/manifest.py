"""Read a manifest that nobody vouches for: every value checked before it is used."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from deployer.bundle.members import EXECUTABLE, PLAIN, Limits, Paths, path_problem
from deployer.errors import InputError, SpecError
from deployer.spec import checks
from inference_code.contract import (
    MANIFEST_PATH,
    Batching,
    ContractError,
    Manifest,
    Member,
    ServingConfig,
    TensorSpec,
)

LONGEST_MANIFEST = 16 * 2**20
WHOLE_FOLDER = "."
_SHA256 = re.compile("[0-9a-f]{64}")


def read_manifest(bundle: Path, text: bytes, limits: Limits) -> Manifest:
    """Return the manifest that ``text`` is. Raises InputError naming the first value that is wrong."""
    try:
        manifest = Manifest.from_json(text)
    except (ContractError, RecursionError) as error:
        raise InputError(f"{bundle.name}: {error}") from error
    for problem in _problems(manifest, limits):
        raise InputError(f"{bundle.name}: {MANIFEST_PATH}: {problem}")
    if manifest.to_json().encode() != text:
        raise InputError(f"{bundle.name}: {MANIFEST_PATH} is not in its canonical form")
    return manifest


def check_manifest(manifest: Manifest, limits: Limits) -> None:
    """Raise InputError unless a bundle may have this manifest."""
    for problem in _problems(manifest, limits):
        raise InputError(problem)


def _problems(manifest: Manifest, limits: Limits) -> Iterator[str]:
    for key in ("name", "model", "precision"):
        if not isinstance(getattr(manifest, key), str):
            yield f"{key} must be text, not {getattr(manifest, key)!r}"
    yield from _name_problems(manifest.name)
    yield from _lineage_problems(manifest.lineage)
    yield from _serving_problems(manifest.serving)
    yield from _batching_problems(manifest.batching)
    for spec in (*manifest.inputs, *manifest.outputs):
        if not _is_tensor(spec):
            yield f"{spec!r} is not a name, a dtype and a shape"
    for member in manifest.members:
        yield from _member_problems(member)
    yield from _sum_problems(manifest, limits)


def _name_problems(name: str) -> Iterator[str]:
    try:
        checks.name("name", name)
    except SpecError as error:
        yield str(error)


def _lineage_problems(lineage: object) -> Iterator[str]:
    entries = lineage.items() if isinstance(lineage, dict) else [(None, lineage)]
    for key, value in entries:
        if not isinstance(key, str) or not isinstance(value, str):
            yield f"lineage must be text by name, not {key!r}: {value!r}"


def _serving_problems(serving: ServingConfig) -> Iterator[str]:
    for field in fields(ServingConfig):
        value = getattr(serving, field.name)
        whole = field.type == "int"
        if field.type == "bool":
            if not isinstance(value, bool):
                yield f"serving.{field.name} must be true or false, not {value!r}"
        elif type(value) is not int and (whole or type(value) is not float):
            yield f"serving.{field.name} must be a {'whole ' * whole}number, not {value!r}"
        elif not math.isfinite(value):
            yield f"serving.{field.name} must be finite, not {value!r}"


def _batching_problems(batching: Batching | None) -> Iterator[str]:
    if batching is None:
        return
    for key in ("model_sha256", "runtime", "reason"):
        if not isinstance(getattr(batching, key), str):
            yield f"batching.{key} must be text, not {getattr(batching, key)!r}"
    if not _SHA256.fullmatch(str(batching.model_sha256)):
        yield f"batching.model_sha256 is {batching.model_sha256!r}"


def _is_tensor(spec: TensorSpec) -> bool:
    sizes = [size for size in spec.shape if size is not None]
    texts = isinstance(spec.name, str) and isinstance(spec.dtype, str)
    return texts and all(type(size) is int and size >= 0 for size in sizes)


def _member_problems(member: Member) -> Iterator[str]:
    if not isinstance(member.path, str):
        yield f"a member's path must be text, not {member.path!r}"
        return
    problem = path_problem(member.path)
    if problem is not None:
        yield f"member {member.path!r} {problem}"
    if member.path == MANIFEST_PATH:
        yield f"member {member.path!r} lists itself"
    if member.mode not in (PLAIN, EXECUTABLE):
        yield f"member {member.path!r} has the mode {member.mode!r}, not {PLAIN} or {EXECUTABLE}"
    if type(member.size) is not int or member.size < 0:
        yield f"member {member.path!r} has the size {member.size!r}"
    if not isinstance(member.sha256, str) or not _SHA256.fullmatch(member.sha256):
        yield f"member {member.path!r} has the sha256 {member.sha256!r}"


def _sum_problems(manifest: Manifest, limits: Limits) -> Iterator[str]:
    """Problems of all members together; each alone is right by now."""
    paths = sorted(member.path for member in manifest.members)
    seen = Paths()
    for path in paths:
        problem = seen.add(path)
        if problem is not None:
            yield f"member {path!r} {problem}"
    if len(paths) >= limits.members:
        yield f"lists {len(paths):,} members: the bound is {limits.members:,} with the manifest"
    total = sum(member.size for member in manifest.members)
    if total > limits.total_bytes:
        yield f"lists {total:,} bytes: the bound is {limits.total_bytes:,}"
    if manifest.model != WHOLE_FOLDER and manifest.model not in paths:
        yield f"its model {manifest.model!r} is no member"
