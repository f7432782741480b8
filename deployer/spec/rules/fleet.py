"""Rules of an EC2 fleet: a way in, types that go together, what its launch template can hold."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.spec.deployment import DeploymentSpec
from deployer.spec.fleet import HTTP, HTTPS, NAT, ZONES, FleetNetwork
from deployer.spec.instances import accelerator, architecture
from deployer.spec.rules.facts import Facts
from deployer.spec.rules.rule import Wrong, rule
from deployer.spec.target import Ec2Fleet

MOST_TYPES = 40
SCRIPT_BYTES = 16 * 1024
"""What EC2 takes as user data, before its encoding."""

SCRIPT_REST_BYTES = 13_824
"""Of these, what the launch script may need beside what a specification says freely, however long its names are."""

FREE_BYTES = SCRIPT_BYTES - SCRIPT_REST_BYTES
MATCH = "deployer: what is said in two places must agree"


def fleet_of(spec: DeploymentSpec) -> Ec2Fleet | None:
    """Return the target where it is an EC2 fleet."""
    return spec.target if isinstance(spec.target, Ec2Fleet) else None


@rule(
    "fleet-way-in",
    "target.listener",
    "target.queue",
    says="A fleet says how requests come in: target.listener or target.queue.",
    source="deployer: instances that nobody reaches serve nothing, and each way has its own price",
)
def way_in(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """One of both must be said."""
    target = fleet_of(spec)
    if target is not None and target.listener is None and target.queue is None:
        yield Wrong(
            "target.listener",
            "is missing: nothing says how requests come in",
            "write [target.listener] with certificate_arn for HTTPS, or [target.queue]",
        )


@rule(
    "fleet-one-way-in",
    "target.queue",
    "target.listener",
    says="A fleet has a listener or a queue, not both.",
    source="deployer: the container is a server or a worker",
)
def one_way_in(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """A queue takes the load balancer's place."""
    target = fleet_of(spec)
    if target is not None and target.listener is not None and target.queue is not None:
        yield Wrong("target.queue", "takes the place of target.listener: leave one out")


@rule(
    "listener-certificate",
    "target.listener.certificate_arn",
    "target.listener.protocol",
    says="HTTPS has a certificate, plain HTTP has none.",
    source="Elastic Load Balancing, CreateListener.Certificates: “You must provide exactly one certificate”",
)
def certificate(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """The certificate follows the protocol."""
    listener = target.listener if (target := fleet_of(spec)) is not None else None
    if listener is None:
        return
    if listener.protocol == HTTPS and not listener.certificate_arn:
        yield Wrong(
            "target.listener.certificate_arn",
            "is missing: HTTPS needs a certificate",
            'name one of ACM, or ask for plain HTTP: protocol = "http"',
        )
    if listener.protocol == HTTP and listener.certificate_arn:
        yield Wrong("target.listener.certificate_arn", 'has no meaning with "http"')


@rule(
    "fleet-types",
    "target.types",
    "target.instance_type",
    says=f"target.types names instance_type too, each type once, at most {MOST_TYPES}.",
    source="EC2 Auto Scaling, LaunchTemplateOverrides.InstanceType: “You can specify up to 40 instance types per Auto "
    "Scaling group”",
)
def types(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """They are all that the group may use."""
    target = fleet_of(spec)
    names = [row.instance_type for row in target.types] if target is not None else []
    if target is None or not names:
        return
    if target.instance_type not in names:
        yield Wrong("target.types", f"must name target.instance_type {target.instance_type!r} too")
    if len(set(names)) != len(names) or len(names) > MOST_TYPES:
        yield Wrong("target.types", f"must name at most {MOST_TYPES} types, each once")


@rule(
    "fleet-processor",
    "target.types",
    "target.instance_type",
    says="All types of a fleet have one processor.",
    source="deployer: one image runs on all of them",
)
def processor(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """x86-64 and arm64 do not mix."""
    target = fleet_of(spec)
    if target is None:
        return
    wanted = architecture(target.instance_type)
    for index, row in enumerate(target.types):
        if architecture(row.instance_type) != wanted:
            yield Wrong(
                f"target.types[{index}].instance_type",
                f"{row.instance_type!r} has another processor ({architecture(row.instance_type)}) than "
                f"{target.instance_type!r} ({wanted}): one image runs on all of them",
            )


@rule(
    "fleet-accelerator",
    "target.instance_type",
    "target.types",
    says="A fleet has no accelerators yet.",
    source="deployer: the launch script gives the container none, so it would be paid for and stand idle",
)
def cards(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Graphics cards and their like are SageMaker's for now."""
    target = fleet_of(spec)
    if target is None:
        return
    rows = [
        (f"target.types[{i}].instance_type", row.instance_type)
        for i, row in enumerate(target.types)
    ]
    for key, name in (("target.instance_type", target.instance_type), *rows):
        if kind := accelerator(name):
            yield Wrong(
                key,
                f"{name!r} has {kind}: fleets with graphics cards and other accelerators are not there yet",
                "choose a type without one, or a SageMaker target",
            )


@rule(
    "warm-pool-mixed",
    "target.warm_pool",
    "target.spot",
    "target.types",
    says="A warm pool goes neither with spot nor with several types.",
    source="EC2 Auto Scaling, PutWarmPool, older API references: “cannot be called on an Auto Scaling group that has a "
    "mixed instances policy or a launch template or launch configuration that requests Spot Instances”; newer ones "
    "leave it out, and nothing says what takes its place",
)
def warm_pool(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Both make a mixed instances policy."""
    target = fleet_of(spec)
    if target is None or target.warm_pool is None:
        return
    if target.spot is not None or target.types:
        what = "target.spot" if target.spot is not None else "target.types"
        yield Wrong(
            "target.warm_pool",
            f"does not go with {what}: a warm pool is for a group of one type, on demand",
            "leave one of them out",
        )


@rule(
    "fleet-network",
    "target.network.vpc_id",
    "target.network.subnets",
    "target.network.balancer_subnets",
    says="vpc_id and subnets go together, and a load balancer lies in two subnets.",
    source="Elastic Load Balancing, CreateLoadBalancer.Subnets: “You must specify subnets from at least two "
    "Availability Zones”",
)
def network(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """An existing VPC is named with where in it the fleet lies."""
    target = fleet_of(spec)
    if target is None:
        return
    found = target.network
    if bool(found.vpc_id) != bool(found.subnets):
        yield Wrong("target.network.subnets", "and vpc_id go together")
    if found.balancer_subnets and not found.vpc_id:
        yield Wrong("target.network.balancer_subnets", "goes with vpc_id")
    balancers = found.balancer_subnets or found.subnets
    if target.queue is None and balancers and len(set(balancers)) < ZONES:
        key = "balancer_subnets" if found.balancer_subnets else "subnets"
        yield Wrong(f"target.network.{key}", "a load balancer needs two, in two zones")


@rule(
    "fleet-network-unused",
    "target.network.nat_gateways",
    "target.network.cidr",
    "target.network.balancer_subnets",
    says="A key of target.network has a use: nat_gateways for a new VPC with nat, cidr for a new VPC, balancer_subnets "
    "with a listener.",
    source="deployer: a key that changes nothing would tell what does not happen",
)
def unused(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """What is said and not done is a wrong answer."""
    target = fleet_of(spec)
    if target is None:
        return
    found, usual = target.network, FleetNetwork()
    behind_nat = found.made and found.egress == NAT
    if found.nat_gateways != usual.nat_gateways and not behind_nat:
        yield Wrong(
            "target.network.nat_gateways",
            'has no use without egress = "nat" in a new VPC',
            'leave it out, or set target.network.egress to "nat"',
        )
    if found.cidr != usual.cidr and not found.made:
        yield Wrong("target.network.cidr", "has no use in an existing VPC", "leave it out")
    if found.balancer_subnets and target.listener is None:
        yield Wrong("target.network.balancer_subnets", "has no use behind a queue", "leave it out")


@rule(
    "health-timeout",
    "target.health.timeout_s",
    "target.health.interval_s",
    says="health.timeout_s is below health.interval_s.",
    source="deployer: a check must be over before the next one begins",
)
def health(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Checks do not overlap."""
    target = fleet_of(spec)
    if target is not None and target.health.timeout_s >= target.health.interval_s:
        yield Wrong("target.health.timeout_s", "must be below target.health.interval_s")


@rule(
    "environment-line",
    "target.environment",
    says="On EC2 a variable of the environment is one line.",
    source="deployer: the container gets them in an env file, which holds one in a line",
)
def lines(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """An env file has no way to write a line break."""
    target = fleet_of(spec)
    for name, value in target.environment.items() if target is not None else ():
        if "\n" in value or "\r" in value:
            yield Wrong(
                f"target.environment.{name}",
                "holds a line break",
                "put long values into the bundle",
            )


@rule(
    "launch-script",
    "target.environment",
    says=f"On EC2 the environment, image_uri and results_s3_uri have {FREE_BYTES:,} bytes together.",
    source="EC2, RequestLaunchTemplateData.UserData: “User data is limited to 16 KB”",
)
def launch_script(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """They travel in the launch script, quoted for the shell: a quote becomes five bytes."""
    target = fleet_of(spec)
    if target is None:
        return
    rows = [f"{name}={value}\n" for name, value in target.environment.items()]
    text = "".join([*rows, target.image_uri, target.queue.results_s3_uri if target.queue else ""])
    size = len(text.encode()) + 4 * text.count("'")
    if size > FREE_BYTES:
        yield Wrong(
            "target.environment",
            f"takes {size:,} bytes of the launch script, with image_uri and results_s3_uri; "
            f"{FREE_BYTES:,} are free of the {SCRIPT_BYTES:,} that EC2 takes",
            "put long values into the bundle",
        )


RULES = (
    way_in,
    one_way_in,
    certificate,
    types,
    processor,
    cards,
    warm_pool,
    network,
    unused,
    health,
    lines,
    launch_script,
)
"""The rules of this area."""
