"""The JSON Schema (draft 2020-12) of deployment.toml, generated from the dataclasses: pure.

    python -m deployer.spec.schema > deployer/spec/deployment.schema.json

Editors read it to complete keys and to mark wrong ones. It knows keys, types, defaults and words; what lies between
which bounds and what goes with what is code, so ``deployer validate`` has the last word. TOML has no null, so nor has
the schema.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from deployer.spec import checks, fleet, hosting, records, scaling, serde, target
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.rollout import ROLLOUTS

FILE = "deployment.schema.json"
"""Its name: in this package, and beside the deployment.toml that ``deployer init`` writes."""

LINE = f"#:schema ./{FILE}"
"""How a TOML file names its schema to editors: the convention of Taplo and Even Better TOML."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"
WORDS: Mapping[tuple[type, str], tuple[str | int, ...]] = {
    (target.SageMakerRealtime, "routing"): hosting.ROUTINGS,
    (hosting.InstanceHosting, "model_data"): hosting.MODEL_DATA,
    (hosting.Metrics, "period_s"): hosting.SCRAPE_PERIODS_S,
    (target.SageMakerServerless, "memory_mb"): target.SERVERLESS_MEMORY_MB,
    (target.SageMakerBatch, "strategy"): target.STRATEGIES,
    (target.SageMakerBatch, "split"): target.SPLITS,
    (target.SageMakerBatch, "assemble"): target.ASSEMBLIES,
    (target.Ec2Fleet, "log_days"): target.LOG_DAYS,
    (fleet.FleetNetwork, "egress"): fleet.EGRESS,
    (fleet.Listener, "protocol"): (fleet.HTTPS, fleet.HTTP),
    (fleet.WarmPool, "state"): fleet.POOL_STATES,
    (scaling.CustomMetric, "statistic"): scaling.STATISTICS,
    (scaling.TargetTracking, "metric"): scaling.METRICS,
    (scaling.Step, "metric"): scaling.METRICS,
    **{
        (kind, "region"): checks.REGIONS
        for kind in target.TARGETS.values()
        if kind is not target.Local
    },
}
"""Keys that take one of some words, by the class that has the key: the very constants that the checks read."""

_SCALARS = {int: "integer", float: "number", bool: "boolean", str: "string"}
_ABOUT = (
    "What to run, where, how it scales, and for what objective. Bounds of numbers and what goes with what "
    "are not in this schema: `deployer validate` checks them."
)


def schema() -> dict[str, Any]:
    """Return the schema as a JSON document."""
    kinds = [*target.TARGETS.values(), *scaling.POLICIES.values(), *ROLLOUTS.values()]
    about = {"$schema": DIALECT, "title": "deployment.toml"}
    tables = {kind.__name__: _table(kind) for kind in kinds}
    return about | _table(DeploymentSpec) | {"description": _ABOUT, "$defs": tables}


def text() -> str:
    """Return the schema as the text of its file."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def shipped() -> str:
    """Return the text of the file in this package, which is ``text()`` of this version."""
    return Path(__file__).with_name(FILE).read_text(encoding="utf-8")


def _table(kind: type) -> dict[str, Any]:
    """Return the schema of a dataclass; ``kind`` names it where it is one of several."""
    hints = get_type_hints(kind)
    fields = dataclasses.fields(kind)
    properties = {item.name: _key(kind, item, hints[item.name]) for item in fields}
    required = [item.name for item in fields if _default(item) is dataclasses.MISSING]
    if name := getattr(kind, "kind", ""):
        properties = {"kind": {"const": name, "description": _first(kind)}, **properties}
        required = ["kind", *required]
    return {
        "description": _first(kind),
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _key(kind: type, item: dataclasses.Field[Any], hint: Any) -> dict[str, Any]:
    """Return the schema of one key: what it is, its words, its default and what is said of it."""
    owner = _owner(kind, item.name)
    found = _value(hint)
    if (owner, item.name) in WORDS:
        found["enum"] = list(WORDS[owner, item.name])
    default = _default(item)
    if default is not dataclasses.MISSING and default is not None:
        has_kind = getattr(default, "kind", None) is not None
        found["default"] = serde.kinded(default) if has_kind else records.plain(default)
    said = _said(kind, item.name) or found.get("description") or _first(owner)
    return {"description": said, **{k: v for k, v in found.items() if k != "description"}}


def _value(hint: Any) -> dict[str, Any]:
    """Return the schema of a type, as ``records.read`` reads it."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        inner = [arg for arg in get_args(hint) if arg is not type(None)]
        return _value(inner[0]) if len(inner) == 1 else _by_kind(inner)
    if origin is tuple:
        return {"type": "array", "items": _value(get_args(hint)[0])}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": {"type": "string"}}
    return {"type": _SCALARS[hint]} if hint in _SCALARS else _table(hint)


def _by_kind(kinds: list[Any]) -> dict[str, Any]:
    """Return the schema of a table that its ``kind`` tells apart."""
    words = [kind.kind for kind in kinds]
    tables = [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds]
    ifs = [{"properties": {"kind": {"const": word}}, "required": ["kind"]} for word in words]
    return {
        "type": "object",
        "properties": {"kind": {"enum": words}},
        "required": ["kind"],
        "allOf": [{"if": i, "then": then} for i, then in zip(ifs, tables, strict=True)],
        # Holds always: Taplo completes keys from it, and knows no if. A oneOf would say of a wrong key only
        # that no alternative fits.
        "anyOf": [{}, *tables],
    }


def _default(item: dataclasses.Field[Any]) -> Any:
    """Return what a key is when it is left out; MISSING for one that must be there."""
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory()
    return item.default


def _owner(kind: type, key: str) -> type:
    """Return the class that declares a key: ``kind`` or one that it inherits from."""
    return next(base for base in kind.__mro__ if key in inspect.get_annotations(base))


def _said(kind: type, key: str) -> str:
    """Return the sentences that name a key, of the first docstring that does; empty without one."""
    for base in (_owner(kind, key), *kind.__mro__[:-1]):
        said = [row for row in _sentences(base) if f"``{key}``" in row]
        if said:
            return _plain(" ".join(said))
    return ""


def _sentences(kind: type) -> Iterator[str]:
    """Yield the sentences of a docstring, and each item of a list whole."""
    for paragraph in re.split(r"\n\s*\n|\n\s*(?=- )", kind.__doc__ or ""):
        words = " ".join(paragraph.split())
        yield from [words[2:]] if words.startswith("- ") else re.split(r"(?<=\.) ", words)


def _first(kind: type) -> str:
    """Return the first sentence of a docstring."""
    return _plain(next(_sentences(kind)))


def _plain(words: str) -> str:
    return words.replace("``", "`")


if __name__ == "__main__":
    sys.stdout.write(text())
