"""Sku, Price, PriceBook: look up exactly one price, or raise."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatchcase
from types import MappingProxyType

from deployer.errors import InputError, UnknownPrice


@dataclass(frozen=True, order=True)
class Sku:
    """What a price is for: a service, a region and an item, such as ``ec2/us-east-1/c5.large``."""

    service: str
    region: str
    item: str

    def __str__(self) -> str:
        return f"{self.service}/{self.region}/{self.item}"


@dataclass(frozen=True)
class Price:
    """USD per ``unit``, with where the number was read and on what date.

    ``as_of`` is ISO, to the day or to the month where the source admits no more; the oldest it admits.
    """

    sku: Sku
    unit: str
    usd: Decimal
    source: str
    as_of: str

    def __post_init__(self) -> None:
        if not self.usd.is_finite() or self.usd <= 0:
            raise InputError(f"price of {self.sku}: {self.usd} USD is not a positive amount")


@dataclass(frozen=True)
class Gap:
    """Why some prices are absent; each field is a shell pattern."""

    service: str
    region: str
    item: str
    reason: str

    def covers(self, sku: Sku) -> bool:
        """Return whether the gap speaks of this key."""
        return (
            fnmatchcase(sku.service, self.service)
            and fnmatchcase(sku.region, self.region)
            and fnmatchcase(sku.item, self.item)
        )


@dataclass(frozen=True)
class InstanceShape:
    """What one instance of a type has; ``accelerator`` is empty on CPU types."""

    vcpu: int
    memory_gib: float
    accelerator: str = ""


@dataclass(frozen=True)
class PriceBook:
    """Prices by key, the reasons for known gaps, and the shape of instance types.

    ``taken`` is the ISO date on which the prices were gathered; ``digest`` is the sha256 of the content.
    """

    prices: Mapping[Sku, Price]
    taken: str
    digest: str
    gaps: Sequence[Gap] = ()
    instances: Mapping[str, InstanceShape] = field(default_factory=lambda: MappingProxyType({}))
    instances_source: str = ""

    def __len__(self) -> int:
        return len(self.prices)

    def __iter__(self) -> Iterator[Price]:
        return (self.prices[sku] for sku in sorted(self.prices))

    def lookup(self, service: str, region: str, item: str) -> Price:
        """Return the one price of a key.

        Raises UnknownPrice naming the key, the reason where it is known, and near misses.

        >>> from deployer.pricing import snapshot
        >>> snapshot.load().lookup("sagemaker-hosting", "us-east-1", "ml.c5.large").usd
        Decimal('0.102')
        """
        sku = Sku(service, region, item)
        price = self.prices.get(sku)
        if price is None:
            raise UnknownPrice(f"no price for {sku}{self._reason(sku)}", hint=self._hint(sku))
        return price

    def search(
        self, *, service: str | None = None, region: str | None = None, item: str | None = None
    ) -> tuple[Price, ...]:
        """Return the prices whose key fits every filter, sorted by key.

        A filter is a shell pattern (``ml.c5.*``) or a part of the word (``c5``). Raises UnknownPrice when
        nothing fits.
        """
        wanted = Gap(_pattern(service), _pattern(region), _pattern(item), "")
        found = tuple(price for price in self if wanted.covers(price.sku))
        if not found:
            key = f"{service or '*'}/{region or '*'}/{item or '*'}"
            raise UnknownPrice(f"no price fits {key}", hint=self._hint_search(service, item))
        return found

    def shape(self, instance_type: str) -> InstanceShape | None:
        """Return the shape of an instance type, with or without ``ml.``; None when it is not known."""
        return self.instances.get(instance_type.removeprefix("ml."))

    def _hint_search(self, service: str | None, item: str | None) -> str:
        reasons = [
            f"{gap.service}: {gap.reason}"
            for gap in self.gaps
            if item and gap.item != "*" and fnmatchcase(gap.service, _pattern(service))
            if fnmatchcase(item, gap.item) or fnmatchcase(f"ml.{item}", gap.item)
        ]
        if reasons:
            return "; ".join(reasons)
        known = {s.item for s in self.prices if fnmatchcase(s.service, _pattern(service))}
        near = difflib.get_close_matches(item or "", sorted(known), n=4)
        if near:
            return f"near: {', '.join(near)}"
        return f"services with prices: {', '.join(self._services())}"

    def _services(self) -> list[str]:
        return sorted({sku.service for sku in self.prices})

    def _reason(self, sku: Sku) -> str:
        reason = next((gap.reason for gap in self.gaps if gap.covers(sku)), "")
        return f": {reason}" if reason else ""

    def _hint(self, sku: Sku) -> str:
        if sku.service not in self._services():
            return f"services with prices: {', '.join(self._services())}"
        items = [s.item for s in self.prices if (s.service, s.region) == (sku.service, sku.region)]
        near = difflib.get_close_matches(sku.item, sorted(items), n=4)
        elsewhere = sorted(
            s.region for s in self.prices if (s.service, s.item) == (sku.service, sku.item)
        )
        parts = []
        if near:
            parts.append(f"near in {sku.region}: {', '.join(near)}")
        if elsewhere:
            parts.append(f"priced in {', '.join(elsewhere)}; no price is carried between regions")
        return "; ".join(parts) or f"list what there is: deployer prices --service {sku.service}"


def _pattern(word: str | None) -> str:
    if word is None:
        return "*"
    return word if set(word) & set("*?[") else f"*{word}*"


def index(prices: Iterable[Price]) -> dict[Sku, Price]:
    """Return prices by key. Raises UnknownPrice when two prices claim one key."""
    found: dict[Sku, Price] = {}
    for price in prices:
        other = found.setdefault(price.sku, price)
        if other is not price:
            raise UnknownPrice(
                f"two prices for {price.sku}: {other.usd} ({other.source}) and "
                f"{price.usd} ({price.source})",
                hint="remove one of them",
            )
    return found
