"""The serving code that ships inside every bundle.

It runs alone, with only ``requirements.txt`` beside it: nothing here imports ``deployer``.
A request travels ``server -> engine -> batcher -> handler -> runtime`` and back; ``policy`` decides
what to batch and what to refuse, and is the one file that the simulator compiles too.
"""
