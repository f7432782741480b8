"""A queue on this machine: moto's server as a process of its own, workers that are killed, and the judgement.

``run`` sends messages (good ones, the same ones twice, two kinds of poison), keeps a herd of real workers, kills one
every few seconds with SIGKILL, and returns what the results, the dead letters and the queue hold in the end. moto's
SQS slows with the number of messages that wait, so fewer than 100 do.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

ROOT = Path(__file__).parents[2]
BUCKET, PREFIX, QUEUE, DEAD = "answers", "results/", "work", "work-dead"
WAITING = 80
POLL_S = 0.05
ENOUGH = threading.Event()
"""Set it to end a long run early: what was sent by then is worked off and judged."""
SERVER = """
import functools
import logging
import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication as App
from moto.s3.responses import S3Response
from moto.server import main
from moto.sqs.models import SQSBackend
from werkzeug.serving import WSGIRequestHandler

# As quick as it can be without being another: no line for each request, kept connections, and the modules of moto
# are not looked up anew, on disk, for each.
logging.getLogger("werkzeug").setLevel(logging.ERROR)
WSGIRequestHandler.protocol_version = "HTTP/1.1"
WSGIRequestHandler.disable_nagle_algorithm = True
App.get_backend_for_host = functools.cache(App.get_backend_for_host)
SQSBackend.is_message_valid_based_on_retention_period = lambda *_: True  # counts the whole queue, ten times a call


def one_at_a_time(method, lock=threading.Lock()):
    # moto looks for If-None-Match and writes in two steps; S3 lets one of two such writes win.
    def locked(*arguments):
        with lock:
            return method(*arguments)

    return locked


S3Response.put_object = one_at_a_time(S3Response.put_object)
main(sys.argv[1:])
"""
HANDLER = """
import time

from inference_code.handler import Handler as Base


class Handler(Base):
    batches = True

    def load(self, context):
        pass

    def predict(self, items):
        time.sleep(0.005)
        for item in items:
            if "crash" in item:
                raise RuntimeError("the model fails on this one")
        return [{"double": 2 * item["n"]} for item in items]
"""


@dataclass(frozen=True)
class Plan:
    """What to send, to how many workers, and how often one is killed (0: never)."""

    messages: int
    workers: int = 2
    kill_every_s: float = 2.0
    most_kills: int = 1_000_000
    visibility_s: int = 5
    max_receives: int = 8
    poison_every: int = 40
    twice_every: int = 10
    limit_s: float = 120.0
    seed: int = 1


@dataclass
class Outcome:
    """What was found in the end. Every list is empty when all went well."""

    sent: int
    good: int = 0
    poison: int = 0
    seconds: float = 0.0
    kills: int = 0
    duplicates_sent: int = 0
    dead_twice: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    poison_lost: list[str] = field(default_factory=list)
    without_reason: list[str] = field(default_factory=list)
    left: int = 0

    @property
    def faultless(self) -> bool:
        """Whether every message was answered exactly once or given up with its reason, and none is left."""
        faults = (self.lost, self.wrong, self.twice, self.poison_lost, self.without_reason)
        return not any(faults) and not self.left


class Aws:
    """moto's server and clients for it."""

    def __init__(self, port: int) -> None:
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
        }

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(retries={"mode": "standard", "max_attempts": 5}),
        )

    def make(self, visibility_s: int = 5, max_receives: int = 8) -> str:
        """Make the bucket (with versions: a second writing would show) and both queues; return the queue's URL."""
        s3, sqs = self.client("s3"), self.client("sqs")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        dead = sqs.create_queue(QueueName=DEAD)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]
        policy = {"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": max_receives}
        attributes = {"VisibilityTimeout": str(visibility_s), "RedrivePolicy": json.dumps(policy)}
        return sqs.create_queue(QueueName=QUEUE, Attributes=attributes)["QueueUrl"]


@contextmanager
def aws(folder: Path) -> Iterator[Aws]:
    """Run moto's server while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with (folder / "moto.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, "-H", "127.0.0.1", "-p", str(port)],
            stdout=log,
            stderr=log,
        )
    try:
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < end, (folder / "moto.log").read_text()
                time.sleep(0.1)
        yield Aws(port)
    finally:
        process.kill()
        process.wait()


def model(folder: Path, handler: str = HANDLER) -> Path:
    """Write a model folder whose handler doubles a number."""
    code = folder / "model" / "code"
    code.mkdir(parents=True, exist_ok=True)
    (code / "inference.py").write_text(handler)
    return code.parent


class Herd:
    """Real workers; ``kill`` ends one of them as a machine's death would, and starts another."""

    def __init__(self, found: Aws, folder: Path, count: int, arguments: Sequence[str] = ()) -> None:
        self._aws, self._folder, self._arguments = found, folder, arguments
        self._model = model(folder)
        self._started = 0
        self._logs: list[Path] = [Path()] * count
        self.processes = [self.start(index) for index in range(count)]

    def start(self, index: int) -> subprocess.Popen[bytes]:
        self._started += 1
        self._logs[index] = self._folder / f"worker-{self._started}.log"
        results = f"s3://{BUCKET}/{PREFIX}"
        command = [sys.executable, "-m", "inference_code", "worker", "--model-dir", self._model]
        with self._logs[index].open("wb") as log:
            return subprocess.Popen(
                [*map(str, command), "--queue", QUEUE, "--results", results, *self._arguments],
                stderr=log,
                env={**os.environ, **self._aws.environment, "PYTHONPATH": str(ROOT)},
            )

    def logs(self) -> str:
        return "".join(path.read_text() for path in sorted(self._folder.glob("worker-*.log")))

    def ready(self) -> bool:
        """Return whether all work by now: on a slow machine kills must not outrun starts."""
        return all('"worker ready"' in log.read_text() for log in self._logs)

    def kill(self, index: int) -> None:
        self.processes[index].kill()
        self.processes[index].wait()
        self.processes[index] = self.start(index)

    def stop(self) -> list[int]:
        """SIGTERM to all; return their exit codes."""
        for process in self.processes:
            process.terminate()
        try:
            return [process.wait(40) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
                process.wait()


def entry(number: int, plan: Plan) -> dict[str, Any]:
    """Return the message of a number: every ``poison_every``-th is poison, of one kind or the other."""
    key = f"m-{number:06d}"
    body = json.dumps({"n": number})
    if is_poison(number, plan):
        body = "{not json" if number // plan.poison_every % 2 else json.dumps({"n": 0, "crash": 1})
    return {"Id": key, "MessageBody": body, "MessageAttributes": {"Key": _text(key)}}


def is_poison(number: int, plan: Plan) -> bool:
    return number % plan.poison_every == plan.poison_every - 1


def _text(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}


def run(plan: Plan, folder: Path, say: Any = lambda line: None) -> Outcome:
    """Send, work, kill, judge."""
    outcome = Outcome(sent=plan.messages)
    with aws(folder) as found:
        url = found.make(plan.visibility_s, plan.max_receives)
        sqs = found.client("sqs")
        herd = Herd(found, folder, plan.workers, ("--drain-s", "4"))
        begun = time.monotonic()
        try:
            _drive(plan, outcome, sqs, url, herd, say)
        finally:
            herd.stop()
        outcome.seconds = time.monotonic() - begun
        outcome.poison = sum(is_poison(n, plan) for n in range(outcome.sent))
        outcome.good = outcome.sent - outcome.poison
        outcome.left = sum(_depth(sqs, url))
        _judge(plan, outcome, found)
    return outcome


def _drive(plan: Plan, outcome: Outcome, sqs: Any, url: str, herd: Herd, say: Any) -> None:
    """Send while there is room, kill now and then, until the queue is empty or the limit has passed."""
    chance = random.Random(plan.seed)
    begun = time.monotonic()
    goal = plan.messages
    next_kill: float | None = None
    number = told = 0
    empty_since: float | None = None
    while time.monotonic() - begun < plan.limit_s:
        now = time.monotonic()
        waiting, hidden = _depth(sqs, url)
        if ENOUGH.is_set():
            goal = outcome.sent = number
        while number < goal and waiting < WAITING - 20:
            rows = [entry(n, plan) for n in range(number, min(number + 10, goal))]
            twice = [
                {**row, "Id": f"{row['Id']}-again"}
                for n, row in enumerate(rows, number)
                if n % plan.twice_every == 0 and not is_poison(n, plan)
            ]
            assert not sqs.send_message_batch(QueueUrl=url, Entries=rows).get("Failed")
            if twice:
                sqs.send_message_batch(QueueUrl=url, Entries=twice)
            outcome.duplicates_sent += len(twice)
            number += len(rows)
            waiting += len(rows) + len(twice)
        again = plan.kill_every_s and outcome.kills < plan.most_kills
        if again and next_kill is None and herd.ready():
            next_kill = now + plan.kill_every_s * chance.uniform(0.5, 1.5)
        if next_kill is not None and now > next_kill:
            herd.kill(chance.randrange(plan.workers))
            outcome.kills += 1
            next_kill = None
        if number - told >= 1000:
            told = number
            say(f"{number:,} sent, {outcome.kills} kills, {now - begun:.0f} s")
        empty = number == goal and not waiting and not hidden
        empty_since = (empty_since or now) if empty else None
        if empty_since is not None and now - empty_since > 1.0:
            return
        time.sleep(POLL_S)


def _depth(sqs: Any, url: str) -> tuple[int, int]:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return int(found[names[0]]), int(found[names[1]])


def _judge(plan: Plan, outcome: Outcome, found: Aws) -> None:
    s3, sqs = found.client("s3"), found.client("sqs")
    versions: Counter[str] = Counter()
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket=BUCKET,
        Prefix=PREFIX,
        PaginationConfig={"PageSize": 1_000_000},  # moto looks at every object for every page
    )
    for page in pages:
        versions.update(row["Key"].removeprefix(PREFIX) for row in page.get("Versions", ()))
    outcome.twice = [key for key, count in versions.items() if count > 1]
    dead = dead_letters(sqs)
    counts = Counter(key for key, _ in dead)
    outcome.dead_twice = sum(count - 1 for count in counts.values())
    outcome.without_reason = [key for key, reason in dead if not reason]
    for n in range(outcome.sent):
        key = f"m-{n:06d}"
        if is_poison(n, plan):
            if key not in counts or key in versions:
                outcome.poison_lost.append(key)
        elif key not in versions:
            outcome.lost.append(key)
        elif outcome.sent <= 10_000 or n % 50 == 0:
            body = s3.get_object(Bucket=BUCKET, Key=PREFIX + key)["Body"].read()
            if json.loads(body) != {"double": 2 * n}:
                outcome.wrong.append(key)


def dead_letters(sqs: Any) -> list[tuple[str, str]]:
    """Take all dead letters; return their keys and reasons."""
    url = sqs.get_queue_url(QueueName=DEAD)["QueueUrl"]
    rows: list[tuple[str, str]] = []
    while True:
        answer = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            VisibilityTimeout=600,
        )
        found = answer.get("Messages", ())
        if not found:
            return rows
        for row in found:
            values = row.get("MessageAttributes", {})
            rows.append(
                (values["Key"]["StringValue"], values.get("Reason", {}).get("StringValue", ""))
            )
