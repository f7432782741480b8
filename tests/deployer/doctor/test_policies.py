"""What the two policies say, held against a copy of AWS's Service Authorization Reference (policy_sentry's)."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("boto3")
pytest.importorskip("policy_sentry")
from policy_sentry.querying.actions import get_action_data

from deployer.cli.main import cli
from deployer.doctor import documents, policies
from deployer.doctor.policies import Scope
from deployer.errors import InputError
from deployer.spec import serde
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.rollout import Canary
from deployer.spec.target import Local, SageMakerRealtime

ROOT = Path(__file__).parents[3] / "examples"
EXAMPLES = sorted(ROOT.glob("deploy_sagemaker/*.toml"))
FLEETS = sorted(ROOT.glob("deploy_ec2/*.toml"))
ACCOUNT = "123456789012"
PURPOSES = ("plan", "deploy")
FORCED = {"cloudwatch:DescribeAlarms"}
"""AWS shows composite alarms only to those who may describe all: ``*`` where alarms of the user's are named."""
QUOTAS = "servicequotas:ListServiceQuotas"
"""Asks for reads of eight other services, none of them SageMaker."""


@cache
def rows_of(action: str) -> tuple[dict[str, Any], ...]:
    service, _, name = action.partition(":")
    found = get_action_data(service, name)
    return tuple(found[service]) if found else ()


def scopes() -> list[Any]:
    found = [pytest.param(Scope(), id="nothing known")]
    for path in (*EXAMPLES, *FLEETS):
        scope = policies.scope(serde.load(path), account=ACCOUNT, caller="ci")
        found.append(pytest.param(scope, id=path.stem))
    return found


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("scope", scopes())
class TestEveryPolicy:
    def test_it_fits_into_a_managed_policy(self, scope: Scope, purpose: Any) -> None:
        assert documents.size(documents.document(purpose, scope)) <= 6144
        longest = replace(scope, name="a" * 40, region="us-west-2", account=ACCOUNT)
        assert documents.size(documents.document(purpose, longest)) <= 6144

    def test_it_names_every_action_and_aws_knows_each(self, scope: Scope, purpose: Any) -> None:
        document = documents.document(purpose, scope)
        actions = [action for row in document["Statement"] for action in row["Action"]]
        assert len(actions) == len(set(actions)) or purpose == "deploy"
        assert not [action for action in actions if "*" in action or not rows_of(action)]
        assert all(row["Effect"] == "Allow" for row in document["Statement"])
        sids = [row["Sid"] for row in document["Statement"]]
        assert len(sids) == len(set(sids))
        assert all(re.fullmatch(r"[A-Za-z0-9]+", sid) for sid in sids)

    def test_a_star_stands_only_where_aws_knows_nothing_narrower(
        self, scope: Scope, purpose: Any
    ) -> None:
        for row in documents.document(purpose, scope)["Statement"]:
            for action in row["Action"]:
                formats = {found["resource_arn_format"] for found in rows_of(action)} - {"*"}
                if row["Resource"] == ["*"]:
                    assert not formats or (action in FORCED and scope.alarms), action
                else:
                    assert "*" not in row["Resource"]
                    assert any(_fits(arn, form) for arn in row["Resource"] for form in formats), (
                        action, row["Resource"],
                    )  # fmt: skip

    def test_its_conditions_are_ones_that_the_action_knows(
        self, scope: Scope, purpose: Any
    ) -> None:
        for row in documents.document(purpose, scope)["Statement"]:
            for keys in row.get("Condition", {}).values():
                for key in keys:
                    general = re.sub(r"/.*", "/${TagKey}", key)
                    for action in row["Action"]:
                        known = {k for found in rows_of(action) for k in found["condition_keys"]}
                        assert general in known, (action, key)


def _fits(arn: str, form: str) -> bool:
    """Whether an ARN is of the kind that ``form`` describes: partition, region and account aside."""
    pattern = re.sub(r"\\\$\\\{\w+\\\}", "[^:]*", re.escape(form))
    return re.match(pattern, arn) is not None


def test_what_a_call_does_in_the_callers_name_is_there() -> None:
    """AWS's reference says which further actions an action asks for; those that do not concern us are named."""
    spec = DeploymentSpec("digits", "d.tar.gz", SageMakerRealtime("ml.c5.large"))
    scope = policies.scope(spec, account=ACCOUNT)
    rows = [row for p in PURPOSES for row in documents.document(p, scope)["Statement"]]  # type: ignore[arg-type]
    granted = {action for row in rows for action in row["Action"]}
    asked = {
        (action, more)
        for action in granted
        for found in rows_of(action)
        for more in found["dependent_actions"]
    }
    lacking = {more for action, more in asked if more not in granted and action != QUOTAS}
    assert {more.partition(":")[0] for more in lacking} <= {"ec2", "kms"}


def test_a_specification_fills_in_what_it_knows() -> None:
    spec = DeploymentSpec(
        "Digits",
        "d.tar.gz",
        SageMakerRealtime(
            "ml.c5.large",
            region="eu-west-1",
            role_arn=f"arn:aws:iam::{ACCOUNT}:role/mine",
            image_uri=f"210987654321.dkr.ecr.us-west-2.amazonaws.com/base/serve@sha256:{'a' * 64}",
        ),
        rollout=Canary(50, 300.0, alarms=("mine",)),
    )
    scope = policies.scope(spec, account=ACCOUNT, caller="user/me")
    text = json.dumps([documents.document("plan", scope), documents.document("deploy", scope)])
    assert f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:endpoint/digits" in text
    assert f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:model/digits-*" in text
    assert f"arn:aws:iam::{ACCOUNT}:user/me" in text
    assert "arn:aws:ecr:us-west-2:210987654321:repository/base/serve" in text
    assert f"arn:aws:s3:::deployer-{ACCOUNT}-eu-west-1/deployer/Digits/*" in text
    assert "ecr:PutImage" not in text  # the image is given
    assert "iam:CreateRole" not in text  # and so is the role
    assert "iam:PutRolePolicy" not in text
    assert not re.search(r"ACCOUNT_ID|REGION|NAME|CALLER", text)
    assert "role/mine" in text


def test_what_pushing_an_image_asks_for_is_in_the_policy_of_deploy() -> None:
    """The calls of `image push`, and those that AWS lists for the tools' own: on the deployment's repository alone."""
    spec = DeploymentSpec("digits", "d.tar.gz", SageMakerRealtime("ml.c5.large"))
    scope = policies.scope(spec, account=ACCOUNT)
    rows = [row for p in PURPOSES for row in documents.document(p, scope)["Statement"]]  # type: ignore[arg-type]
    repository = f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/deployer/digits"
    granted = {
        action for row in rows if row["Resource"] == [repository] for action in row["Action"]
    }
    ours = {"CreateRepository", "TagResource", "DescribeRepositories", "BatchGetImage"}
    tools = {
        "BatchCheckLayerAvailability",
        "InitiateLayerUpload",
        "UploadLayerPart",
        "CompleteLayerUpload",
        "PutImage",
    }
    assert granted >= {f"ecr:{name}" for name in ours | tools}
    login = [row for row in rows if "ecr:GetAuthorizationToken" in row["Action"]]
    assert [row["Resource"] for row in login] == [["*"]]


def test_what_does_not_hold_together_is_refused() -> None:
    spec = DeploymentSpec("digits", "d.tar.gz", SageMakerRealtime("ml.c5.large"))
    for changes, words in (
        ({"account": "12"}, "no number of an account"),
        ({"region": "eu-west-1"}, "is for us-east-1, not for eu-west-1"),
    ):
        with pytest.raises(InputError, match=words):
            policies.scope(spec, **changes)
    with pytest.raises(InputError, match="has the target local"):
        policies.scope(DeploymentSpec("digits", "d.tar.gz", Local()))


def test_the_command_prints_json_alone() -> None:
    words = ["doctor", "--policy", "plan", str(EXAMPLES[0]), "--account", ACCOUNT]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["Version"] == "2012-10-17"
    assert "6,144" in done.stderr
    assert CliRunner().invoke(cli, [*words, "--json", "--quiet"]).exit_code == 0
    refused = CliRunner().invoke(cli, ["doctor", "--account", ACCOUNT])
    assert refused.exit_code == 2
    assert "go with --policy" in refused.stderr
