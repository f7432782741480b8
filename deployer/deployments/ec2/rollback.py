"""Go back to what a fleet ran before: the document of then, deployed again with its own rollout and alarms.

Every deployment that succeeded leaves its resolved document in the bundle's bucket, so another machine can go back.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from deployer.aws import fleets
from deployer.aws.session import Aws
from deployer.aws.storage import Storage, object_options
from deployer.deployments.aws.objects import own_tags
from deployer.deployments.aws.place import bucket_of
from deployer.errors import InputError
from deployer.spec import fleet_resolved as documents
from deployer.spec import naming
from deployer.spec.fleet_resolved import ResolvedFleet

_STAMP = "%Y%m%dT%H%M%S%fZ"


def keep(aws: Aws, resolved: ResolvedFleet) -> None:
    """Keep a document that runs now, under the time; the newest are the way back."""
    name = f"{datetime.now(UTC):{_STAMP}}-{resolved.digest[:12]}.json"
    options = object_options(
        {"digest": resolved.digest}, own_tags(resolved.tags), resolved.target.kms_key_arn
    )
    text = json.dumps(resolved.to_json(), indent=1).encode()
    Storage(aws, resolved.artifact.bucket).put(
        f"{naming.documents(resolved.spec.name)}{name}", text, options
    )


def before(aws: Aws, name: str, *, bucket: str = "") -> tuple[str, ResolvedFleet]:
    """Return the digest of the document that a fleet runs, and the newest other one that it ran.

    ``bucket`` is where its bundles are thought to lie. Raises InputError when there is no fleet of ours, or nothing
    to go back to.
    """
    stack = fleets.Stacks(aws).find(naming.stack(name))
    said = fleets.outputs(stack) if stack else {}
    if "DocumentDigest" not in said:
        raise InputError(
            f"there is no fleet {name!r} in {aws.region} (from {aws.region_source})",
            hint="give the region it is in with --region",
        )
    now = said["DocumentDigest"]
    storage = Storage(aws, bucket or bucket_of(aws))
    for key in sorted(storage.keys(naming.documents(name)), reverse=True):
        if now[:12] in key.rpartition("-")[2]:
            continue
        text = storage.read(key)
        if text is not None:
            return now, documents.from_json(json.loads(text))
    raise InputError(
        f"{name!r} has run nothing before that `deployer deploy` has kept in {storage.bucket}",
        hint="deploy the resolved.json or the bundle that you want instead",
    )
