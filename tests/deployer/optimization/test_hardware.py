from __future__ import annotations

from pathlib import Path

import pytest

from deployer.optimization import hardware

pytestmark = pytest.mark.optimize

INTEL = "processor\t: 0\nmodel name\t: Xeon\nflags\t\t: fpu avx2 avx512f avx512_vnni amx_int8\n\nprocessor\t: 1\n"
OLD = "processor\t: 0\nmodel name\t: Old\nflags\t\t: fpu avx2\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\n"


@pytest.mark.parametrize(
    ("text", "features", "int8"),
    [
        (INTEL, "AVX2 AVX512 AVX512-VNNI AMX-INT8", True),
        (OLD, "AVX2", False),
        (ARM, "NEON NEON-DOTPROD NEON-I8MM", True),
    ],
)
def test_features_are_named_and_decide_the_range_of_weights(
    text: str, features: str, int8: bool, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    found = hardware.detect(tmp_path / "cpuinfo")
    assert found["features"] == features
    assert hardware.has_int8_dot(found) is int8
    assert int(found["cores"]) >= 1


def test_features_that_cannot_be_read_are_unknown(tmp_path: Path) -> None:
    assert hardware.detect(tmp_path / "absent")["features"] == "unknown"
