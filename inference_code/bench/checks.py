"""Load a handler and run each sample: does it serve, and what does it answer?"""

from __future__ import annotations

from typing import Any

from inference_code.codecs.media import is_text
from inference_code.engine.served import ServedModel
from inference_code.engine.settings import Settings
from inference_code.errors import StartupError

_MOST_TEXT = 2000


def check(settings: Settings) -> dict[str, Any]:
    """Return ``{"ok", "problems", "answers"}``, with an answer per sample."""
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
    return {"ok": not problems, "problems": problems, "answers": answers}
