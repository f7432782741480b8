"""May rows be joined along a model's first axis? Only what packaging proved of it counts."""

from __future__ import annotations

from inference_code.handler.base import Context
from inference_code.handlers.joining import Joining
from inference_code.runtime import Model


def why_alone(context: Context, model: Model) -> str:
    """Return why a model gets one row at a time; "" when its first axis was proven to carry the batch."""
    joining = Joining(context.manifest, model.inputs, model.outputs)
    if joining.refusal:
        return joining.refusal
    axes = {**joining.axes, **joining.outputs}
    others = [name for name, axis in axes.items() if axis != 0]
    return f"the batch is not the first axis of {others[0]!r}" if others else ""
