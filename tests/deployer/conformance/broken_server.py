"""A server that keeps SageMaker's rules but for the one that it is told to break: ``broken_server.py FAULT``.

It echoes JSON. Nothing of the serving code is in it, so that the rules are played on a server not our own.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

FAULT = sys.argv[1]
MAX_BODY_BYTES = 6 * 2**20
MODELS: dict[str, str] = {}


def broken(fault: str) -> bool:
    return fault == FAULT


class Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for requests under way
    request_queue_size = 0 if broken("accepts late") else 64
    accepted = 0

    def get_request(self) -> tuple[socket.socket, object]:
        self.accepted += 1
        if broken("accepts late") and self.accepted in range(3, 6):
            time.sleep(0.4)
        return super().get_request()


class Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    pings = 0

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def answer(self, status: int, content: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        if self.path == "/ping":
            self.ping()
        elif self.path == "/invocations":
            self.answer(200 if broken("GET /invocations is 200") else 405)
        elif self.path == "/models":
            names = [] if broken("lists no model") else list(MODELS)
            self.answer(200, json.dumps({"models": names}).encode())
        elif self.path.startswith("/models/"):
            known = self.name() in MODELS or broken("knows every model")
            self.answer(200 if known else 404)
        else:
            self.answer(200 if broken("any path is 200") else 404)

    def ping(self) -> None:
        Requests.pings += 1
        later = Requests.pings > 1
        if broken("ping is slow") and later:
            time.sleep(2.3)
        if broken("ping fails later") and later:
            self.answer(503)
        else:
            self.answer(200, b"x" * 5000 if broken("ping says much") else b"")

    def do_DELETE(self) -> None:
        known = self.name() in MODELS
        if known and not broken("unloads nothing"):
            del MODELS[self.name()]
        self.answer(200 if known else 404)

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        if length > MAX_BODY_BYTES and not broken("reads any length"):
            self.answer(413)
            if broken("dies of a large body"):
                os._exit(1)
            return
        content = self.rfile.read(length)
        if self.path == "/models":
            self.load(json.loads(content))
        elif self.path.startswith("/models/") and self.name() not in MODELS:
            self.answer(404)
        else:
            self.invoke(content)

    def load(self, wanted: dict[str, str]) -> None:
        files = Path(wanted["url"]).rglob("*")
        if wanted["model_name"] in MODELS and not broken("loads twice"):
            self.answer(409)
        elif sum(f.stat().st_size for f in files) > 2**40 and not broken("loads any size"):
            self.answer(507)
        else:
            MODELS[wanted["model_name"]] = wanted["url"]
            self.answer(200)

    def invoke(self, content: bytes) -> None:
        attributes = self.headers.get("X-Amzn-SageMaker-Custom-Attributes", "")
        if broken("short headers only") and len(attributes) > 256:
            self.answer(431)
        elif self.headers["Content-Type"] != "application/json":
            self.answer(500 if broken("unknown type is 500") else 415)
        elif not content.endswith(b"}"):
            self.answer(500 if broken("bad body is 500") else 400)
        elif broken("samples fail"):
            self.answer(500)
        else:
            self.answer(200, content)

    def name(self) -> str:
        return unquote(self.path.split("/")[2])


def main() -> None:
    if broken("does not start"):
        sys.exit("no such luck")
    if broken("writes into the model folder"):
        Path("cache.bin").write_bytes(b"x")
    port = 0 if broken("another port") else int(os.environ["SAGEMAKER_BIND_TO_PORT"])
    server = Server(("127.0.0.1", port), Requests)

    def stop(number: int, frame: object) -> None:
        if broken("drops what is in flight"):
            os._exit(0)
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    server.serve_forever(poll_interval=0.02)
    server.server_close()
    sys.exit(1 if broken("exits with 1") else 0)


if __name__ == "__main__":
    main()
