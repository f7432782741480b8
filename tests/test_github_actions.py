"""The example workflow: it parses, every action is pinned, every command exists as written, rights are least."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
from packaging.requirements import Requirement

from deployer.cli.main import cli
from deployer.distribution import NAME

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "github-actions"
WORKFLOW: dict[Any, Any] = yaml.safe_load((FOLDER / "deploy.yml").read_text())
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
LINES = [line.strip() for step in STEPS for line in step.get("run", "").splitlines()]
README = (FOLDER / "README.md").read_text()
COMMANDS = [line for line in [*LINES, *README.splitlines()] if line.strip().startswith("deployer ")]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILLED_IN = f"git+https://github.com/somebody/deployer@{COMMIT}"
CHECK, *_ = [step for step in STEPS if "DEPLOYER_SOURCE" in step.get("run", "")]


def test_every_action_is_pinned_to_a_commit_and_says_which_version() -> None:
    lines = [line for line in (FOLDER / "deploy.yml").read_text().splitlines() if "uses:" in line]
    assert len(lines) == len([step for step in STEPS if "uses" in step]) > 6
    for line in lines:
        assert re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line
    versions = {re.sub(r".*uses: ", "", line) for line in lines}
    assert len({version.partition("@")[0] for version in versions}) == len(versions)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_exists_as_it_is_written(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(re.sub(r"\$\([^)]*\)", "X", line.strip()))[1:]
    words = words[: words.index(">")] if ">" in words else words
    command = cli.get_command(click.Context(cli), words[0])
    assert command is not None, words[0]
    for word in words[1:]:
        if "." in word or "/" in word:  # the files of the example's own repository
            (tmp_path / word).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / word).touch()
    monkeypatch.chdir(tmp_path)
    command.make_context(words[0], words[1:])


def test_the_cdk_is_the_pinned_one_and_its_context_is_what_the_app_reads() -> None:
    stacks = (ROOT / "stacks" / "__init__.py").read_text()
    pinned = re.search(r"aws-cdk@[\d.]+", stacks)
    assert pinned is not None
    assert WORKFLOW["env"]["CDK"] == f"npx --yes {pinned[0]}"
    cdk = [line for line in LINES if "$CDK " in line]
    assert [line.split("$CDK ")[1].split()[0] for line in cdk] == ["diff", "deploy"]
    assert all("-c resolved=resolved.json" in line for line in cdk)
    app = (ROOT / "stacks" / "app.py").read_text()
    assert '"resolved"' in app


def test_rights_are_least_and_roles_come_by_oidc() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    plan, deploy = WORKFLOW["jobs"]["plan"], WORKFLOW["jobs"]["deploy"]
    for job, role in ((plan, "PLAN"), (deploy, "DEPLOY")):
        assert job["permissions"] == {"contents": "read", "id-token": "write"}
        taken = [
            s["with"]["role-to-assume"] for s in job["steps"] if "aws-actions" in s.get("uses", "")
        ]
        assert taken == [f"${{{{ vars.{role}_ROLE_ARN }}}}"]
        kept = [s["with"] for s in job["steps"] if "checkout" in s.get("uses", "")]
        assert kept == [{"persist-credentials": False}]
    assert deploy["environment"] == "production"
    assert deploy["if"] == "github.event_name == 'push'"
    assert deploy["needs"] == "plan"
    triggers = WORKFLOW[True]  # YAML 1.1 reads `on` as a truth value
    assert set(triggers) == {"pull_request", "push"}  # never pull_request_target
    assert not re.search(
        r"secrets\.|AKIA|github\.event\.(pull_request|issue|comment)", str(WORKFLOW)
    )


def test_only_the_plan_role_works_on_a_pull_request_and_it_changes_nothing() -> None:
    text = "\n".join(step.get("run", "") for step in WORKFLOW["jobs"]["plan"]["steps"])
    assert not re.search(r"deployer (deploy|upload|image push|destroy|rollback)|\$CDK deploy", text)
    assert "--method template" in text  # a change set would need the deploying role


def shell(script: str, source: str, path: Path) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": f"{path}:{os.environ['PATH']}", "DEPLOYER_SOURCE": source}
    command = ["bash", "-e", "-o", "pipefail", "-c", script]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize(
    "source",
    [
        WORKFLOW["env"]["DEPLOYER_SOURCE"],
        f"git+https://github.com/OWNER/REPOSITORY@{COMMIT}",
        "git+https://github.com/somebody/deployer@main",
        "git+https://github.com/somebody/deployer@v0.1.0",
        f"git+https://github.com/somebody/deployer@{COMMIT[:12]}",
        f"git+https://github.com/somebody/deployer@{COMMIT}#egg=x",
        f"git+http://github.com/somebody/deployer@{COMMIT}",
        f"git+https://github.com/somebody/dep loyer@{COMMIT}",
        "git+https://github.com/somebody/deployer",
        "deployer",
        "",
    ],
)
def test_while_no_commit_is_named_the_first_step_fails_and_says_so(
    source: str, tmp_path: Path
) -> None:
    assert WORKFLOW["jobs"]["plan"]["steps"][0] is CHECK
    done = shell(CHECK["run"], source, tmp_path)
    assert done.returncode == 1
    assert f"::error::DEPLOYER_SOURCE is '{source}', which names no commit" in done.stdout


def test_what_is_installed_is_the_commit_that_was_filled_in(tmp_path: Path) -> None:
    assert shell(CHECK["run"], FILLED_IN, tmp_path).returncode == 0
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    installs = [line for line in LINES if "pip install" in line]
    assert len(installs) == len(WORKFLOW["jobs"]) == 2
    for line in installs:
        words = shell(line, FILLED_IN, tmp_path).stdout.splitlines()
        assert words[:5] == ["-m", "pip", "install", "-c", "constraints.txt"]
        (asked,) = map(Requirement, words[5:])
        assert (asked.name, asked.url) == (NAME, FILLED_IN)
        assert asked.extras == {"aws", "cdk", "serve"}
