"""The HTTP edge: an asyncio protocol on llhttp (httptools) and libuv (uvloop), and what it answers.

Why not a ready-made server: every one tried hands each request to a coroutine or a thread of its own
(ASGI, RSGI), which costs more than the rest of the way together. Measured on one core, a hello-world
answer: uvicorn 47,000/s, granian 34,000/s, FastAPI 16,000/s; the tiny model behind this protocol, with
its worker process on the same core, is measured in tests/benchmarks/serving. Parser and event loop,
the parts in which other servers had their security holes, are the well-kept ones of Node.js.

``connection`` speaks HTTP and enforces limits, ``app`` routes, ``run`` binds, drains and exits.
"""
