"""Other servers around the same handler: ``peers.py NAME PORT MODEL_DIR MAX_BATCH``, or ``loop``.

``loop`` tells what the bare loop in process reaches, ``answers`` what it answers.
"""

import json
import os
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
    loops = [Bare(model, bodies, size) for size in sorted({1, model.max_batch})]
    best = max(bare.rate(seconds) for bare in loops)
    print(json.dumps({"rps": round(best[0], 1), "cpu_rps": round(best[1], 1)}))


class Bare:
    """The model in a bare loop over length-sorted batches, always all of them: a part would be short or long ones."""

    def __init__(self, model: ServedModel, bodies: str, size: int) -> None:
        """Read every file of the folder ``bodies``; batches of ``size``."""
        paths = sorted(Path(bodies).iterdir())
        raw = [(path.read_bytes(), CONTENT_TYPES[path.suffix]) for path in paths]
        raw.sort(key=lambda pair: model.length(model.decode(*pair, "")))
        self._batches = [raw[at : at + size] for at in range(0, len(raw), size)]
        self._model = model

    def rate(self, seconds: float) -> tuple[float, float]:
        """Return the answers per second, and per second of processor time, of at least ``seconds``."""
        model, count = self._model, 0
        start, start_cpu = time.perf_counter(), time.process_time()
        while time.perf_counter() - start < seconds:
            for batch in self._batches:
                items = [model.decode(*pair, "") for pair in batch]
                for output in model.predict(items):
                    model.encode(output, "")
                count += len(items)
        return count / (time.perf_counter() - start), count / (time.process_time() - start_cpu)


def answers(model_dir: str, bodies: str) -> None:
    """Print the numbers of each body's answer, one by one in process."""
    model = served(model_dir, 1)
    paths = sorted(Path(bodies).iterdir())
    found = [model.answer(path.read_bytes(), CONTENT_TYPES[path.suffix])[2] for path in paths]
    print(json.dumps([json.loads(body) for body in found]))


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


def granian(port: int, model: ServedModel) -> None:
    """Serve with a bare RSGI function on granian's own embedded server, the model on its loop."""
    import asyncio

    from granian.constants import Interfaces
    from granian.server.embed import Server

    async def app(scope, protocol):  # type: ignore[no-untyped-def]
        kind = scope.headers.get("content-type") or ""
        status, content_type, answer = model.answer(await protocol(), kind)
        protocol.response_bytes(status, [("content-type", content_type.decode())], answer)

    server = Server(
        app, address="127.0.0.1", port=port, interface=Interfaces.RSGI, websockets=False
    )
    asyncio.run(server.serve())


def litserve(port: int, model: ServedModel) -> None:
    """Serve with LitServe and its batching."""
    from fastapi import Request, Response
    from litserve import LitAPI, LitServer

    class Api(LitAPI):
        def setup(self, device):  # type: ignore[no-untyped-def]
            self.model = served(str(model.settings.model_dir), model.max_batch)

        async def decode_request(self, request: Request):  # type: ignore[no-untyped-def]
            return self.model.decode(await request.body(), request.headers["content-type"], "")

        def batch(self, items):  # type: ignore[no-untyped-def]
            return items

        def predict(self, items):  # type: ignore[no-untyped-def]
            return self.model.predict(items)

        def unbatch(self, outputs):  # type: ignore[no-untyped-def]
            return outputs

        def encode_response(self, output) -> Response:  # type: ignore[no-untyped-def]
            status, kind, answer = self.model.encode(output, "")
            return Response(answer, status, media_type=kind.decode())

    api = Api(api_path="/invocations", max_batch_size=max(2, model.max_batch), batch_timeout=0.001)
    LitServer(api, accelerator="cpu").run(
        host="127.0.0.1", port=port, log_level="warning", generate_client_file=False
    )


try:
    from mosec import Server as MosecServer
    from mosec import Worker as MosecWorker
except ImportError:
    MosecWorker = object


class Mosec(MosecWorker):  # type: ignore[misc, valid-type]
    """The model in a process of mosec's; at module level, as mosec starts it afresh."""

    def __init__(self) -> None:
        super().__init__()
        self.model = served(os.environ["MODEL_DIR"], int(os.environ["MAX_BATCH"]))

    def deserialize(self, data: bytes):  # type: ignore[no-untyped-def]
        return self.model.decode(data, os.environ["CONTENT_TYPE"], "")

    def serialize(self, data) -> bytes:  # type: ignore[no-untyped-def]
        return self.model.encode(data, "")[2]

    def forward(self, data):  # type: ignore[no-untyped-def]
        many = isinstance(data, list)
        outputs = self.model.predict(data if many else [data])
        return outputs if many else outputs[0]


def mosec(port: int, model_dir: str, max_batch: int) -> None:
    """Serve with mosec: a Rust front, the model in one worker process, batches without waiting."""
    os.environ.update(MODEL_DIR=model_dir, MAX_BATCH=str(max_batch))
    sys.argv = ["mosec", "--address", "127.0.0.1", "--port", str(port), "--timeout", "60000",
                "--log-level", "warning"]  # fmt: skip
    server = MosecServer()
    server.append_worker(
        Mosec, num=1, max_batch_size=max_batch, max_wait_time=1, route="/invocations"
    )
    server.run()


if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    if name == "loop":
        loop(rest[0], int(rest[1]), rest[2], float(rest[3]))
    elif name == "answers":
        answers(*rest)
    elif name == "mosec":
        mosec(int(rest[0]), rest[1], int(rest[2]))
    else:
        from plain import serve as plain

        chosen = {
            "plain": plain,
            "fastapi": fastapi,
            "uvicorn": uvicorn,
            "granian": granian,
            "litserve": litserve,
        }
        chosen[name](int(rest[0]), served(rest[1], int(rest[2])))
