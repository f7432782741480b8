"""Model file in, better model file out. The only home of torch, onnx and onnxruntime."""
