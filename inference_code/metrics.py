"""Counters, gauges and histograms, and their Prometheus text. Standard library only.

One thread updates them (the HTTP loop), so an update is an addition and takes no lock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Seconds, three steps per decade: fine enough for a p99, few enough to scrape.
TIME_BUCKETS = tuple(
    float(f"{step}e{power}") for power in range(-4, 2) for step in ("1", "2.5", "5")
)
SIZE_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


class Counter:
    """A number that only grows, split by the value of one label."""

    def __init__(self, name: str, help_text: str, label: str = "") -> None:
        self.name = name
        self.help_text = help_text
        self.label = label
        self.values: dict[str | int, float] = {}

    def add(self, amount: float = 1.0, value: str | int = "") -> None:
        """Add ``amount`` under label ``value``."""
        self.values[value] = self.values.get(value, 0.0) + amount

    def total(self) -> float:
        """Return the sum over all labels."""
        return sum(self.values.values())

    def lines(self) -> Iterable[str]:
        """Return the Prometheus text, line by line."""
        yield from _head(self.name, self.help_text, "counter")
        if not self.label:
            yield f"{self.name} {_number(self.values.get('', 0.0))}"
            return
        for value, amount in sorted(self.values.items(), key=lambda pair: str(pair[0])):
            yield f'{self.name}{{{self.label}="{_escape(str(value))}"}} {_number(amount)}'


class Gauge:
    """A number that is read when it is asked for, by label value; label "" means one number."""

    def __init__(
        self, name: str, help_text: str, read: Callable[[], Mapping[str, float]], label: str = ""
    ) -> None:
        self.name = name
        self.help_text = help_text
        self.label = label
        self.read = read

    def lines(self) -> Iterable[str]:
        """Return the Prometheus text, line by line."""
        yield from _head(self.name, self.help_text, "gauge")
        for value, number in self.read().items():
            labels = f'{{{self.label}="{_escape(value)}"}}' if self.label else ""
            yield f"{self.name}{labels} {_number(number)}"


class Histogram:
    """How often a value fell into each bucket; ``bounds`` are upper bounds, rising."""

    def __init__(self, name: str, help_text: str, bounds: Sequence[float] = TIME_BUCKETS) -> None:
        self.name = name
        self.help_text = help_text
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def quantile(self, q: float) -> float | None:
        """Return an upper bound of quantile ``q``: the bound of its bucket; None when that is open."""
        rank, seen = q * self.count, 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            seen += count
            if seen and seen >= rank:
                return bound
        return None

    def lines(self) -> Iterable[str]:
        """Return the Prometheus text, line by line."""
        yield from _head(self.name, self.help_text, "histogram")
        seen = 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            seen += count
            yield f'{self.name}_bucket{{le="{_number(bound)}"}} {seen}'
        yield f'{self.name}_bucket{{le="+Inf"}} {self.count}'
        yield f"{self.name}_sum {_number(self.sum)}"
        yield f"{self.name}_count {self.count}"


Metric = Counter | Gauge | Histogram


def milliseconds(seconds: float | None) -> float | None:
    """Return a time as people read it; None stays None."""
    return None if seconds is None else round(seconds * 1000, 3)


def prometheus(metrics: Iterable[Metric]) -> str:
    """Return the text that a Prometheus server scrapes."""
    return "".join(f"{line}\n" for metric in metrics for line in metric.lines())


def prometheus_by(label: str, groups: Mapping[str, Sequence[Metric]]) -> str:
    """Return the text of the same metrics of several models, told apart by ``label``."""
    text = []
    for metrics in zip(*groups.values(), strict=True):
        lines = {value: list(each.lines()) for value, each in zip(groups, metrics, strict=True)}
        text += next(iter(lines.values()))[:2]
        for value, found in lines.items():
            text += [_labelled(line, f'{label}="{_escape(value)}"') for line in found[2:]]
    return "".join(f"{line}\n" for line in text)


def emf(
    namespace: str,
    dimensions: Mapping[str, str],
    values: Mapping[str, tuple[float, str]],
    now: float,
) -> dict[str, object]:
    """Return a CloudWatch embedded-metric-format record: a log line that CloudWatch turns into metrics.

    ``values`` maps a name to its value and CloudWatch unit; ``now`` is Unix time in seconds.
    """
    directive = {
        "Namespace": namespace,
        "Dimensions": [list(dimensions)],
        "Metrics": [{"Name": name, "Unit": unit} for name, (_, unit) in values.items()],
    }
    return {
        "_aws": {"Timestamp": int(now * 1000), "CloudWatchMetrics": [directive]},
        **dimensions,
        **{name: value for name, (value, _) in values.items()},
    }


def _head(name: str, help_text: str, kind: str) -> tuple[str, str]:
    return f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"


def _labelled(line: str, label: str) -> str:
    name, brace, rest = line.partition("{")
    if brace:
        return f"{name}{{{label},{rest}"
    name, _, value = line.partition(" ")
    return f"{name}{{{label}}} {value}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
