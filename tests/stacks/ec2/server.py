"""The server of ``tests/stacks/server.py`` with three more shims. ``python server.py PORT``.

- moto's CloudFormation does not answer ``LoadBalancerFullName`` and ``TargetGroupFullName``, which alarms and scaling
  policies name; AWS has them in the ARNs, and so have they here.
- A resource of which moto's CloudFormation changes nothing (most networks, load balancers, target groups) stays as it
  is when a template changes its tags; moto would forget it.
- Route tables go with their stack; moto leaves them, and with them the VPC.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from moto.cloudformation import parsing
from moto.ec2.models import ec2_backends
from moto.ec2.models.route_tables import RouteTable
from moto.elbv2.models import FakeLoadBalancer, FakeTargetGroup

_balancer = FakeLoadBalancer.get_cfn_attribute


def balancer_attribute(self: Any, attribute_name: str) -> Any:
    """Return ``app/NAME/ID`` of ``...:loadbalancer/app/NAME/ID``."""
    if attribute_name == "LoadBalancerFullName":
        return self.arn.partition(":loadbalancer/")[2]
    return _balancer(self, attribute_name)


def group_attribute(self: Any, attribute_name: str) -> Any:
    """Return ``targetgroup/NAME/ID``."""
    if attribute_name == "TargetGroupFullName":
        return self.arn.rpartition(":")[2]
    raise NotImplementedError(attribute_name)


_update = parsing.parse_and_update_resource


def update(logical_id: str, resource_json: Any, resources_map: Any, **where: Any) -> Any:
    """Keep what moto does not know how to change."""
    before = resources_map[logical_id]
    if resource_json["Type"] == "AWS::S3::Bucket":
        return before  # moto asks for a name, which ours has not
    return _update(logical_id, resource_json, resources_map, **where) or before


def delete_table(self: Any, account_id: str, region_name: str) -> None:
    """Delete a route table and what associates subnets with it."""
    backend = ec2_backends[account_id][region_name]
    for association in list(self.associations):
        backend.disassociate_route_table(association)
    backend.delete_route_table(self.id)


if __name__ == "__main__":
    FakeLoadBalancer.get_cfn_attribute = balancer_attribute
    FakeTargetGroup.get_cfn_attribute = group_attribute
    FakeTargetGroup.has_cfn_attr = classmethod(lambda cls, attr: attr == "TargetGroupFullName")
    parsing.parse_and_update_resource = update
    RouteTable.delete = delete_table
    runpy.run_path(str(Path(__file__).parents[1] / "server.py"), run_name="__main__")
