"""Rules of texts: tags that AWS takes, keys and certificates of the right region, words that stay as they stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deployer.spec import serde
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.hosting import Hosting
from deployer.spec.rules.facts import Facts
from deployer.spec.rules.rule import Wrong, in_aws, rule
from deployer.spec.target import Ec2Fleet

TAGS = 40
REFERENCES = ("${Token[", "#{Token[", "{{resolve:")
"""Words that the CDK or CloudFormation would put something else for."""


@rule(
    "tags",
    "tags",
    says=f"At most {TAGS} tags, each of characters that AWS takes, none of AWS's or of deployer's own.",
    source="AWS tagging: 50 tags for a resource, of which deployer uses some; keys of 128 and values of 256 letters, "
    "digits, spaces and _ . : / = + - @; “aws:” is reserved",
    applies=in_aws,
)
def tags(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """CloudFormation refuses an alarm with an empty tag, so one is refused here too."""
    if len(spec.tags) > TAGS:
        yield Wrong("tags", f"are {len(spec.tags)}; AWS takes 50, of which {TAGS} are yours")
    for key, value in spec.tags.items():
        ours = key.lower().startswith(("aws:", "deployer:"))
        allowed = all(c.isalnum() or c in " _.:/=+-@" for c in key + value)
        if ours or not allowed or not 1 <= len(key) <= 128 or not 1 <= len(value) <= 256:
            yield Wrong(
                f"tags.{key}",
                "is no tag that AWS takes",
                "1 to 256 letters, digits, spaces and _ . : / = + - @",
            )


@rule(
    "arn-region",
    "target.kms_key_arn",
    "target.listener.certificate_arn",
    "target.region",
    says="A KMS key and a certificate are of the target's own region.",
    source="ACM user guide: “Certificates in ACM are regional resources”; KMS: a key is used in its own region",
    applies=in_aws,
)
def region(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """AWS finds neither from another region."""
    target = spec.target
    if not isinstance(target, Hosting):
        return
    wanted = target.region
    found = {"target.kms_key_arn": target.kms_key_arn}
    if isinstance(target, Ec2Fleet) and target.listener is not None:
        found["target.listener.certificate_arn"] = target.listener.certificate_arn
    for key, arn in found.items():
        where = arn.split(":")[3] if arn else wanted
        if where != wanted:
            yield Wrong(key, f"is of {where}, the target is in {wanted}")


@rule(
    "references",
    "any text",
    says=f"No text holds {' or '.join(REFERENCES)}.",
    source="CloudFormation user guide, dynamic references ({{resolve:...}}); AWS CDK, tokens: a template would put "
    "something else for it",
    applies=in_aws,
)
def references(spec: DeploymentSpec, facts: Facts) -> Iterator[Wrong]:
    """Both routes must tell AWS the same, so neither takes such a text."""
    for key, text in texts_of(serde.to_dict(spec)):
        for word in REFERENCES:
            if word in text:
                yield Wrong(
                    key,
                    f"holds {word!r}: CloudFormation would put something else for it",
                    "write the plain value",
                )


def texts_of(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text of a document, keys included, with where it stands."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            inner = f"{path}.{key}" if path else str(key)
            yield inner, str(key)
            yield from texts_of(item, inner)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_of(item, path)
    elif isinstance(value, str):
        yield path, value


RULES = (tags, region, references)
"""The rules of this area."""
