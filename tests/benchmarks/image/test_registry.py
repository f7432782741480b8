"""A real image pushed to a real registry: the distribution's own, on this machine, with a password.

Run: ``pytest tests/benchmarks/image/test_registry.py -m ""``; wants ``apt-get install docker-registry
apache2-utils`` and a tool that works. The images are empty but for one file, so it takes seconds.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployer.errors import DeployerError
from deployer.image import push, tools

pytest.importorskip("boto3")
from deployer.aws.registry import Login

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not (shutil.which("docker-registry") and shutil.which("htpasswd")),
        reason="needs docker-registry and htpasswd",
    ),
]
PASSWORD = "a password that nobody sees"
CONFIG = """version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: test, path: {folder}/passwords}}}}
"""


@pytest.fixture(scope="module")
def login(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Login]:
    folder = tmp_path_factory.mktemp("registry")
    words = subprocess.run(
        ["htpasswd", "-Bbn", "AWS", PASSWORD], capture_output=True, text=True, check=True
    )
    (folder / "passwords").write_text(words.stdout)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, port=port))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log
        )
    try:
        found = Login(f"127.0.0.1:{port}", "AWS", PASSWORD, tls=False)
        for _ in range(100):
            try:
                manifest(found, "none", "1")
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.1)
        yield found
    finally:
        process.terminate()
        process.wait(10)


def manifest(login: Login, repository: str, reference: str) -> tuple[str, dict[str, Any]]:
    """Ask the registry for an image; return its digest, and the manifest whose bytes give that digest."""
    key = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
    kinds = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
    asked = urllib.request.Request(
        f"http://{login.host}/v2/{repository}/manifests/{reference}",
        headers={"Authorization": f"Basic {key}", "Accept": kinds},
    )
    with urllib.request.urlopen(asked, timeout=10) as answer:
        content = answer.read()
        told = answer.headers["Docker-Content-Digest"]
    assert told == f"sha256:{hashlib.sha256(content).hexdigest()}"
    return told, json.loads(content)


@pytest.fixture(params=["podman", "buildah"])
def tool(request: pytest.FixtureRequest, tmp_path: Path) -> tools.Tool:
    if shutil.which(request.param) is None:
        pytest.skip(f"no {request.param} here")
    chosen = tools.pick(request.param)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY one.txt /one.txt\n")
    (tmp_path / "one.txt").write_text(f"made by {request.param}")
    words = [chosen.path, "build", "--tag", f"deployer-push-test:{request.param}", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return chosen


def test_the_registry_holds_the_image_under_the_digest_that_the_push_returns(
    tool: tools.Tool, login: Login
) -> None:
    image = f"deployer-push-test:{tool.name}"
    facts = tool.facts(image)
    told: list[str] = []
    digest = push.send(tool, image, f"{login.host}/deployer/{tool.name}:1", login, told.append)
    seen, content = manifest(login, f"deployer/{tool.name}", "1")
    assert digest == seen
    assert manifest(login, f"deployer/{tool.name}", digest)[1] == content
    assert content["config"]["digest"] == facts.id
    assert facts.architecture in ("x86_64", "arm64")
    again = push.send(tool, image, f"{login.host}/deployer/{tool.name}:1", login, told.append)
    assert again == digest
    assert not any(PASSWORD in line for line in told)


def test_a_wrong_password_is_told_in_the_tools_words(tool: tools.Tool, login: Login) -> None:
    wrong = Login(login.host, login.user, "wrong", tls=False)
    image = f"deployer-push-test:{tool.name}"
    with pytest.raises(DeployerError, match=f"{tool.name} cannot push {image}: .*") as caught:
        push.send(tool, image, f"{login.host}/deployer/x:1", wrong, print)
    assert "unauthorized" in caught.value.message.lower() or "auth" in caught.value.message.lower()


def test_a_registry_that_is_not_there_is_told(tool: tools.Tool) -> None:
    nowhere = Login("127.0.0.1:9", "AWS", PASSWORD, tls=False)
    with pytest.raises(DeployerError, match="connection refused"):
        push.send(tool, f"deployer-push-test:{tool.name}", "127.0.0.1:9/a:1", nowhere, print)
