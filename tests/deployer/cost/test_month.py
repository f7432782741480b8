"""A plan and a comparison tell one bill: line by line, at each size and by the traffic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from deployer.cost import month
from deployer.cost.bill import bill
from deployer.cost.materials import materials
from deployer.cost.use import of_run
from deployer.deployments.inventory import made
from deployer.errors import UnknownPrice
from deployer.pricing.book import PriceBook
from deployer.runs import CapacityTimeline, Run
from deployer.spec import serde
from deployer.spec.assumptions import Assumptions
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet import FleetNetwork, FleetQueue, Listener, Spot, WarmPool
from deployer.spec.target import Ec2Fleet, SageMakerRealtime

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").glob("deploy_*/*.toml"))
LEAST, MOST = 2, 5
HOURS = Decimal(730)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_lines_of_an_example_are_one_bill(
    path: Path, make_run: Callable[..., Run], book: PriceBook
) -> None:
    """By quantity, which needs no price: what the instances are, and what the traffic is."""
    spec = serde.load(path)
    for units, size in ((LEAST, "least"), (MOST, "most")):
        run = make_run(duration_s=7200.0, instances=units, billed_compute_s=720.0)
        predicted = month.predict(spec, (LEAST, MOST), book, made(spec), run)
        lines = {line.item: line for line in predicted.lines}
        window = Decimal(2) / HOURS
        for line in materials(spec, of_run(run), made(spec)):
            mine = lines[line.item]
            assert (mine.unit, mine.key, mine.traffic) == (line.unit, line.key, line.traffic)
            assert line.quantity is not None
            assert mine.by_trace is not None
            assert float(mine.by_trace * window) == pytest.approx(float(line.quantity), rel=1e-9)
            sized = getattr(mine, size)
            if not line.traffic and sized is not None:
                assert float(sized * window) == pytest.approx(float(line.quantity), rel=1e-9)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_money_of_an_example_is_one_bill(
    path: Path, make_run: Callable[..., Run], book: PriceBook
) -> None:
    spec = serde.load(path)
    run = make_run(duration_s=7200.0, instances=LEAST, billed_compute_s=720.0)
    predicted = month.predict(spec, (LEAST, MOST), book, made(spec), run)
    if predicted.month_by_trace is None:
        with pytest.raises(UnknownPrice) as caught:
            bill(run, spec, book, made(spec))
        assert caught.value.message in predicted.unknown.values(), "the same reason"
        return
    found = bill(run, spec, book, made(spec))
    lines = {line.item: line for line in predicted.lines}
    for item in found.line_items:
        mine = lines[item.item]
        assert (mine.usd, mine.source) == (item.usd_per_unit, f"{item.source}, {item.as_of}")
        assert mine.usd_by_trace is not None
        assert float(mine.usd_by_trace * 2 / HOURS) == pytest.approx(float(item.usd), rel=1e-9)
    assert float(predicted.per_thousand or 0) == pytest.approx(float(found.usd_per_thousand or 1))
    assert predicted.basis == "by trace"


PLAIN = Ec2Fleet("c7i.large", listener=Listener("http"))
SIX = {
    "plain": PLAIN,
    "two NAT gateways": replace(PLAIN, network=FleetNetwork("nat", nat_gateways=2)),
    "endpoints": replace(PLAIN, network=FleetNetwork("endpoints")),
    "spot": replace(PLAIN, spot=Spot(0)),
    "warm": replace(PLAIN, warm_pool=WarmPool(4, "running")),
    "queue": Ec2Fleet("c7i.large", queue=FleetQueue()),
}


def test_six_fleets_have_six_bills(make_run: Callable[..., Run], book: PriceBook) -> None:
    run = make_run(duration_s=3600.0)
    costs: dict[str, Decimal | str] = {}
    for name, target in SIX.items():
        spec = DeploymentSpec("digits", "none.tar.gz", target)
        try:
            costs[name] = bill(run, spec, book, made(spec)).usd
        except UnknownPrice as error:
            costs[name] = error.message
    assert len(set(costs.values())) == 6
    known = {name: usd for name, usd in costs.items() if isinstance(usd, Decimal)}
    assert set(SIX) - set(known) <= {"spot"}
    assert isinstance(known["plain"], Decimal)
    assert known["two NAT gateways"] > known["plain"] + 2 * Decimal("0.045") - Decimal("0.005")
    assert known["endpoints"] > known["plain"] + 14 * Decimal("0.01") - Decimal("0.005")
    each = book.lookup("ec2", "us-east-1", "c7i.large").usd
    assert known["warm"] > known["plain"] + 4 * each
    if isinstance(costs["spot"], str):
        assert costs["spot"].startswith("target.spot: no price for ec2-spot")
    else:
        assert costs["spot"] < known["plain"]


def test_what_the_traffic_brings_needs_a_trace(
    make_run: Callable[..., Run], book: PriceBook
) -> None:
    spec = DeploymentSpec("digits", "none.tar.gz", SageMakerRealtime("ml.c5.large"))
    without = month.predict(spec, (1, 1), book)
    assert without.month_by_trace is None
    assert without.by_traffic == ("endpoint data in", "endpoint data out", "internet data out")
    assert without.unknown == {}, "what follows the traffic is not unknown, but not said"
    given = month.predict(spec, (1, 1), book, run=make_run(duration_s=3600.0))
    assert given.month_by_trace is not None
    assert given.month_least is not None
    assert given.month_by_trace > given.month_least


def test_documents_hold_text_and_null_with_reasons(
    make_run: Callable[..., Run], book: PriceBook
) -> None:
    spec = DeploymentSpec(
        "digits",
        "none.tar.gz",
        Ec2Fleet("t3.large", listener=Listener("http")),
        assumptions=Assumptions(),
    )
    document = month.predict(spec, (1, 2), book, run=make_run(duration_s=3600.0)).to_json()
    assert document["month_least"] is None
    assert document["unknown"]["CPU credits above the baseline"].endswith("(0 to 1)")
    for line in document["lines"]:
        assert (line["usd_least"] is None) <= bool(line["unknown_reason"] or line["by_trace"])


def test_steps_of_a_run_are_whole_units(book: PriceBook, make_run: Callable[..., Run]) -> None:
    steps = CapacityTimeline(np.array([0.0, 1800.0]), np.array([1.0, 3.0]), np.array([1.0, 3.0]))
    run = make_run(duration_s=3600.0, capacity=steps)
    spec = DeploymentSpec("digits", "none.tar.gz", SageMakerRealtime("ml.c5.large"))
    found = month.predict(spec, (1, 3), book, run=run)
    line = next(line for line in found.lines if line.item == "ml.c5.large instances")
    assert (line.least, line.by_trace, line.most) == (730, 1460, 3 * 730)
