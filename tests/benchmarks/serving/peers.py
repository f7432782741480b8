"""Other servers around the same handler: ``peers.py NAME PORT MODEL_DIR MAX_BATCH``, or ``loop``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from inference_code.contract import CONTENT_TYPES
from inference_code.engine.served import ServedModel
from inference_code.engine.settings import read_settings


def served(model_dir: str, max_batch: int) -> ServedModel:
    """Return the handler, loaded and warm."""
    model = ServedModel(read_settings(Path(model_dir), {"max_batch": max_batch}))
    model.warm_up()
    return model


def loop(model_dir: str, max_batch: int, bodies: str, seconds: float) -> None:
    """Print what the bare loop reaches in process: the best of single and full, length-sorted batches."""
    model = served(model_dir, max_batch)
    paths = sorted(Path(bodies).iterdir())
    raw = [(path.read_bytes(), CONTENT_TYPES[path.suffix]) for path in paths]
    raw.sort(key=lambda pair: model.length(model.decode(*pair, "")))
    best = max(_rate(model, raw, size, seconds) for size in {1, model.max_batch})
    print(json.dumps({"rps": round(best, 1)}))


def _rate(model: ServedModel, raw: list[tuple[bytes, str]], size: int, seconds: float) -> float:
    start, count, at = time.perf_counter(), 0, 0
    while time.perf_counter() - start < seconds:
        items = [model.decode(*pair, "") for pair in raw[at : at + size]]
        for output in model.predict(items):
            model.encode(output, "")
        count += len(items)
        at = (at + size) % len(raw)
    return count / (time.perf_counter() - start)


def fastapi(port: int, model: ServedModel) -> None:
    """Serve with FastAPI on uvicorn, the model on the event loop: the usual quick way."""
    import uvicorn
    from fastapi import FastAPI, Request, Response

    app = FastAPI()

    @app.post("/invocations")
    async def invoke(request: Request) -> Response:
        body = await request.body()
        status, kind, answer = model.answer(body, request.headers.get("content-type", ""))
        return Response(answer, status, media_type=kind.decode())

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


def uvicorn(port: int, model: ServedModel) -> None:
    """Serve with a bare ASGI function on uvicorn."""
    import uvicorn as server

    async def app(scope, receive, send):  # type: ignore[no-untyped-def]
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            event = await receive()
            body += event["body"]
            more = event["more_body"]
        kind = dict(scope["headers"]).get(b"content-type", b"").decode()
        status, content_type, answer = model.answer(body, kind)
        headers = [(b"content-type", content_type), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    server.run(app, host="127.0.0.1", port=port, log_level="warning", lifespan="off")


if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    if name == "loop":
        loop(rest[0], int(rest[1]), rest[2], float(rest[3]))
    else:
        port, model_dir, max_batch = rest
        {"fastapi": fastapi, "uvicorn": uvicorn}[name](int(port), served(model_dir, int(max_batch)))
