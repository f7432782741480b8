"""Play SageMaker's rules for a container against the real server of a bundle.

The rules are those of the hosting contract: how the platform starts, asks, feeds and stops a container.
They are played on this machine, on 127.0.0.1, against the serving code that the bundle carries as a plain
process (``site.Process``), or against an image (``deployer.image.container``); what a registry or an IAM role
may refuse is not covered. The rules of multi-model hosting are played on a second process, not on images.
"""

from deployer.conformance.play import check
from deployer.conformance.report import ConformanceReport, RuleResult

__all__ = ["ConformanceReport", "RuleResult", "check"]
