"""``python -m inference_code serve | worker | check | together | bench | tune``; the container's entry point, too."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inference_code.contract import BENCH_BUDGET_S, DEFAULT_PORT, MODEL_DIR, OPTIONS_ENV, PORT_ENV
from inference_code.engine.settings import CacheLimits, Settings, read_settings, serves_many
from inference_code.errors import StartupError

QUEUE_ENV, RESULTS_ENV = "DEPLOYER_QUEUE", "DEPLOYER_RESULTS"
_SERVING = ("workers", "threads", "max_batch", "max_wait_ms", "queue_limit", "max_body_bytes",
            "request_timeout_s", "drain_s", "exact", "objective_ms")  # fmt: skip

#: SageMaker's toolkit reads these; each sets a field of the serving configuration.
_VARIABLES = {
    "SAGEMAKER_MODEL_SERVER_WORKERS": ("workers", 1),
    "SAGEMAKER_MAX_PAYLOAD_IN_MB": ("max_body_bytes", 2**20),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0, 1 (a check failed), 2 (could not), 130 (interrupted)."""
    options = _parser().parse_args(
        _with_environment(sys.argv[1:] if arguments is None else arguments)
    )
    given = {k: getattr(options, k) for k in _SERVING if getattr(options, k, None) is not None}
    try:
        overrides = {**_from_environment(), **given}
        cache = CacheLimits(
            round(getattr(options, "cache_mb", 0.0) * 2**20), getattr(options, "cache_ttl_s", 60.0)
        )
        # In multi-model mode the platform mounts no model: each comes by POST /models.
        required = options.run is not _serve or not serves_many()
        settings = read_settings(options.model_dir, overrides, cache, required=required)
        code: int = options.run(settings, options)
    except StartupError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return code


def _serve(settings: Settings, options: argparse.Namespace) -> int:
    # Imported here: check and bench need no event loop.
    from inference_code.server.run import Sight, serve

    port = options.port if options.port is not None else _port_from_environment()
    sight = Sight(options.access_log, options.emf_s)
    return serve(settings, options.host, port, sight, options.client_limit, options.lame_duck_s)


def _worker(settings: Settings, options: argparse.Namespace) -> int:
    try:
        from inference_code.worker.start import start
    except ImportError as error:
        raise StartupError(
            f"a queue's worker needs boto3 ({error}): add boto3 to the bundle's requirements"
        ) from error

    # With both named on different levels, what was typed goes before what the environment says.
    results = (
        ""
        if options.replies and options.results == os.environ.get(RESULTS_ENV)
        else options.results
    )
    return start(settings, options.queue, results, options.replies)


def _check(settings: Settings, options: argparse.Namespace) -> int:
    from inference_code.bench.checks import check

    result = check(settings)
    sys.stdout.write(json.dumps(result) + "\n")
    return 0 if result["ok"] else 1


def _bench(settings: Settings, options: argparse.Namespace) -> int:
    from inference_code.bench.timing import Spell, bench

    result = bench(settings, options.batch_sizes, Spell(options.seconds, options.budget))
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


def _together(settings: Settings, options: argparse.Namespace) -> int:
    from inference_code.bench.together import together

    sys.stdout.write(json.dumps(together(settings)) + "\n")
    return 0


def _tune(settings: Settings, options: argparse.Namespace) -> int:
    from inference_code.bench.tuning import tune

    result = tune(settings, options.seconds, options.cores)
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="inference_code", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--model-dir", type=Path, default=Path(MODEL_DIR), metavar="DIR")
    shared.add_argument("--threads", type=int, metavar="N", help="threads within one inference")
    shared.add_argument(
        "--max-batch",
        type=int,
        metavar="N",
        help="most requests per inference",
    )
    shared.add_argument(
        "--exact",
        action="store_true",
        default=None,
        help="no batches in which an answer depends on the other requests",
    )
    _add_serve(commands.add_parser("serve", parents=[shared], help="serve over HTTP until SIGTERM"))
    _add_worker(commands.add_parser("worker", parents=[shared], help="serve a queue until SIGTERM"))
    check = commands.add_parser("check", parents=[shared], help="run the samples, print JSON")
    check.set_defaults(run=_check)
    mixed = commands.add_parser(
        "together", parents=[shared], help="try whether batches move answers, print JSON"
    )
    mixed.set_defaults(run=_together)
    bench = commands.add_parser("bench", parents=[shared], help="time batch sizes, print JSON")
    bench.add_argument("--batch-sizes", type=_sizes, default=(1, 2, 4, 8), metavar="1,2,4")
    bench.add_argument("--seconds", type=float, default=2.0, metavar="S", help="per batch size")
    bench.add_argument(
        "--budget", type=float, default=BENCH_BUDGET_S, metavar="S", help="for all of them"
    )
    bench.set_defaults(run=_bench)
    tune = commands.add_parser(
        "tune", parents=[shared], help="measure workers x threads, print JSON"
    )
    tune.add_argument("--seconds", type=float, default=2.0, metavar="S", help="per split")
    tune.add_argument("--cores", type=int, metavar="N", help="default: those this process may use")
    tune.set_defaults(run=_tune)
    return parser


def _add_serve(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("--host", default="0.0.0.0")  # noqa: S104 - a container's port must be reachable
    serve.add_argument("--port", type=int, help=f"default: {PORT_ENV} or {DEFAULT_PORT}")
    serve.add_argument("--workers", type=int, metavar="N", help="processes with a model each")
    serve.add_argument("--max-wait-ms", type=float, metavar="MS", help="longest wait for a batch")
    serve.add_argument(
        "--objective-ms",
        type=float,
        metavar="MS",
        help="keep batches small enough to answer in this",
    )
    serve.add_argument("--queue-limit", type=int, metavar="N", help="requests that may wait")
    serve.add_argument(
        "--client-limit",
        type=int,
        default=0,
        metavar="N",
        help="requests in flight per client (429)",
    )
    serve.add_argument("--max-body-bytes", type=int, metavar="N")
    serve.add_argument("--request-timeout-s", type=float, metavar="S")
    serve.add_argument("--drain-s", type=float, metavar="S", help="time from SIGTERM to exit")
    serve.add_argument(
        "--lame-duck-s", type=float, metavar="S", help="how much of it connections are still taken"
    )
    serve.add_argument(
        "--cache-mb", type=float, default=0.0, metavar="MB", help="keep answers by payload digest"
    )
    serve.add_argument("--cache-ttl-s", type=float, default=60.0, metavar="S", help="for how long")
    serve.add_argument("--access-log", action="store_true", help="log every request, as JSON")
    serve.add_argument(
        "--emf-s", type=float, default=0.0, metavar="S", help="CloudWatch metrics every S seconds"
    )
    serve.set_defaults(run=_serve)


def _add_worker(worker: argparse.ArgumentParser) -> None:
    environ = os.environ.get
    worker.add_argument(
        "--queue", default=environ(QUEUE_ENV, ""), help=f"name or URL; default: {QUEUE_ENV}"
    )
    worker.add_argument(
        "--results",
        default=environ(RESULTS_ENV, ""),
        metavar="S3_URI",
        help=f"s3://bucket/prefix for answers; default: {RESULTS_ENV}",
    )
    worker.add_argument("--replies", default="", metavar="QUEUE", help="for answers, instead")
    worker.add_argument("--workers", type=int, metavar="N", help="processes with a model each")
    worker.add_argument("--max-wait-ms", type=float, metavar="MS", help="longest wait for a batch")
    worker.add_argument("--request-timeout-s", type=float, metavar="S")
    worker.add_argument("--drain-s", type=float, metavar="S", help="time from SIGTERM to exit")
    worker.set_defaults(run=_worker)


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(part) for part in text.split(","))
    if min(sizes) < 1:
        raise ValueError("batch sizes start at 1")
    return sizes


def _with_environment(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with those of OPTIONS_ENV before them: a platform runs `serve` and adds nothing."""
    command, rest = list(arguments[:1]), list(arguments[1:])
    if command == ["serve"]:
        rest = [*shlex.split(os.environ.get(OPTIONS_ENV, "")), *rest]
    return [*command, *rest]


def _from_environment() -> dict[str, int]:
    """Return what SageMaker's own variables ask for; the command line goes before them."""
    found = {}
    for name, (key, factor) in _VARIABLES.items():
        text = os.environ.get(name)
        if text is None:
            continue
        if not text.isdigit():
            raise StartupError(f"{name} is {text!r}, not a whole number")
        found[key] = int(text) * factor
    return found


def _port_from_environment() -> int:
    text: Any = os.environ.get(PORT_ENV, DEFAULT_PORT)
    try:
        return int(text)
    except ValueError:
        raise StartupError(f"{PORT_ENV} is {text!r}, not a port number") from None


if __name__ == "__main__":
    sys.exit(main())
