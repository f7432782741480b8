"""What the CDK's template names and does not bring: the bundle in S3."""

from __future__ import annotations

from pathlib import Path

from deployer.errors import InputError
from deployer.paths import AnyPath, as_path
from deployer.progress import Say, silent
from deployer.spec import placeholders, rules
from deployer.spec import resolved as documents
from deployer.spec.resolved import Resolved


def upload(source: Resolved | AnyPath, *, say: Say = silent) -> str:
    """Put the bundle of a resolved document where the document says, and return its S3 address.

    Makes the bucket when it is not there. A bundle that lies there whole is not sent again; one whose upload was cut
    off resumes. Raises InputError when the credentials are of another account, when the bundle is not the one
    that was resolved, and for a document with placeholders; RuleBroken for a specification that breaks a rule.
    """
    from deployer.aws import session
    from deployer.aws.storage import Storage
    from deployer.deployments.aws.polling import Polling
    from deployer.deployments.facts import facts_of
    from deployer.deployments.sagemaker import observe
    from deployer.deployments.sagemaker.actions import Actions

    given = as_path(source)
    document = documents.load(given) if isinstance(given, Path) else given
    placeholders.refuse(document.placeholders)
    rules.require(document.spec, facts_of(document.spec, digest=document.artifact.digest))
    place, artifact = document.place, document.artifact
    aws = session.connect((place.region, "the resolved document"))
    if aws.identity[0] != place.account:
        raise InputError(
            f"resolved for account {place.account}; these credentials are of {aws.identity[0]}",
            hint="use the other credentials, or plan again",
        )
    storage = Storage(aws, artifact.bucket)
    if storage.exists() and observe.bundle_there(storage, document):
        say(f"{artifact.s3_uri} is there already")
        return artifact.s3_uri
    actions = Actions(aws, document, Polling(), say)
    if not storage.exists():
        actions.bucket()
        say(f"made bucket {artifact.bucket}")
    actions.bundle()
    say(f"uploaded {artifact.digest[:12]} to {artifact.s3_uri}")
    return artifact.s3_uri
