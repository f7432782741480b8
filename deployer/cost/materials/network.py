"""The lines of a fleet's network: addresses, and the way that instances take to AWS's services."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.cost.materials.lines import Usage, Window, gb
from deployer.spec.fleet import ENDPOINTS, NAT, PUBLIC, ZONES, endpoint_services
from deployer.spec.target import Ec2Fleet


def lines(
    window: Window, target: Ec2Fleet, instance_hours: float, pool_hours: float
) -> Iterator[Usage]:
    """Public IPv4 addresses, NAT gateways, interface endpoints: by the hour.

    A stopped instance gives its public address back. Source: EC2 user guide, public IPv4 addresses.
    """
    network, hours = target.network, window.use.hours
    open_side = target.queue is None and not (target.listener and target.listener.internal)
    nat = network.nat_gateways if network.made and network.egress == NAT else 0
    addresses = hours * ((target.alb_ipv4 if open_side else 0) + nat)
    if network.egress == PUBLIC:
        addresses += instance_hours + pool_hours
    if addresses:
        ipv4 = "vpc/public-ipv4-address"
        key = "target.network.egress" if not open_side else "target.alb_ipv4"
        yield window.line("public IPv4 addresses", ipv4, addresses, "hour", key)
    if nat:
        key = "target.network.nat_gateways"
        yield window.line("NAT gateways", "vpc/nat-gateway", nat * hours, "hour", key)
    if network.made and network.egress == ENDPOINTS:
        services = endpoint_services(target.queue is not None)
        what = f"VPC endpoints ({len(services)} services in {ZONES} zones)"
        count, key = len(services) * ZONES * hours, "target.network.egress"
        yield window.line(what, "vpc/vpc-endpoint-interface", count, "hour", key)


def ways_out(
    window: Window, target: Ec2Fleet, launches: float, log_gb: float | None
) -> Iterator[Usage]:
    """GB through NAT or endpoints: what starts download, logs, and the messages and answers of a queue.

    Answers to a load balancer stay within the VPC. S3 has a gateway of its own where there are endpoints.
    """
    egress = target.network.egress
    if egress == PUBLIC:
        return
    said = window.spec.assumptions
    starts = launches * (said.image_gb + window.bundle_gb + said.boot_gb) if egress == NAT else 0.0
    messages = _messages_gb(window, target, answers=egress == NAT)
    key = "target.network.egress"
    total = None if log_gb is None or messages is None else starts + log_gb + messages
    follows = target.queue is not None or said.log_bytes_per_request > 0
    sku = "vpc/nat-gateway-data" if egress == NAT else "vpc/vpc-endpoint-interface-data-first-1PB"
    what = "data through NAT" if egress == NAT else "data through endpoints"
    yield _line(window, what, sku, total, key, follows)
    if egress == NAT and target.network.made and target.network.nat_gateways < ZONES:
        # Instances of the other zone pay on both sides of the border: half of the data, twice.
        across = "data-transfer/inter-az-intra-region"
        key = "target.network.nat_gateways"
        yield _line(window, "data between zones to NAT", across, total, key, follows)


def _line(
    window: Window, what: str, sku: str, size: float | None, key: str, follows: bool
) -> Usage:
    if follows or size is None:
        return window.by_traffic(what, sku, size, "GB", key)
    return window.line(what, sku, size, "GB", key)


def _messages_gb(window: Window, target: Ec2Fleet, *, answers: bool) -> float | None:
    """GB of a queue's messages, and of its answers where they take the same way."""
    if target.queue is None:
        return 0.0
    if window.traffic is None:
        return None
    sent = window.traffic.response_bytes if answers else 0
    return gb(window.traffic.request_bytes + sent)
