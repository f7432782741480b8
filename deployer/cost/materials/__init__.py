"""The one bill of materials: a specification and its use become lines of quantity x SKU.

``plan`` and ``compare`` both read it, the one with a month at the smallest and the largest size, the other with a
Run. Every key that AWS bills has a line here, by target: ``fleet`` and ``network`` of EC2, ``sagemaker``; ``common``
is what both leave in S3, ECR and CloudWatch. What no key tells is an assumption of the specification, with its own
key. A quantity is None where it follows traffic that nobody gave.

Conventions, stated in every report (``conventions``):

- The window is one of a service that runs on: hours are prorated, no part hour is rounded up. Idle time, failed and
  refused requests are all in the bill.
- 1 GB is 2^30 bytes, as AWS meters storage and transfer; were it 10^9, data lines would be 7.4% higher.
- Callers are on the internet: each target pays the first-tier transfer price for its answers. No monthly free
  allowance is applied.
- A GB-month is a GB kept for 730 hours.
"""

from deployer.cost.materials.conventions import conventions
from deployer.cost.materials.lines import TRACKING_ALARMS, Made, Usage
from deployer.cost.materials.materials import materials
from deployer.cost.materials.sagemaker import SERVICES

__all__ = ["SERVICES", "TRACKING_ALARMS", "Made", "Usage", "conventions", "materials"]
