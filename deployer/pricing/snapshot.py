"""The embedded price book, its file format, and the way to save another one.

``snapshot.json`` groups prices that share service, region, unit, source and date. Its ``sha256`` is over
the canonical JSON (sorted keys, no spaces) of everything else, so an edit by hand is noticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from deployer.errors import InputError
from deployer.pricing.book import Gap, InstanceShape, Price, PriceBook, Sku, index
from deployer.units import parse_money

SCHEMA_VERSION = 1
_GROUP = ("service", "region", "unit", "source", "as_of")


def load(path: Path | None = None) -> PriceBook:
    """Return the embedded price book, or the one saved in ``path``.

    Raises InputError when the file cannot be read, has another version or was altered.
    """
    if path is None:
        return _embedded()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read prices {str(path)!r}: {error}") from error
    return loads(text, str(path))


@cache
def _embedded() -> PriceBook:
    data = resources.files("deployer.pricing").joinpath("snapshot.json")
    return loads(data.read_text(encoding="utf-8"), "snapshot.json")


def loads(text: str, where: str) -> PriceBook:
    """Build a PriceBook from the text of a price file; ``where`` names it in errors. Raises InputError."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InputError(f"{where}: not JSON: {error}") from error
    if not isinstance(data, dict) or data.get("schema_version") != SCHEMA_VERSION:
        found = data.get("schema_version") if isinstance(data, dict) else None
        raise InputError(f"{where}: schema_version is {found!r}, not {SCHEMA_VERSION}")
    digest = data.pop("sha256", None)
    if digest != _digest(data):
        raise InputError(
            f"{where}: the content does not match its sha256",
            hint="the file was altered after it was written: restore it",
        )
    try:
        return PriceBook(
            prices=index(_prices(data["prices"])),
            taken=data["taken"],
            digest=digest,
            gaps=tuple(Gap(**gap) for gap in data["gaps"]),
            instances={
                name: InstanceShape(*shape) for name, shape in data["instances"]["shapes"].items()
            },
            instances_source=data["instances"]["source"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{where}: malformed: {error!r}") from error


def dumps(book: PriceBook) -> str:
    """Return the text of a price file that ``loads`` reads back to an equal book."""
    data: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "taken": book.taken,
        "prices": _groups(book),
        "gaps": [vars(gap) for gap in book.gaps],
        "instances": {
            "source": book.instances_source,
            "shapes": {
                name: [shape.vcpu, shape.memory_gib, shape.accelerator]
                for name, shape in sorted(book.instances.items())
            },
        },
    }
    return json.dumps(data | {"sha256": _digest(data)}, indent=1) + "\n"


def with_prices(book: PriceBook, prices: Iterable[Price], taken: str) -> PriceBook:
    """Return a book in which ``prices`` replace those of the same keys; ``taken`` is today's ISO date.

    Raises UnknownPrice when two of the new prices claim one key.
    """
    merged = dict(book.prices) | index(prices)
    draft = replace(book, prices=merged, taken=taken, digest="")
    return loads(dumps(draft), "merged prices")


def _prices(groups: Iterable[Mapping[str, Any]]) -> Iterator[Price]:
    for group in groups:
        for item, usd in group["usd"].items():
            sku = Sku(group["service"], group["region"], item)
            yield Price(sku, group["unit"], parse_money(usd), group["source"], group["as_of"])


def _groups(book: PriceBook) -> list[dict[str, Any]]:
    groups: dict[tuple[str, ...], dict[str, str]] = {}
    for price in book:
        key = (price.sku.service, price.sku.region, price.unit, price.source, price.as_of)
        groups.setdefault(key, {})[price.sku.item] = f"{price.usd:f}"
    return [dict(zip(_GROUP, key, strict=True)) | {"usd": usd} for key, usd in groups.items()]


def _digest(data: Mapping[str, Any]) -> str:
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
