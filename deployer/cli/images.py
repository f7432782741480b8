"""The verbs of what a deployment is made from: image, upload."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from deployer.api import uploads
from deployer.cli.console import Console
from deployer.cli.options import INPUT, verb
from deployer.errors import InputError
from deployer.image import build, push, tools

TOOL = click.Choice(list(tools.KINDS))


@verb(
    "image",
    "deployer image build dist/digits-3f9a1c2b77d0.tar.gz",
    "deployer image build dist/digits-3f9a1c2b77d0.tar.gz --tool podman --tag registry/digits:1.0",
    "deployer image build dist/digits-3f9a1c2b77d0.tar.gz --pip-config pip.conf    # an index of your own",
    "deployer image push digits:1.0 --instance-type ml.c5.large",
)
@click.argument("action", type=click.Choice(["build", "push"]))
@click.argument("subject", metavar="BUNDLE|IMAGE")
@click.option("--tag", help="build: default NAME:<digest of requirements, serving code and base>.")
@click.option("--base", metavar="IMAGE",
              help=f"build: with Python 3.11 or newer and its venv module; {build.DEFAULT_BASE}.")  # fmt: skip
@click.option("--tool", type=TOOL, help="Default: the first of these that works.")
@click.option("--pip-config", type=INPUT,
              help="build: pip.conf for the build alone; no layer keeps it.")  # fmt: skip
@click.option(
    "--repository", help="push: default deployer/NAME of the image; made if it is not there."
)
@click.option("--region", help="push: default from AWS_REGION or the profile.")
@click.option("--instance-type", help="push: refuse an image for another processor than this has.")
@click.pass_obj
def image_verb(
    console: Console,
    action: str,
    subject: str,
    tag: str | None,
    base: str | None,
    tool: str | None,
    pip_config: Path | None,
    repository: str | None,
    region: str | None,
    instance_type: str | None,
) -> None:
    """Build the image that serves a bundle, and push it to ECR.

    Installs the bundle's requirements at build time, so that start-up never does. The model stays outside,
    at /opt/ml/model: new weights need no new image. `image push` sends an image to ECR and prints its URI with
    the digest; the repository gets tags that cannot move and scans what comes.
    """
    if action == "push":
        _only("push", {"--tag": tag, "--base": base, "--pip-config": pip_config})
        pushed = push.push(
            subject,
            repository=repository,
            region=region or "",
            instance_type=instance_type or "",
            tool=tool,
            say=console.say,
        )
        console.result(pushed.to_json(), pushed.uri)
        return
    options = {"--repository": repository, "--region": region, "--instance-type": instance_type}
    _only("build", options)
    if not Path(subject).is_file():
        raise InputError(f"{subject!r} is no bundle: no such file")
    image = build.build(
        Path(subject),
        tag=tag,
        base=base or build.DEFAULT_BASE,
        tool=tool,
        pip_config=pip_config,
        say=console.say,
    )
    console.result(image.to_json(), image.tag)


@verb(
    "upload",
    "deployer upload resolved.json",
    "deployer upload resolved.json --quiet    # then: cdk deploy",
    "deployer upload resolved.json --json",
)
@click.argument("resolved", type=INPUT)
@click.pass_obj
def upload_verb(console: Console, resolved: Path) -> None:
    """Put a bundle into S3 for `cdk deploy`.

    RESOLVED is what `deployer plan` wrote: it says which bundle and where. A bundle that lies there whole is not sent
    again. `deployer deploy` does this by itself.
    """
    uri = uploads.upload(resolved, say=console.say)
    console.result({"s3_uri": uri}, uri)


def _only(action: str, foreign: Mapping[str, object]) -> None:
    """Refuse options of the other action."""
    given = [name for name, value in foreign.items() if value is not None]
    if given:
        raise InputError(f"`image {action}` takes no {given[0]}")
