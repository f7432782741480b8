"""Small ONNX files, each with one trait that a server may get wrong, and layouts as torch exports them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

F32, I64 = TensorProto.FLOAT, TensorProto.INT64
_random = np.random.default_rng(5)


def _floats(*shape: int) -> np.ndarray:
    return _random.normal(0, 0.4, shape).astype(np.float32)


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


Shape = Sequence[int | str]


def _model(
    folder: Path, name: str, steps: Sequence[str], inputs: dict[str, tuple[int, Shape]],
    outputs: dict[str, tuple[int, Shape]], opset: int = 17, **held: np.ndarray,
) -> Path:  # fmt: skip
    """Write a model; a step reads "Op a,b -> y key=value"."""
    nodes = []
    for step in steps:
        call, _, made = step.partition(" -> ")
        op, _, taken = call.partition(" ")
        made, *words = made.split()
        domain = "com.microsoft" if op == "FastGelu" else ""
        attributes = {key: eval(value) for key, value in (word.split("=") for word in words)}
        nodes.append(
            helper.make_node(op, taken.split(","), made.split(","), domain=domain, **attributes)
        )
    values = [
        [helper.make_tensor_value_info(each, kind, shape) for each, (kind, shape) in side.items()]
        for side in (inputs, outputs)
    ]
    weights = [numpy_helper.from_array(array, each) for each, array in held.items()]
    graph = helper.make_graph(nodes, name, values[0], values[1], weights)
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=domains)
    model.ir_version = 8
    path = folder / f"{name}.onnx"
    save(model, str(path))
    return path


def traits(folder: Path) -> dict[str, Path]:
    """Write the traits by hand; return the files by name."""
    folder.mkdir(parents=True, exist_ok=True)
    row, seq = (F32, ["n", 4]), (F32, ["tokens", 8])
    boxes, pairs = (F32, ["n", 6, 4]), (I64, ["pairs", 2])
    made = [
        _model(folder, "attention without a batch",
               ["MatMul x,q -> a", "Transpose a -> t", "MatMul a,t -> s", "Softmax s -> p axis=-1", "MatMul p,x -> y"],
               {"x": seq}, {"y": seq}, q=_floats(8, 8)),
        _model(folder, "detector",
               ["Slice x,zero,one,two -> s", "Squeeze s,two -> c", "Greater c,half -> m", "NonZero m -> i",
                "Transpose i -> at perm=[1,0]", "GatherND x,at -> y"],
               {"x": boxes}, {"y": (F32, ["found", 4])},
               zero=_ints(0), one=_ints(1), two=_ints(2), half=np.array(0.9, np.float32)),
        _model(folder, "less the mean of the batch", ["ReduceMean x -> m axes=[0]", "Sub x,m -> y"],
               {"x": row}, {"y": row}),
        _model(folder, "softmax over the batch", ["Softmax x -> y axis=0"], {"x": row}, {"y": row}),
        _model(folder, "batch statistics",
               ["BatchNormalization x,g,b,u,w -> y,m,v training_mode=1"], {"x": row}, {"y": row},
               **{name: np.full(4, value, np.float32) for name, value in zip("gbuw", (1.5, 0.2, 0, 1), strict=True)}),
        _model(folder, "a graph's nodes and edges",
               ["MatMul nodes,w -> h", "Gather h,edges -> g axis=0", "ReduceSum g,one -> y keepdims=0"],
               {"nodes": (F32, ["n", 4]), "edges": pairs}, {"y": (F32, ["pairs", 3])}, w=_floats(4, 3), one=_ints(1)),
        _model(folder, "embedding", ["Gather table,x -> e", "ReduceMean e -> y axes=[1] keepdims=0"],
               {"x": (I64, ["n", "tokens"])}, {"y": (F32, ["n", 8])}, table=_floats(50, 8)),
        _model(folder, "state", ["ReduceMean s -> m axes=[0] keepdims=0", "Add x,m -> y", "Identity s -> t"],
               {"x": (F32, [1, 4]), "s": (F32, [2, 1, 4])}, {"y": (F32, [1, 4]), "t": (F32, [2, 1, 4])}),
        _model(folder, "scalar input", ["Mul x,k -> y"], {"x": row, "k": (F32, [])}, {"y": row}),
        _model(folder, "scalar output", ["ReduceSum x -> y keepdims=0"], {"x": row}, {"y": (F32, [])}),
        _model(folder, "two outputs", ["Relu x -> y", "ReduceSum x,one -> z keepdims=0"], {"x": row},
               {"y": row, "z": (F32, ["n"])}, one=_ints(1)),
        _model(folder, "contrib", ["FastGelu x -> y"], {"x": row}, {"y": row}),
        _model(folder, "logarithm", ["Log x -> y"], {"x": row}, {"y": row}),
        _model(folder, "one axis", ["Neg x -> y"], {"x": (F32, ["n"])}, {"y": (F32, ["n"])}),
        _model(folder, "a constant beside", ["Neg x -> y", "Neg k -> z"], {"x": row}, {"y": row, "z": (F32, [2])},
               k=_floats(2)),
        _model(folder, "dynamic int8",
               ["DynamicQuantizeLinear x -> q,s,z", "MatMulInteger q,w,z -> i", "Cast i -> f to=1", "Mul f,s -> y"],
               {"x": row}, {"y": (F32, ["n", 3])}, w=_random.integers(0, 255, (4, 3)).astype(np.uint8)),
        _model(folder, "texts", ["Identity x -> y"], {"x": (TensorProto.STRING, ["n", 3])},
               {"y": (TensorProto.STRING, ["n", 3])}),
    ]  # fmt: skip
    return {path.stem: path for path in made}


def layouts(folder: Path) -> dict[str, Path]:
    """Export layouts from torch; return the files by name."""
    import torch
    from torch import nn

    class First(nn.Module):
        """A recurrent layer, with what it gives first, or with its state."""

        def __init__(self, kind: Any, batch_first: bool, state: bool = False) -> None:
            super().__init__()
            self.layer = kind(6, 5, 2, batch_first=batch_first)
            self.state = state

        def forward(self, x: torch.Tensor) -> Any:
            y, h = self.layer(x)
            return (y, h) if self.state else y

    class Reader(nn.Module):
        """Reads text in pictures: (n, 1, 8, width) in, (width, n, letters) out."""

        def __init__(self) -> None:
            super().__init__()
            self.see, self.read = nn.Conv2d(1, 4, 3, padding=1), nn.LSTM(4, 5, bidirectional=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.log_softmax(self.read(self.see(x).mean(2).permute(2, 0, 1))[0], 2)

    def encoder(batch_first: bool) -> nn.Module:
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=batch_first)
        return nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    torch.manual_seed(0)
    time, rows = {0: "time", 1: "n"}, {0: "n", 1: "time"}
    made: list[tuple[str, nn.Module, tuple[int, ...], dict[int, str]]] = [
        ("LSTM, time first", First(nn.LSTM, False), (8, 2, 6), time),
        ("LSTM, batch first", First(nn.LSTM, True), (2, 8, 6), rows),
        ("GRU with its state", First(nn.GRU, True, True), (2, 8, 6), rows),
        ("encoder, time first", encoder(False), (8, 2, 8), {1: "n"}),
        ("encoder, batch first", encoder(True), (2, 8, 8), {0: "n"}),
        ("reader, time first", Reader(), (2, 1, 8, 8), {0: "n", 3: "width"}),
    ]
    return {name: _exported(torch, folder / f"{name}.onnx", *rest) for name, *rest in made}


def _exported(
    torch: Any, path: Path, module: Any, shape: tuple[int, ...], axes: dict[int, str]
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    export: Callable[..., Any] = torch.onnx.export
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(
            module.eval(), (torch.randn(shape),), str(path), dynamo=False, opset_version=17,
            input_names=["x"], output_names=["y", "h"][: 1 + ("state" in path.stem)],
            dynamic_axes={"x": axes},
        )  # fmt: skip
    return path
