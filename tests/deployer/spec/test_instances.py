"""The processor in an instance type's name, also for every type that SageMaker lists."""

from __future__ import annotations

import pytest

from deployer.spec.instances import accelerator, architecture, burstable, local_disks


@pytest.mark.parametrize(
    ("instance_type", "expected"),
    [
        ("ml.c7g.large", "arm64"), ("ml.m6gd.xlarge", "arm64"), ("ml.c8g.2xlarge", "arm64"),
        ("ml.c6gn.large", "arm64"), ("c7gn.medium", "arm64"), ("ml.g5g.xlarge", "arm64"),
        ("ml.t4g.medium", "arm64"), ("im4gn.large", "arm64"), ("is4gen.large", "arm64"),
        ("x2gd.large", "arm64"), ("a1.large", "arm64"), ("ml.p6e-gb200.36xlarge", "arm64"),
        ("ml.c5.large", "x86_64"), ("ml.c7i.large", "x86_64"), ("ml.g5.xlarge", "x86_64"),
        ("ml.g6e.xlarge", "x86_64"), ("ml.g4dn.xlarge", "x86_64"), ("gr6.4xlarge", "x86_64"),
        ("ml.inf2.xlarge", "x86_64"), ("c7i-flex.large", "x86_64"), ("ml.trn1.2xlarge", "x86_64"),
        ("ml.p6-b200.48xlarge", "x86_64"), ("m7a.large", "x86_64"), ("u7i-12tb.224xlarge", "x86_64"),
    ],
)  # fmt: skip
def test_the_name_tells_the_processor(instance_type: str, expected: str) -> None:
    assert architecture(instance_type) == expected


def test_of_the_types_that_sagemaker_lists_these_families_are_arm() -> None:
    boto3 = pytest.importorskip("boto3")
    model = boto3.client("sagemaker", region_name="us-east-1").meta.service_model
    listed = model.shape_for("ProductionVariantInstanceType").enum
    found = {name.split(".")[1] for name in listed if architecture(name) == "arm64"}
    assert found >= {"c6g", "c6gd", "c7g", "c8g", "m8g", "r7gd", "r8g", "p6e-gb200"}
    assert not found & {"g4dn", "g5", "g6", "g6e", "g7", "c5", "c7i", "m5", "p5", "inf2", "trn1"}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("ml.c5.large", False),
        ("ml.m5d.xlarge", True),
        ("ml.g4dn.xlarge", True),
        ("ml.g5.xlarge", True),
        ("ml.c7g.large", False),
        ("ml.c6gd.large", True),
        ("ml.p3.2xlarge", False),
        ("ml.p3dn.24xlarge", True),
        ("ml.p4d.24xlarge", True),
        ("ml.inf2.xlarge", False),
        ("ml.trn1.2xlarge", True),
    ],
)
def test_disks_of_their_own(name: str, found: bool) -> None:
    assert local_disks(name) is found


@pytest.mark.parametrize(
    "name",
    ["ml.c5.large", "c7g.large", "m6gd.large", "ml.c6gn.large", "t4g.small", "im4gn.large", "is4gen.large",
     "x2gd.large", "a1.large", "m7i-flex.large", "d3.xlarge", "i4g.large", "hpc7g.4xlarge", "r8gd.large"],
)  # fmt: skip
def test_processors_of_aws_are_no_accelerators(name: str) -> None:
    assert accelerator(name) == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ml.g5.xlarge", "a graphics card"), ("g4dn.xlarge", "a graphics card"), ("g5g.xlarge", "a graphics card"),
        ("gr6.4xlarge", "a graphics card"), ("ml.p3.2xlarge", "graphics cards"),
        ("ml.p6-b200.48xlarge", "graphics cards"), ("ml.p6e-gb200.36xlarge", "graphics cards"),
        ("ml.inf1.xlarge", "AWS Inferentia"), ("ml.trn1n.32xlarge", "AWS Trainium"),
        ("dl1.24xlarge", "deep learning accelerators"), ("dl2q.24xlarge", "deep learning accelerators"),
        ("vt1.3xlarge", "video transcoding cards"),
    ],
)  # fmt: skip
def test_the_name_tells_the_accelerator(name: str, words: str) -> None:
    assert accelerator(name) == words


def test_the_price_book_and_the_names_agree_on_accelerators() -> None:
    from deployer.pricing import snapshot

    shapes = snapshot.load().instances
    carded = {name for name, shape in shapes.items() if shape.accelerator}
    named = set(filter(accelerator, shapes))
    assert {name.partition(".")[0] for name in carded ^ named} == {"vt1"}, (
        "the book leaves out video cards"
    )


def test_types_that_earn_credits_are_burstable() -> None:
    assert all(map(burstable, ("ml.t2.medium", "t3.small", "t3a.small", "t4g.small")))
    assert not any(map(burstable, ("trn1.2xlarge", "ml.c5.large", "m7i-flex.large")))
