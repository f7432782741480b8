"""What stands in a resolved document for what only AWS, or a bundle that is not there, can tell.

``deployer plan --offline`` writes such documents: they synthesize, and nothing is ever made of them.
"""

from __future__ import annotations

from deployer.errors import InputError

IMAGE, BUNDLE, AMI = "image", "bundle", "ami"
"""The words of ``Resolved.placeholders`` and ``ResolvedFleet.placeholders``."""

BUNDLE_DIGEST = "0" * 64
AMI_ID = "ami-00000000000000000"
IMAGE_TAG = "placeholder"


def refuse(placeholders: tuple[str, ...]) -> None:
    """Raise InputError for a document with placeholders: it is for reading and synthesizing only."""
    if placeholders:
        raise InputError(
            f"the document was planned offline: {words(placeholders)} in it: nothing can be made of it",
            hint="plan again with credentials and without --offline",
        )


def words(placeholders: tuple[str, ...]) -> str:
    """Return which placeholders there are, as the beginning of a sentence."""
    *first, last = placeholders
    return (
        f"{', '.join(first)} and {last} are placeholders" if first else f"{last} is a placeholder"
    )
