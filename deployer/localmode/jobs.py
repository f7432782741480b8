"""Asynchronous calls: taken at once, computed in turn, their results written as objects."""

from __future__ import annotations

import queue
import re
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from deployer.localmode import rules, storage
from deployer.localmode.container import Container

BUCKET = "local-mode-async"
CONCURRENT = 4
"""Calls that the container works on at once, as ``MaxConcurrentInvocationsPerInstance`` says on AWS."""
_QUEUED = 10_000
_EXTENSION = rules.Limit(
    "s3OutputPathExtension", 512, re.compile(r"(?!s3:|https:)[a-zA-Z0-9!_.*'()/-]+"), 1
)
_FILENAME = rules.Limit("filename", 32, re.compile(r"(?!.*\..*\.)[a-zA-Z0-9][a-zA-Z0-9\-_.]*"), 1)


@dataclass(frozen=True)
class Job:
    """One call: ``source`` is an object, else ``body`` is what to send; times in seconds of the monotonic clock."""

    id: str
    body: bytes
    source: tuple[str, str] | None
    headers: Mapping[str, str]
    output: tuple[str, str]
    failure: tuple[str, str]
    timeout_s: float
    expires_s: float


class Jobs:
    """The queue before the container, and the threads that empty it."""

    def __init__(self, container: Container, objects: storage.Objects, endpoint: str) -> None:
        self._container = container
        self._objects = objects
        self._endpoint = endpoint
        self._queue: queue.Queue[Job | None] = queue.Queue(_QUEUED)
        self._threads = [
            threading.Thread(target=self._work, daemon=True) for _ in range(CONCURRENT)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, headers: Mapping[str, str], body: bytes) -> Job:
        """Take a call and return its job. Raises rules.Refusal when it is not as AWS wants it."""
        job = _job(headers, body, self._endpoint)
        try:
            self._objects.check(*job.output)
        except storage.BadName as error:
            raise rules.invalid(str(error)) from error
        try:
            self._queue.put_nowait(job)
        except queue.Full:
            raise rules.Refusal(503, "ServiceUnavailable", f"{_QUEUED} calls wait") from None
        return job

    def close(self) -> None:
        """Let the threads end after the job that each has; what waits is dropped."""
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                break
        for _ in self._threads:
            self._queue.put(None)

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                content, kind = self._result(job)
                self._objects.put(*job.output, content, kind)
            except rules.Refusal as refusal:
                self._objects.put(*job.failure, refusal.content, "application/json")

    def _result(self, job: Job) -> tuple[bytes, str]:
        if time.monotonic() > job.expires_s:
            raise rules.no_answer("the request expired while it waited")
        body = job.body
        if job.source is not None:
            try:
                body, _ = self._objects.get(*job.source)
            except (storage.NoSuchObject, storage.BadName) as error:
                raise rules.Refusal(
                    400, "ClientError", f"cannot read the input: {error}"
                ) from error
        answer = self._container.invoke(body, job.headers, job.timeout_s)
        return answer.content, answer.content_type


def _job(headers: Mapping[str, str], body: bytes, endpoint: str) -> Job:
    def header(name: str) -> str | None:
        return headers.get(rules.PREFIX + name)

    source = header("InputLocation")
    if (source is None) == (not body):
        raise rules.invalid("Give exactly one of InputLocation and Body.")
    if len(body) > rules.MAX_ASYNC_BODY_BYTES:
        raise rules.violated(
            "body",
            "...",
            f"Member must have length less than or equal to {rules.MAX_ASYNC_BODY_BYTES}",
        )
    passed = rules.forwarded(_payload_headers(headers), endpoint)
    job_id = passed.get(f"{rules.PREFIX}Inference-Id") or str(uuid.uuid4())
    passed[f"{rules.PREFIX}Inference-Id"] = job_id
    name = _file_name(header("S3OutputPathExtension"), header("Filename"))
    timeout_s = rules.whole_number(
        "invocationTimeoutSeconds",
        header("InvocationTimeoutSeconds"),
        rules.ASYNC_TIMEOUT_S,
        1,
        3600,
    )
    ttl_s = rules.whole_number(
        "requestTTLSeconds", header("RequestTTLSeconds"), rules.ASYNC_TTL_S, 60, 21_600
    )
    try:
        place = None if source is None else storage.split(source)
    except storage.BadName as error:
        raise rules.violated("inputLocation", source or "", str(error)) from error
    return Job(
        job_id,
        body,
        place,
        passed,
        (BUCKET, f"{endpoint}/output/{name}"),
        (BUCKET, f"{endpoint}/failure/{name}"),
        timeout_s,
        time.monotonic() + ttl_s,
    )


def _payload_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return a call's headers with the payload's Content-Type and Accept in place of the call's own."""
    given = {name: value for name in rules.HEADERS if (value := headers.get(name)) is not None}
    for name in ("Content-Type", "Accept"):
        given.pop(name, None)
        if (value := headers.get(rules.PREFIX + name)) is not None:
            given[name] = value
    return given


def _file_name(extension: str | None, name: str | None) -> str:
    if extension is not None:
        rules.check(_EXTENSION, extension)
    if name is not None:
        rules.check(_FILENAME, name)
    folder = f"{extension.strip('/')}/" if extension else ""
    return f"{folder}{name or f'{uuid.uuid4()}.out'}"
