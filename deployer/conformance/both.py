"""One bundle, started as SageMaker starts it and as an EC2 instance does, must give equal answers.

SageMaker names the port in the environment and sets headers of its own; an instance's unit passes arguments, and the
load balancer adds where a request came from. Status, every header and every byte of the body are compared; only the
request's id may differ. The request set is the bundle's samples, what every route and method answers, and what is
refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from deployer.clients.base import Answer, Body
from deployer.clients.http import HttpInvoker
from deployer.conformance.report import RuleResult
from deployer.conformance.verdict import BrokenError, NotPlayedError
from deployer.deployments.local import server as servers
from deployer.errors import DeployerError
from inference_code.contract import (
    CONTENT_TYPES,
    CUSTOM_ATTRIBUTES_HEADER,
    INVOCATIONS_ROUTE,
    JSON_TYPE,
    PING_ROUTE,
    PORT_ENV,
    REQUEST_ID_HEADER,
    Manifest,
)

EC2_OPTIONS = ("--drain-s", "20", "--lame-duck-s", "5", "--emf-s", "60")
"""What the container gets on an instance, beside ``serve``: its times to drain, metrics in its log."""
SAGEMAKER_HEADERS = {
    "X-Amzn-SageMaker-Inference-Id": "b7c3",
    CUSTOM_ATTRIBUTES_HEADER: "c000b4f9-df62-4c85-a0bf-7c525f9104a4",
}
EC2_HEADERS = {
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Port": "443",
    "X-Amzn-Trace-Id": "Root=1-67891233-abcdef012345678912345678",
}
_ID = REQUEST_ID_HEADER.lower()
_ANSWER_S = 60.0
_FIX = (
    "let no answer depend on how the server was started, or on headers that only one platform sends"
)


@dataclass(frozen=True)
class Request:
    """One request of the set, with a name for people."""

    name: str
    method: str
    path: str
    content: bytes
    headers: Mapping[str, str]


def samples(found: Mapping[str, Body]) -> tuple[Request, ...]:
    """Return each sample as it is, and with each type of answer asked for."""
    rows = []
    for name, body in found.items():
        for accept in ("", *sorted(set(CONTENT_TYPES.values()))):
            headers = {"Content-Type": body.content_type, **({"Accept": accept} if accept else {})}
            words = f"{name} as {accept}" if accept else name
            rows.append(Request(words, "POST", INVOCATIONS_ROUTE, body.content, headers))
    return tuple(rows)


def refusals(max_body_bytes: int) -> tuple[Request, ...]:
    """Return requests that a server must refuse."""
    route, json_type = INVOCATIONS_ROUTE, {"Content-Type": JSON_TYPE}
    return (
        Request("a broken body", "POST", route, b'{"broken": ', json_type),
        Request("an unknown type", "POST", route, b"?", {"Content-Type": "application/x-unknown"}),
        Request("no body", "POST", route, b"", json_type),
        Request("an unknown Accept", "POST", route, b"{}", {**json_type, "Accept": "image/x-no"}),
        Request("a compressed body", "POST", route, b"{}", {**json_type, "Content-Encoding": "br"}),
        Request("a wrong deadline", "POST", route, b"{}", {**json_type, "X-Deadline-Ms": "soon"}),
        Request("a body past the limit", "POST", route, b" " * (max_body_bytes + 1), json_type),
        Request("a wrong method", "GET", route, b"", {}),
        Request("another wrong method", "DELETE", PING_ROUTE, b"", {}),
        Request("an unknown route", "GET", "/no-such-path", b"", {}),
    )


def others() -> tuple[Request, ...]:
    """Return requests for what a server tells of itself that is the same at any time."""
    return tuple(
        Request(path, "GET", path, b"", {})
        for path in (PING_ROUTE, "/openapi.json", "/ping?deep=1")
    )


def compare(
    model_dir: Path, manifest: Manifest, bodies: Mapping[str, Body], folder: Path, startup_s: float
) -> tuple[RuleResult, ...]:
    """Start a bundle both ways and return the rules, each with what was seen. ``folder`` takes both logs."""
    with ExitStack() as stack:
        try:
            sides = [
                _start(stack, model_dir, manifest, folder, startup_s, ec2) for ec2 in (False, True)
            ]
        except DeployerError as error:
            return (
                RuleResult("serves as an EC2 instance starts it", "broken", error.message, _FIX),
            )
        both = _Both(*sides)
        limit = manifest.serving.max_body_bytes
        rules: tuple[tuple[str, Callable[[], str]], ...] = (
            ("samples get equal answers on SageMaker and EC2", lambda: both.play(samples(bodies))),
            ("refusals are equal on SageMaker and EC2", lambda: both.play(refusals(limit))),
            ("other routes are equal on SageMaker and EC2", lambda: both.play(others())),
        )
        started = RuleResult("serves as an EC2 instance starts it", "passed", "healthy", _FIX)
        return (started, *(_judge(name, rule) for name, rule in rules))


def _judge(name: str, rule: Callable[[], str]) -> RuleResult:
    try:
        return RuleResult(name, "passed", rule(), _FIX)
    except NotPlayedError as reason:
        return RuleResult(name, "not played", str(reason), _FIX)
    except (BrokenError, DeployerError) as error:
        return RuleResult(name, "broken", str(error), _FIX)


def _start(
    stack: ExitStack, model_dir: Path, manifest: Manifest, folder: Path, startup_s: float, ec2: bool
) -> HttpInvoker:
    port, log = servers.free_port(), folder / f"{'ec2' if ec2 else 'sagemaker'}.log"
    options = EC2_OPTIONS if ec2 else ()
    env = {} if ec2 else {PORT_ENV: str(port)}
    server = servers.start(
        model_dir, port, log=log, digest=manifest.digest, options=options, env=env
    )
    stack.callback(servers.stop, server, 0)
    servers.wait_ready(server, log, limit_s=startup_s)
    return HttpInvoker(f"http://{servers.HOST}:{port}", timeout_s=_ANSWER_S)


class _Both:
    def __init__(self, sagemaker: HttpInvoker, ec2: HttpInvoker) -> None:
        self._sagemaker, self._ec2 = sagemaker, ec2

    def play(self, requests: tuple[Request, ...]) -> str:
        """Ask both the same and compare. Raises BrokenError with the first difference, NotPlayedError for none."""
        if not requests:
            raise NotPlayedError("the bundle holds no sample: package it with --samples")
        unsteady = []
        for request in requests:
            first = self._ask(self._sagemaker, request, SAGEMAKER_HEADERS)
            words = difference(first, self._ask(self._ec2, request, EC2_HEADERS))
            if not words:
                continue
            if difference(first, self._ask(self._sagemaker, request, SAGEMAKER_HEADERS)):
                unsteady.append(request.name)
                continue
            raise BrokenError(f"{request.name}: {words}")
        if unsteady:
            raise NotPlayedError(
                f"{unsteady[0]} and {len(unsteady) - 1} more get another answer each time on SageMaker alone"
            )
        return f"{len(requests)} requests, equal in status, headers and body"

    def _ask(self, side: HttpInvoker, request: Request, headers: Mapping[str, str]) -> Answer:
        everything = {**request.headers, **headers}
        return side.request(request.method, request.path, request.content, everything)


def difference(sagemaker: Answer, ec2: Answer) -> str:
    """Return in words how two answers differ, "" when only the request's id does.

    >>> difference(Answer(200, b"1"), Answer(500, b"1"))
    'status 200 on SageMaker, 500 on EC2'
    """
    if sagemaker.status != ec2.status:
        return f"status {sagemaker.status} on SageMaker, {ec2.status} on EC2"
    # The length follows the body, and ids in it need not be of one length.
    names = (sagemaker.headers.keys() | ec2.headers.keys()) - {"content-length"}
    for name in sorted(names):
        one, other = sagemaker.headers.get(name), ec2.headers.get(name)
        if (name == _ID and one and other) or one == other:
            continue
        return f"header {name} is {one!r} on SageMaker, {other!r} on EC2"
    if _body(sagemaker) != _body(ec2):
        return f"body {sagemaker.content[:80]!r} on SageMaker, {ec2.content[:80]!r} on EC2"
    return ""


def _body(answer: Answer) -> bytes:
    """Return the body with the request's own id, which errors repeat, taken out."""
    request_id = answer.headers.get(_ID, "").encode()
    return answer.content.replace(request_id, b"ID") if request_id else answer.content
