"""The verb of containers: image."""

from __future__ import annotations

from pathlib import Path

import click

from deployer.cli.console import Console
from deployer.cli.options import INPUT, verb
from deployer.image import build, tools

TOOL = click.Choice(list(tools.KINDS))


@verb(
    "image",
    "deployer image build dist/digits-3f9a1c2b77d0.tar.gz",
    "deployer image build dist/digits-3f9a1c2b77d0.tar.gz --tool podman --tag registry/digits:1.0",
    "deployer image build dist/digits-3f9a1c2b77d0.tar.gz --pip-config pip.conf    # an index of your own",
)
@click.argument("action", type=click.Choice(["build"]))
@click.argument("bundle", type=INPUT)
@click.option("--tag", help="Default: NAME:<digest of requirements, serving code and base>.")
@click.option("--base", default=build.DEFAULT_BASE, show_default=True, metavar="IMAGE",
              help="With Python 3.11 or newer and its venv module.")  # fmt: skip
@click.option("--tool", type=TOOL, help="Default: the first of these that works.")
@click.option("--pip-config", type=INPUT,
              help="pip.conf for the build alone; no layer keeps it.")  # fmt: skip
@click.pass_obj
def image_verb(
    console: Console,
    action: str,
    bundle: Path,
    tag: str | None,
    base: str,
    tool: str | None,
    pip_config: Path | None,
) -> None:
    """Build the image that serves a bundle on SageMaker and EC2.

    Installs the bundle's requirements at build time, so that start-up never does. The model stays outside,
    at /opt/ml/model: new weights need no new image. Nothing is pushed.
    """
    image = build.build(
        bundle, tag=tag, base=base, tool=tool, pip_config=pip_config, say=console.say
    )
    console.result(image.to_json(), image.tag)
