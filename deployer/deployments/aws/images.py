"""The container image of a deployment: as it is named, or the newest in its repository; pinned by its digest."""

from __future__ import annotations

from deployer.aws import images
from deployer.aws.session import Aws
from deployer.errors import InputError
from deployer.spec import images as addresses
from deployer.spec.instances import architecture
from deployer.spec.resolved import Image


def find(aws: Aws, name: str, uri: str, instance_type: str) -> tuple[Image, tuple[str, ...]]:
    """Return the image of the deployment ``name``, and the architectures that it is said to have.

    ``uri`` is what the specification says, or empty. One outside ECR, or that may not be read, is taken as it is
    named. Raises InputError when there is none.
    """
    repository = addresses.repository(name)
    wanted = architecture(instance_type)
    found_uri = uri or images.newest(aws, repository)
    if found_uri is None:
        raise InputError(
            f"there is no image in the ECR repository {repository!r} in {aws.region}",
            hint="push one with `deployer image push`, or name one with target.image_uri",
        )
    if not addresses.ECR_URI.fullmatch(found_uri):
        return Image(found_uri, found_uri.partition("@sha256:")[2], wanted), ()
    found = images.find(aws, found_uri)
    if found is None:
        raise InputError(
            f"there is no image {found_uri}", hint="push it, or correct target.image_uri"
        )
    return Image(found.uri, found.digest, wanted), found.architectures
