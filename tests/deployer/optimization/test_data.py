from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deployer.errors import InputError
from deployer.optimization import data

pytestmark = pytest.mark.optimize


def test_npz_gives_arrays_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "c.npz", image=np.ones((2, 3)), label=np.array([0, 1]))
    arrays = data.load_npz(tmp_path / "c.npz")
    assert set(arrays) == {"image", "label"}
    assert arrays["image"].shape == (2, 3)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "c.npz", image=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="cannot read"):
        data.load_npz(tmp_path / "c.npz")


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 broken", b"plain text"])
def test_file_that_is_no_npz_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"c\.npz") as caught:
        data.load_npz(path)
    assert "numpy.savez" in (caught.value.hint or "")


def test_bare_array_says_to_name_it(tmp_path: Path) -> None:
    np.save(tmp_path / "c.npy", np.ones(3))
    with pytest.raises(InputError, match="one bare array"):
        data.load_npz(tmp_path / "c.npy")


def test_rows_in_both_sets_are_counted_by_all_their_inputs() -> None:
    ids, mask = np.arange(8).reshape(4, 2), np.ones((4, 2))
    other_mask = mask.copy()
    other_mask[0] = 0
    calibration = {"ids": ids, "mask": mask}
    evaluation = {"mask": other_mask[:3], "ids": ids[:3], "label": np.zeros(3, int)}
    assert data.shared_rows(calibration, evaluation) == 2
    assert data.shared_rows(calibration, {"ids": ids + 8, "mask": mask}) == 0
