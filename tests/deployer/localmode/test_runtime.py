"""Real boto3 against local mode, before a bundle's real server process."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from deployer import api
from deployer.deployments.local import server as servers
from deployer.errors import DeployerError, EnvironmentProblem, InputError

boto3 = pytest.importorskip("boto3")
from botocore.config import Config  # noqa: E402
from botocore.exceptions import ClientError  # noqa: E402

pytestmark = [pytest.mark.serve, pytest.mark.timeout(120)]

HANDLER = """
import time

from inference_code.errors import Overloaded
from inference_code.handler import Handler as Base


class Handler(Base):
    wants_headers = True

    def load(self, context):
        pass

    def decode_request(self, body, content_type, accept, headers):
        return bytes(body), content_type, accept, dict(headers)

    def predict(self, items):
        return [self.one(*item) for item in items]

    def one(self, body, content_type, accept, headers):
        if body == b"bad":
            raise RuntimeError("a secret of the model")
        if body == b"busy":
            raise Overloaded("no room", retry_after_s=3)
        if body == b"large":
            return {"padding": "x" * 7_000_000}
        return {"body": body.decode(), "type": content_type, "accept": accept, "headers": headers}
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirror")
    (folder / "weights.txt").write_text("1")
    (folder / "handler.py").write_text(HANDLER)
    return api.package(
        folder / "weights.txt", folder / "dist", name="mirror", handler=folder / "handler.py"
    ).path


@pytest.fixture(scope="module")
def url(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    before = os.environ.get("DEPLOYER_STATE_DIR")
    os.environ["DEPLOYER_STATE_DIR"] = str(tmp_path_factory.mktemp("state"))
    try:
        with api.serving_as_sagemaker(bundle) as url:
            yield url
    finally:
        os.environ.pop("DEPLOYER_STATE_DIR")
        if before is not None:
            os.environ["DEPLOYER_STATE_DIR"] = before


def client(service: str, url: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture
def runtime(url: str) -> Any:
    return client("sagemaker-runtime", url)


def invoke(runtime: Any, body: Any = b"hello", **options: Any) -> tuple[dict[str, Any], Any]:
    answer = runtime.invoke_endpoint(EndpointName="mirror", Body=body, **options)
    return json.loads(answer["Body"].read()), answer


def test_a_call_reaches_the_model_and_its_answer_comes_back(runtime: Any) -> None:
    seen, answer = invoke(
        runtime, b'{"x": 1}', ContentType="application/json", Accept="text/csv;q=0.5, */*"
    )
    assert (seen["body"], seen["type"]) == ('{"x": 1}', "application/json")
    assert seen["accept"] == "text/csv;q=0.5, */*"
    assert answer["ContentType"] == "application/json"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
    assert "x-request-id" not in answer["ResponseMetadata"]["HTTPHeaders"]


def test_only_the_headers_that_sagemaker_lets_through_reach_the_container(url: str) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    headers = {
        "Content-Type": "application/json",
        "Authorization": "secret",
        "Cookie": "secret",
        "X-Forwarded-For": "10.0.0.1",
        "X-Deadline-Ms": "1",
        "traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01",
        "x-amzn-sagemaker-inference-id": "abc",
        "X-Amzn-SageMaker-Custom-Attributes": "tenant=7",
    }
    connection.request("POST", "/endpoints/mirror/invocations", b"1", headers)
    seen = json.loads(connection.getresponse().read())["headers"]
    connection.close()
    extra = {"host", "accept-encoding", "content-length", "content-type", "accept"}
    assert {name: value for name, value in seen.items() if name not in extra} == {
        "x-amzn-sagemaker-inference-id": "abc",
        "x-amzn-sagemaker-custom-attributes": "tenant=7",
    }


def test_custom_attributes_go_both_ways(runtime: Any) -> None:
    trace = f"traceparent=00-{'a' * 32}-{'b' * 16}-01"
    seen, answer = invoke(runtime, CustomAttributes=trace, InferenceId="id-1")
    assert seen["headers"]["x-amzn-sagemaker-custom-attributes"] == trace
    assert seen["headers"]["x-amzn-sagemaker-inference-id"] == "id-1"
    assert answer["CustomAttributes"] == trace


def refused(call: Callable[[], object]) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response


def test_an_error_of_the_model_is_a_model_error_with_its_own_status(runtime: Any) -> None:
    found = refused(lambda: invoke(runtime, b"bad"))
    assert found["Error"]["Code"] == "ModelError"
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert found["OriginalStatusCode"] == 500
    assert json.loads(found["OriginalMessage"])["error"] == "HandlerFailed"
    assert "Received server error (500) from primary" in found["Error"]["Message"]
    assert "secret" not in json.dumps(found)
    with pytest.raises(runtime.exceptions.ModelError):
        invoke(runtime, b"bad")


@pytest.mark.parametrize(
    ("body", "status", "kind"), [(b"busy", 503, "server"), (b"", 400, "client")]
)
def test_what_the_container_refuses_is_a_model_error_too(
    runtime: Any, body: bytes, status: int, kind: str
) -> None:
    found = refused(lambda: invoke(runtime, body))
    assert (found["Error"]["Code"], found["OriginalStatusCode"]) == ("ModelError", status)
    assert f"Received {kind} error ({status})" in found["Error"]["Message"]


def test_an_answer_over_the_limit_is_not_carried(runtime: Any) -> None:
    found = refused(lambda: invoke(runtime, b"large"))
    assert found["Error"]["Code"] == "ModelError"
    assert found["OriginalStatusCode"] == 0


def test_six_mebibytes_pass_and_a_byte_more_is_refused_before_the_container(runtime: Any) -> None:
    most = 6 * 2**20
    seen, _ = invoke(runtime, b"1" * (most // 2), ContentType="text/plain")
    assert len(seen["body"]) == most // 2
    found = refused(lambda: invoke(runtime, b"1" * (most + 1)))
    assert found["Error"] == {
        "Code": "413",
        "Message": "HTTP content length exceeded 6291456 bytes.",
    }
    full = refused(
        lambda: invoke(runtime, b"1" * most)
    )  # echoed in JSON it is over the answer's limit
    assert full["OriginalStatusCode"] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"EndpointName": "other"}, "Endpoint other of account 000000000000 not found"),
        ({"CustomAttributes": "x" * 1025}, "less than or equal to 1024"),
        ({"InferenceId": "x" * 65}, "less than or equal to 64"),
        ({"TargetModel": "b.tar.gz"}, "not a multi-model endpoint"),
        ({"TargetVariant": "Second"}, "Variant Second of endpoint mirror not found"),
        ({"InferenceComponentName": "part"}, "no inference components"),
        ({"TargetContainerHostname": "second"}, "one container"),
        ({"EnableExplanations": "`true`"}, "no explainer"),
    ],
)
def test_what_the_endpoint_does_not_have_is_a_validation_error(
    runtime: Any, options: dict[str, str], words: str
) -> None:
    found = refused(
        lambda: runtime.invoke_endpoint(**{"EndpointName": "mirror", "Body": b"1", **options})
    )
    assert found["Error"]["Code"] == "ValidationError"
    assert words in found["Error"]["Message"]
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_the_one_variant_may_be_named(runtime: Any) -> None:
    seen, _ = invoke(
        runtime, TargetVariant="AllTraffic", SessionId="NEW_SESSION", PrefixAwareId="p"
    )
    assert seen["headers"]["x-amzn-sagemaker-target-variant"] == "AllTraffic"
    assert seen["headers"]["x-amzn-sagemaker-session-id"] == "NEW_SESSION"


def test_a_streamed_answer_comes_as_events(runtime: Any) -> None:
    body = b"1" * 200_000
    answer = runtime.invoke_endpoint_with_response_stream(
        EndpointName="mirror", Body=body, ContentType="text/plain", Accept="application/json"
    )
    parts = [part["PayloadPart"]["Bytes"] for part in answer["Body"]]
    assert len(parts) > 1
    seen = json.loads(b"".join(parts))
    assert seen["body"] == body.decode()
    assert seen["accept"] == "application/json"
    assert answer["ContentType"] == "application/json"


def test_an_operation_that_is_none_and_a_body_without_length(url: str) -> None:
    parts = urlsplit(url)
    for path, headers, status in (
        ("/endpoints/mirror/other", {"Content-Length": "0"}, 404),
        ("/endpoints/mirror/invocations", {"Transfer-Encoding": "chunked"}, 411),
    ):
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        connection.putrequest("POST", path)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().status == status
        connection.close()


def wait_for(s3: Any, uri: str) -> Any:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    deadline = time.monotonic() + 20
    while True:
        try:
            return s3.get_object(Bucket=bucket, Key=key)
        except s3.exceptions.NoSuchKey:
            assert time.monotonic() < deadline, f"no {uri}"
            time.sleep(0.05)


def test_an_asynchronous_call_with_its_body_inline(url: str, runtime: Any) -> None:
    answer = runtime.invoke_endpoint_async(
        EndpointName="mirror",
        Body=b"later",
        ContentType="text/plain",
        Accept="application/json",
        InferenceId="job-1",
        Filename="one.json",
        S3OutputPathExtension="run/7",
    )
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert answer["InferenceId"] == "job-1"
    assert answer["OutputLocation"].endswith("/run/7/one.json")
    found = wait_for(client("s3", url), answer["OutputLocation"])
    seen = json.loads(found["Body"].read())
    assert (seen["body"], seen["type"], seen["accept"]) == (
        "later",
        "text/plain",
        "application/json",
    )
    assert found["ContentType"] == "application/json"
    assert seen["headers"]["x-amzn-sagemaker-inference-id"] == "job-1"


def test_an_asynchronous_call_reads_its_input_from_s3(
    url: str, runtime: Any, tmp_path: Path
) -> None:
    s3 = client("s3", url)
    s3.create_bucket(Bucket="inputs")
    (tmp_path / "in.txt").write_bytes(b"from a file")
    s3.upload_file(str(tmp_path / "in.txt"), "inputs", "a/in.txt")
    s3.head_object(Bucket="inputs", Key="a/in.txt")
    answer = runtime.invoke_endpoint_async(
        EndpointName="mirror", InputLocation="s3://inputs/a/in.txt", ContentType="text/plain"
    )
    assert (
        json.loads(wait_for(s3, answer["OutputLocation"])["Body"].read())["body"] == "from a file"
    )
    s3.delete_object(Bucket="inputs", Key="a/in.txt")
    again = runtime.invoke_endpoint_async(
        EndpointName="mirror", InputLocation="s3://inputs/a/in.txt"
    )
    failure = json.loads(wait_for(s3, again["FailureLocation"])["Body"].read())
    assert "cannot read the input" in failure["Message"]


def test_an_asynchronous_failure_lies_where_failures_go(url: str, runtime: Any) -> None:
    answer = runtime.invoke_endpoint_async(EndpointName="mirror", Body=b"bad")
    s3 = client("s3", url)
    failure = json.loads(wait_for(s3, answer["FailureLocation"])["Body"].read())
    assert failure["OriginalStatusCode"] == 500
    bucket, _, key = answer["OutputLocation"].removeprefix("s3://").partition("/")
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket=bucket, Key=key)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "exactly one of InputLocation and Body"),
        ({"Body": b"1", "InputLocation": "s3://a/b"}, "exactly one of InputLocation and Body"),
        ({"Body": b"1" * 128_001}, "less than or equal to 128000"),
        ({"Body": b"1", "InvocationTimeoutSeconds": 3601}, "from 1 to 3600"),
        ({"Body": b"1", "RequestTTLSeconds": 21_601}, "from 60 to 21600"),
        ({"Body": b"1", "Filename": "a.b.c"}, "regular expression"),
        ({"Body": b"1", "S3OutputPathExtension": "../../x"}, "cannot be a file here"),
        ({"InputLocation": "s3://bucket"}, "inputLocation"),
    ],
)
def test_asynchronous_calls_out_of_bounds_are_refused(
    runtime: Any, options: dict[str, Any], words: str
) -> None:
    found = refused(lambda: runtime.invoke_endpoint_async(EndpointName="mirror", **options))
    assert found["Error"]["Code"] == "ValidationError"
    assert words in found["Error"]["Message"]


@pytest.mark.parametrize("path", ["/inputs/../../etc/passwd", "/inputs/%2e%2e/x", "/../x", "/UP/x"])
def test_objects_do_not_leave_their_folder(url: str, path: str) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert (answer.status, b"InvalidArgument" in answer.read()) == (400, True)
    connection.close()


def test_the_command_serves_until_it_is_asked_to_stop(bundle: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "deployer", "serve", str(bundle), "--as-sagemaker"]
    words += [
        "--name",
        "mine",
        "--port",
        str(servers.free_port()),
        "--objects",
        str(tmp_path / "objects"),
    ]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        url = ""
        for line in process.stderr:
            if found := re.search(r"endpoint mine at (http://\S+)", line):
                url = found[1]
                break
        runtime = client("sagemaker-runtime", url)
        answer = runtime.invoke_endpoint(EndpointName="mine", Body=b"x", ContentType="text/plain")
        assert json.loads(answer["Body"].read())["body"] == "x"
        process.send_signal(signal.SIGINT)
        process.stderr.read()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.stderr.close()


def test_names_and_ports_are_checked_first(bundle: Path, url: str) -> None:
    with (
        pytest.raises(InputError, match="no name of an endpoint"),
        api.serving_as_sagemaker(bundle, name="a_b"),
    ):
        pass
    port = urlsplit(url).port or 0
    with pytest.raises(EnvironmentProblem, match=f"cannot listen on 127.0.0.1:{port}"):
        api.serve_as_sagemaker(bundle, port=port)


def test_a_server_that_cannot_start_ends_the_command(tmp_path: Path) -> None:
    (tmp_path / "weights.txt").write_text("1")
    (tmp_path / "handler.py").write_text("def model_fn(folder): raise RuntimeError('no')")
    broken = api.package(
        tmp_path / "weights.txt", tmp_path / "dist", name="broken", handler=tmp_path / "handler.py"
    ).path
    with pytest.raises(DeployerError, match="ended by itself"):
        api.serve_as_sagemaker(broken, port=0)
