"""Usage x PriceBook = Bill: a line for each price, each with its source and date."""

from __future__ import annotations

from collections.abc import Sequence

from deployer.cost.report import Bill, LineItem
from deployer.cost.usage import Usage, usage
from deployer.errors import UnknownPrice
from deployer.pricing.book import PriceBook
from deployer.runs import Run
from deployer.spec.target import Target


def bill(run: Run, target: Target, book: PriceBook) -> Bill:
    """Return what a run on a target costs.

    Raises UnknownPrice when any line lacks a price: a bill is complete or there is none.
    """
    return Bill(price_lines(usage(run, target), book), run.successes)


def price_lines(lines: Sequence[Usage], book: PriceBook) -> tuple[LineItem, ...]:
    """Return each usage line with its price. Raises UnknownPrice for a missing price or another unit."""
    return tuple(_line(line, book) for line in lines)


def _line(line: Usage, book: PriceBook) -> LineItem:
    price = book.lookup(line.sku.service, line.sku.region, line.sku.item)
    if price.unit != line.unit:
        raise UnknownPrice(
            f"the price of {line.sku} is per {price.unit!r}, the usage is in {line.unit!r}",
            hint="the price book was made for another version; use the embedded one",
        )
    return LineItem(
        item=line.item,
        quantity=line.quantity,
        unit=line.unit,
        usd_per_unit=price.usd,
        usd=line.quantity * price.usd,
        source=price.source,
        as_of=price.as_of,
    )
