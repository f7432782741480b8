"""Invokers of endpoints in local mode (a real server behind SageMaker's API), batch jobs against moto."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

import deployer
from deployer import api
from deployer.clients.base import Body, Invoker
from deployer.errors import AwsRefusal, DeployerError, EnvironmentProblem, InputError
from deployer.spec.target import SageMakerBatch

pytest.importorskip("boto3")
from deployer.aws.sagemaker import SageMaker
from deployer.aws.session import Aws
from deployer.clients import batch
from deployer.clients.sagemaker import (
    INLINE_BYTES,
    AsyncInvoker,
    AsyncOptions,
    EndpointInvoker,
)

pytestmark = pytest.mark.serve

HANDLER = """
import time
from inference_code.errors import Overloaded
from inference_code.handler import Handler as Base

class Handler(Base):
    batches = False

    def load(self, context):
        self.calls = 0

    def decode(self, body, content_type):
        return bytes(body), content_type

    def predict(self, items):
        self.calls += 1
        body, kind = items[0]
        if body == b"busy":
            raise Overloaded("no room")
        if body == b"slow":
            time.sleep(1.5)
        return [{"bytes": len(body), "type": kind, "calls": self.calls}]
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("mirror")
    (folder / "weights.txt").write_text("1")
    (folder / "handler.py").write_text(HANDLER)
    bundle = api.package(
        folder / "weights.txt", folder / "dist", name="mirror", handler=folder / "handler.py"
    )
    os.environ["DEPLOYER_STATE_DIR"] = str(folder / "state")
    with api.serving_as_sagemaker(bundle.path) as url:
        yield url


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    return monkeypatch


@pytest.fixture
def aws(keys: pytest.MonkeyPatch, url: str) -> Aws:
    keys.setenv("AWS_ENDPOINT_URL", url)
    return Aws("us-east-1")


def test_an_endpoint_is_invoked_as_any_other_server_is(aws: Aws) -> None:
    invoker: Invoker = EndpointInvoker(
        aws, "mirror", options={"CustomAttributes": f"traceparent=00-{'a' * 32}-{'b' * 16}-01"}
    )
    answer = invoker.invoke(Body(b"1,2", "text/csv"), accept="application/json")
    assert (answer.status, answer.content_type) == (200, "application/json")
    seen = json.loads(answer.content)
    assert (seen["bytes"], seen["type"]) == (3, "text/csv")
    assert "traceparent" in answer.headers["x-amzn-sagemaker-custom-attributes"]
    assert answer.headers["x-amzn-invoked-production-variant"] == "AllTraffic"


def test_the_package_offers_the_same_clients(aws: Aws, keys: pytest.MonkeyPatch) -> None:
    keys.setenv("AWS_REGION", "us-east-1")
    for mode, name in (("realtime", "mirror"), ("serverless", "mirror"), ("async", "mirror")):
        answer = deployer.endpoint(name, mode=mode).invoke(deployer.Body(b"1"))
        assert json.loads(answer.content)["bytes"] == 1
    with pytest.raises(InputError, match="takes 4194304"):
        deployer.endpoint("mirror", mode="serverless").invoke(deployer.Body(b"1" * (4 * 2**20 + 1)))


def test_an_error_of_the_container_keeps_its_status_and_is_not_sent_again(aws: Aws) -> None:
    invoker = EndpointInvoker(aws, "mirror")
    before = json.loads(invoker.invoke(Body(b"1")).content)["calls"]
    answer = invoker.invoke(Body(b"busy"))
    assert answer.status == 503
    assert json.loads(answer.content)["message"] == "no room"
    assert json.loads(invoker.invoke(Body(b"1")).content)["calls"] == before + 2


def test_a_body_over_the_limit_is_refused_before_it_is_sent(aws: Aws) -> None:
    with pytest.raises(InputError, match="this endpoint takes 10"):
        EndpointInvoker(aws, "mirror", max_bytes=10).invoke(Body(b"1" * 11))


def test_what_sagemaker_refuses_is_an_error(aws: Aws) -> None:
    with pytest.raises(
        AwsRefusal, match="Endpoint other of account 000000000000 not found"
    ) as caught:
        EndpointInvoker(aws, "other").invoke(Body(b"1"))
    assert caught.value.code == "ValidationError"


def test_no_answer_in_time_is_an_error_and_says_so(keys: pytest.MonkeyPatch, web: Any) -> None:
    with web.server(web.Behaviour(delay_s=lambda number: 30.0)) as url:
        keys.setenv("AWS_ENDPOINT_URL", url)
        # Ten seconds more than the container's time are given to the way there and back.
        invoker = EndpointInvoker(Aws("us-east-1"), "mirror", timeout_s=-9.5)
        with pytest.raises(EnvironmentProblem, match="Read timeout"):
            invoker.invoke(Body(b"1"))


def test_an_asynchronous_call_waits_for_its_result(aws: Aws) -> None:
    told: list[str] = []
    invoker: Invoker = AsyncInvoker(aws, "mirror", say=told.append)
    answer = invoker.invoke(Body(b"slow", "text/plain"), accept="application/json")
    seen = json.loads(answer.content)
    assert (answer.status, seen["bytes"], seen["type"]) == (200, 4, "text/plain")
    assert told
    assert told[0].startswith("waiting for s3://")


def test_a_long_body_goes_through_s3(aws: Aws) -> None:
    body = Body(b"1" * (INLINE_BYTES + 1), "text/plain")
    with pytest.raises(InputError, match="an asynchronous call carries 128000"):
        AsyncInvoker(aws, "mirror").invoke(body)
    told: list[str] = []
    options = AsyncOptions(upload_to="s3://payloads/in/")
    answer = AsyncInvoker(aws, "mirror", options, say=told.append).invoke(body)
    assert json.loads(answer.content)["bytes"] == INLINE_BYTES + 1
    assert told[0].startswith("uploaded s3://payloads/in/")


def test_an_asynchronous_failure_is_an_answer_with_the_containers_status(aws: Aws) -> None:
    answer = AsyncInvoker(aws, "mirror").invoke(Body(b"busy"))
    assert answer.status == 503
    assert b"no room" in answer.content


def test_a_wait_that_is_too_short_says_where_the_result_will_be(aws: Aws) -> None:
    invoker = AsyncInvoker(aws, "mirror", AsyncOptions(timeout_s=0.1))
    call = invoker.submit(Body(b"slow"))
    with pytest.raises(EnvironmentProblem, match="no result after") as caught:
        invoker.wait(call)
    assert call.output in str(caught.value.hint)
    assert AsyncInvoker(aws, "mirror").wait(call).status == 200


# --- batch


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def sagemaker(keys: pytest.MonkeyPatch, moto: str) -> SageMaker:
    keys.setenv("AWS_ENDPOINT_URL", moto)
    return SageMaker(Aws("us-east-1"))


TARGET = SageMakerBatch(
    "ml.c5.xlarge",
    instances=2,
    content_type="text/csv",
    accept="text/csv",
    split="line",
    assemble="line",
    max_concurrent=4,
)


def test_the_request_of_a_batch_job_is_what_the_specification_says() -> None:
    assert batch.request(
        "nightly-1", "digits-3f9a", TARGET,
        input_s3_uri="s3://in/day/", output_s3_uri="s3://out/day/", tags={"deployer:name": "digits"},
    ) == {
        "TransformJobName": "nightly-1",
        "ModelName": "digits-3f9a",
        "MaxConcurrentTransforms": 4,
        "MaxPayloadInMB": 6,
        "BatchStrategy": "MultiRecord",
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://in/day/"}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        "TransformOutput": {
            "S3OutputPath": "s3://out/day/",
            "Accept": "text/csv",
            "AssembleWith": "Line",
        },
        "TransformResources": {"InstanceType": "ml.c5.xlarge", "InstanceCount": 2},
        "Tags": [{"Key": "deployer:name", "Value": "digits"}],
    }  # fmt: skip


def test_a_batch_job_needs_its_places() -> None:
    with pytest.raises(InputError, match="needs its output in S3"):
        batch.request("a", "b", TARGET, input_s3_uri="s3://in/day/")


def test_a_batch_job_is_watched_until_it_ends(sagemaker: SageMaker) -> None:
    wanted = batch.request("job", "m", TARGET, input_s3_uri="s3://i/a", output_s3_uri="s3://o/a")
    assert batch.start(sagemaker, wanted)
    told: list[str] = []
    result = batch.watch(sagemaker, "job", look_s=0.01, say=told.append)
    assert (result.name, result.output_s3_uri) == ("job", "s3://o/a")
    assert told[-1].startswith("job job: Completed")
    with pytest.raises(InputError, match="there is no transform job 'other'"):
        batch.watch(sagemaker, "other", look_s=0.01)


class Told:
    """Answers with one description after the other; the last stays."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)

    def transform_job(self, name: str) -> dict[str, Any]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_a_job_that_fails_is_an_error_with_its_reason() -> None:
    told: list[str] = []
    jobs: Any = Told(
        {"TransformJobStatus": "InProgress"},
        {"TransformJobStatus": "InProgress"},
        {"TransformJobStatus": "Failed", "FailureReason": "AlgorithmError: bad line 7"},
    )
    with pytest.raises(DeployerError, match="job a failed: AlgorithmError: bad line 7"):
        batch.watch(jobs, "a", look_s=0.001, say=told.append)
    assert len(told) == 2


def test_a_watch_that_is_too_short_leaves_the_job_alone() -> None:
    jobs: Any = Told({"TransformJobStatus": "InProgress"})
    with pytest.raises(EnvironmentProblem, match="job a is InProgress after"):
        batch.watch(jobs, "a", timeout_s=0.01, look_s=0.005)
