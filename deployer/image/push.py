"""Push an image to ECR, and name it by its digest.

The password goes to the tool in a file that only the user reads and that is gone afterwards, never as an argument.
"""

from __future__ import annotations

import base64
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployer import processes
from deployer.errors import DeployerError, InputError
from deployer.image import names, tools
from deployer.progress import Say, silent
from deployer.spec import images
from deployer.spec.instances import architecture as architecture_of

if TYPE_CHECKING:
    from deployer.aws.registry import Login

_TAGS = {"deployer:made-by": "deployer"}


@dataclass(frozen=True)
class PushedImage:
    """An image in a registry. ``uri`` ends in its digest; ``already_there`` when nothing had to be sent."""

    uri: str
    tag: str
    architecture: str
    already_there: bool

    def to_json(self) -> dict[str, str | bool]:
        """Return it as a JSON document."""
        return asdict(self)


def push(
    image: str,
    *,
    repository: str | None = None,
    region: str = "",
    instance_type: str = "",
    tool: str | None = None,
    say: Say = silent,
) -> PushedImage:
    """Push an image that ``tool`` keeps on this machine to ECR and return it with its digest.

    ``repository`` is ``deployer/NAME`` of the image unless given, and made when it is not there, with tags that
    cannot move. An image that lies there already is not sent again. Raises InputError before anything is sent
    when its processor is not that of ``instance_type``, or its tag is taken by another image.
    """
    from deployer.aws import registry, session

    names.check_tag("image", image)
    chosen = tools.pick(tool)
    facts = chosen.facts(image)
    if instance_type:
        check_architecture(image, facts.architecture, instance_type)
    name, tag = _name_and_tag(image)
    repository = repository or images.repository(name)
    names.check_tag("repository", f"{repository}:{tag}")
    aws = session.connect((region, "--region") if region else None)
    found = registry.ensure(aws, repository, _TAGS)
    say(f"{'made' if found.made else 'found'} repository {found.uri}")
    for lack in found.lacks:
        say(f"repository {repository}: {lack}")
    there = registry.tagged(aws, repository, tag)
    if there is None:
        sent = send(chosen, image, f"{found.uri}:{tag}", registry.login(aws), say)
        there = registry.tagged(aws, repository, tag)
        if there is None or (sent and sent != there.digest):
            seen = there.digest if there else "no such image"
            raise DeployerError(
                f"{chosen.name} pushed {sent or image}, but ECR has {seen} under {tag!r}"
            )
        return PushedImage(
            f"{found.uri}@{there.digest}", tag, facts.architecture, already_there=False
        )
    if facts.id not in (there.config_digest, there.digest):
        raise InputError(
            f"{repository}:{tag} is another image ({there.digest}), and tags there do not move",
            hint="build with another --tag",
        )
    return PushedImage(f"{found.uri}@{there.digest}", tag, facts.architecture, already_there=True)


def check_architecture(image: str, architecture: str, instance_type: str) -> None:
    """Raise InputError unless an image's processor is that of an instance type."""
    wanted = architecture_of(instance_type)
    if architecture != wanted:
        raise InputError(
            f"{image} is built for {architecture}; {instance_type} has {wanted}",
            hint=f"build it on a machine with {wanted}, or choose another instance type",
        )


def send(tool: tools.Tool, image: str, target: str, login: Login, say: Say) -> str:
    """Send an image to ``target``, HOST/REPOSITORY:TAG; return the digest that the tool tells, "" when it does not.

    Raises DeployerError with the tool's words when it fails.
    """
    with tempfile.TemporaryDirectory(prefix="deployer-push-") as folder:
        key = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
        config = Path(folder) / "config.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps({"auths": {login.host: {"auth": key}}}))
        digest = Path(folder) / "digest"
        say(f"{tool.name} pushes {image} to {target}")
        for words in tool.push(image, target, config, digest, tls=login.tls):
            done = tools.ask(words, limit_s=tools.PUSH_S)
            if done.returncode != 0:
                raise DeployerError(
                    f"{tool.name} cannot push {image}: {processes.last_words(done.stderr)}",
                    hint="is the registry reachable, and may these credentials push to it?",
                )
        return digest.read_text().strip() if digest.exists() else ""


def _name_and_tag(image: str) -> tuple[str, str]:
    last = image.rpartition("/")[2]
    name, _, tag = last.partition(":")
    if not tag:
        raise InputError(f"{image!r} has no tag", hint=f"push it by one, like {image}:1.0")
    return name, tag
