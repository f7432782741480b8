"""CloudWatch metrics as log lines (embedded metric format): no AWS call, no credentials."""

from __future__ import annotations

import asyncio
import sys
import time

from inference_code.codecs import jsontext
from inference_code.engine.log import emit
from inference_code.metrics import emf
from inference_code.server.app import Application

NAMESPACE = "Inference"
PERIOD_S = 60.0


async def report(app: Application, period_s: float = PERIOD_S) -> None:
    """Write one record per period to stdout, with what happened in it."""
    before = _totals(app)
    while True:
        await asyncio.sleep(period_s)
        now = _totals(app)
        change = {name: (now[name] - before[name], "Count") for name in now}
        levels = {
            "Waiting": (float(app.engine.waiting), "Count"),
            "ReadyWorkers": (float(app.engine.ready_workers), "Count"),
            "MemoryBytes": (sum(app.engine.memory_bytes().values()), "Bytes"),
        }
        dimensions = {"Model": app.engine.settings.name}
        record = emf(NAMESPACE, dimensions, {**change, **levels}, time.time())
        emit(jsontext.write(record).decode() + "\n", sys.stdout)
        before = now


def _totals(app: Application) -> dict[str, float]:
    answers = app.requests.values
    return {
        "Answers": sum(count for code, count in answers.items() if int(code) < 400),
        "ClientErrors": sum(count for code, count in answers.items() if 400 <= int(code) < 500),
        "ServerErrors": sum(count for code, count in answers.items() if int(code) >= 500),
        "Shed": app.engine.metrics.shed.total(),
        "WorkerRestarts": app.engine.metrics.restarts.total(),
    }
