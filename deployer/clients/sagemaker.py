"""SageMaker endpoints as Invokers: real-time and serverless at once, asynchronous by way of S3."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from deployer.aws.runtime import AsyncCall, Reply, Runtime
from deployer.aws.session import Aws
from deployer.clients.base import Answer, Body
from deployer.errors import EnvironmentProblem, InputError
from deployer.progress import Say, silent
from deployer.spec.limits import ASYNC_ANSWER_S, REALTIME_BYTES

INLINE_BYTES = 128_000
"""What an asynchronous call carries itself; longer bodies go through S3."""

_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.2, 5.0


class EndpointInvoker:
    """Real-time and serverless endpoints: one request, one answer, never sent twice.

    ``options`` are further members of InvokeEndpoint (CustomAttributes, InferenceId, TargetVariant and so on).
    An error of the container is an Answer with the container's own status.
    """

    def __init__(
        self,
        aws: Aws,
        endpoint: str,
        *,
        timeout_s: float = 60.0,
        max_bytes: int = REALTIME_BYTES,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self._runtime = Runtime(aws, endpoint, timeout_s=timeout_s)
        self._max_bytes = max_bytes
        self._options = dict(options or {})

    def invoke(self, body: Body, *, accept: str | None = None) -> Answer:
        """Send one body. Raises InputError when it is too long, before anything is sent."""
        _check_length(body, self._max_bytes)
        return _answer(self._runtime.invoke(body.content, body.content_type, accept, self._options))


@dataclass(frozen=True)
class AsyncOptions:
    """How asynchronous calls are made.

    ``upload_to`` is the ``s3://BUCKET/PREFIX`` for bodies over INLINE_BYTES; ``invocation_s`` is the time that
    the container gets, ``timeout_s`` how long ``wait`` waits, queue and start of instances included.
    """

    upload_to: str = ""
    invocation_s: int = int(ASYNC_ANSWER_S)
    timeout_s: float = 3600.0
    members: Mapping[str, str] = field(default_factory=dict)


class AsyncInvoker:
    """Asynchronous endpoints: ``submit`` hands a body over, ``wait`` looks into S3 until its result is there."""

    def __init__(
        self,
        aws: Aws,
        endpoint: str,
        options: AsyncOptions = AsyncOptions(),
        *,
        say: Say = silent,
    ) -> None:
        self._runtime = Runtime(aws, endpoint)
        self._options = options
        self._say = say

    def invoke(self, body: Body, *, accept: str | None = None) -> Answer:
        """Submit one body and wait for its result."""
        return self.wait(self.submit(body, accept=accept))

    def submit(self, body: Body, *, accept: str | None = None) -> AsyncCall:
        """Hand over one body and return at once. Raises InputError when it is long and has nowhere to go."""
        members = {
            "ContentType": body.content_type,
            "InvocationTimeoutSeconds": self._options.invocation_s,
            **({"Accept": accept} if accept else {}),
            **self._options.members,
        }
        if len(body.content) <= INLINE_BYTES and body.content:
            return self._runtime.invoke_async(body.content, None, members)
        if not self._options.upload_to:
            raise InputError(
                f"the body has {len(body.content)} bytes; an asynchronous call carries {INLINE_BYTES}",
                hint="name a place in S3 for it: --upload-to s3://bucket/prefix",
            )
        source = f"{self._options.upload_to.rstrip('/')}/{uuid.uuid4()}"
        self._runtime.write(source, body.content, body.content_type)
        self._say(f"uploaded {source}")
        return self._runtime.invoke_async(None, source, members)

    def wait(self, call: AsyncCall) -> Answer:
        """Return a call's result, or its failure as an Answer with the container's status, 500 if it is not told.

        Raises EnvironmentProblem, naming where the result will lie, when the time is over.
        """
        begun, look_s = time.monotonic(), _FIRST_LOOK_S
        while True:
            if (reply := self._runtime.read(call.output)) is not None:
                return _answer(reply)
            if call.failure and (reply := self._runtime.read(call.failure)) is not None:
                return Answer(_failed_status(reply.content), reply.content, reply.headers)
            waited = time.monotonic() - begun
            if waited + look_s > self._options.timeout_s:
                raise EnvironmentProblem(
                    f"no result after {waited:.0f} s",
                    hint=f"the call goes on; its result will be at {call.output}",
                )
            self._say(f"waiting for {call.output} since {waited:.0f} s")
            time.sleep(look_s)
            look_s = min(look_s * 1.5, _LONGEST_LOOK_S)


def _check_length(body: Body, most: int) -> None:
    if len(body.content) > most:
        raise InputError(
            f"the body has {len(body.content)} bytes; this endpoint takes {most}",
            hint="an asynchronous endpoint takes up to 1 GB",
        )


def _answer(reply: Reply) -> Answer:
    return Answer(reply.status, reply.content, reply.headers)


def _failed_status(content: bytes) -> int:
    try:
        found = json.loads(content)
    except ValueError:
        return 500
    status = found.get("OriginalStatusCode") if isinstance(found, dict) else None
    return status if isinstance(status, int) and 400 <= status < 600 else 500
