"""ECR as a place to push to: a repository of ours, a password for twelve hours, and what lies there by tag."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from deployer.aws.session import Aws, ClientError, code_of, translated
from deployer.errors import EnvironmentProblem

_MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)


@dataclass(frozen=True)
class Login:
    """Who may push to ``host``; ``tls`` is off only for a registry of this machine."""

    host: str
    user: str
    password: str = field(repr=False)
    tls: bool = True


@dataclass(frozen=True)
class Tagged:
    """An image in a repository by its tag: digest of its manifest and of its configuration, ``sha256:...``."""

    digest: str
    config_digest: str


@dataclass(frozen=True)
class Repository:
    """A repository: its URI without a tag, whether it was made just now, and what it lacks of what we ask for."""

    uri: str
    made: bool
    lacks: tuple[str, ...] = ()


def ensure(aws: Aws, name: str, tags: Mapping[str, str]) -> Repository:
    """Make the repository unless it is there: tags that cannot move, images scanned as they come, encrypted.

    One that is there is left as it is; ``lacks`` says in what it differs. Raises AwsRefusal.
    """
    client = aws.client("ecr")
    with translated(f"creating repository {name!r}"):
        try:
            found = client.create_repository(
                repositoryName=name,
                imageTagMutability="IMMUTABLE",
                imageScanningConfiguration={"scanOnPush": True},
                encryptionConfiguration={"encryptionType": "AES256"},
                tags=[{"Key": key, "Value": value} for key, value in sorted(tags.items())],
            )["repository"]
            return Repository(str(found["repositoryUri"]), made=True)
        except ClientError as error:
            if code_of(error) != "RepositoryAlreadyExistsException":
                raise
    with translated(f"describing repository {name!r}"):
        found = client.describe_repositories(repositoryNames=[name])["repositories"][0]
    lacks = []
    if not str(found.get("imageTagMutability", "")).startswith("IMMUTABLE"):
        lacks.append("its tags can be moved")
    if not found.get("imageScanningConfiguration", {}).get("scanOnPush"):
        lacks.append("images are not scanned as they come")
    return Repository(str(found["repositoryUri"]), made=False, lacks=tuple(lacks))


def login(aws: Aws) -> Login:
    """Return who may push and pull in this account and region, for twelve hours."""
    with translated("asking for a registry password"):
        found = aws.client("ecr").get_authorization_token()["authorizationData"][0]
    user, separator, password = (
        base64.b64decode(found["authorizationToken"]).decode().partition(":")
    )
    host = urlsplit(found["proxyEndpoint"]).netloc
    if not separator or not host:
        raise EnvironmentProblem("ECR's answer holds no user, password and host")
    return Login(host, user, password)


def tagged(aws: Aws, repository: str, tag: str) -> Tagged | None:
    """Return the image that a tag names; None when none does."""
    with translated(f"looking for {repository}:{tag}"):
        try:
            answer = aws.client("ecr").batch_get_image(
                repositoryName=repository,
                imageIds=[{"imageTag": tag}],
                acceptedMediaTypes=list(_MANIFESTS),
            )
        except ClientError as error:
            if code_of(error) == "RepositoryNotFoundException":
                return None
            raise
    if not answer.get("images"):
        return None
    image = answer["images"][0]
    manifest = json.loads(image["imageManifest"])
    config = str(manifest.get("config", {}).get("digest", ""))
    return Tagged(str(image["imageId"]["imageDigest"]), config)
