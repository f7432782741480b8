"""Materials x PriceBook = Bill: a line for each price, each with its source and date."""

from __future__ import annotations

from collections.abc import Sequence

from deployer.cost.materials import Made, Usage, materials
from deployer.cost.report import Bill, LineItem
from deployer.cost.use import of_run
from deployer.errors import UnknownPrice
from deployer.pricing.book import Price, PriceBook
from deployer.runs import Run
from deployer.spec.deployment import DeploymentSpec


def bill(run: Run, spec: DeploymentSpec, book: PriceBook, made: Made = Made()) -> Bill:  # noqa: B008
    """Return what a run of a specification costs; ``made`` is what it makes beside its instances.

    Raises UnknownPrice, naming the key, when any line lacks a price or a quantity: a bill is complete or there is
    none.
    """
    return Bill(price_lines(materials(spec, of_run(run), made), book), run.successes)


def price_lines(lines: Sequence[Usage], book: PriceBook) -> tuple[LineItem, ...]:
    """Return each line with its price. Raises UnknownPrice for a missing price or quantity, or another unit."""
    return tuple(_line(line, book) for line in lines)


def price_of(line: Usage, book: PriceBook) -> Price:
    """Return the one price of a line. Raises UnknownPrice naming the key of the specification that brings it."""
    try:
        price = book.lookup(line.sku.service, line.sku.region, line.sku.item)
    except UnknownPrice as error:
        raise UnknownPrice(f"{line.key}: {error.message}", hint=error.hint) from error
    if price.unit != line.unit:
        raise UnknownPrice(
            f"{line.key}: the price of {line.sku} is per {price.unit!r}, the usage is in {line.unit!r}",
            hint="the price book was made for another version; use the embedded one",
        )
    return price


def _line(line: Usage, book: PriceBook) -> LineItem:
    price = price_of(line, book)
    if line.quantity is None:
        raise UnknownPrice(f"{line.key}: {line.item}: {line.unknown}")
    return LineItem(
        item=line.item,
        quantity=line.quantity,
        unit=line.unit,
        usd_per_unit=price.usd,
        usd=line.quantity * price.usd,
        source=price.source,
        as_of=price.as_of,
    )
