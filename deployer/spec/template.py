"""The commented deployment.toml that a new user starts from."""

from __future__ import annotations

import json

from deployer.spec import checks, schema

_TEXT = """\
{schema}
# What to run, where, how it scales, and for what objective. `deployer plan` shows what it would change.
name = {name}
bundle = {bundle}  # path, from this file's folder; `deployer package` prints it

[target]
kind = "local"  # server processes on this machine
instances = 1
port = 8080     # the first of `instances` ports

# kind = "sagemaker-realtime"
# instance_type = "ml.c7i.large"
# region = "us-east-1"
# instances = 1
# startup_s = 300.0  # from the scaling decision to the first request served: an assumption

# kind = "sagemaker-serverless"
# region = "us-east-1"
# memory_mb = 2048
# max_concurrency = 20
# cold_start_s = 5.0  # an assumption

# kind = "ec2-fleet"  # an Auto Scaling group behind an Application Load Balancer
# instance_type = "c7i.large"
# region = "us-east-1"
# instances = 1
# volume_gb = 20
# startup_s = 120.0  # an assumption
# listener = {{ certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/1", allow_cidrs = ["10.0.0.0/8"] }}
#   # this or a queue must be said; closed to all but allow_cidrs. examples/deploy_ec2 shows network, spot, types

# [scaling]  # left out: always target.instances
# kind = "target-tracking"
# metric = "invocations_per_instance"  # a sum per minute; or cpu, concurrency
# target = 600.0  # left out: derived from the profile and the objective
# min_instances = 1
# max_instances = 4
# scale_in_cooldown_s = 300.0
# scale_out_cooldown_s = 300.0

# [rollout]  # left out: all at once
# kind = "canary"
# percent = 10
# bake_s = 600.0

[slo]
p99_ms = 100.0  # 99% of offered requests must succeed within it

[tags]
# team = "search"
"""


def render(name: str, bundle: str) -> str:
    """Return deployment.toml with every key explained. Raises SpecError for an unfit name."""
    checks.name("name", name)
    # A JSON string is a TOML basic string, but for DEL, which no path needs.
    return _TEXT.format(
        schema=schema.LINE,
        name=json.dumps(name),
        bundle=json.dumps(bundle, ensure_ascii=False),
    )
