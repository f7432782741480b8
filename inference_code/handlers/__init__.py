"""Handlers that ship with the serving code; ``onnx`` serves any ONNX file with no code at all."""
