"""CPU credits of burstable types: what AWS bills when their processors are busier than the type's baseline."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.cost.materials.lines import Usage, Window

BASELINES = {
    "nano": (2, 0.05),
    "micro": (2, 0.10),
    "small": (2, 0.20),
    "medium": (2, 0.20),
    "large": (2, 0.30),
    "xlarge": (4, 0.40),
    "2xlarge": (8, 0.40),
}
"""vCPUs of t3, t3a and t4g by size, and the share of each that is paid by the instance's hour.

Source: EC2 user guide, key concepts of burstable performance instances.
"""

FAMILIES = ("t3", "t3a", "t4g")
"""Unlimited by default: credits are billed. A t2 is slowed down instead."""


def credits(window: Window, instance_type: str, hours: float) -> Iterator[Usage]:
    """vCPU-hours above the baseline = instance-hours x vCPUs x (share in use - baseline); nothing for other types."""
    family, _, size = instance_type.partition(".")
    if family not in FAMILIES or size not in BASELINES:
        return
    vcpus, baseline = BASELINES[size]
    share, key = window.spec.assumptions.cpu_share, "assumptions.cpu_share"
    item, unit = "CPU credits above the baseline", "vCPU-hour"
    sku = f"ec2/{'t4g' if family == 't4g' else 't3'}-unlimited-cpu-credit"
    if share is None:
        why = f"how busy the processors of {instance_type} are decides it; set {key} (0 to 1)"
        yield window.unknown(item, sku, unit, key, why)
    elif share > baseline:
        yield window.line(item, sku, hours * vcpus * (share - baseline), unit, key)
