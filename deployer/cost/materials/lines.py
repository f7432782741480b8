"""Usage: a line of the bill of materials; and the window that lines are counted over."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from deployer.cost.use import Traffic, Use
from deployer.pricing.book import Sku
from deployer.spec.deployment import DeploymentSpec
from deployer.units import round_significant

BYTES_PER_GB = 2**30
TRACKING_ALARMS = 2
"""AWS makes two alarms for a target-tracking policy, AlarmHigh and AlarmLow, and bills both."""

HOURS_PER_DAY = 24
_DIGITS = 12


@dataclass(frozen=True)
class Made:
    """What a deployment makes beside its instances: CloudWatch bills alarms by the metrics that they watch.

    ``fast_alarms`` watch a metric of less than a minute.
    """

    alarms: int = 0
    fast_alarms: int = 0
    dashboards: int = 0


@dataclass(frozen=True)
class Usage:
    """A quantity of something billed, in the unit of its price; ``item`` is its name on the bill.

    ``key`` is the key of the specification that brings the line. ``quantity`` None: not known; ``unknown`` says
    why. ``traffic``: the quantity follows the requests, not only the instances.
    """

    item: str
    sku: Sku
    quantity: Decimal | None
    unit: str
    key: str = "target"
    traffic: bool = False
    unknown: str = ""


@dataclass(frozen=True)
class Window:
    """A specification over a window of use; ``bundle_gb`` is the size of its bundle."""

    spec: DeploymentSpec
    made: Made
    use: Use
    region: str
    bundle_gb: float

    def line(self, item: str, sku: str, quantity: float, unit: str, key: str) -> Usage:
        """Return a line whose quantity follows from the instances; ``sku`` is ``service/item``."""
        return Usage(item, self._sku(sku), decimal(quantity), unit, key)

    def by_traffic(
        self, item: str, sku: str, quantity: float | None, unit: str, key: str = "target"
    ) -> Usage:
        """Return a line whose quantity follows the requests; None without them."""
        known = None if quantity is None else decimal(quantity)
        why = "" if known is not None else FOLLOWS_TRAFFIC
        return Usage(item, self._sku(sku), known, unit, key, traffic=True, unknown=why)

    def unknown(self, item: str, sku: str, unit: str, key: str, why: str) -> Usage:
        """Return a line whose quantity nothing tells."""
        return Usage(item, self._sku(sku), None, unit, key, unknown=why)

    def _sku(self, sku: str) -> Sku:
        service, _, name = sku.partition("/")
        return Sku(service, self.region, name)

    @property
    def traffic(self) -> Traffic | None:
        """The traffic of the window."""
        return self.use.traffic

    def kept_months(self, days: float) -> float:
        """Return GB-months of one GB that is kept for so many days."""
        return days * HOURS_PER_DAY / 730


FOLLOWS_TRAFFIC = "its quantity follows the traffic, which a plan without --trace does not know"


def gb(size: float) -> float:
    """Return bytes as GB of 2^30."""
    return size / BYTES_PER_GB


def decimal(value: float) -> Decimal:
    """Return a quantity with 12 significant digits, written plainly."""
    rounded = round_significant(Decimal(repr(float(value))), _DIGITS)
    return Decimal(f"{rounded.normalize():f}")
