"""materials: dispatch by target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import assert_never

from deployer.cost.materials import fleet, sagemaker
from deployer.cost.materials.lines import Made, Usage, Window, gb
from deployer.cost.use import Use
from deployer.errors import InputError, UnknownPrice
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.target import (
    Ec2Fleet,
    Local,
    SageMakerAsync,
    SageMakerBatch,
    SageMakerRealtime,
    SageMakerServerless,
)

DEFAULT_BUNDLE_GB = 0.1


def materials(spec: DeploymentSpec, use: Use, made: Made = Made()) -> tuple[Usage, ...]:  # noqa: B008
    """Return every line that AWS bills for ``use`` of ``spec``; lines of quantity 0 are left out.

    ``made`` is what the deployment makes beside its instances. Raises UnknownPrice for a local target, which AWS
    does not bill, and InputError for serverless traffic without its compute time.
    """
    target = spec.target
    if isinstance(target, Local):
        raise UnknownPrice(
            "a local target has no price: its machine is not rented by the hour",
            hint="compare AWS targets, or price this machine as the ec2-fleet it resembles",
        )
    window = Window(spec, made, use, target.region, bundle_gb(spec))
    return tuple(line for line in _lines(window) if line.quantity is None or line.quantity)


def bundle_gb(spec: DeploymentSpec) -> float:
    """Return the size of the bundle in GB: what is assumed, else the file's, else 0.1."""
    said = spec.assumptions.bundle_gb
    if said is not None:
        return said
    path = Path(spec.bundle)
    return gb(path.stat().st_size) if path.is_file() else DEFAULT_BUNDLE_GB


def _lines(window: Window) -> Iterator[Usage]:
    target = window.spec.target
    match target:
        case SageMakerRealtime():
            return sagemaker.realtime(window, target)
        case SageMakerServerless():
            if window.traffic is not None and window.traffic.compute_s is None:
                raise InputError(
                    "a serverless run lacks billed_compute_s",
                    hint="simulate it with a sagemaker-serverless target",
                )
            return sagemaker.serverless(window, target)
        case SageMakerAsync():
            return sagemaker.asynchronous(window, target)
        case SageMakerBatch():
            return sagemaker.batch(window, target)
        case Ec2Fleet():
            return fleet.lines(window, target)
        case Local():
            return iter(())
        case _:
            assert_never(target)
