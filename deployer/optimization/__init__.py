"""Model file in, better model file out. The only home of torch, onnx and onnxruntime.

``export`` turns a model into ONNX and proves that it answers as its source does; ``ladder.climb`` builds
cheaper variants (``quantize``), sends each one through the gates (``gate``: accuracy, latency, cost) and
keeps the best, or FP32 where FP32 is right. Nothing here knows prices: cost is a function of latency
that the caller hands in. A rung that cannot be built is refused with its reason, never skipped in silence.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is first imported
