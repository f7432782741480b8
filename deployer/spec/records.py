"""Frozen dataclasses to and from plain data; an unknown, missing or mistyped key is an error that names it.

Fields may be text, numbers, booleans, other dataclasses, tuples of either, tables of text, or None.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from deployer.errors import NotSupported, SpecError

_T = TypeVar("_T")

QUIET = {"quiet": True}
"""Metadata of a field that ``plain`` leaves out while it has its default."""

LATER = {
    "variants": "several production variants behind one endpoint are",
    "production_variants": "several production variants behind one endpoint are",
    "shadow": "a shadow test is",
    "shadow_variants": "a shadow test is",
    "shadow_production_variants": "a shadow test is",
    "inference_components": "inference components are",
    "instance_pools": "instance pools (several instance types in one fleet) are",
    "blue_green": "a second fleet that takes over (blue/green) is",
    "ab_test": "an A/B test is",
    "mirror": "mirrored traffic is",
    "waf": "a web application firewall is",
    "gpu": "fleets with graphics cards are",
    "predictive": "predictive scaling is",
}
"""Keys that a later version will have, refused by name until then."""

LATER_KINDS = {
    "blue-green": "a second fleet that takes over (blue/green) is",
    "ab-test": "an A/B test is",
    "mirror": "mirrored traffic is",
    "predictive": "predictive scaling is",
}
"""Kinds that a later version will have, refused by name until then."""


Readers = Mapping[type, Callable[[Any], Any]]
"""How to read the kinds that are not read field by field."""


def read(kind: type[_T], where: str, data: Any, *, readers: Readers = MappingProxyType({})) -> _T:
    """Build the dataclass ``kind`` from parsed TOML or JSON. Raises SpecError naming the key.

    Raises NotSupported for a key of LATER.
    """
    if not isinstance(data, Mapping):
        raise SpecError(where, f"must be a table, not {data!r}", code="key")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    prefix = f"{where}." if where else ""
    refuse_unknown(prefix, data, tuple(fields))
    hints = get_type_hints(kind)
    values = {
        key: readers[hints[key]](value)
        if hints[key] in readers
        else _value(f"{prefix}{key}", hints[key], value)
        for key, value in data.items()
    }
    for name, item in fields.items():
        required = item.default is item.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise SpecError(f"{prefix}{name}", "is missing", code="key")
    return kind(**values)


def refuse_unknown(prefix: str, data: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Raise SpecError for the first key that is not in ``known``, NotSupported for one of LATER."""
    for key in data:
        if key in known:
            continue
        if key in LATER:
            raise NotSupported(
                f"{prefix}{key}: {LATER[key]} not there yet", hint="leave the key out"
            )
        raise SpecError(
            f"{prefix}{key}", f"is not a key here; known: {', '.join(known)}", code="key"
        )


def plain(value: Any) -> Any:
    """Return a dataclass as tables, lists and scalars; None, and quiet fields at their default, left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: plain(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if not _is_silent(f, getattr(value, f.name))
        }
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def _is_silent(item: dataclasses.Field[Any], value: Any) -> bool:
    if value is None:
        return True
    if not item.metadata.get("quiet"):
        return False
    if item.default_factory is not dataclasses.MISSING:
        return bool(value == item.default_factory())
    return bool(value == item.default)


def _value(where: str, hint: Any, value: Any) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        kinds = [arg for arg in get_args(hint) if arg is not type(None)]
        return None if value is None else _value(where, _kind_of(value, kinds), value)
    if origin is tuple:
        rows = typed(where, value, list | tuple)
        return tuple(_value(f"{where}[{i}]", get_args(hint)[0], v) for i, v in enumerate(rows))
    if origin is not None and issubclass(origin, Mapping):
        return texts(where, value)
    if dataclasses.is_dataclass(hint):
        return read(hint, where, value)  # type: ignore[arg-type]
    if hint in (int, str, bool):
        return typed(where, value, hint)
    return float(typed(where, value, int | float))


def _kind_of(value: Any, kinds: Sequence[Any]) -> Any:
    """Return which kind of a union a value is of: the one whose required fields it has, else the first."""
    if len(kinds) > 1 and isinstance(value, Mapping):
        for kind in kinds:
            needed = {f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING}
            if needed <= value.keys():
                return kind
    return kinds[0]


def typed(where: str, value: Any, kind: Any) -> Any:
    """Return ``value`` when it is of ``kind``; a boolean is no number. Raises SpecError."""
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, kind):
        words = {int: "a whole number", str: "text", bool: "true or false", list | tuple: "a list"}
        raise SpecError(where, f"must be {words.get(kind, 'a number')}, not {value!r}", code="key")
    return value


def texts(where: str, data: Any) -> dict[str, str]:
    """Return a table whose values are text, sorted by key. Raises SpecError."""
    if not isinstance(data, Mapping):
        raise SpecError(where, f"must be a table, not {data!r}", code="key")
    return {key: typed(f"{where}.{key}", value, str) for key, value in sorted(data.items())}
