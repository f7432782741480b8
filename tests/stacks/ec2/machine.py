"""One instance on this machine: the launch script of a template, with what only a cloud has stood in for.

Real: bash, the AWS CLI against moto's S3, ECR and CloudWatch Logs over HTTP, the Python that verifies the bundle,
and the bundle's own server, started by the unit's own script. Stood in for: ``systemctl`` starts the units' scripts,
``docker`` runs the server without a container, the metadata service is a small HTTP server, and of ``aws`` two calls
only are written down and not sent, for moto has no lifecycle hooks to answer: ``complete-lifecycle-action`` and
``signal-resource``. Not exercised: dnf, the container itself, systemd's restarts and limits.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3

from deployer.bundle.build import build
from deployer.bundle.bundle import Bundle
from deployer.spec.fleet_resolved import ResolvedFleet

INSTANCE = "i-0123456789abcdef0"
SYSTEMCTL = """#!/bin/bash
echo "systemctl $*" >> "$STAGE/calls"
case "$1" in
  start)
    shift
    for unit in "$@"; do
      case $unit in
        --*|deployer-drain.service) ;;
        *)
          script=$(sed -n 's/^ExecStart=.*\\/\\([a-z]*\\.sh\\)$/\\1/p' "$DEPLOYER_UNITS/$unit")
          setsid "$DEPLOYER_ROOT/$script" >> "$STAGE/$unit.log" 2>&1 < /dev/null &
          echo $! >> "$STAGE/pids"
      esac
    done ;;
  stop) exec docker stop deployer-model ;;
esac
"""
DOCKER = """#!/bin/bash
echo "docker $*" >> "$STAGE/calls"
case "$1" in
  login) cat > /dev/null ;;
  logs) tail -n 50 "$STAGE/deployer-model.service.log" ;;
  stop)
    pid=$(cat "$STAGE/server.pid")
    kill -TERM "$pid"
    while kill -0 "$pid" 2> /dev/null; do sleep 0.05; done ;;
  run)
    while [ "$1" != "$IMAGE_NAME" ]; do shift; done
    shift
    echo $$ > "$STAGE/server.pid"
    cd "$DEPLOYER_ROOT/model/code"
    export PYTHONPATH=$DEPLOYER_ROOT/model/code PYTHONDONTWRITEBYTECODE=1
    while IFS= read -r line; do export "$line"; done < "$DEPLOYER_ROOT/container.env"
    if [ "$1" = serve ]; then set -- "$@" --port "$STAGE_PORT"; fi
    exec "$STAGE_PYTHON" -m inference_code "$@" --model-dir "$DEPLOYER_ROOT/model" ;;
esac
"""
AWS = """#!/bin/bash
echo "aws $*" >> "$STAGE/calls"
case "$1 $2" in
  "autoscaling complete-lifecycle-action"|"cloudformation signal-resource") exit 0 ;;
esac
exec "$STAGE_AWS" ${STAGE_ENDPOINT:+--endpoint-url "$STAGE_ENDPOINT"} "$@"
"""


HANDLER = """
def model_fn(folder):
    return 3.0

def input_fn(body, content_type):
    import json
    return json.loads(body)

def predict_fn(number, factor):
    return number * factor

def output_fn(number, accept):
    import json
    return json.dumps(number)
"""
HOOK = "complete-lifecycle-action --auto-scaling-group-name deployer-digits --lifecycle-hook-name launching"


def bundle_in(folder: Path) -> Bundle:
    """Build a real bundle, by the real builder."""
    (folder / "m").mkdir()
    (folder / "m" / "weights.bin").write_bytes(os.urandom(300_000))
    (folder / "h.py").write_text(HANDLER)
    (folder / "sample.json").write_text("14")
    samples, handler = folder / "sample.json", folder / "h.py"
    return build(folder / "m", folder / "out", name="digits", handler=handler, samples=samples)


def machine_in(folder: Path, document: ResolvedFleet, bundle: Bundle) -> Machine:
    """Return an instance whose bundle lies in S3 and whose log group exists; the environment names the server."""
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=document.artifact.bucket)
    s3.upload_file(str(bundle.path), document.artifact.bucket, document.artifact.key)
    boto3.client("logs").create_log_group(logGroupName=document.log_group)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    aws = {k: v for k, v in os.environ.items() if k.startswith("AWS_")}
    return Machine(folder, aws, port, document.image.uri)


def sent_log(document: ResolvedFleet) -> str:
    """Return what CloudWatch Logs holds of the boot."""
    rows = boto3.client("logs").filter_log_events(logGroupName=document.log_group)["events"]
    return "\n".join(row["message"] for row in rows)


class Metadata:
    """The instance metadata service, version 2: no token, no answer."""

    def __init__(self) -> None:
        self.values = {"instance-id": INSTANCE, "autoscaling/target-lifecycle-state": "InService"}
        values = self.values

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                asked = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
                self.answer(200 if asked else 400, "TOKEN")

            def do_GET(self) -> None:
                value = values.get(self.path.removeprefix("/latest/meta-data/"))
                if self.headers.get("X-aws-ec2-metadata-token") != "TOKEN":
                    self.answer(401, "")
                else:
                    self.answer(404 if value is None else 200, value or "")

            def answer(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Machine:
    """The stage in ``folder``; ``environment`` points the AWS CLI at a server."""

    folder: Path
    environment: dict[str, str]
    port: int
    image: str
    metadata: Metadata = field(default_factory=Metadata)

    def __post_init__(self) -> None:
        shims = self.folder / "shims"
        shims.mkdir(parents=True)
        for name, text in (("systemctl", SYSTEMCTL), ("docker", DOCKER), ("aws", AWS)):
            (shims / name).write_text(text)
            (shims / name).chmod(0o755)
        self.root = self.folder / "opt"
        self.log = self.folder / "boot.log"
        real = shutil.which("aws")
        assert real is not None
        self.variables = {
            **{k: v for k, v in os.environ.items() if not k.startswith("AWS_")},
            **self.environment,
            "PATH": os.pathsep.join([str(shims), os.environ["PATH"]]),
            "STAGE": str(self.folder),
            "STAGE_AWS": real,
            "STAGE_PORT": str(self.port),
            "STAGE_PYTHON": sys.executable,
            "IMAGE_NAME": self.image,
            "DEPLOYER_ROOT": str(self.root),
            "DEPLOYER_UNITS": str(self.folder / "units"),
            "DEPLOYER_LOG": str(self.log),
            "DEPLOYER_IMDS": self.metadata.url,
            "DEPLOYER_URL": self.url,
            "DEPLOYER_POLL_S": "0.1",
            # The script has its own; five tries against a closed port would take a minute.
            "AWS_MAX_ATTEMPTS": "2",
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def boot(self, script: str, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """Run the launch script as cloud-init does; ``before`` is what starts bash."""
        path = self.folder / "user-data"
        path.write_text(script)
        return subprocess.run(
            [*before, "bash", str(path)],
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def called(self, *words: str) -> bool:
        return any(all(word in line for word in words) for line in self.calls())

    def wait_for(self, *words: str, limit_s: float = 60.0) -> None:
        """Wait until a call with all these words was made."""
        deadline = time.monotonic() + limit_s
        while not self.called(*words):
            assert time.monotonic() < deadline, (words, self.calls(), self.log.read_text())
            time.sleep(0.1)

    def post(self, body: bytes) -> bytes:
        """Send one request to the server."""
        request = urllib.request.Request(
            f"{self.url}/invocations", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            content: bytes = answer.read()
        return content

    def stop(self) -> None:
        """End what the units started."""
        self.metadata.stop()
        pids = self.folder / "pids"
        for line in pids.read_text().split() if pids.exists() else ():
            try:
                os.killpg(int(line), signal.SIGKILL)
            except ProcessLookupError:
                continue
