"""DeploymentSpec to and from TOML and JSON; an unknown or wrong key is an error that names it."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from typing import Any

import tomli_w

from deployer.errors import InputError, NotSupported, SpecError
from deployer.paths import AnyPath, as_path
from deployer.spec import records
from deployer.spec.assumptions import Assumptions
from deployer.spec.deployment import DeploymentSpec, Slo
from deployer.spec.rollout import ROLLOUTS, AllAtOnce, Rollout
from deployer.spec.scaling import POLICIES, Fixed, ScalingPolicy
from deployer.spec.target import TARGETS, Target

_KEYS = ("name", "bundle", "target", "scaling", "rollout", "slo", "tags", "assumptions")


def load(path: AnyPath) -> DeploymentSpec:
    """Read deployment.toml (or .json). Raises InputError or SpecError naming file or key.

    A relative ``bundle`` is taken from the file's folder.
    """
    path = as_path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot read {str(path)!r}: {error}", hint="`deployer init` writes one"
        ) from error
    try:
        data = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is not {path.suffix[1:] or 'toml'}: {error}") from error
    spec = from_dict(data)
    return dataclasses.replace(spec, bundle=str(path.parent / spec.bundle))


def from_dict(data: Mapping[str, Any]) -> DeploymentSpec:
    """Build a DeploymentSpec from parsed TOML or JSON. Raises SpecError naming the key."""
    if not isinstance(data, Mapping):
        raise SpecError("deployment", "must be a table", code="key")
    records.refuse_unknown("", data, _KEYS)
    for key in ("name", "bundle", "target"):
        if key not in data:
            raise SpecError(key, "is missing", code="key")
    return DeploymentSpec(
        name=records.typed("name", data["name"], str),
        bundle=records.typed("bundle", data["bundle"], str),
        target=_target(data["target"]),
        scaling=_scaling(data.get("scaling")),
        rollout=_rollout(data.get("rollout")),
        slo=records.read(Slo, "slo", data.get("slo", {})),
        tags=records.texts("tags", data.get("tags", {})),
        assumptions=records.read(Assumptions, "assumptions", data.get("assumptions", {})),
    )


def to_dict(spec: DeploymentSpec) -> dict[str, Any]:
    """Return the plain form that ``from_dict`` reads back to an equal specification."""
    assumptions = records.plain(spec.assumptions)
    return {
        "name": spec.name,
        "bundle": spec.bundle,
        "target": kinded(spec.target),
        "scaling": kinded(spec.scaling),
        "rollout": kinded(spec.rollout),
        "slo": dict(spec.slo.items()),
        "tags": dict(spec.tags),
        **({"assumptions": assumptions} if assumptions else {}),
    }


def to_toml(spec: DeploymentSpec) -> str:
    """Return deployment.toml; what ``load`` reads back equals ``spec`` but for the bundle's folder."""
    return tomli_w.dumps(to_dict(spec))


def kinded(value: Target | ScalingPolicy | Rollout) -> dict[str, Any]:
    """Return a target, policy or rollout with its ``kind``, leaving out what is None or unsaid."""
    return {"kind": value.kind, **records.plain(value)}


def _target(data: Any) -> Target:
    target: Target = _by_kind(TARGETS, "target", data)
    return target


def _scaling(data: Any) -> ScalingPolicy:
    policy: ScalingPolicy = Fixed() if data is None else _by_kind(POLICIES, "scaling", data)
    return policy


def _rollout(data: Any) -> Rollout:
    rollout: Rollout = AllAtOnce() if data is None else _by_kind(ROLLOUTS, "rollout", data)
    return rollout


def _by_kind(kinds: Mapping[str, type], where: str, data: Any) -> Any:
    if not isinstance(data, Mapping):
        raise SpecError(where, f"must be a table, not {data!r}", code="key")
    kind = data.get("kind")
    if isinstance(kind, str) and kind in records.LATER_KINDS:
        words = f"{where}.kind: {records.LATER_KINDS[kind]} not there yet"
        raise NotSupported(words, hint=f"it is one of {', '.join(kinds)}")
    if not isinstance(kind, str) or kind not in kinds:
        raise SpecError(f"{where}.kind", f"{kind!r} is not one of {', '.join(kinds)}")
    return records.read(kinds[kind], where, {k: v for k, v in data.items() if k != "kind"})
