"""A model file becomes a variant, a bundle, a profile."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.distribution import install_hint
from deployer.errors import InputError
from deployer.paths import AnyPath, as_path
from deployer.progress import Say, silent
from inference_code.contract import BENCH_BUDGET_S, ServingConfig

if TYPE_CHECKING:
    from deployer.bundle.bundle import Bundle
    from deployer.optimization.edgebundle import EdgeBundle
    from deployer.optimization.report import LadderReport
    from deployer.optimization.variant import Variant
    from deployer.profiles import Profile

Arrays = Mapping[str, Any]


def export(model: Any, example: Arrays, out: AnyPath, **options: Any) -> Variant:
    """Export a torch module or a fitted estimator to ONNX and check it against the source on ``example``.

    ``example`` maps input names to arrays, the batch first. Estimators of scikit-learn, XGBoost and LightGBM need the
    extra ``trees``; no file is unpickled. Raises ConditionFailed on a mismatch.
    """
    from deployer.optimization import export as stage

    return stage.export(model, example, as_path(out), **options)


def optimize(
    model: Any,
    *,
    calibration: AnyPath | Arrays | None = None,
    evaluation: AnyPath | Arrays | None = None,
    metric: str | None = None,
    max_drop: float | None = None,
    out: AnyPath,
    training: AnyPath | Arrays | None = None,
    prune: float | None = None,
    student: Any = None,
    alternatives: Mapping[str, AnyPath] | None = None,
    instance_type: str | None = None,
    region: str = "us-east-1",
    threads: int = 1,
    seed: int = 0,
    require_speedup: float | None = None,
    lineage: Mapping[str, str] | None = None,
    say: Say = silent,
    **options: Any,
) -> LadderReport:
    """Climb the quantization ladder; keep what passes the accuracy, latency and cost gates.

    ``model`` is a torch module, a path (.onnx, .pt2, TorchScript, a Hugging Face folder; all but ONNX are exported
    first, and checked) or ``module:function`` that returns a module. ``calibration``, ``evaluation`` and ``training``
    are .npz files or mappings from input names to arrays; ``evaluation`` also holds ``label`` (boxes: ``label_boxes``,
    ``label_classes``) where the metric needs it. Without it half of the calibration rows judge, by fidelity to FP32;
    without either, rows made of an ONNX model's inputs (``shapes`` sets their sizes): both are stricter, and said in
    all that is written. Every output is judged but ``ignore_outputs``. With ``training``, ``prune`` (the share of
    channels to take out) and ``student`` (a module) add smaller models, and a module that no rung in int8 keeps right
    is tuned for it; ``alternatives`` are ONNX files for the same job. ``instance_type`` adds the cost gate, by its
    price in ``region``. ``options`` go to ``ladder.climb``, ``minutes`` of a search among them.
    Raises ConditionFailed when the best is not ``require_speedup`` times as fast as FP32, Interrupted on Ctrl-C.
    """
    from deployer.optimization import ladder, output

    out = as_path(out)
    calibration, evaluation, example = _sets(calibration, evaluation, training, metric)
    price = _usd_per_thousand(instance_type, region, threads) if instance_type else None
    with output.workspace(out) as folder:
        how = {"prune": prune, "student": student, "seed": seed, "say": say}
        fp32, smaller = _as_onnx(model, example, training, folder, **how)
        report = ladder.climb(
            fp32,
            calibration=calibration,
            evaluation=evaluation,
            metric=metric,
            max_drop=max_drop,
            out=out,
            alternatives=_paths(alternatives) | smaller,
            usd_per_thousand=price,
            threads=threads,
            seed=seed,
            tuning=_tuning(model, training),
            progress=say,
            **options,
        )
    _write_beside(report, lineage or {}, out, say)
    report.require_speedup(require_speedup or 0.0)
    return report


def _paths(given: Mapping[str, AnyPath] | None) -> dict[str, Path]:
    return {name: as_path(path) for name, path in (given or {}).items()}


def _sets(
    calibration: AnyPath | Arrays | None,
    evaluation: AnyPath | Arrays | None,
    training: AnyPath | Arrays | None,
    metric: str | None,
) -> tuple[Arrays | None, Arrays | None, Arrays | None]:
    """Return the sets that were given, read, and the one to export by.

    What is wrong is told here, before the minutes of an export.
    """
    from deployer.optimization import data, metrics

    if metric is not None:
        metrics.resolve(metric)
    if evaluation is None and training is not None:
        raise InputError(
            "what --train changes cannot be judged without --eval",
            hint="give --eval FILE.npz with `label`",
        )
    read = [
        None if each is None else data.arrays(as_path(each)) for each in (calibration, evaluation)
    ]
    return read[0], read[1], read[0] or read[1]


def _tuning(model: Any, training: AnyPath | Arrays | None) -> Any:
    """Return what the model can be tuned from where int8 is wrong, None without rows."""
    from deployer.optimization import data, tuning

    return None if training is None else tuning.Tuning(model, data.arrays(as_path(training)))


def _as_onnx(
    model: Any,
    example: Arrays | None,
    training: AnyPath | Arrays | None,
    folder: Path,
    *,
    prune: float | None,
    student: Any,
    seed: int,
    say: Say,
) -> tuple[Path, dict[str, Path]]:
    """Return the ONNX file of the model and those of its smaller versions by name."""
    from deployer.optimization import data, sources

    if (prune is not None or student is not None) and training is None:
        raise InputError("pruning and distillation need training rows", hint="add --train FILE.npz")
    if example is None and not sources.is_onnx(model):
        raise InputError(
            "only an ONNX file can be optimised without rows: all else is exported by some",
            hint="give --calibration FILE.npz",
        )
    fp32 = sources.as_onnx(model, example or {}, folder, seed=seed, say=say)
    _check_float(fp32)
    if training is None:
        return fp32, {}
    rows = data.arrays(as_path(training))
    return fp32, sources.smaller(
        model, fp32, rows, folder, remove=prune, student=student, seed=seed, say=say
    )


def _check_float(model: Path) -> None:
    """Raise InputError for a graph that computes on integers already: FP32 is what the rungs are judged by."""
    from deployer.bundle.onnxfile import read_onnx

    try:
        with model.open("rb") as file:
            precision = read_onnx(str(model), file).precision
    except (OSError, InputError):
        return  # the ladder says what is wrong with it
    if precision.startswith("int"):
        raise InputError(
            f"{str(model)!r} is quantized already ({precision}): there is no FP32 to judge the rungs by",
            hint="give the model as it was before; as it is, `deployer package` takes it",
        )


def _usd_per_thousand(instance_type: str, region: str, threads: int) -> Callable[[float], Decimal]:
    """Return what an inference costs on a busy instance: one server for every ``threads`` of its vCPUs."""
    from deployer.cost.capacity import usd_per_thousand_at
    from deployer.pricing import snapshot

    book = snapshot.load()
    service = "sagemaker-hosting" if instance_type.startswith("ml.") else "ec2"
    price = book.lookup(service, region, instance_type)
    shape = book.shape(instance_type)
    if shape is None:
        raise InputError(f"the price book does not know how many vCPUs {instance_type!r} has")
    return usd_per_thousand_at(price, max(1, shape.vcpu // threads))


def _write_beside(report: LadderReport, lineage: Mapping[str, str], out: Path, say: Say) -> None:
    from deployer.api.training import write_lineage
    from deployer.report.write import write_ladder

    judged = {} if report.data == "given" else {"judged_by": report.judged_by}
    write_lineage({**lineage, **judged}, out)
    if any(importlib.util.find_spec(name) is None for name in ("jinja2", "matplotlib")):
        say(f"no page of the ladder: it needs `{install_hint('report')}`")
        return
    write_ladder(report.to_json(), out)


def edge(
    model: AnyPath,
    out: AnyPath,
    *,
    target: str | None = None,
    samples: AnyPath | Arrays | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    max_mb: float | None = None,
    max_memory_mb: float | None = None,
    max_latency_ms: float | None = None,
    seed: int = 0,
    require: bool = True,
) -> EdgeBundle:
    """Write an ONNX model as an .ort file for a device, with its list of operators and what one thread takes for it.

    ``target`` is amd64, arm64 or native (this kind of processor alone); by default this machine's. ``samples`` is an
    .npz or a mapping of rows by input name; without it requests are made, ``shapes`` in size. The limits are megabytes
    (1e6 bytes) and milliseconds, judged in the stock runtime on this machine. Raises ConditionFailed where one does not
    hold, with everything written (``require`` False leaves it to the bundle's own ``require``), and where the file
    answers otherwise than ``model``, with nothing written.
    """
    from deployer.optimization import data
    from deployer.optimization import edge as stage

    bundle = stage.build(
        as_path(model),
        as_path(out),
        target=target,
        samples=None if samples is None else data.arrays(as_path(samples)),
        shapes=shapes,
        max_mb=max_mb,
        max_memory_mb=max_memory_mb,
        max_latency_ms=max_latency_ms,
        seed=seed,
    )
    if require:
        bundle.require()
    return bundle


def package(
    model: AnyPath,
    out_dir: AnyPath,
    *,
    name: str,
    handler: AnyPath | None = None,
    requirements: AnyPath | None = None,
    extra: Sequence[AnyPath] = (),
    samples: AnyPath | None = None,
    precision: str | None = None,
    serving: ServingConfig = ServingConfig(),  # noqa: B008 - frozen
    lineage: Mapping[str, str] | None = None,
    engine: str | None = None,
) -> Bundle:
    """Seal model, handler and serving code into ``out_dir/NAME-<digest>.tar.gz``.

    ``handler`` is a file, or ``"image"`` or ``"text"`` for one that comes ready-made. ``precision`` is read from an
    ONNX graph, so state it only of other models. ``engine`` (onnxruntime or openvino) runs the model; by default the
    one that the ONNX file names. ``lineage`` is
    where the model came from, text by name; by default what ``optimize`` noted beside it, ``lineage.json``.
    """
    from deployer.api.training import lineage_beside
    from deployer.bundle import build

    model = as_path(model)
    lineage = lineage_beside(model) if lineage is None else lineage
    return build.build(
        model,
        as_path(out_dir),
        name=name,
        handler=as_path(handler),
        requirements=as_path(requirements),
        extra=[as_path(item) for item in extra],
        samples=as_path(samples),
        serving=serving,
        precision=precision,
        lineage=lineage,
        engine=engine,
    )


def profile(
    bundle: AnyPath,
    *,
    batch_sizes: Sequence[int] = (1, 2, 4, 8),
    seconds: float = 2.0,
    budget_s: float = BENCH_BUDGET_S,
    threads: int | None = None,
    say: Say = silent,
) -> Profile:
    """Measure the bundle's service time by batch size on this machine.

    Each size is timed for ``seconds`` at least, all of them for ``budget_s`` at most. Raises InputError for a model
    that is too slow for it.
    """
    from deployer import profiles
    from deployer.bundle import archive

    with tempfile.TemporaryDirectory(prefix="deployer-profile-") as folder:
        model_dir = Path(folder) / "model"
        manifest = archive.unpack(as_path(bundle), model_dir)
        return profiles.measure(
            model_dir,
            manifest,
            batch_sizes=batch_sizes,
            seconds=seconds,
            budget_s=budget_s,
            threads=threads,
            say=say,
        )
