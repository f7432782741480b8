"""The network of a fleet: a VPC that exists, or a new one with the way out that the specification asks for."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from deployer.spec import naming
from deployer.spec.fleet import ENDPOINTS, NAT, PUBLIC, ZONES, endpoint_services
from deployer.spec.fleet_resolved import ResolvedFleet

NO_FLOW_LOGS = "flow logs are priced by traffic; the load balancer's access logs tell who called"


class Network(Construct):
    """``vpc_id``, the subnets of instances and of the load balancer, and what must be there before either."""

    def __init__(self, scope: Construct, id: str, *, resolved: ResolvedFleet) -> None:
        super().__init__(scope, id)
        network = resolved.target.network
        self.vpc_id = network.vpc_id
        self.instance_subnets = list(network.subnets)
        self.balancer_subnets = list(network.balancer_subnets or network.subnets)
        self.public = network.egress == PUBLIC
        self.ready: list[cdk.CfnResource] = []
        if network.made:
            self._make(resolved)

    def _make(self, resolved: ResolvedFleet) -> None:
        network = resolved.target.network
        self._name = naming.stack(resolved.spec.name)
        vpc = ec2.CfnVPC(
            self,
            "Vpc",
            cidr_block=network.cidr,
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags=[cdk.CfnTag(key="Name", value=self._name)],
        )
        cdk.Validations.of(vpc).acknowledge(
            cdk.Acknowledgment(id="AwsSolutions-VPC7", reason=NO_FLOW_LOGS)
        )
        self.vpc_id = vpc.ref
        blocks = network.blocks
        public = self._subnets("Public", blocks[:ZONES])
        # Behind endpoints an internal load balancer needs no way to the internet at all.
        listener = resolved.target.listener
        open_side = listener is not None and not listener.internal
        if network.egress != ENDPOINTS or open_side:
            self._internet(public)
        self.balancer_subnets = [subnet.ref for subnet in public]
        self.instance_subnets = list(self.balancer_subnets)
        if network.egress == PUBLIC:
            return
        private = self._subnets("Private", blocks[ZONES : 2 * ZONES])
        self.instance_subnets = [subnet.ref for subnet in private]
        tables = [self._table(f"Private{i + 1}", [subnet]) for i, subnet in enumerate(private)]
        if network.egress == NAT:
            self._nat(public, tables, network.nat_gateways)
        else:
            self._endpoints(resolved, tables)

    def _subnets(self, word: str, blocks: tuple[str, ...]) -> list[ec2.CfnSubnet]:
        return [
            ec2.CfnSubnet(
                self,
                f"{word}{i + 1}",
                vpc_id=self.vpc_id,
                cidr_block=block,
                availability_zone=cdk.Fn.select(i, cdk.Fn.get_azs()),
                tags=[cdk.CfnTag(key="Name", value=f"{self._name}-{word.lower()}-{i + 1}")],
            )
            for i, block in enumerate(blocks)
        ]

    def _table(self, word: str, subnets: list[ec2.CfnSubnet]) -> ec2.CfnRouteTable:
        table = ec2.CfnRouteTable(self, f"{word}Table", vpc_id=self.vpc_id)
        for i, subnet in enumerate(subnets):
            ec2.CfnSubnetRouteTableAssociation(
                self, f"{word}Route{i + 1}", route_table_id=table.ref, subnet_id=subnet.ref
            )
        return table

    def _internet(self, public: list[ec2.CfnSubnet]) -> None:
        gateway = ec2.CfnInternetGateway(self, "Internet")
        attached = ec2.CfnVPCGatewayAttachment(
            self, "InternetAttached", vpc_id=self.vpc_id, internet_gateway_id=gateway.ref
        )
        table = self._table("Public", public)
        route = self._route("PublicOut", table, gateway_id=gateway.ref)
        route.add_resource_dependency(attached)
        self.ready += [attached, route]

    def _route(self, id: str, table: ec2.CfnRouteTable, **way: str) -> ec2.CfnRoute:
        return ec2.CfnRoute(
            self, id, route_table_id=table.ref, destination_cidr_block="0.0.0.0/0", **way
        )

    def _nat(
        self, public: list[ec2.CfnSubnet], tables: list[ec2.CfnRouteTable], count: int
    ) -> None:
        before = list(self.ready)
        gateways = []
        for i in range(count):
            address = ec2.CfnEIP(self, f"Nat{i + 1}Address", domain="vpc")
            gateway = ec2.CfnNatGateway(
                self,
                f"Nat{i + 1}",
                subnet_id=public[i].ref,
                allocation_id=address.attr_allocation_id,
            )
            for earlier in before:
                gateway.add_resource_dependency(earlier)
            gateways.append(gateway)
        for i, table in enumerate(tables):
            gateway = gateways[i % count]
            self.ready.append(self._route(f"Private{i + 1}Out", table, nat_gateway_id=gateway.ref))

    def _endpoints(self, resolved: ResolvedFleet, tables: list[ec2.CfnRouteTable]) -> None:
        region = resolved.place.region
        group = ec2.CfnSecurityGroup(
            self,
            "EndpointGroup",
            group_description="What reaches the endpoints of AWS",
            vpc_id=self.vpc_id,
            security_group_ingress=[
                ec2.CfnSecurityGroup.IngressProperty(
                    ip_protocol="tcp",
                    from_port=443,
                    to_port=443,
                    cidr_ip=resolved.target.network.cidr,
                    description="HTTPS from inside the VPC",
                )
            ],
        )
        gateway = ec2.CfnVPCEndpoint(
            self,
            "S3",
            service_name=f"com.amazonaws.{region}.s3",
            vpc_endpoint_type="Gateway",
            vpc_id=self.vpc_id,
            route_table_ids=[table.ref for table in tables],
        )
        self.ready.append(gateway)
        for service in endpoint_services(resolved.target.queue is not None):
            word = "".join(part.capitalize() for part in service.split("."))
            self.ready.append(
                ec2.CfnVPCEndpoint(
                    self,
                    f"{word}Endpoint",
                    service_name=f"com.amazonaws.{region}.{service}",
                    vpc_endpoint_type="Interface",
                    vpc_id=self.vpc_id,
                    subnet_ids=self.instance_subnets,
                    security_group_ids=[group.attr_group_id],
                    private_dns_enabled=True,
                )
            )
