"""What is read of an ONNX file, from bytes encoded by hand; test_onnxfile_against_onnx.py uses onnx itself."""

from __future__ import annotations

import io
import posixpath
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.bundle.onnxfile import OnnxFile, data_member, read_onnx
from deployer.errors import InputError
from inference_code.contract import ENGINE_KEY, TensorSpec

if TYPE_CHECKING:
    from conftest import OnnxForge


def read(data: bytes) -> OnnxFile:
    return read_onnx("model.onnx", io.BufferedReader(io.BytesIO(data)))


def test_inputs_and_outputs_are_read(onnx_forge: OnnxForge) -> None:
    onnx = read(onnx_forge.model())
    assert onnx.inputs == (TensorSpec("x", "float32", (None, 4)),)
    assert onnx.outputs == (TensorSpec("y", "float32", (None, 2)),)
    assert (onnx.unclear, onnx.data_files) == ({}, ())


def test_notes_of_others_may_be_long_and_in_any_encoding(onnx_forge: OnnxForge) -> None:
    f = onnx_forge.field
    long = f(14, f(1, "character") + f(2, "字" * 40_000))
    odd = f(14, f(1, b"\xff\xfe") + f(2, b"\xff"))
    ours = f(14, f(2, "openvino") + f(1, ENGINE_KEY))
    assert read(long + odd + onnx_forge.model()).engine is None
    assert read(long + odd + ours + onnx_forge.model()).engine == "openvino"


def test_an_input_that_a_weight_stands_in_for_is_none(onnx_forge: OnnxForge) -> None:
    model = onnx_forge.field(
        7, onnx_forge.graph() + onnx_forge.field(11, onnx_forge.value("w", 1, [4]))
    )
    assert [spec.name for spec in read(model).inputs] == ["x"]


@pytest.mark.parametrize(
    ("elem_type", "dtype"), [(1, "float32"), (7, "int64"), (8, "str"), (9, "bool"), (10, "float16")]
)
def test_types_have_the_names_of_numpy(onnx_forge: OnnxForge, elem_type: int, dtype: str) -> None:
    model = onnx_forge.field(7, onnx_forge.field(11, onnx_forge.value("i", elem_type, [])))
    assert read(model).inputs == (TensorSpec("i", dtype, ()),)


def test_a_negative_size_is_a_free_one(onnx_forge: OnnxForge) -> None:
    value = onnx_forge.value("i", 1, [(1 << 64) - 1, 3])
    assert read(onnx_forge.field(7, onnx_forge.field(11, value))).inputs[0].shape == (None, 3)


def test_what_is_no_tensor_is_named_with_the_reason(onnx_forge: OnnxForge) -> None:
    f = onnx_forge.field
    sequence = f(1, "labels") + f(2, f(4, f(1, b"")))
    unshaped = f(1, "y") + f(2, f(1, f(1, 1)))
    unknown = onnx_forge.value("z", 99, [1])
    onnx = read(f(7, f(12, sequence) + f(12, unshaped) + f(12, unknown)))
    no_tensor = "is no tensor of a known type"
    assert onnx.unclear == {"labels": no_tensor, "y": "has no shape", "z": no_tensor}
    assert onnx.outputs == ()


def test_weights_are_found_wherever_a_tensor_can_be(onnx_forge: OnnxForge) -> None:
    f, tensor = onnx_forge.field, onnx_forge.tensor
    node = f(5, f(1, "value") + f(5, tensor("", "in-attribute")))
    nodes = f(5, f(10, tensor("", "in-attributes")))
    loop = f(5, f(6, f(5, tensor("", "in-subgraph"))))
    branches = f(5, f(11, f(1, f(5, f(5, tensor("", "in-deeper-graph"))))))
    sparse_node = f(
        5, f(22, f(1, tensor("", "in-sparse-values"))) + f(23, f(2, tensor("", "in-indices")))
    )
    graph = f(5, tensor("w", "weights")) + f(15, f(1, tensor("", "in-sparse")))
    graph += b"".join(f(1, each) for each in (node, nodes, loop, branches, sparse_node))
    function = f(7, f(5, f(5, tensor("", "in-function")))) + f(11, f(5, tensor("", "in-default")))
    training = f(1, f(5, tensor("", "in-training")))
    found = read(f(7, graph) + f(25, function) + f(20, training)).data_files
    assert set(found) == {
        *(
            "weights",
            "in-sparse",
            "in-attribute",
            "in-attributes",
            "in-subgraph",
            "in-deeper-graph",
        ),
        *("in-sparse-values", "in-indices", "in-function", "in-default", "in-training"),
    }


@pytest.mark.parametrize(
    ("onnx_path", "location", "member"),
    [
        ("model.onnx", "w.bin", "w.bin"),
        ("model.onnx", "./w.bin", "w.bin"),
        ("net/model.onnx", "data/w.bin", "net/data/w.bin"),
        ("net/model.onnx", "../w.bin", None),
        ("model.onnx", "a/../../w.bin", None),
        ("model.onnx", "..", None),
        ("model.onnx", "/w.bin", None),
        ("model.onnx", "..\\w.bin", None),
    ],
)
def test_a_location_is_a_member_of_the_folder_or_none(
    onnx_path: str, location: str, member: str | None
) -> None:
    assert data_member(onnx_path, location) == member


@given(st.text(alphabet="./\\a", max_size=10))
def test_no_location_leaves_the_folder(location: str) -> None:
    member = data_member("net/model.onnx", location)
    assert member is None or posixpath.normpath(f"/r/{member}").startswith("/r/net")


def test_a_large_weight_is_passed_over(onnx_forge: OnnxForge) -> None:
    f = onnx_forge.field
    weight = f(8, "w") + f(9, bytes(5 << 20)) + f(13, f(1, "location") + f(2, "w.bin"))
    assert read(f(7, f(5, weight))).data_files == ("w.bin",)


MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "no graph": b"\x08\x0a",
    "cut": b"\x3a\x05ab",
    "longer than the message around it": b"\x3a\x02\x2a\x09" + bytes(20),
    "number past the end of its message": b"\x3a\x02\x08\xff\x01",
    "unknown wire type": b"\x3b",
    "endless integer": b"\x08" + b"\xff" * 11,
    "name that is no UTF-8": b"\x3a\x05\x2a\x03\x42\x01\xff",
    "text": b"this is no model\n",
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94.",
    "zip": b"PK\x03\x04\x00\x00\x08\x08\x00\x00",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_onnx_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match=r"^'model\.onnx' is not an ONNX model: [^\n]+$"):
        read(data)


def test_messages_nested_without_end_are_refused(onnx_forge: OnnxForge) -> None:
    graph = b""
    for _ in range(100):
        graph = onnx_forge.field(1, onnx_forge.field(5, onnx_forge.field(6, graph)))
    with pytest.raises(InputError, match="nested more than 64 deep"):
        read(onnx_forge.field(7, graph))


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_are_read_or_refused(onnx_forge: OnnxForge, junk: bytes, at: int) -> None:
    whole = onnx_forge.model("w.bin")
    for data in (junk, whole[:at] + junk + whole[at:], whole[:at] + junk + whole[at + len(junk) :]):
        try:
            read(data)
        except InputError as error:
            assert "is not an ONNX model" in error.message  # noqa: PT017 - either outcome is right
