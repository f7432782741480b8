"""The port that boto3 talks to: SageMaker Runtime's three calls, and the S3 calls that go with them."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Callable, Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast
from urllib.parse import unquote, urlsplit

from deployer.clients.base import Answer
from deployer.localmode import rules, storage, stream
from deployer.localmode.container import Container
from deployer.localmode.jobs import Jobs

MAX_OBJECT_BYTES = 256 * 2**20
_IDLE_S = 75.0
_REALTIME = "invocations"
_STREAM = "invocations-response-stream"
_ASYNC = "async-invocations"


class Front(ThreadingHTTPServer):
    """Serves endpoint ``name`` on ``host:port`` (0: any) before a container; ``close`` stops it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, host: str, port: int, name: str, container: Container, objects: storage.Objects
    ) -> None:
        self.endpoint = name
        self.container = container
        self.objects = objects
        self.jobs = Jobs(container, objects, name)
        super().__init__((host, port), _Call)
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """What to give boto3 as ``endpoint_url``."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"

    def start(self) -> None:
        """Take calls, in threads."""
        self._thread.start()

    def close(self) -> None:
        """Take no more calls; those in flight end by themselves."""
        if self._thread.is_alive():
            self.shutdown()
        self.server_close()
        self.jobs.close()


class _Call(BaseHTTPRequestHandler):
    """One connection. The names of its methods are those that http.server asks for."""

    protocol_version = "HTTP/1.1"
    server_version = "deployer-local-mode"
    sys_version = ""
    timeout = _IDLE_S
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the container has its own log."""

    def do_POST(self) -> None:
        """Answer an invocation."""
        self._guarded(self._post)

    def do_PUT(self) -> None:
        """Take an object, or a bucket, which needs no making."""
        self._guarded(self._put)

    def do_GET(self) -> None:
        """Answer an object."""
        self._guarded(self._get)

    def do_HEAD(self) -> None:
        """Answer whether there is an object."""
        self._guarded(self._get)

    def do_DELETE(self) -> None:
        """Remove an object."""
        self._guarded(self._delete)

    @property
    def _front(self) -> Front:
        return cast(Front, self.server)

    def _guarded(self, answer: Callable[[], None]) -> None:
        try:
            answer()
        except rules.Refusal as refusal:
            code = {"x-amzn-ErrorType": refusal.code} if refusal.code else {}
            self._reply(refusal.status, refusal.content, "application/json", code)
        except storage.NoSuchObject as error:
            self._refuse_object(404, "NoSuchKey", str(error))
        except storage.BadName as error:
            self._refuse_object(400, "InvalidArgument", str(error))

    def _post(self) -> None:
        if urlsplit(self.path).path == "/":
            self._who()
            return
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if (
            len(parts) != 3
            or parts[0] != "endpoints"
            or parts[2] not in (_REALTIME, _STREAM, _ASYNC)
        ):
            self.close_connection = True
            raise rules.Refusal(404, "UnknownOperationException", "no such operation here")
        rules.check_length(self._length())
        body = self._body()
        rules.check_endpoint(parts[1], self._front.endpoint)
        if parts[2] == _ASYNC:
            self._async(body)
            return
        headers = rules.forwarded(cast("Mapping[str, str]", self.headers), self._front.endpoint)
        if parts[2] == _STREAM:
            headers.pop("Accept", None)
            if (accept := self.headers.get(f"{rules.PREFIX}Accept")) is not None:
                headers["Accept"] = accept
        answer = self._front.container.invoke(body, headers)
        if len(answer.content) > rules.MAX_BODY_BYTES:
            raise rules.too_long_answer(len(answer.content))
        (self._stream if parts[2] == _STREAM else self._realtime)(answer)

    def _realtime(self, answer: Answer) -> None:
        kind = answer.headers.get("content-type", "")
        self._reply(200, answer.content, kind, _carried(answer))

    def _stream(self, answer: Answer) -> None:
        carried = _carried(answer)
        carried[f"{rules.PREFIX}Content-Type"] = answer.headers.get("content-type", "")
        self._reply(200, stream.payload(answer.content), stream.CONTENT_TYPE, carried)

    def _async(self, body: bytes) -> None:
        job = self._front.jobs.submit(cast("Mapping[str, str]", self.headers), body)
        places = {
            f"{rules.PREFIX}OutputLocation": f"s3://{'/'.join(job.output)}",
            f"{rules.PREFIX}FailureLocation": f"s3://{'/'.join(job.failure)}",
        }
        self._reply(202, b'{"InferenceId":"%b"}' % job.id.encode(), "application/json", places)

    def _who(self) -> None:
        """Answer STS's GetCallerIdentity, which clients ask before they write into a bucket."""
        if b"Action=GetCallerIdentity" not in self._body():
            raise rules.Refusal(404, "UnknownOperationException", "no such operation here")
        arn = f"arn:aws:iam::{rules.ACCOUNT}:user/local-mode"
        found = f"<Arn>{arn}</Arn><UserId>local-mode</UserId><Account>{rules.ACCOUNT}</Account>"
        body = f"<GetCallerIdentityResult>{found}</GetCallerIdentityResult>"
        answer = f"<GetCallerIdentityResponse>{body}</GetCallerIdentityResponse>"
        self._reply(200, answer.encode(), "text/xml")

    def _put(self) -> None:
        if self._length() > MAX_OBJECT_BYTES:
            self.close_connection = True
            raise storage.BadName(f"an object here has at most {MAX_OBJECT_BYTES} bytes")
        body = self._body()
        bucket, key = self._object()
        if key:
            kind = self.headers.get("Content-Type", "binary/octet-stream")
            self._front.objects.put(bucket, key, body, kind)
        self._reply(200, b"", "", {"ETag": _etag(body)})

    def _get(self) -> None:
        bucket, key = self._object()
        if not key:
            if self.command == "HEAD":
                self._reply(200, b"", "")
                return
            self._refuse_object(501, "NotImplemented", "objects are not listed here")
            return
        body, kind = self._front.objects.get(bucket, key)
        self._reply(
            200, body, kind, {"ETag": _etag(body), "Last-Modified": formatdate(usegmt=True)}
        )

    def _delete(self) -> None:
        bucket, key = self._object()
        self._front.objects.delete(bucket, key)
        self._reply(204, b"", "")

    def _object(self) -> tuple[str, str]:
        bucket, _, key = unquote(urlsplit(self.path).path).removeprefix("/").partition("/")
        return bucket, key

    def _length(self) -> int:
        text = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not text.isdigit():
            self.close_connection = True
            raise rules.Refusal(411, "", "a body needs its Content-Length here")
        length = int(text)
        if length > rules.MAX_BODY_BYTES:
            self.close_connection = True  # what is not read must not be taken for the next request
        return length

    def _body(self) -> bytes:
        body = self.rfile.read(self._length())
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            try:
                return stream.unchunked(body)
            except ValueError as error:
                raise storage.BadName(f"the body is not aws-chunked: {error}") from error
        return body

    def _refuse_object(self, status: int, code: str, message: str) -> None:
        text = f"<Error><Code>{code}</Code><Message>{_escaped(message)}</Message></Error>"
        self._reply(status, text.encode(), "application/xml")

    def _reply(
        self, status: int, body: bytes, kind: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
        if kind:
            self.send_header("Content-Type", kind)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _carried(answer: Answer) -> dict[str, str]:
    """Return the headers of a container's answer that SageMaker hands on, and its own."""
    found = {"x-Amzn-Invoked-Production-Variant": rules.VARIANT}
    for name in rules.ANSWER_HEADERS:
        if (value := answer.headers.get(name.lower())) is not None:
            found[name] = value
    return found


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
