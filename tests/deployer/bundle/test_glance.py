"""What a bundle says of itself without being verified: facts for rules, or none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deployer.bundle import archive
from deployer.bundle.bundle import open_bundle
from deployer.bundle.glance import UNKNOWN, facts, glance
from inference_code.contract import SAMPLES_PATH, Manifest, Member, ServingConfig


def manifest(*sizes: int) -> Manifest:
    members = tuple(
        Member(f"{SAMPLES_PATH}/{i}.json", "644", size, "0" * 64) for i, size in enumerate(sizes)
    )
    other = Member("code/samples.txt", "644", 10**9, "0" * 64)
    serving = ServingConfig(drain_s=7.5, request_timeout_s=30.0)
    return Manifest("digits", ".", "fp32", (*members, other), serving=serving)


@pytest.mark.parametrize(
    "line",
    ["torch==2.6.0", "onnxruntime-gpu==1.22", "tensorflow>=2", "jax[cuda12]", "cupy-cuda12x", "tensorrt-cu12",
     "torch_neuronx", "sentence-transformers>=3", "vllm", "Triton==3.0", "nvidia-cublas-cu12", "tensorflow-gpu"],
)  # fmt: skip
def test_a_runtime_for_an_accelerator_is_known_by_its_package(line: str) -> None:
    assert facts(manifest(), f"numpy==2.1.0\n{line}\n").cpu_only == ""


@pytest.mark.parametrize(
    "text",
    ["", "onnxruntime==1.22\n", "openvino==2026.4.1\n", "tensorflow-cpu==2.18\n", "boto3==1.40\nnumpy\n",
     "# torch\nscikit-learn\n", "torchmetrics-like-name\n"],
)  # fmt: skip
def test_without_one_a_bundle_can_only_use_the_processor(text: str) -> None:
    found = facts(manifest(), text).cpu_only
    assert found is not None
    assert "runs on onnxruntime" in found


def test_samples_drain_and_boto3_are_told() -> None:
    found = facts(manifest(10, 300), "boto3==1.40\n")
    assert (found.largest_sample, found.boto3) == (300, True)
    assert (found.drain_s, found.request_timeout_s) == (7.5, 30.0)
    assert facts(manifest(), "boto3-stubs\n").boto3 is False
    assert facts(manifest(), "").largest_sample == 0


def test_an_archive_and_its_folder_tell_the_same_and_only_of_the_digest_asked_for(
    echo_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    path = echo_bundle()
    archive.unpack(path, tmp_path / "model")
    found = glance(path)
    assert found.drain_s == 2.0
    assert found == glance(tmp_path / "model")
    digest = open_bundle(path).digest
    assert glance(path, digest) == found
    assert glance(path, "0" * 64) == UNKNOWN


def test_what_is_missing_or_broken_tells_nothing(
    echo_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    assert glance(tmp_path / "none.tar.gz") == UNKNOWN
    assert glance(tmp_path) == UNKNOWN
    whole = echo_bundle().read_bytes()
    for content in (b"", b"text", whole[:1000], b"\x1f\x8b" + os.urandom(100)):
        (tmp_path / "b.tar.gz").write_bytes(content)
        assert glance(tmp_path / "b.tar.gz") == UNKNOWN
