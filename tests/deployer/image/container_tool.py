"""Stands for docker, finch, podman or buildah: a program that runs "containers" as processes of this machine.

It obeys the words that the project uses, notes each call in calls.jsonl beside settings.json, and behaves as
settings.json says: what ``info`` complains of, what the image's configuration is, how a build ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

HOME = Path(__file__).resolve().parent
OPTIONS: dict[str, str] = {}
SETTINGS = json.loads((HOME / "settings.json").read_text())


def main(words: list[str]) -> int:
    with (HOME / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps([Path(sys.argv[0]).name, *words]) + "\n")
    verbs = {
        "info": info, "build": build, "image": inspect, "inspect": inspect, "from": create,
        "run": run, "kill": kill, "rm": remove, "push": push, "tag": tag, "context": context,
    }  # fmt: skip
    while words[0].startswith("--"):  # docker's own options go before its verb
        OPTIONS[words[0]] = words[1]
        words = words[2:]
    return verbs[words[0]](words[1:])


def fail(text: str) -> int:
    print(text, file=sys.stderr)
    return 125


def info(words: list[str]) -> int:
    complaint = SETTINGS["info"].get(Path(sys.argv[0]).name)
    return fail(complaint) if complaint else 0


def build(words: list[str]) -> int:
    context = Path(words[-1])
    seen = {str(p.relative_to(context)): p.read_text() for p in context.rglob("*.txt")}
    seen["folders"] = sorted(p.name for p in context.iterdir())
    seen["dockerfile"] = Path(words[words.index("--file") + 1]).read_text()
    (HOME / "context.json").write_text(json.dumps(seen))
    (HOME / "build.pid").write_text(str(os.getpid()))
    for line in SETTINGS["build"]:
        print(line, flush=True)
    time.sleep(SETTINGS["build_s"])
    return SETTINGS["build_status"]


def inspect(words: list[str]) -> int:
    config = SETTINGS["images"].get(words[-1])
    if config is None:
        return fail(f"Error: {words[-1]}: image not known")
    facts = SETTINGS["facts"]
    if words[0] == "--type":
        found = {"OCIv1": {"config": config, "architecture": facts["architecture"]}}
        print(json.dumps({**found, "FromImageID": facts["id"]}))
    elif "--format" not in words:
        print(json.dumps([{"Id": f"sha256:{facts['id']}", "Architecture": facts["architecture"]}]))
    else:
        print(json.dumps(config))
    return 0


def tag(words: list[str]) -> int:
    return 0


def context(words: list[str]) -> int:
    print("unix:///run/engine.sock")
    return 0


def push(words: list[str]) -> int:
    """Put the image into the registry's books, as ECR does when it has come."""
    if SETTINGS["push"]:
        return fail(SETTINGS["push"])
    import boto3

    where = Path(words[words.index("--authfile") + 1]) if "--authfile" in words else None
    config = where or Path(OPTIONS["--config"]) / "config.json"
    seen = {"mode": oct(config.stat().st_mode & 0o777), **json.loads(config.read_text())}
    (HOME / "auth.json").write_text(json.dumps(seen))
    target = words[-1].removeprefix("docker://")
    name, _, version = target.partition("/")[2].rpartition(":")
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"digest": f"sha256:{SETTINGS['facts']['id']}", "size": 2},
        "layers": [],
    }
    answer = boto3.client("ecr").put_image(
        repositoryName=name, imageTag=version, imageManifest=json.dumps(manifest)
    )
    if "--digestfile" in words:
        digest = SETTINGS["digest"] or answer["image"]["imageId"]["imageDigest"]
        Path(words[words.index("--digestfile") + 1]).write_text(digest)
    return 0


def create(words: list[str]) -> int:
    if words[-1] not in SETTINGS["images"]:
        return fail("Error: no such image")
    (HOME / f"{words[words.index('--name') + 1]}.made").touch()
    return 0


def run(words: list[str]) -> int:
    """Replace this process by the serving code of the folder that is mounted."""
    buildah = "--" in words
    name = words[words.index("--") - 1] if buildah else words[words.index("--name") + 1]
    folder, target, mode = words[words.index("--volume") + 1].rsplit(":", 2)
    assert (target, mode) == ("/opt/ml/model", "ro")
    env = dict(word.removeprefix("--env=").split("=", 1) for word in words if "--env=" in word)
    (HOME / f"{name}.pid").write_text(str(os.getpid()))
    command = [sys.executable, "-m", "inference_code", words[-1], "--model-dir", folder]
    command += SETTINGS["more_words"].get(words[-1], [])
    here = {**os.environ, **env, "PYTHONPATH": f"{folder}/code", "PYTHONDONTWRITEBYTECODE": "1"}
    os.chdir("/")
    os.execve(sys.executable, command, here)


def kill(words: list[str]) -> int:
    pid = int((HOME / f"{words[-1]}.pid").read_text())
    os.kill(pid, signal.Signals[f"SIG{words[words.index('--signal') + 1]}"])
    return 0


def remove(words: list[str]) -> int:
    pid = HOME / f"{words[-1]}.pid"
    if pid.exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIGKILL)
        pid.unlink()
    (HOME / f"{words[-1]}.made").unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
