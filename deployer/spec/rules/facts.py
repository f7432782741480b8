"""What a rule may need beyond the specification: of the bundle, of the instance type, of the profile at hand."""

from __future__ import annotations

from dataclasses import dataclass

TOLD_BY = {
    "needs_no_accelerator": "the bundle",
    "largest_sample": "the bundle",
    "boto3": "the bundle",
    "drain_s": "the bundle",
    "request_timeout_s": "the bundle",
    "vcpus": "the price book",
}
"""What tells each fact that a rule needs."""


@dataclass(frozen=True)
class Facts:
    """Facts that are known; None is unknown, and what needs it is left unchecked.

    - ``cpu_only``: why the bundle can only use the CPU; empty where it may use an accelerator.
    - ``largest_sample``: bytes of the bundle's largest sample request.
    - ``boto3``: whether the bundle's requirements name it.
    - ``drain_s``, ``request_timeout_s``: the bundle's serving configuration, seconds.
    - ``p99_s``: the measured 99th percentile, seconds.
    - ``vcpus``: of the instance type; 0 where the price book does not know it.
    - ``measured_on_cpu``: whether the profile at hand was measured without an accelerator.
    """

    cpu_only: str | None = None
    largest_sample: int | None = None
    boto3: bool | None = None
    drain_s: float | None = None
    request_timeout_s: float | None = None
    p99_s: float | None = None
    vcpus: int | None = None
    measured_on_cpu: bool | None = None

    @property
    def needs_no_accelerator(self) -> str | None:
        """Why an accelerator would stand idle, empty where it would not; the bundle knows better than a profile."""
        if self.cpu_only is not None or self.measured_on_cpu is None:
            return self.cpu_only
        return "its profile was measured without an accelerator" if self.measured_on_cpu else ""
