"""From a training job or a model package to a bundle: moto over HTTP, botocore's Stubber for what it does not tell."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("boto3")
import boto3
from botocore.response import StreamingBody
from botocore.stub import Stubber

from deployer import api
from deployer.api.training import fetch, lineage_beside, trained
from deployer.aws import training
from deployer.aws.download import download
from deployer.aws.session import Aws
from deployer.bundle.bundle import open_bundle
from deployer.cli.main import cli
from deployer.errors import DeployerError, InputError

ACCOUNT = "123456789012"
IMAGE = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/train:1"
URI = "s3://models/out/digits-1/output/model.tar.gz"
HANDLER = "def model_fn(folder): return None\ndef predict_fn(data, model): return data\n"


def packed(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(
                name.replace("__", "/").replace("_py", ".py").replace("_bin", ".bin")
            )
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


TOOLKIT = packed(weights_bin=b"1" * 1000, code__inference_py=HANDLER.encode())


@pytest.fixture
def s3(fake_aws: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    client = boto3.client("s3")
    client.create_bucket(Bucket="models")
    client.put_object(Bucket="models", Key="out/digits-1/output/model.tar.gz", Body=TOOLKIT)
    return client


@pytest.fixture
def job(s3: Any) -> str:
    boto3.client("sagemaker").create_training_job(
        TrainingJobName="digits-1",
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/train",
        InputDataConfig=[
            {
                "ChannelName": "train",
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/v7/"}
                },
            }
        ],
        OutputDataConfig={"S3OutputPath": "s3://models/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )
    described = boto3.client("sagemaker").describe_training_job(TrainingJobName="digits-1")
    where = described["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://models/")
    s3.put_object(Bucket="models", Key=where, Body=TOOLKIT)
    return "digits-1"


def test_a_jobs_artifact_becomes_a_bundle_that_tells_where_it_came_from(
    job: str, tmp_path: Path
) -> None:
    words = ["package", "--from-training-job", job, "--name", "digits", "-o", str(tmp_path / "d")]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.stderr
    bundle = open_bundle(Path(done.stdout.strip()))
    paths = {member.path for member in bundle.manifest.members}
    assert {"weights.bin", "code/inference.py", "code/requirements.txt"} <= paths
    lineage = bundle.manifest.lineage
    assert lineage["training_job"].endswith(":training-job/digits-1")
    assert lineage["training_image"] == IMAGE
    assert lineage["training_data.train"] == "s3://data/v7/"
    assert any(float(value) for key, value in lineage.items() if key.startswith("metric."))
    assert lineage["artifact"].startswith("s3://models/out/")
    assert lineage["artifact_sha256"] == hashlib.sha256(TOOLKIT).hexdigest()
    assert lineage["artifact_bytes"] == str(len(TOOLKIT))
    assert lineage["artifact_etag"] == hashlib.md5(TOOLKIT).hexdigest()
    again = CliRunner().invoke(cli, words)
    assert again.stdout == done.stdout  # the same job gives the same digest
    assert "fetch s3://models/out/" in done.stderr


def test_one_file_of_the_artifact_can_be_named(job: str, tmp_path: Path) -> None:
    handler = tmp_path / "handler.py"
    handler.write_text(HANDLER)
    words = ["package", "--from-training-job", job, "--name", "d", "--handler", str(handler)]
    done = CliRunner().invoke(cli, [*words, "weights.bin", "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.stderr
    assert open_bundle(Path(done.stdout.strip())).manifest.model == "weights.bin"
    for wrong in ("nothing.bin", "../evil", "/etc/passwd"):
        done = CliRunner().invoke(cli, [*words, wrong, "-o", str(tmp_path / "out2")])
        assert done.exit_code == 2
        assert "the artifact holds no" in done.stderr
        assert "weights.bin" in done.stderr


def test_without_a_job_the_model_must_be_named_and_be_there(tmp_path: Path) -> None:
    for words in ([], [str(tmp_path / "none.onnx")]):
        done = CliRunner().invoke(cli, ["package", *words, "--name", "d", "-o", str(tmp_path)])
        assert done.exit_code == 2
        assert "MODEL" in done.stderr


@pytest.mark.optimize
def test_optimising_a_jobs_model_carries_its_lineage_into_the_bundle(
    job: str, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    import numpy as np

    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=(64, 16)).astype(np.float32)
    nets = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.ReLU(), torch.nn.Linear(64, 4))
    api.export(nets.eval(), {"x": rows[:8]}, tmp_path / "m" / "net.onnx")
    files = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    np.savez("c.npz", x=rows)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    where = boto3.client("sagemaker").describe_training_job(TrainingJobName=job)
    key = where["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://models/")
    s3.put_object(Bucket="models", Key=key, Body=buffer.getvalue())
    words = ["--calibration", "c.npz", "--rung", "int8-dynamic", "-o", "out"]
    done = CliRunner().invoke(cli, ["optimize", "--from-training-job", job, *words])
    assert done.exit_code == 0, done.stderr
    noted = json.loads(Path("out/lineage.json").read_text())["lineage"]
    assert noted["artifact_sha256"] == hashlib.sha256(buffer.getvalue()).hexdigest()
    assert noted["judged_by"] == "fidelity to FP32 on 32 held-out calibration rows"
    bundle = api.package(Path("out/best.onnx"), tmp_path / "dist", name="net")
    assert bundle.manifest.lineage == noted
    assert api.package(Path("m/net.onnx"), tmp_path / "d2", name="net").manifest.lineage == {}
    Path("out/lineage.json").write_text("[]")
    with pytest.raises(InputError, match="is no note of a lineage"):
        lineage_beside(Path("out/best.onnx"))


# --- model packages, and what moto does not tell


@pytest.fixture
def aws(s3: Any) -> Aws:
    return Aws("us-east-1")


ARN = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:model-package/digits/3"


def package(**changes: Any) -> dict[str, Any]:
    held = {"Image": IMAGE, "ImageDigest": "sha256:" + "1" * 64, "ModelDataUrl": URI,
            "ModelDataETag": hashlib.md5(TOOLKIT).hexdigest()}  # fmt: skip
    document = {"S3Uri": "s3://models/quality.json", "ContentType": "application/json"}
    return {
        "ModelPackageName": "digits",
        "ModelPackageArn": ARN,
        "CreationTime": datetime(2026, 11, 20, tzinfo=UTC),
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "ModelApprovalStatus": "Approved",
        "InferenceSpecification": {"Containers": [held]},
        "ModelMetrics": {"ModelQuality": {"Statistics": document}},
        "CustomerMetadataProperties": {"commit": "abc"},
        **changes,
    }


def find(aws: Aws, answer: dict[str, Any], name: str = ARN) -> training.Trained:
    operation = "describe_model_package" if "ModelPackageArn" in answer else "describe_training_job"
    with Stubber(aws.client("sagemaker")) as stub:
        stub.add_response(operation, answer)
        return training.find(aws, name)


def test_a_model_package_tells_its_image_metrics_and_etag(aws: Aws, tmp_path: Path) -> None:
    found = find(aws, package())
    assert (found.kind, found.uri, found.loose) == (training.PACKAGE, URI, False)
    assert found.lineage == {
        "model_package": ARN,
        "approval": "Approved",
        "training_image": f"{IMAGE}@sha256:{'1' * 64}",
        "metrics.ModelQuality.Statistics": "s3://models/quality.json",
        "metadata.commit": "abc",
        "artifact": URI,
    }
    came = download(aws, found.uri, tmp_path / "a", most=10**6, etag=found.etag)
    assert came.sha256 == hashlib.sha256(TOOLKIT).hexdigest()
    with pytest.raises(InputError, match="is not what it was when it was registered"):
        download(aws, found.uri, tmp_path / "b", most=10**6, etag="0" * 32)
    assert not (tmp_path / "b").exists()


def test_a_model_package_in_motos_registry_is_fetched(s3: Any, aws: Aws) -> None:
    client = boto3.client("sagemaker")
    client.create_model_package_group(ModelPackageGroupName="digits")
    arn = client.create_model_package(
        ModelPackageGroupName="digits",
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [{"Image": IMAGE, "ModelDataUrl": URI}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )["ModelPackageArn"]
    with trained(arn) as model:
        assert (model.folder / "weights.bin").read_bytes() == b"1" * 1000
        assert model.lineage["model_package"] == arn
        folder = model.folder
    assert not folder.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ModelPackageStatus": "Failed"}, "is Failed"),
        ({"ModelApprovalStatus": "Rejected"}, "is Rejected"),
        (
            {"InferenceSpecification": {"Containers": [{"Image": "a"}, {"Image": "b"}]}},
            "holds 2 models",
        ),
        ({"InferenceSpecification": {"Containers": [{"Image": "a"}]}}, "names no artifact"),
    ],
)
def test_a_package_that_is_no_good_is_refused(aws: Aws, changes: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        find(aws, package(**changes))


def described(**changes: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": "digits-1",
        "TrainingJobArn": f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:training-job/digits-1",
        "ModelArtifacts": {"S3ModelArtifacts": URI},
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "ResourceConfig": {"VolumeSizeInGB": 1},
        "StoppingCondition": {},
        "CreationTime": datetime(2026, 11, 20, tzinfo=UTC),
        **changes,
    }


def test_a_job_that_did_not_complete_is_refused_with_its_reason(aws: Aws) -> None:
    with pytest.raises(InputError, match="is Failed: AlgorithmError: no rows"):
        find(
            aws,
            described(TrainingJobStatus="Failed", FailureReason="AlgorithmError: no rows"),
            "digits-1",
        )
    with pytest.raises(InputError, match="is Stopped"):
        find(aws, described(TrainingJobStatus="Stopped"), "digits-1")
    with pytest.raises(InputError, match="there is no training job 'nobody'"):
        training.find(aws, "nobody")


def test_a_job_in_the_file_system_of_another_name(aws: Aws) -> None:
    files = {
        "FileSystemId": "fs-0123456789a",
        "FileSystemAccessMode": "ro",
        "FileSystemType": "EFS",
        "DirectoryPath": "/d",
    }
    channel = {"ChannelName": "train", "DataSource": {"FileSystemDataSource": files}}
    metric = {"MetricName": "validation:accuracy", "Value": 0.5, "Timestamp": datetime(2026, 1, 1)}
    found = find(
        aws, described(InputDataConfig=[channel], FinalMetricDataList=[metric]), "digits-1"
    )
    assert found.lineage["training_data.train"] == "fs-0123456789a/d"
    assert found.lineage["metric.validation:accuracy"] == "0.5"


def test_an_artifact_that_is_no_archive_is_fetched_file_by_file(
    s3: Any, aws: Aws, tmp_path: Path
) -> None:
    names = ("a.bin", "sub/b.bin")
    for name in names:
        s3.put_object(Bucket="models", Key=f"loose/model/{name}", Body=name.encode())
    uri = "s3://models/loose/model/"
    output = {"S3OutputPath": uri, "CompressionType": "NONE"}
    answer = described(ModelArtifacts={"S3ModelArtifacts": uri}, OutputDataConfig=output)
    found = find(aws, answer, "digits-1")
    assert found.loose
    facts = fetch(aws, found, tmp_path / "m")
    assert (tmp_path / "m" / "sub" / "b.bin").read_bytes() == b"sub/b.bin"
    rows = "".join(f"{hashlib.sha256(name.encode()).hexdigest()} {name}\n" for name in names)
    digest = hashlib.sha256(rows.encode()).hexdigest()
    assert facts == {"artifact_bytes": "14", "artifact_sha256": digest}


def test_what_is_not_there_too_large_or_damaged_is_told(s3: Any, aws: Aws, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no object"):
        download(aws, "s3://models/none", tmp_path / "a", most=10)
    with pytest.raises(InputError, match=r"has [\d,]+ bytes; at most 10 are taken"):
        download(aws, URI, tmp_path / "b", most=10)
    body = StreamingBody(io.BytesIO(b"other"), 5)
    answer = {"Body": body, "ContentLength": 5, "ETag": f'"{hashlib.md5(b"right").hexdigest()}"'}
    with Stubber(aws.client("s3")) as stub:
        stub.add_response("get_object", answer)
        with pytest.raises(DeployerError, match="came damaged"):
            download(aws, URI, tmp_path / "c", most=10)


def test_an_artifact_that_is_not_safe_is_refused_and_nothing_is_written(
    job: str, s3: Any, tmp_path: Path
) -> None:
    described = boto3.client("sagemaker").describe_training_job(TrainingJobName=job)
    key = described["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://models/")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("../../evil")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"evil"))
    s3.put_object(Bucket="models", Key=key, Body=buffer.getvalue())
    words = ["package", "--from-training-job", job, "--name", "d", "-o", str(tmp_path / "dist")]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2
    assert "'../../evil' leaves the bundle's folder" in done.stderr
    assert not list(tmp_path.rglob("*.tar.gz"))
