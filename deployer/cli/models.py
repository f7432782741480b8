"""The verbs of a model: optimize, package, check, serve, profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from deployer import api, conformance
from deployer.api.training import TrainedModel
from deployer.bundle.readymade import READY, ready_made
from deployer.cli import text
from deployer.cli.console import Console
from deployer.cli.images import TOOL
from deployer.cli.options import (
    ANY_INPUT,
    DURATION,
    INPUT,
    MODEL,
    NAMED_FILE,
    NUMBER,
    PORT,
    SIZES,
    force_option,
    output_option,
    seed_option,
    shape_option,
    verb,
)
from deployer.cli.output import check_file, check_folder, write
from deployer.cli.trained import source, training_option
from deployer.errors import InputError
from inference_code.contract import ENGINES, ContractError, ServingConfig

_COUNT = click.IntRange(1, 1024)


class _Handler(click.Path):
    """A file, or the name of a handler that comes ready-made."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if value in READY and not Path(value).is_file():
            return Path(value)
        if not Path(value).exists():
            known = ", ".join(READY)
            self.fail(f"file {value!r} does not exist; ready-made handlers: {known}", param, ctx)
        return super().convert(value, param, ctx)


@verb(
    "optimize",
    "deployer optimize model.onnx --calibration train.npz --eval held_out.npz -o opt",
    "deployer optimize MiniLM/ --calibration c.npz --eval e.npz --metric cosine --max-drop 0.005 -o opt",
    "deployer optimize yolo.onnx --calibration c.npz --eval e.npz --metric recall50 --max-drop 0.02 -o opt",
    "deployer optimize model.pt2 --calibration c.npz --eval e.npz --require-speedup 1.5 -o opt",
    "deployer optimize model.onnx --calibration c.npz --eval e.npz --instance-type c7i.large -o opt",
    "deployer optimize model.onnx -o opt    # no rows, no labels: judged by fidelity to FP32, and stricter",
    "deployer optimize nets:teacher --student nets:small --train t.npz --calibration c.npz --eval e.npz -o opt",
    "deployer optimize --from-training-job digits-2026-11-20 --calibration c.npz --eval e.npz -o opt",
)
@click.argument("model", required=False)
@training_option
@click.option("--calibration", type=INPUT,
              help=".npz: an array for each input; without it rows are made.")  # fmt: skip
@click.option("--eval", "--evaluation", "evaluation", type=INPUT,
              help=".npz: inputs, and `label` or `label_...`; without it fidelity to FP32 judges.")  # fmt: skip
@click.option("--metric",
              help="accuracy (default with --eval), topK, f1, auc, spearman, sts, ndcg, map, map50, recall50, wer, "
              "cer; without labels fidelity (default), cosine; or module:function.")  # fmt: skip
@click.option("--max-drop", type=click.FloatRange(0),
              help="Largest loss of the metric that a rung may cost; default: 0.01, without --eval "
              "0.005, on made rows 0.002; of fidelity 0.2, on made rows 0.15.")  # fmt: skip
@click.option("--ignore-output", "ignore_outputs", multiple=True, metavar="NAME",
              help="Judge all outputs but this; repeat for more.")  # fmt: skip
@shape_option
@click.option("--batch-sizes", type=SIZES, default="1,8", show_default=True,
              help="That will serve, and are timed.")  # fmt: skip
@click.option("--rung", "rungs", multiple=True, help="Climb only this rung; repeat for more.")
@click.option("--alternative", "alternatives", type=NAMED_FILE, multiple=True, metavar="NAME=ONNX",
              help="Another model for the same job; repeat for more.")  # fmt: skip
@click.option("--train", "training", type=INPUT,
              help=".npz for --prune, --student, and int8 that is wrong: inputs, and `label`.")  # fmt: skip
@click.option("--prune", type=click.FloatRange(0, 1, min_open=True, max_open=True),
              help="Share of channels to take out before tuning.")  # fmt: skip
@click.option("--student", type=MODEL, help="Smaller module to teach: module:function or a folder.")
@click.option("--instance-type", help="Price the rungs on this type: ml.c5.large, c7i.large.")
@click.option("--region", default="us-east-1", show_default=True, help="Of --instance-type.")
@click.option("--latencies", type=INPUT, help="latencies.json of an earlier climb, for the clock.")
@click.option("--require-speedup", type=NUMBER, help="Exit 1 unless the best is this much faster.")
@click.option("--least-gain", type=click.FloatRange(1), default=1.05, show_default=True,
              help="A rung that is faster by less is not kept.")  # fmt: skip
@click.option("--threads", type=_COUNT, default=1, show_default=True, help="For timing.")
@click.option("--rung-minutes", type=click.FloatRange(0, min_open=True), default=30.0,
              show_default=True, help="A rung that takes longer is stopped.")  # fmt: skip
@click.option("--minutes", type=click.FloatRange(0), default=0.0, show_default=True,
              help="For a search after the rungs: calibrations, layers left in FP32, threads.")  # fmt: skip
@click.option("--rung-memory", "rung_memory_gb", type=click.FloatRange(0, min_open=True), metavar="GB",
              help="A rung that takes more is stopped; default: 80% of what is free.")  # fmt: skip
@seed_option
@output_option("Folder for best.onnx, the rungs and ladder.json.")
@click.pass_obj
def optimize_verb(
    console: Console,
    /,
    model: str | None,
    training_job: str | None,
    rungs: tuple[str, ...],
    alternatives: tuple[tuple[str, Path], ...],
    shapes: tuple[tuple[str, tuple[int, ...]], ...],
    require_speedup: float | None,
    output: Path,
    **options: Any,
) -> None:
    """Quantize a model and keep what passes the accuracy gate.

    MODEL is .onnx, .pt2, TorchScript, a Hugging Face folder, or module:function that returns a torch module;
    all but ONNX are exported first, and checked. A rung that loses more than --max-drop of the metric, ruins any
    output, is faster than FP32 by less than --least-gain, or costs more, is refused with its reason; FP32 stays where
    no rung passes. Without --eval half of the calibration rows judge, by fidelity to FP32; without either, rows made
    of an ONNX model's inputs do, and no rung with fixed scales is kept. Where no int8 rung is right and --train is
    there, a torch module is tuned while it is rounded. Each rung runs in a process of its own; after Ctrl-C the same
    command takes up the finished ones. With --from-training-job the model is fetched from S3 and checked; MODEL is
    then a file in its artifact.
    """
    check_folder(output)
    with source(console, model, training_job, MODEL, TrainedModel.model) as (file, came):
        report = api.optimize(
            file,
            rungs=list(rungs) or None,
            alternatives=dict(alternatives),
            shapes=dict(shapes),
            out=output,
            lineage=came,
            say=console.say,
            **options,
        )
    console.result(report.to_json(), text.ladder(report))
    if require_speedup is not None:
        report.require_speedup(require_speedup)


@verb(
    "package",
    "deployer package opt/best.onnx --name digits -o dist",
    "deployer package model.onnx --handler handler.py --samples samples/ --name digits -o dist",
    "deployer package model.onnx --handler image --name cats -o dist    # or text",
    "deployer package model.onnx --name digits --max-batch 16 --threads 2 -o dist",
    "deployer package --from-training-job digits-2026-11-20 --name digits -o dist",
)
@click.argument("model", required=False)
@training_option
@click.option("--name", required=True, help="Letters, digits and inner hyphens.")
@click.option("--handler", type=_Handler(exists=True, dir_okay=False, path_type=Path), metavar="FILE|NAME",
              help=f"Python file, or {' or '.join(READY)}; without it the ONNX handler serves.")  # fmt: skip
@click.option("--requirements", type=INPUT, help="What the handler needs, pinned.")
@click.option("--extra", type=ANY_INPUT, multiple=True, help="Another file for the model folder.")
@click.option("--samples", type=ANY_INPUT,
              help="Sample requests: .json, .csv, .npy, or a folder of them.")  # fmt: skip
@click.option("--precision", help="Of a model that is no ONNX graph; of a graph it is read.")
@click.option("--engine", type=click.Choice(list(ENGINES)),
              help="Runs the model; default: what the model file names, else onnxruntime.")  # fmt: skip
@click.option("--workers", type=_COUNT, default=1, show_default=True, help="Server processes.")
@click.option("--threads", type=_COUNT, default=1, show_default=True, help="Of each worker.")
@click.option("--max-batch", type=_COUNT, default=8, show_default=True)
@click.option("--max-wait-ms", type=click.FloatRange(0, 10_000), default=0.0, show_default=True,
              help="How long a request may wait for others to batch with.")  # fmt: skip
@click.option("--exact", is_flag=True,
              help="No batches in which an answer depends on the other requests.")  # fmt: skip
@click.option("--queue-limit", type=click.IntRange(1), default=128, show_default=True,
              help="Requests that may wait; more get 503.")  # fmt: skip
@output_option("Folder for NAME-<digest>.tar.gz.")
@click.pass_obj
def package_verb(
    console: Console,
    model: str | None,
    training_job: str | None,
    name: str,
    handler: Path | None,
    requirements: Path | None,
    extra: tuple[Path, ...],
    samples: Path | None,
    precision: str | None,
    engine: str | None,
    workers: int,
    threads: int,
    max_batch: int,
    max_wait_ms: float,
    exact: bool,
    queue_limit: int,
    output: Path,
) -> None:
    """Seal model, handler and serving code into one bundle.

    Equal inputs give an equal bundle: its name carries the first 12 digits of its digest. With --from-training-job
    the model is fetched from S3 and checked; MODEL is then a file in its artifact, by default all of it, and the
    manifest tells job, image, data and metrics.
    """
    check_folder(output)
    try:
        serving = ServingConfig(
            workers=workers,
            threads=threads,
            max_batch=max_batch,
            max_wait_ms=max_wait_ms,
            queue_limit=queue_limit,
            exact=exact,
        )
    except ContractError as error:
        raise InputError(str(error)) from error
    with source(console, model, training_job, ANY_INPUT, lambda found: found.folder) as (
        file,
        came,
    ):
        bundle = api.package(
            file,
            output,
            name=name,
            handler=handler,
            requirements=requirements,
            extra=extra,
            samples=samples,
            precision=precision,
            engine=engine,
            serving=serving,
            lineage=came,
        )
    _say_what_joins(console, handler)
    document = {"path": str(bundle.path), "digest": bundle.digest, "name": bundle.manifest.name}
    console.result(document, str(bundle.path))


def _say_what_joins(console: Console, handler: Path | None) -> None:
    ready = ready_made(handler)
    if ready is not None:
        needs = ", ".join(ready.requirements)
        console.say(f"The handler {ready.name} needs {needs}: it is among the requirements now.")


@verb(
    "check",
    "deployer check dist/digits-3f9a1c2b77d0.tar.gz",
    "deployer check dist/digits-3f9a1c2b77d0.tar.gz --startup 180s    # as serverless demands",
    "deployer check dist/digits-3f9a1c2b77d0.tar.gz --image digits:1.0",
    "deployer check dist/digits-3f9a1c2b77d0.tar.gz --both    # and equal answers on SageMaker and EC2",
    "deployer check dist/digits-3f9a1c2b77d0.tar.gz --json > conformance.json",
)
@click.argument("bundle", type=INPUT)
@click.option("--image", help="Play them against a container of this image.")
@click.option("--tool", type=TOOL, help="Runs the image; default: the first of these that works.")
@click.option("--startup", "startup_s", type=DURATION, default="480s", show_default=True,
              help="Limit to the first healthy /ping.")  # fmt: skip
@click.option("--both", is_flag=True, help="Start it as EC2 does, too, and compare the answers.")
@click.pass_obj
def check_verb(
    console: Console,
    bundle: Path,
    image: str | None,
    tool: str | None,
    startup_s: float,
    both: bool,
) -> None:
    """Play SageMaker's container rules against a bundle's server.

    Verifies every digest, starts the real server as the platform would, and plays each rule; with --image in
    a container, the bundle read-only at /opt/ml/model. Exit 1 when a rule is broken.
    """
    report = conformance.check(
        bundle, image=image, tool=tool, startup_s=startup_s, both=both, say=console.progress
    )
    console.result(report.to_json(), text.conformance(report, ascii_only=console.ascii_only))
    report.require()


@verb(
    "serve",
    "deployer serve dist/digits-3f9a1c2b77d0.tar.gz",
    "deployer serve dist/digits-3f9a1c2b77d0.tar.gz --port 9000 --workers 2",
    "deployer serve dist/digits-3f9a1c2b77d0.tar.gz --host 0.0.0.0    # reachable from outside",
    "deployer serve dist/digits-3f9a1c2b77d0.tar.gz --as-sagemaker    # for boto3's sagemaker-runtime",
)
@click.argument("bundle", type=INPUT)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=PORT, default=8080, show_default=True)
@click.option("--workers", type=_COUNT, help="Server processes; default: the bundle's.")
@click.option("--threads", type=_COUNT, help="Of each worker; default: the bundle's.")
@click.option("--as-sagemaker", is_flag=True, help="Answer SageMaker's Runtime API instead.")
@click.option("--name", help="With --as-sagemaker: the endpoint's; default: the bundle's.")
@click.option("--objects", type=click.Path(file_okay=False, path_type=Path),
              help="With --as-sagemaker: folder of buckets for asynchronous calls.")  # fmt: skip
@click.pass_obj
def serve_verb(
    console: Console,
    bundle: Path,
    host: str,
    port: int,
    workers: int | None,
    threads: int | None,
    as_sagemaker: bool,
    name: str | None,
    objects: Path | None,
) -> None:
    """Serve a bundle on this machine until Ctrl-C.

    GET /ping, POST /invocations, GET /metrics. Ctrl-C or SIGTERM drains: what is in flight is answered.
    With --as-sagemaker boto3's client "sagemaker-runtime" works unchanged against this machine: its
    endpoint_url is the URL that is told. Headers, limits and errors are as SageMaker has them.
    """
    options: dict[str, Any] = {"host": host, "port": port, "workers": workers, "threads": threads}
    if as_sagemaker:
        api.serve_as_sagemaker(bundle, name=name, objects=objects, say=console.say, **options)
        return
    if name is not None or objects is not None:
        raise InputError("--name and --objects belong to --as-sagemaker")
    api.serve(bundle, say=console.say, **options)


@verb(
    "profile",
    "deployer profile dist/digits-3f9a1c2b77d0.tar.gz -o profile.json",
    "deployer profile dist/digits-3f9a1c2b77d0.tar.gz --batch-sizes 1,2,4,8,16 -o profile.json",
    "deployer profile dist/digits-3f9a1c2b77d0.tar.gz --seconds 10 --threads 2 -o profile.json",
)
@click.argument("bundle", type=INPUT)
@click.option("--batch-sizes", type=SIZES, default="1,2,4,8", show_default=True)
@click.option("--seconds", type=click.FloatRange(0.01, 600), default=2.0, show_default=True,
              help="For each batch size, at least.")  # fmt: skip
@click.option("--budget", type=DURATION, default="10m", show_default=True,
              help="For all of them, at most.")  # fmt: skip
@click.option("--threads", type=_COUNT, help="Default: the bundle's.")
@force_option
@output_option("profile.json; an existing one is kept unless --force.")
@click.pass_obj
def profile_verb(
    console: Console,
    bundle: Path,
    batch_sizes: tuple[int, ...],
    seconds: float,
    budget: float,
    threads: int | None,
    force: bool,
    output: Path,
) -> None:
    """Measure a bundle's service time by batch size.

    Runs the bundle's own serving code in a process of its own. Do it on a machine of the kind that will
    serve: a profile is carried to other kinds only as an assumption. Only sizes that the server makes are timed, each
    until 20 runs, or 5 that agree within 2%, are there; one that does not fit into the budget is left out and told.
    """
    check_file(output, inputs=[bundle], keep=not force)
    profile = api.profile(
        bundle,
        batch_sizes=batch_sizes,
        seconds=seconds,
        budget_s=budget,
        threads=threads,
        say=console.say,
    )
    write(output, text.json_text(profile.to_json()))
    console.result(profile.to_json(), text.profile(profile))
