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


def graph_with(weight: object, *more: object, operator: str = "Add", scale: float = 0.5) -> bytes:
    make = onnx.helper.make_tensor_value_info
    nodes = [onnx.helper.make_node(operator, ["x", "w"], ["y"])]
    floats = onnx.numpy_helper.from_array(np.float32(scale), "scale")
    graph = onnx.helper.make_graph(
        nodes, "g", [make("x", 1, [2])], [make("y", 1, [2])], [floats, weight, *more]
    )
    return bytes(onnx.helper.make_model(graph).SerializeToString())


WEIGHT = np.linspace(-1, 1, 64).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "precision"),
    [("FLOAT", "fp32"), ("FLOAT16", "fp16"), ("BFLOAT16", "bf16"), ("DOUBLE", "fp64")],
)
@pytest.mark.parametrize("raw", [True, False])
def test_the_precision_is_that_of_most_of_the_weights(kind: str, precision: str, raw: bool) -> None:
    number = getattr(onnx.TensorProto, kind)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(number)
    values = WEIGHT.astype(dtype)
    given = values.tobytes() if raw else values.astype(np.float32).tolist()
    weight = onnx.helper.make_tensor("w", number, [64], given, raw=raw)
    assert read(graph_with(weight)).precision == precision


@pytest.mark.parametrize(
    ("operator", "kind", "precision"),
    [
        ("DequantizeLinear", "INT8", "int8"),
        ("QLinearMatMul", "UINT8", "int8"),
        ("MatMulInteger", "INT8", "int8"),
        ("DynamicQuantizeMatMul", "INT8", "int8"),
        ("DequantizeLinear", "UINT4", "int4"),
        ("MatMulNBits", "UINT8", "int4"),
        ("Gather", "INT64", "fp32"),
    ],
)
def test_operators_tell_of_integers(operator: str, kind: str, precision: str) -> None:
    weight = onnx.helper.make_tensor("w", getattr(onnx.TensorProto, kind), [8], [1] * 8)
    assert read(graph_with(weight, operator=operator)).precision == precision


def test_weights_in_a_file_of_their_own_count(tmp_path: Path) -> None:
    half = onnx.numpy_helper.from_array(WEIGHT.astype(np.float16), "w")
    model = onnx.load_model_from_string(graph_with(half))
    path = tmp_path / "m.onnx"
    onnx.save_model(model, str(path), save_as_external_data=True, size_threshold=0, location="w")
    with path.open("rb") as file:
        assert read_onnx("m.onnx", file).precision == "fp16"
