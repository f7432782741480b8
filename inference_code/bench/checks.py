"""Load a handler and run each sample: does it serve, and what does it answer?"""

from __future__ import annotations

from typing import Any

from inference_code.codecs.media import is_text
from inference_code.engine.served import ServedModel
from inference_code.engine.settings import Settings
from inference_code.errors import StartupError

_MOST_TEXT = 2000


def check(settings: Settings) -> dict[str, Any]:
    """Return ``{"ok", "problems", "answers"}``, with an answer per sample.

    ``batching`` is there when all went well: whether the handler wants requests joined, whether the model's graph
    proves that they may be, what samples show, and why they are not joined.
    """
    problems: list[str] = []
    answers: list[dict[str, Any]] = []
    try:
        model = ServedModel(settings)
    except StartupError as error:
        return {"ok": False, "problems": [str(error)], "answers": []}
    if not model.samples:
        problems.append("no sample request: put one into code/samples (.json, .csv or .npy)")
    for sample in model.samples:
        status, kind, body = model.answer(sample.body, sample.content_type)
        content_type = kind.decode("latin-1")
        text = body[:_MOST_TEXT].decode(errors="replace") if is_text(content_type) else ""
        answers.append(
            {
                "sample": sample.name,
                "status": status,
                "content_type": content_type,
                "bytes": len(body),
                "body": text,
            }
        )
        if status != 200:
            problems.append(f"sample {sample.name} is answered {status}: {text}")
    report = {"ok": not problems, "problems": problems, "answers": answers}
    return report if problems else {**report, "batching": _batching(model)}


def _batching(model: ServedModel) -> dict[str, Any]:
    wanted, manifest = model.handler.batches, model.settings.manifest
    if model.max_batch > 1:
        model.compare()
    return {
        "wanted": wanted,
        "proven": wanted and manifest is not None and manifest.proof is not None,
        "compared": model.batch_effect is not None,
        "unbatched": model.unbatched,
    }
