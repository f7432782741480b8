"""Try whether batches move a model's answers, as packaging does before it writes the proof down."""

from __future__ import annotations

import math
from typing import Any

from inference_code.engine.company import RTOL, Apart
from inference_code.engine.served import ServedModel
from inference_code.engine.settings import Settings
from inference_code.engine.together import comparer, in_groups, runtime
from inference_code.errors import HandlerInvalid, PackageMissing, RequestError

_DIGITS = 2


def together(settings: Settings) -> dict[str, Any]:
    """Return ``{"tried", "same", "moved", "runtime"}``: whether there was anything to try, and what it showed.

    ``moved`` is rounded up to two digits, as a share of an array's largest number, and 0 where all is the same. It is
    what samples show; where they show nothing, what made-up requests do. ``{"tried": False, "refused": why}`` is
    returned of a handler that does not start with this model and these samples.
    """
    try:
        model = ServedModel(settings)
        model.answer_samples()
    except PackageMissing:
        return {"tried": False}  # nothing is known here; where it is served, it is there
    except HandlerInvalid as error:
        return {"tried": False, "refused": str(error)}
    handler, manifest = model.handler, settings.manifest
    found: list[Apart] = []
    if handler.batches and manifest is not None:
        for items in (_samples(model), list(handler.trials())):
            apart = in_groups(handler.predict, comparer(handler), items)
            found += [] if apart is None else [apart]
    moved = next((apart.moved for apart in found if not apart.same), 0.0)
    return {
        "tried": bool(found),
        "same": all(apart.same for apart in found),
        "moved": None if math.isinf(moved) else _rounded_up(moved),
        "runtime": runtime(manifest.engine) if manifest else "",
    }


def _samples(model: ServedModel) -> list[Any]:
    items = []
    for sample in model.settings.samples:
        try:
            items.append(model.decode(sample.body, sample.content_type, ""))
        except RequestError:
            continue
    return items


def _rounded_up(moved: float) -> float:
    if moved < RTOL / 100:
        return 0.0 if moved == 0 else RTOL / 100
    unit = 10.0 ** (math.floor(math.log10(moved)) - _DIGITS + 1)
    return float(f"{math.ceil(moved / unit) * unit:.{_DIGITS}g}")
