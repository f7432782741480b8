"""Handlers: the code that knows one model.

A handler is a class that extends ``Handler`` or a module with SageMaker's ``model_fn``, ``input_fn``,
``predict_fn``, ``output_fn`` (or ``transform_fn``). ``loading`` finds either in ``code/inference.py``
and checks it before the first request.
"""

from inference_code.handler.base import Context, Handler

__all__ = ["Context", "Handler"]
