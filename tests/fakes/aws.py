"""AWS on this machine: moto's server over HTTP, a small shim for what it lacks, and faults on order.

THE SHIM (all of it is here, and no more):

- ``UpdateEndpoint``, which moto has not: the request, and every answer of the shim, is validated against
  botocore's service model. An update takes a few looks, and may fail and roll back on order.
- Creating a model, config or endpoint twice is refused, as AWS does; moto overwrites.
- ``DescribeModel``, ``DescribeEndpointConfig`` and ``DescribeEndpoint`` also tell what moto forgets of the request.
- ``ListServiceQuotas`` of SageMaker, ``SimulatePrincipalPolicy`` and ``StopTransformJob``, which moto has not.
- Scaling of provisioned concurrency, a dimension that moto does not know, is kept under another one.
- A request for a bucket of another account is refused.
- A transform job that has an answer on order writes it to its output.
- Deleting an endpoint is refused while it is busy, as AWS does.

FAULTS: the n-th call from now on is throttled, refused, left without an answer in time, cut before it is carried
out, or carried out with its answer lost; it meets a page of HTML; or the caller's process is killed. In the stale
mode a describe or list that follows a change first answers as before it, and every list begins with an empty page.
"""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from socketserver import BaseServer
from typing import Any
from urllib.parse import parse_qs

import botocore.session
from botocore.validate import ParamValidator
from moto.applicationautoscaling.models import applicationautoscaling_backends
from moto.cloudwatch.models import cloudwatch_backends
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam.models import iam_backends
from moto.logs.models import logs_backends
from moto.moto_api._internal import moto_api_backend
from moto.s3.models import s3_backends
from moto.sagemaker.models import sagemaker_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

ACCOUNT = DEFAULT_ACCOUNT_ID
REGION = "us-east-1"
QUOTAS = {"ml.c5.large for endpoint usage": 20.0, "ml.c5.large for transform job usage": 20.0}
THROTTLED, DENIED, CUT, LOST, SLOW, KILLED = "throttled", "denied", "cut", "lost", "slow", "killed"
GARBLED = "garbled"
CODES = {THROTTLED: "ThrottlingException", DENIED: "AccessDeniedException"}
READS = ("Describe", "List", "Get", "Head", "BatchGet", "Simulate")

Environ = dict[str, Any]
Start = Callable[..., Any]
_MODEL = botocore.session.get_session().get_service_model("sagemaker")


@dataclass
class Fault:
    """What happens to the call number ``at`` (from 1); ``kind`` is one of the words above."""

    at: int
    kind: str
    pid: int = 0
    done: bool = False


@dataclass
class Behaviour:
    """How the shim behaves. ``looks``: describes until a change of an endpoint is over."""

    looks: int = 2
    broken: dict[str, str] = field(default_factory=dict)
    stale: bool = False
    quotas: dict[str, float] = field(default_factory=lambda: dict(QUOTAS))
    denied: tuple[str, ...] = ()
    slow_s: float = 0.6
    job_answer: bytes | None = None
    expired: bool = False


class FakeAws:
    """The server. ``calls`` lists every call since ``reset``; ``faults`` counts those that were injected."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.RLock()
        self.faults = 0
        self._clear()
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = make_server("127.0.0.1", 0, self._app, threaded=True)
        self.port = int(self._server.server_port)
        self._answers = False
        self.resume()

    @property
    def url(self) -> str:
        """Where it answers; S3 by path works under this name."""
        return f"http://localhost:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What makes boto3 and the CDK talk to it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_MAX_ATTEMPTS": "1",
        }

    def pause(self) -> None:
        """Answer nobody; the port stays, and who asks waits."""
        if self._answers:
            self._server.shutdown()
            self._thread.join()
            self._answers = False

    def resume(self) -> None:
        """Answer, in a thread of this process."""
        if self._answers:
            return
        self._answers = True
        # Not werkzeug's own loop, which closes the socket at its end.
        loop = partial(BaseServer.serve_forever, self._server, 0.05)
        self._thread = threading.Thread(target=loop, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the server."""
        self.pause()
        self._server.server_close()

    def state(self) -> dict[str, Any]:
        """Everything that exists in the account but images, without times: equal states are equal."""
        sagemaker = sagemaker_backends[ACCOUNT][REGION]
        scaling = applicationautoscaling_backends[ACCOUNT][REGION]
        iam = iam_backends[ACCOUNT]["aws"]
        alarms = cloudwatch_backends[ACCOUNT][REGION].alarms
        found: dict[str, Any] = {
            f"endpoint {name}": (item.endpoint_config_name, item.endpoint_status, _tags(item.tags))
            for name, item in sagemaker.endpoints.items()
        }
        for kind, items in (
            ("config", sagemaker.endpoint_configs),
            ("model", sagemaker._models),
        ):
            found |= {f"{kind} {name}": _tags(item.tags) for name, item in items.items()}
        found |= {
            f"job {name}": item.transform_job_status
            for name, item in sagemaker.transform_jobs.items()
        }
        found |= {f"alarm {name}": (a.threshold, a.alarm_actions) for name, a in alarms.items()}
        for targets in scaling.targets.values():
            found |= {f"target {k}": (t.min_capacity, t.max_capacity) for k, t in targets.items()}
        found |= {f"policy {p.policy_name}": p.policy_type for p in scaling.policies.values()}
        found |= {f"schedule {s.scheduled_action_name}": 1 for s in scaling.scheduled_actions}
        found |= {f"role {role.name}": dict(role.policies) for role in iam.roles.values()}
        for name, bucket in s3_backends[ACCOUNT]["aws"].buckets.items():
            found |= {
                f"bucket {name}": sorted(bucket.keys),
                f"parts {name}": len(bucket.multiparts),
            }
        groups = logs_backends[ACCOUNT][REGION].groups
        return found | {f"log {name}": 1 for name in groups}

    def reset(self) -> None:
        """Forget everything."""
        moto_api_backend.reset()
        self._clear()

    def _clear(self) -> None:
        self.calls: list[str] = []
        self.requests: list[tuple[str, Any]] = []
        self.uploads: dict[str, int] = {}
        self.fault: Fault | None = None
        self.behaviour = Behaviour()
        self._pending: dict[str, dict[str, Any]] = {}
        self._said: dict[str, dict[str, Any]] = {}
        self._before: dict[str, bytes] = {}
        self._changed: set[str] = set()
        self._provisioned: set[str] = set()
        self._number = 0

    def hurry(self) -> None:
        """Let every change that is under way be over at the next look."""
        for pending in self._pending.values():
            pending["left"] = 1

    def inject(self, at: int, kind: str, pid: int = 0) -> Fault:
        """Let the call number ``at`` from now on meet a fault."""
        with self._lock:
            self._number = 0
            self.fault = Fault(at, kind, pid)
            return self.fault

    @staticmethod
    def is_change(call: str) -> bool:
        """Whether a call changes something."""
        return not _reads(call)

    @staticmethod
    def job(name: str, status: str) -> None:
        """Let a transform job have this status."""
        sagemaker_backends[ACCOUNT][REGION].transform_jobs[name].transform_job_status = status

    @property
    def changing(self) -> list[str]:
        """The calls so far that changed something."""
        return [call for call in self.calls if not _reads(call)]

    # the server's side

    def _app(self, environ: Environ, start: Start) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        environ["wsgi.input"] = io.BytesIO(body)
        call = _call(environ, body)
        if call == "AmazonSQS.ReceiveMessage":  # it waits for messages, and nobody else with it
            status, headers, content = self._forward(environ)
            start(status, headers)
            return [content]
        with self._lock:
            self.calls.append(call)
            if call.startswith("S3.PUT") and body:
                last = call.partition("?")[0].rpartition("/")[2]
                self.uploads[last] = self.uploads.get(last, 0) + 1
            self._number += 1
            fault = self.fault
            hit = fault is not None and not fault.done and fault.at == self._number
            if hit and fault is not None:
                fault.done = True
                self.faults += 1
            if self.behaviour.expired:
                return _refuse(environ, start, "ExpiredToken")
            if hit and fault is not None and fault.kind not in (LOST, SLOW):
                return _fail(environ, start, fault)
            status, headers, content = self._answer(call, environ, body)
        if hit and fault is not None:
            if fault.kind == SLOW:
                time.sleep(self.behaviour.slow_s)
            return _hang_up(environ)
        start(status, headers)
        return [content]

    def _answer(self, call: str, environ: Environ, body: bytes) -> tuple[str, Any, bytes]:
        if call.startswith(("SageMaker.", "servicequotas.")):
            request = json.loads(body or b"{}")
            self.requests.append((call, request))
            shimmed = self._shim(call.partition(".")[2], request)
            if shimmed is not None:
                return _json(*shimmed)
        elif call == "Query.SimulatePrincipalPolicy":
            return self._simulate(parse_qs(body.decode()))
        elif call.startswith("AnyScaleFrontendService."):
            self.requests.append((call, json.loads(body)))
        elif environ.get("HTTP_X_AMZ_EXPECTED_BUCKET_OWNER", ACCOUNT) != ACCOUNT:
            return _not_yours()
        else:
            self.requests.append((call, None))
        if call.startswith("AnyScaleFrontendService."):
            return self._scaling(environ, body)
        if b'"NextToken": "more"' in body:  # of our empty page: moto begins at its first
            plain = {k: v for k, v in json.loads(body).items() if k != "NextToken"}
            environ["wsgi.input"] = io.BytesIO(json.dumps(plain).encode())
            environ["CONTENT_LENGTH"] = str(len(json.dumps(plain)))
        status, headers, content = self._forward(environ)
        if call.startswith("SageMaker.") and status.startswith("200"):
            content = self._after(call.partition(".")[2], json.loads(body or b"{}"), content)
        if self.behaviour.stale:
            content = self._stale(call, body, content, status)
        headers = [(k, v) for k, v in headers if k.lower() != "content-length"]
        return status, [*headers, ("Content-Length", str(len(content)))], content

    def _forward(self, environ: Environ) -> tuple[str, list[tuple[str, str]], bytes]:
        seen: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Callable[..., None]:
            seen[:] = [status, headers]
            return lambda data: None

        content = b"".join(self._moto(environ, start))
        return seen[0], list(seen[1]), content

    def _scaling(self, environ: Environ, body: bytes) -> tuple[str, Any, bytes]:
        known, unknown = b"variant:DesiredInstanceCount", b"variant:DesiredProvisionedConcurrency"
        resource = (
            json.loads(body).get("ResourceId") or json.loads(body).get("ResourceIds", [""])[0]
        )
        if unknown in body:
            self._provisioned.add(resource)
            body = body.replace(unknown, known)
            environ["wsgi.input"] = io.BytesIO(body)
            environ["CONTENT_LENGTH"] = str(len(body))
        status, headers, content = self._forward(environ)
        if resource in self._provisioned:
            content = content.replace(known, unknown)
        headers = [(k, v) for k, v in headers if k.lower() != "content-length"]
        return status, [*headers, ("Content-Length", str(len(content)))], content

    # the shim

    def _shim(self, operation: str, request: dict[str, Any]) -> tuple[int, Any] | None:
        if operation == "ListServiceQuotas":
            rows = [{"QuotaName": k, "Value": v} for k, v in self.behaviour.quotas.items()]
            return 200, {"Quotas": rows}
        if operation == "GetServiceQuota" and request["QuotaCode"] in self.behaviour.quotas:
            value = self.behaviour.quotas[request["QuotaCode"]]
            return 200, {"Quota": {"QuotaCode": request["QuotaCode"], "Value": value}}
        self._advance(operation, request)
        name = next(iter(request.values()), "")
        backend = sagemaker_backends[ACCOUNT][REGION]
        holders = {
            "CreateModel": backend._models,
            "CreateEndpointConfig": backend.endpoint_configs,
            "CreateEndpoint": backend.endpoints,
        }
        if operation in holders:
            if name in holders[operation]:
                return _invalid(f"Cannot create already existing resource {name!r}.")
            self._said[f"{operation}.{name}"] = request
        if operation == "DeleteEndpoint" and name in self._pending:
            return _invalid(f'Cannot update in-progress endpoint "{name}".')
        if operation == "StopTransformJob":
            backend.transform_jobs[name].transform_job_status = "Stopped"
            return 200, {}
        if operation == "UpdateEndpoint":
            answer = self._update(request)
            if answer[0] == 200:
                self._said[f"CreateEndpoint.{name}"] = request
            return answer
        return None

    def _update(self, request: dict[str, Any]) -> tuple[int, Any]:
        problems = ParamValidator().validate(
            request, _MODEL.operation_model("UpdateEndpoint").input_shape
        )
        if problems.has_errors():
            return _invalid(problems.generate_report())
        backend = sagemaker_backends[ACCOUNT][REGION]
        name, config = request["EndpointName"], request["EndpointConfigName"]
        if name not in backend.endpoints:
            return _invalid(f'Could not find endpoint "{name}".')
        if config not in backend.endpoint_configs:
            return _invalid(f'Could not find endpoint configuration "{config}".')
        if name in self._pending:
            return _invalid(f'Cannot update in-progress endpoint "{name}".')
        endpoint = backend.endpoints[name]
        old = {row["VariantName"] for row in endpoint.production_variants}
        rows = backend.endpoint_configs[config].production_variants
        if old != {row["VariantName"] for row in rows}:
            return _invalid("Variant names must match those of the old configuration.")
        endpoint.endpoint_status = "Updating"
        retain = request.get("RetainAllVariantProperties", False)
        self._pending[name] = {"left": self.behaviour.looks, "config": config, "retain": retain}
        answer = {"EndpointArn": endpoint.arn}
        shape = _MODEL.operation_model("UpdateEndpoint").output_shape
        assert not ParamValidator().validate(answer, shape).has_errors()
        return 200, answer

    def _advance(self, operation: str, request: dict[str, Any]) -> None:
        """Each look brings a pending change of an endpoint nearer to its end."""
        name = request.get("EndpointName", "")
        if operation != "DescribeEndpoint" or name not in self._pending:
            return
        pending = self._pending[name]
        pending["left"] -= 1
        if pending["left"] > 0:
            return
        del self._pending[name]
        backend = sagemaker_backends[ACCOUNT][REGION]
        endpoint = backend.endpoints.get(name)
        if endpoint is None:
            return
        reason = self.behaviour.broken.get(pending["config"])
        endpoint.last_modified_time = type(endpoint.last_modified_time).now(
            endpoint.last_modified_time.tzinfo
        )
        if pending.get("new"):
            endpoint.endpoint_status = "Failed" if reason else "InService"
            endpoint.failure_reason = reason
            return
        endpoint.endpoint_status = "InService"
        endpoint.failure_reason = reason
        if reason is None:
            self._switch(endpoint, pending["config"], retain=pending["retain"])

    def _switch(self, endpoint: Any, config: str, *, retain: bool) -> None:
        backend = sagemaker_backends[ACCOUNT][REGION]
        counts = [row.get("DesiredInstanceCount") for row in endpoint.production_variants]
        rows = backend.endpoint_configs[config].production_variants
        endpoint.production_variants = endpoint._process_production_variants(rows)
        endpoint.endpoint_config_name = config
        for row, count in zip(endpoint.production_variants, counts, strict=True):
            if retain and count is not None:
                row["CurrentInstanceCount"] = row["DesiredInstanceCount"] = count

    def _after(self, operation: str, request: dict[str, Any], content: bytes) -> bytes:
        """What a successful call of moto's leaves to do."""
        name = next(iter(request.values()), "")
        if operation == "CreateEndpoint":
            backend = sagemaker_backends[ACCOUNT][REGION]
            backend.endpoints[name].endpoint_status = "Creating"
            self._pending[name] = {
                "left": self.behaviour.looks,
                "config": request["EndpointConfigName"],
                "new": True,
            }
        if operation == "CreateTransformJob" and self.behaviour.job_answer is not None:
            uri = request["TransformOutput"]["S3OutputPath"].removeprefix("s3://")
            bucket, _, key = uri.partition("/")
            objects = s3_backends[ACCOUNT]["aws"]
            objects.put_object(bucket, f"{key}/body.out", self.behaviour.job_answer)
        forgotten = {
            "DescribeModel": "CreateModel",
            "DescribeEndpointConfig": "CreateEndpointConfig",
            "DescribeEndpoint": "CreateEndpoint",
        }
        if operation in forgotten:
            said = self._said.get(f"{forgotten[operation]}.{name}", {})
            answer = json.loads(content)
            keys = ("MetricsConfig", "EnableNetworkIsolation", "AsyncInferenceConfig", "KmsKeyId")
            answer |= {key: said[key] for key in keys if key in said}
            if "DeploymentConfig" in said:
                answer["LastDeploymentConfig"] = said["DeploymentConfig"]
            answer = {key: value for key, value in answer.items() if value != {}}
            return json.dumps(answer).encode()
        return content

    def _simulate(self, form: dict[str, list[str]]) -> tuple[str, Any, bytes]:
        actions = [v[0] for k, v in form.items() if k.startswith("ActionNames.member")]
        rows = "".join(
            f"<member><EvalActionName>{action}</EvalActionName><EvalDecision>"
            f"{'implicitDeny' if action in self.behaviour.denied else 'allowed'}"
            "</EvalDecision></member>"
            for action in actions
        )
        text = (
            "<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult><EvaluationResults>"
            f"{rows}</EvaluationResults></SimulatePrincipalPolicyResult>"
            "</SimulatePrincipalPolicyResponse>"
        ).encode()
        return "200 OK", [("Content-Type", "text/xml")], text

    def _stale(self, call: str, body: bytes, content: bytes, status: str) -> bytes:
        """After a change, each look answers once as before it; every list begins with an empty page."""
        if not call.startswith("SageMaker.") or not status.startswith("200"):
            return content
        if not _reads(call):
            self._changed = set(self._before)
            return content
        key = call + body.decode()
        if "List" in call and call != "SageMaker.ListTags":
            rows = json.loads(content)
            token = json.loads(body).get("NextToken")
            if token is None:
                empty = {k: [] for k in rows if k != "NextToken"}
                return json.dumps(empty | {"NextToken": "more"}).encode()
            return content
        old = self._before.get(key)
        self._before[key] = content
        if old is not None and key in self._changed:
            self._changed.discard(key)
            return old
        return content


def _call(environ: Environ, body: bytes) -> str:
    """Name a call: the service's own words where the protocol has them."""
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        head, _, operation = target.rpartition(".")
        word = "servicequotas" if head.startswith("ServiceQuotas") else head.rpartition(".")[2]
        return f"{word}.{operation}"
    path = environ["PATH_INFO"]
    if path.startswith("/service/"):  # Smithy RPC
        return f"RPC.{path.rpartition('/')[2]}"
    if body.startswith((b"Action=", b"Version=")) or b"&Action=" in body[:200]:
        return f"Query.{parse_qs(body.decode())['Action'][0]}"
    return f"S3.{environ['REQUEST_METHOD']} {path}?{environ.get('QUERY_STRING', '')}"


def _reads(call: str) -> bool:
    operation = call.partition(".")[2]
    return operation.startswith(READS) or operation.startswith(("GET ", "HEAD "))


def _tags(rows: Any) -> dict[str, str]:
    return {row["Key"]: row["Value"] for row in rows or ()}


def _invalid(message: str) -> tuple[int, Any]:
    return 400, {"__type": "ValidationException", "message": message}


def _json(status: int, document: Any) -> tuple[str, Any, bytes]:
    content = json.dumps(document).encode()
    headers = [
        ("Content-Type", "application/x-amz-json-1.1"),
        ("Content-Length", str(len(content))),
    ]
    return f"{status} {'OK' if status == 200 else 'Bad Request'}", headers, content


def _not_yours() -> tuple[str, Any, bytes]:
    content = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    headers = [("Content-Type", "text/xml"), ("Content-Length", str(len(content)))]
    return "403 Forbidden", headers, content


def _fail(environ: Environ, start: Start, fault: Fault) -> Iterable[bytes]:
    """Meet a call with a fault in place of carrying it out."""
    if fault.kind == KILLED:
        os.kill(fault.pid, signal.SIGKILL)
        while _lives(fault.pid):
            time.sleep(0.001)
    if fault.kind in (CUT, KILLED):
        return _hang_up(environ)
    if fault.kind == GARBLED:
        start("200 OK", [("Content-Type", "text/html"), ("Content-Length", "6")])
        return [b"<html>"]
    return _refuse(environ, start, CODES[fault.kind])


def _refuse(environ: Environ, start: Start, code: str) -> Iterable[bytes]:
    """Refuse in the words of the call's protocol."""
    if environ["PATH_INFO"].startswith("/service/"):
        content = b"\xa2" + _cbor("__type") + _cbor(code) + _cbor("message") + _cbor("on order")
        kind = "application/cbor"
    elif environ.get("HTTP_X_AMZ_TARGET"):
        content = json.dumps({"__type": code, "message": "on order"}).encode()
        kind = "application/x-amz-json-1.1"
    else:
        text = f"<Code>{code}</Code><Message>on order</Message>"
        if "Action" not in environ.get("CONTENT_TYPE", "") and "form" not in environ.get(
            "CONTENT_TYPE", ""
        ):
            content = f"<Error>{text}</Error>".encode()
        else:
            content = f"<ErrorResponse><Error>{text}</Error></ErrorResponse>".encode()
        kind = "text/xml"
    headers = [("Content-Type", kind), ("Content-Length", str(len(content)))]
    if environ["PATH_INFO"].startswith("/service/"):
        headers.append(("smithy-protocol", "rpc-v2-cbor"))
    start("400 Bad Request", headers)
    return [content]


def _cbor(text: str) -> bytes:
    data = text.encode()
    return (bytes([0x60 + len(data)]) if len(data) < 24 else bytes([0x78, len(data)])) + data


def _lives(pid: int) -> bool:
    """Whether a process still runs; one that is dead and not yet waited for does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _hang_up(environ: Environ) -> Iterable[bytes]:
    """Close the connection without an answer."""
    with suppress(OSError):  # one whose other end was killed is closed already
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError("hung up on order")
