"""The same specification, profile and trace: what a plan says of cost is what a comparison says."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

import deployer
from deployer.comparison import candidate_names
from deployer.cost.report import Candidate
from deployer.profiles import Profile, ServiceTime
from deployer.traffic.trace import TrafficTrace

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("deploy_*/*.toml"))
NOT_SIMULATED = {"batch", "serverless", "realtime-steps"}
"""A job meets no traffic; provisioned concurrency that scales and a metric of one's own are not simulated yet."""


@pytest.fixture(scope="module")
def profile() -> Profile:
    return Profile(
        name="digits",
        bundle_digest="d" * 64,
        precision="fp32",
        hardware={"cpu": "a CPU"},
        workers=2,
        threads=1,
        service_time_ms={1: ServiceTime("exponential", 10.0)},
        request_bytes=3000,
        response_bytes=1200,
        memory_mb=100.0,
        startup_s=1.0,
        date="2026-11-20",
    )


@pytest.fixture(scope="module")
def trace() -> TrafficTrace:
    return deployer.make_trace("poisson", rate=50, duration_s=3600, name="an hour")


@pytest.mark.parametrize(
    "path", [path for path in EXAMPLES if path.stem not in NOT_SIMULATED], ids=lambda p: p.stem
)
def test_a_plan_by_a_trace_is_the_comparison(
    path: Path, profile: Profile, trace: TrafficTrace
) -> None:
    plan = deployer.plan(path, offline_account="123456789012", profile=profile, trace=trace)
    cost = plan.cost  # type: ignore[union-attr]
    (found,) = deployer.compare([path], trace=trace, profiles=[profile], seeds=(0,)).candidates
    assert isinstance(found, Candidate)
    if found.bill is None:
        assert cost.per_thousand is None
        assert found.unknown_reason in cost.unknown.values()
        return
    assert cost.basis == "by trace 'an hour'"
    assert float(cost.per_thousand or 0) == pytest.approx(float(found.usd_per_thousand or 1))
    lines = {line.item: line for line in cost.lines}
    for item in found.bill.line_items:
        mine = lines[item.item]
        assert (mine.usd, mine.source) == (item.usd_per_unit, f"{item.source}, {item.as_of}")
        assert float(mine.usd_by_trace or 0) / 730 == pytest.approx(float(item.usd), rel=1e-9)
    assert {line.item for line in cost.lines if line.by_trace} == {
        item.item for item in found.bill.line_items
    }


def test_a_profile_alone_prices_the_scaling_target(profile: Profile, tmp_path: Path) -> None:
    path = next(path for path in EXAMPLES if path.stem == "minimal")
    text = path.read_text() + '\n[scaling]\nkind = "target-tracking"\ntarget = 600.0\n'
    wish = tmp_path / "deployment.toml"
    wish.write_text(text)
    cost = deployer.plan(wish, offline_account="123456789012", profile=profile).cost  # type: ignore[union-attr]
    assert cost.basis == "by a load of 600 requests a minute and instance, the scaling target"
    assert cost.successes == Decimal(600 * 60 * 730)
    assert cost.per_thousand is not None
    with pytest.raises(deployer.DeployerError, match="a trace needs the measured times too"):
        deployer.plan(wish, offline_account="123456789012", trace=Path("trace.csv"))


def test_candidates_on_one_target_carry_the_names_of_their_deployments() -> None:
    targets = (deployer.Ec2Fleet("c5.large"), deployer.Ec2Fleet("c5.large", volume_gb=30))
    specs = [
        deployer.DeploymentSpec(name, "digits.tar.gz", target)
        for name, target in zip(("plain", "large"), targets, strict=True)
    ]
    assert candidate_names(specs, ()) == (
        "ec2-fleet c5.large ×1 digits (plain)",
        "ec2-fleet c5.large ×1 digits (large)",
    )
    assert candidate_names([specs[0], specs[0]], ()) == (
        "ec2-fleet c5.large ×1 digits (plain) #1",
        "ec2-fleet c5.large ×1 digits (plain) #2",
    )
