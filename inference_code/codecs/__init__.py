"""Bytes to values and back, by content type. Nothing here ever unpickles or touches a file.

``media`` reads the Content-Type and Accept headers; ``npy``, ``csvtext`` and ``jsontext`` read and
write one format each; ``tensors`` turns what they read into a model's inputs by name, ``values`` into their shapes
and types, as ``schema`` says it to a client. ``bfloat`` stands in for a type that numpy lacks.
"""
