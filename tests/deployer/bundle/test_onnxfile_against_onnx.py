"""The reader of ONNX files finds what onnx itself finds."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.bundle.onnxfile import OnnxFile, read_onnx
from inference_code.contract import TensorSpec

onnx = pytest.importorskip("onnx")
pytestmark = pytest.mark.optimize


def read(data: bytes) -> OnnxFile:
    return read_onnx("model.onnx", io.BufferedReader(io.BytesIO(data)))


TYPES = [
    kind
    for name, kind in onnx.TensorProto.DataType.items()
    if 0 < kind <= onnx.TensorProto.BFLOAT16 and name not in ("STRING", "BFLOAT16")
]
values = st.tuples(
    st.sampled_from(TYPES),
    st.lists(st.integers(0, 1 << 40) | st.sampled_from(["batch", "n", None]), max_size=5),
)


@given(inputs=st.lists(values, max_size=4), outputs=st.lists(values, max_size=4))
@settings(deadline=None)
def test_inputs_and_outputs_are_those_that_onnx_wrote(
    inputs: list[tuple[int, list[int | str | None]]],
    outputs: list[tuple[int, list[int | str | None]]],
) -> None:
    def infos(prefix: str, of: list[tuple[int, list[int | str | None]]]) -> list[object]:
        make = onnx.helper.make_tensor_value_info
        return [make(f"{prefix}{i}", kind, shape) for i, (kind, shape) in enumerate(of)]

    def specs(prefix: str, of: list[tuple[int, list[int | str | None]]]) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(
                f"{prefix}{i}",
                onnx.helper.tensor_dtype_to_np_dtype(kind).name,
                tuple(size if isinstance(size, int) else None for size in shape),
            )
            for i, (kind, shape) in enumerate(of)
        )

    graph = onnx.helper.make_graph([], "g", infos("in", inputs), infos("out", outputs))
    found = read(onnx.helper.make_model(graph).SerializeToString())
    assert (found.inputs, found.outputs) == (specs("in", inputs), specs("out", outputs))


def test_external_data_is_where_onnx_put_it(tmp_path: Path) -> None:
    arrays = {name: np.ones((32, 32), np.float32) for name in ("a", "b", "c")}
    weights = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Constant", [], ["k"], value=weights[0])],
        "g",
        [info("x", 1, ["n", 32])],
        [info("k", 1, [32, 32])],
        weights,
    )
    onnx.save_model(
        onnx.helper.make_model(graph),
        tmp_path / "model.onnx",
        save_as_external_data=True,
        all_tensors_to_one_file=False,
        size_threshold=0,
        convert_attribute=True,
    )
    written = {path.name for path in tmp_path.iterdir()} - {"model.onnx"}
    assert len(written) == 3
    assert set(read((tmp_path / "model.onnx").read_bytes()).data_files) == written
