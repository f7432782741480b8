"""Which axis of an ONNX graph's tensors carries the batch, and whether its rows stay apart: proven, not assumed.

``prove`` is what packaging asks. ``sizes`` reckons with lengths that are not known, ``values`` says what is known of a
tensor, ``shapes``, ``maths``, ``nets``, ``quantized``, ``attention`` and ``tables`` hold a rule for each operator.
"""
