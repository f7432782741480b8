"""The CDK app: ``cdk deploy`` of what ``deployer plan`` resolved.

    cdk deploy                                        # ./resolved.json
    cdk deploy -c resolved=build/resolved.json
    cdk deploy -c deployment=models/deployment.toml   # models/resolved.json, if it is of this very file

Nothing is decided here: names, digests and numbers are those of the document. Every tag is the document's.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import aws_cdk as cdk

from deployer.errors import DeployerError, InputError
from deployer.spec import fleet_resolved as documents
from deployer.spec import naming, rules, serde
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.resolved import Resolved
from deployer.spec.rules.texts import REFERENCES, texts_of
from stacks.ec2 import Ec2FleetStack
from stacks.sagemaker import SageMakerStack

RESOLVED = "resolved.json"
"""The document's name beside deployment.toml."""


def find(deployment: str | None, resolved: str | None) -> Resolved | ResolvedFleet:
    """Read the document that the context names. Raises InputError when it is missing or of another wish, RuleBroken

    for a deployment.toml that breaks a rule.

    ``deployment`` is a path of deployment.toml, ``resolved`` one of resolved.json; at most one is given.
    """
    if deployment and resolved:
        raise InputError("both deployment and resolved are given", hint="give one of them by -c")
    if not deployment:
        return documents.load(Path(resolved or RESOLVED))
    path = Path(deployment)
    rules.require(serde.load(path), where=deployment)
    document = path.with_name(RESOLVED)
    remedy = f"`deployer plan {path} --resolved {document}` writes it"
    if not document.exists():
        raise InputError(f"{document} is missing beside {path.name}", hint=remedy)
    found = documents.load(document)
    # A plan may be made from another folder, so the same bundle may be named by another path.
    if replace(serde.load(path), bundle=found.spec.bundle) != found.spec:
        raise InputError(f"{document} was resolved from another {path.name}", hint=remedy)
    return found


def build(app: cdk.App, resolved: Resolved | ResolvedFleet) -> cdk.Stack:
    """Add the stack of ``resolved`` to ``app``.

    Raises InputError for a target without one and for a value with one of REFERENCES, RuleBroken for a specification
    that breaks a rule.
    """
    target = resolved.spec.target
    fleet = isinstance(resolved, ResolvedFleet)
    if not fleet and not target.kind.startswith("sagemaker-"):
        raise InputError(f"a {target.kind} target has no stack")
    rules.require(resolved.spec, known(resolved))
    for path, text in texts_of(resolved.to_json()):
        for word in REFERENCES:
            if word in text:
                raise InputError(
                    f"{path} holds {word!r}: CloudFormation would put something else for it",
                    hint="a stack takes plain values: plan again",
                )
    if isinstance(resolved, ResolvedFleet):
        return Ec2FleetStack(app, resolved.stack, resolved=resolved)
    return SageMakerStack(app, naming.stack(resolved.spec.name), resolved=resolved)


def known(resolved: Resolved | ResolvedFleet) -> rules.Facts:
    """Return the facts for the rule book that the document holds: how long a fleet drains."""
    if not isinstance(resolved, ResolvedFleet):
        return rules.Facts()
    drain = resolved.drain
    return rules.Facts(drain_s=drain.server_s, request_timeout_s=drain.delay_s)


def main() -> int:
    """Synthesize into the folder that the CDK CLI chose. Return the exit code: 0, or 2 with one line why."""
    app = cdk.App(analytics_reporting=False)
    try:
        context = app.node.try_get_context
        build(app, find(context("deployment"), context("resolved")))
    except DeployerError as error:
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main())
