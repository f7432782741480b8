"""Must show: every message of a queue is answered exactly once though its workers are killed.

``python tests/benchmarks/queue/run.py --messages 100000`` drives real workers against moto's SQS and S3 over HTTP,
kills one every few seconds, sends every tenth message twice and every fortieth as poison. Prints JSON; exit 1 when a
message was lost, answered twice or wrongly, or poison is missing among the dead letters or has no reason. SIGTERM ends
a long run early: what was sent by then is worked off and judged.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from deployer import machine


def driver() -> ModuleType:
    """Load ``tests/fakes/queue.py``, which the tests use too."""
    source = Path(__file__).parents[2] / "fakes" / "queue.py"
    spec = importlib.util.spec_from_file_location("fake_queue", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fake_queue"] = module
    spec.loader.exec_module(module)
    return module


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill-every-s", type=float, default=5.0)
    parser.add_argument("--limit-s", type=float, default=0.0, help="default: 0.1 s a message")
    options = parser.parse_args()
    found = driver()
    signal.signal(signal.SIGTERM, lambda *_: found.ENOUGH.set())
    plan = found.Plan(
        messages=options.messages,
        workers=options.workers,
        kill_every_s=options.kill_every_s,
        limit_s=options.limit_s or max(120.0, options.messages * 0.1),
    )
    with tempfile.TemporaryDirectory(prefix="queue-") as folder:
        outcome = found.run(plan, Path(folder), lambda line: print(line, file=sys.stderr))
    report = {
        **dataclasses.asdict(outcome),
        "faultless": outcome.faultless,
        "per_s": round(outcome.sent / outcome.seconds, 1),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine.describe(),
    }
    print(json.dumps(report, indent=1, default=str))
    return int(not outcome.faultless)


if __name__ == "__main__":
    sys.exit(main())
