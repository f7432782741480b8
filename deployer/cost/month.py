"""MonthlyCost: what a plan says of cost: a month at the smallest and at the largest size, and by a trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from deployer.cost.bill import price_of
from deployer.cost.materials import Made, Usage, materials
from deployer.cost.use import HOURS_PER_MONTH, month, of_run
from deployer.errors import UnknownPrice
from deployer.pricing.book import PriceBook
from deployer.runs import Run
from deployer.spec.deployment import DeploymentSpec

LOAD = "a load of"
"""How the name of a trace begins that stands for a steady load."""


@dataclass(frozen=True)
class MonthLine:
    """One thing that is billed, in a month of 730 hours.

    ``least`` and ``most`` are its quantities at the smallest and the largest size, ``by_trace`` that of the trace
    that was given, scaled to a month; None where it is not known. ``usd`` is the price of one ``unit``; None comes
    with ``unknown``: why. ``traffic``: the quantity follows the requests.
    """

    item: str
    unit: str
    key: str
    least: Decimal | None
    most: Decimal | None
    by_trace: Decimal | None
    usd: Decimal | None
    source: str
    traffic: bool = False
    unknown: str = ""

    @property
    def usd_least(self) -> Decimal | None:
        """USD a month at the smallest size; None when it is not known."""
        return _times(self.least, self.usd)

    @property
    def usd_most(self) -> Decimal | None:
        """USD a month at the largest size; None when it is not known."""
        return _times(self.most, self.usd)

    @property
    def usd_by_trace(self) -> Decimal | None:
        """USD a month of the trace; None when it is not known."""
        return _times(self.by_trace, self.usd)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object; money and quantities are text, unknown is null with a reason."""
        numbers = {
            "least": self.least,
            "most": self.most,
            "by_trace": self.by_trace,
            "usd_per_unit": self.usd,
            "usd_least": self.usd_least,
            "usd_most": self.usd_most,
            "usd_by_trace": self.usd_by_trace,
        }
        texts = {key: None if value is None else f"{value:f}" for key, value in numbers.items()}
        head = {
            "item": self.item,
            "key": self.key,
            "unit": self.unit,
            "follows_traffic": self.traffic,
        }
        return {**head, **texts, "source": self.source, "unknown_reason": self.unknown or None}


@dataclass(frozen=True)
class MonthlyCost:
    """All lines. A sum is None while a line in it is unknown; what follows the traffic is in the trace's sum alone.

    ``successes`` are those of the traffic in a month; None without one. ``basis`` says which traffic it is.
    """

    lines: tuple[MonthLine, ...]
    successes: Decimal | None = None
    basis: str = ""

    @property
    def month_least(self) -> Decimal | None:
        """USD a month at the smallest size, without what follows the traffic."""
        return self._sum([line.usd_least for line in self._by_size()])

    @property
    def month_most(self) -> Decimal | None:
        """USD a month at the largest size, without what follows the traffic."""
        return self._sum([line.usd_most for line in self._by_size()])

    @property
    def month_by_trace(self) -> Decimal | None:
        """USD a month of the trace, all in; None without a trace."""
        if self.successes is None:
            return None
        return self._sum([line.usd_by_trace for line in self.lines])

    @property
    def per_thousand(self) -> Decimal | None:
        """USD per thousand successful requests of the trace."""
        total = self.month_by_trace
        return total * 1000 / self.successes if total is not None and self.successes else None

    @property
    def unknown(self) -> Mapping[str, str]:
        """The items that no sum can hold, each with why: a price or a quantity is not known."""
        missing = (line for line in self.lines if line.usd is None or not line.traffic)
        return {line.item: line.unknown for line in missing if line.unknown}

    @property
    def by_traffic(self) -> tuple[str, ...]:
        """The items that follow the traffic."""
        return tuple(line.item for line in self.lines if line.traffic)

    @staticmethod
    def _sum(values: list[Decimal | None]) -> Decimal | None:
        known = [value for value in values if value is not None]
        return sum(known, Decimal(0)) if len(known) == len(values) else None

    def _by_size(self) -> list[MonthLine]:
        return [line for line in self.lines if not line.traffic]

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        sums = {
            "month_least": self.month_least,
            "month_most": self.month_most,
            "month_by_trace": self.month_by_trace,
            "usd_per_thousand": self.per_thousand,
        }
        return {
            "lines": [line.to_json() for line in self.lines],
            **{key: None if value is None else f"{value:f}" for key, value in sums.items()},
            "unknown": dict(self.unknown),
            "by_traffic": list(self.by_traffic),
            "basis": self.basis,
        }


def predict(
    spec: DeploymentSpec,
    sizes: tuple[int, int],
    book: PriceBook,
    made: Made = Made(),  # noqa: B008
    run: Run | None = None,
) -> MonthlyCost:
    """Return the bill of a month with ``sizes`` (the least and the most units), and by the traffic of ``run``."""
    least, most = (_by_name(materials(spec, month(units), made)) for units in sizes)
    traced: dict[str, Usage] = {}
    successes = scale = None
    if run is not None:
        scale = Decimal(HOURS_PER_MONTH * 3600) / Decimal(repr(run.duration_s))
        traced = _by_name(materials(spec, of_run(run), made))
        successes = run.successes * scale
    names = list(dict.fromkeys((*most, *least, *traced)))
    found = tuple(_line(name, least, most, traced, scale, book) for name in names)
    return MonthlyCost(found, successes, _basis(run))


def _basis(run: Run | None) -> str:
    if run is None:
        return ""
    name = str(run.details.get("trace", {}).get("name") or "")
    return f"by {name}" if name.startswith(LOAD) else f"by trace {name!r}" if name else "by trace"


def _by_name(lines: tuple[Usage, ...]) -> dict[str, Usage]:
    return {line.item: line for line in lines}


def _line(
    name: str,
    least: Mapping[str, Usage],
    most: Mapping[str, Usage],
    traced: Mapping[str, Usage],
    scale: Decimal | None,
    book: PriceBook,
) -> MonthLine:
    any_one = traced.get(name) or most.get(name) or least[name]
    follows = any_one.traffic

    def quantity(lines: Mapping[str, Usage]) -> Decimal | None:
        # Lines of quantity 0 are left out of the materials.
        return lines[name].quantity if name in lines else None if follows else Decimal(0)

    by_trace = None
    if scale is not None:
        found = traced[name].quantity if name in traced else Decimal(0)
        by_trace = None if found is None else found * scale
    unknown = any_one.unknown
    price, source = None, ""
    try:
        paid = price_of(any_one, book)
        price, source = paid.usd, f"{paid.source}, {paid.as_of}"
    except UnknownPrice as error:
        unknown = error.message
    return MonthLine(
        name, any_one.unit, any_one.key, quantity(least), quantity(most), by_trace, price, source,
        follows, unknown,
    )  # fmt: skip


def _times(quantity: Decimal | None, usd: Decimal | None) -> Decimal | None:
    return None if quantity is None or usd is None else quantity * usd
