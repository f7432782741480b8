"""The serving code that ships inside every bundle.

It runs alone, with only ``requirements.txt`` beside it: nothing here imports ``deployer``.
A request travels ``server -> engine -> batcher -> handler -> runtime`` and back; ``policy`` decides
what to batch and what to refuse, and is the one file that the simulator compiles too.

Two kinds of process: a front with one event loop (HTTP, admission, cache, backlog, health) and worker
processes (decode, batch, predict, encode). So inference cannot block ``/ping``, a handler that crashes
or hangs takes no request of others with it, and what it costs is one write and one read per batch.
"""
