"""What a bill must know and no other key tells: stated, each under its own key, with the reason for its default."""

from __future__ import annotations

from dataclasses import dataclass, field

from deployer.spec import checks
from deployer.spec.records import QUIET


@dataclass(frozen=True)
class Assumptions:
    """Quantities that neither the rest of the specification, nor a profile, nor a Run tells. Sizes in GB of 2^30 bytes.

    - ``image_gb``: the compressed image in ECR. A slim Python with ONNX Runtime and numpy is about 0.15.
    - ``bundle_gb``: the bundle in S3; left out, the size of the bundle's file, and 0.1 where there is none.
    - ``boot_gb``: what an EC2 instance downloads beside image and bundle: packages of its system.
    - ``log_bytes_per_request``: what the handler writes into the log for a request. The server itself writes nothing.
    - ``kept_days``: for how long objects that requests leave in S3 are kept: answers, captured data.
    - ``log_kept_days``: for how long logs are kept where the target has no ``log_days``.
    - ``detailed_metrics``: metrics of an EC2 instance with detailed monitoring. AWS's examples count 7.
    - ``endpoint_metrics``: metrics of an endpoint's instance with ``target.metrics``. AWS names no count.
    - ``access_log_bytes``: of one request in the load balancer's log, compressed.
    - ``volume_gb``: the volume that SageMaker attaches where ``target.volume_gb`` does not say it.
    - ``launches``: instances that start in a month for each one of the fleet; for a plan without a trace.
    - ``cpu_share``: how busy the vCPUs of a burstable EC2 type (t2, t3, t3a, t4g) are on average, 0 to 1; above the
      type's baseline AWS bills credits. Left out, that line and so the cost are unknown.
    """

    image_gb: float = field(default=0.15, metadata=QUIET)
    bundle_gb: float | None = None
    boot_gb: float = field(default=0.1, metadata=QUIET)
    log_bytes_per_request: float = field(default=0.0, metadata=QUIET)
    kept_days: float = field(default=30.0, metadata=QUIET)
    log_kept_days: float = field(default=30.0, metadata=QUIET)
    detailed_metrics: int = field(default=7, metadata=QUIET)
    endpoint_metrics: int = field(default=10, metadata=QUIET)
    access_log_bytes: float = field(default=100.0, metadata=QUIET)
    volume_gb: float = field(default=30.0, metadata=QUIET)
    launches: float = field(default=1.0, metadata=QUIET)
    cpu_share: float | None = None

    def __post_init__(self) -> None:
        for key in ("image_gb", "boot_gb", "log_bytes_per_request", "access_log_bytes"):
            checks.between(f"assumptions.{key}", getattr(self, key), 0, 1e6)
        for key in ("kept_days", "log_kept_days"):
            checks.between(f"assumptions.{key}", getattr(self, key), 0, 3653)
        for key in ("detailed_metrics", "endpoint_metrics"):
            checks.between(f"assumptions.{key}", getattr(self, key), 0, 1000)
        checks.between("assumptions.volume_gb", self.volume_gb, 0, 16384)
        checks.between("assumptions.launches", self.launches, 0, 10_000)
        if self.bundle_gb is not None:
            checks.between("assumptions.bundle_gb", self.bundle_gb, 0, 1e4)
        if self.cpu_share is not None:
            checks.between("assumptions.cpu_share", self.cpu_share, 0, 1)
