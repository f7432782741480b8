"""AWS Price List to PriceBook: what to ask for a key, and how to read the answer without being misled.

A product is read from GetProducts (each item of ``PriceList``, parsed) or from a bulk offer file. Traps,
each refused rather than guessed: several components share an instance name, so the component is always
checked; tiered prices count from ``beginRange`` 0; capacity blocks cost zero; several products may match;
China's regions are priced in CNY.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any

from deployer.errors import InputError, NotSupported, UnknownPrice
from deployer.pricing.book import Price, PriceBook, Sku
from deployer.pricing.snapshot import with_prices

Product = Mapping[str, Any]
Fetch = Callable[[str, Mapping[str, str]], Iterable[Product]]
"""(service code, attributes that must match) to products: ``aws.pricing.products`` with its client bound."""

_COMPONENTS = {
    "sagemaker-hosting": "Hosting",
    "sagemaker-async": "AsyncInf",
    "sagemaker-batch-transform": "BatchTransform",
}
_DATA_GROUPS = {"data-in": "Hosting:IN", "data-out": "Hosting:OUT"}
_LOCATIONS = {
    "US East (N. Virginia)": "us-east-1",
    "US West (Oregon)": "us-west-2",
    "EU (Ireland)": "eu-west-1",
    "Europe (Ireland)": "eu-west-1",
}
_EC2 = MappingProxyType(
    {
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
    }
)


_MALFORMED = (KeyError, TypeError, ValueError, AttributeError)
"""What reading a document of another form raises."""


@dataclass(frozen=True)
class Query:
    """What identifies a key in the Price List.

    ``attributes`` are sent as filters and checked again on each product; ``usage_suffix`` is checked only,
    since the prefix of a usage type differs by region. ``unit`` maps AWS's word to the book's.
    """

    service_code: str
    attributes: Mapping[str, str]
    unit: tuple[str, str]
    usage_suffix: str = ""
    unless_present: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def fits(self, product: Product) -> bool:
        """Return whether a product has every attribute; ``unless_present`` ones may be missing."""
        found = dict(product["product"]["attributes"])
        found["productFamily"] = product["product"]["productFamily"]
        found.setdefault("regionCode", _LOCATIONS.get(found.get("location", ""), ""))
        return (
            all(found.get(key) == value for key, value in self.attributes.items())
            and all(found.get(key, value) == value for key, value in self.unless_present.items())
            and found.get("usagetype", "").endswith(self.usage_suffix)
        )


def query(sku: Sku) -> Query:
    """Return how to find a key in the Price List.

    Raises NotSupported for a service whose products cannot be told apart with certainty.
    """
    hours = ("Hrs", "instance-hour")
    region = {"regionCode": sku.region}
    if sku.service == "ec2":
        on_demand = {"marketoption": "OnDemand"}
        wanted = {**region, "instanceType": sku.item, **_EC2}
        return Query("AmazonEC2", wanted, hours, unless_present=on_demand)
    if sku.service in _COMPONENTS:
        wanted = {**region, "instanceName": sku.item, "component": _COMPONENTS[sku.service]}
        return Query("AmazonSageMaker", wanted, hours)
    if sku.service == "sagemaker-serverless":
        suffix = f"ServerlessInf:{sku.item}"
        wanted = {**region, "productFamily": "ML Serverless"}
        return Query("AmazonSageMaker", wanted, ("seconds", "second"), suffix)
    if sku.service == "sagemaker" and sku.item in _DATA_GROUPS:
        wanted = {**region, "group": _DATA_GROUPS[sku.item]}
        return Query("AmazonSageMaker", wanted, ("GB", "GB"))
    raise NotSupported(
        f"no live read is known for {sku}",
        hint=f"it is for ec2, sagemaker-serverless, sagemaker data and {', '.join(_COMPONENTS)}",
    )


def read(sku: Sku, products: Iterable[Product]) -> Price:
    """Return the one price of a key among products.

    Raises UnknownPrice when none or several fit, or when the one that fits has no positive USD price from
    the first unit on; NotSupported for a key that cannot be asked for.
    """
    wanted = query(sku)
    fitting = [product for product in products if _fits(wanted, product, sku)]
    if len(fitting) != 1:
        found = ", ".join(sorted(str(p["product"].get("sku")) for p in fitting)) or "none"
        raise UnknownPrice(
            f"the Price List must hold exactly one product for {sku}, it holds {len(fitting)}: {found}",
            hint="the price is not taken; the embedded one, if there is one, stays",
        )
    try:
        return _price(sku, wanted, fitting[0])
    except _MALFORMED as error:
        raise _malformed(sku, error) from error


def bulk_products(document: Mapping[str, Any]) -> Iterator[Product]:
    """Yield the products of a bulk offer file (``index.json``) in the shape of GetProducts.

    Raises InputError when it is no offer file.
    """
    try:
        terms = document["terms"]["OnDemand"]
        for code, product in document["products"].items():
            yield {
                "product": product,
                "publicationDate": document["publicationDate"],
                "terms": {"OnDemand": terms.get(code, {})},
            }
    except _MALFORMED as error:
        raise InputError(f"not an AWS bulk offer file: {error!r}") from error


@dataclass(frozen=True)
class Refreshed:
    """A book with the prices read live, and for each key that could not be read, why."""

    book: PriceBook
    updated: tuple[Price, ...]
    failed: Mapping[Sku, str]


def refresh(book: PriceBook, skus: Iterable[Sku], fetch: Fetch, today: str) -> Refreshed:
    """Read keys live; the prices found replace those of the book, the others stay as they are.

    ``today`` is the ISO date the new book carries. Raises what ``fetch`` raises when AWS cannot be asked.
    """
    updated: list[Price] = []
    failed: dict[Sku, str] = {}
    for sku in skus:
        try:
            wanted = query(sku)
            updated.append(read(sku, fetch(wanted.service_code, wanted.attributes)))
        except (UnknownPrice, NotSupported) as error:
            failed[sku] = error.message
    fresh = with_prices(book, updated, today) if updated else book
    return Refreshed(fresh, tuple(updated), failed)


def _fits(wanted: Query, product: Product, sku: Sku) -> bool:
    try:
        return wanted.fits(product)
    except _MALFORMED as error:
        raise _malformed(sku, error) from error


def _malformed(sku: Sku, error: Exception) -> UnknownPrice:
    return UnknownPrice(f"a Price List product read for {sku} is malformed: {error!r}")


def _price(sku: Sku, wanted: Query, product: Product) -> Price:
    code = product["product"]["sku"]
    terms = list(product["terms"]["OnDemand"].values())
    if len(terms) != 1:
        raise UnknownPrice(f"{sku}: product {code} has {len(terms)} on-demand terms, not one")
    dimensions = [
        d for d in terms[0]["priceDimensions"].values() if d.get("beginRange", "0") == "0"
    ]
    if len(dimensions) != 1:
        raise UnknownPrice(f"{sku}: product {code} has {len(dimensions)} first tiers, not one")
    amount = _usd(sku, code, dimensions[0]["pricePerUnit"])
    theirs, ours = wanted.unit
    if dimensions[0]["unit"].lower() != theirs.lower():
        raise UnknownPrice(
            f"{sku}: product {code} is priced per {dimensions[0]['unit']!r}, not per {theirs!r}"
        )
    published = product["publicationDate"][:10]
    return Price(sku, ours, amount, f"AWS Price List, product {code}", published)


def _usd(sku: Sku, code: str, prices: Mapping[str, str]) -> Decimal:
    if "USD" not in prices:
        raise UnknownPrice(f"{sku}: product {code} is priced in {', '.join(prices)}, not in USD")
    try:
        amount = Decimal(prices["USD"])
    except InvalidOperation:
        raise UnknownPrice(
            f"{sku}: product {code} has the price {prices['USD']!r}, which is no number"
        ) from None
    if not amount.is_finite() or amount <= 0:
        raise UnknownPrice(
            f"{sku}: product {code} has the price {amount}",
            hint="a zero price is a capacity block or a placeholder, not free service",
        )
    return Decimal(f"{amount.normalize():f}")
