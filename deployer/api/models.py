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
from deployer.progress import Say, silent
from inference_code.contract import BENCH_BUDGET_S, ServingConfig

if TYPE_CHECKING:
    from deployer.bundle.bundle import Bundle
    from deployer.optimization.report import LadderReport
    from deployer.optimization.variant import Variant
    from deployer.profiles import Profile

Arrays = Mapping[str, Any]


def export(model: Any, example: Arrays, out: Path, **options: Any) -> Variant:
    """Export a torch module or a fitted estimator to ONNX and check it against the source on ``example``.

    ``example`` maps input names to arrays, the batch first. Estimators of scikit-learn, XGBoost and LightGBM need the
    extra ``trees``; no file is unpickled. Raises ConditionFailed on a mismatch.
    """
    from deployer.optimization import export as stage

    return stage.export(model, example, out, **options)


def optimize(
    model: Any,
    *,
    calibration: Path | Arrays,
    evaluation: Path | Arrays,
    metric: str = "accuracy",
    max_drop: float = 0.01,
    out: Path,
    training: Path | Arrays | None = None,
    prune: float | None = None,
    student: Any = None,
    alternatives: Mapping[str, Path] | None = None,
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

    ``model`` is a torch module, a Path (.onnx, .pt2, TorchScript, a Hugging Face folder; all but ONNX are
    exported first, and checked) or ``module:function`` that returns a module. ``calibration``, ``evaluation``
    and ``training`` are .npz files or mappings from the model's input names to arrays; ``evaluation`` also
    holds ``label`` where the metric needs it. With ``training``, ``prune`` (the share of channels to take out)
    and ``student`` (a module as ``model``, taught by it) add smaller models to the rungs; ``alternatives`` are ONNX
    files for the same job. ``instance_type`` adds the cost gate, by its price in ``region``. ``options`` go to
    ``ladder.climb``. Writes ``best.onnx``, ``ladder.json``, ``lineage.json`` and, with ``report``, a page.

    Raises ConditionFailed when the best is not ``require_speedup`` times as fast as FP32, Interrupted on Ctrl-C.
    """
    from deployer.optimization import data, ladder, metrics, output

    metrics.resolve(metric)  # a wrong name is told before the minutes of an export
    calibration, evaluation = data.arrays(calibration), data.arrays(evaluation)
    price = _usd_per_thousand(instance_type, region, threads) if instance_type else None
    with output.workspace(out) as folder:
        fp32, smaller = _as_onnx(
            model, calibration, training, folder, prune=prune, student=student, seed=seed, say=say
        )
        report = ladder.climb(
            fp32,
            calibration=calibration,
            evaluation=evaluation,
            metric=metric,
            max_drop=max_drop,
            out=out,
            alternatives={**(alternatives or {}), **smaller},
            usd_per_thousand=price,
            threads=threads,
            seed=seed,
            progress=say,
            **options,
        )
    _write_beside(report, lineage or {}, out, say)
    if require_speedup is not None:
        report.require_speedup(require_speedup)
    return report


def _as_onnx(
    model: Any,
    calibration: Arrays,
    training: Path | Arrays | None,
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
    fp32 = sources.as_onnx(model, calibration, folder, seed=seed, say=say)
    _check_float(fp32)
    if training is None:
        return fp32, {}
    rows = data.arrays(training)
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

    if lineage:
        write_lineage(lineage, out)
    if any(importlib.util.find_spec(name) is None for name in ("jinja2", "matplotlib")):
        say(f"no page of the ladder: it needs `{install_hint('report')}`")
        return
    write_ladder(report.to_json(), out)


def package(
    model: Path,
    out_dir: Path,
    *,
    name: str,
    handler: Path | str | None = None,
    requirements: Path | None = None,
    extra: Sequence[Path] = (),
    samples: Path | None = None,
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

    lineage = lineage_beside(model) if lineage is None else lineage
    return build.build(
        model,
        out_dir,
        name=name,
        handler=handler,
        requirements=requirements,
        extra=extra,
        samples=samples,
        serving=serving,
        precision=precision,
        lineage=lineage,
        engine=engine,
    )


def profile(
    bundle: Path,
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
        manifest = archive.unpack(bundle, model_dir)
        return profiles.measure(
            model_dir,
            manifest,
            batch_sizes=batch_sizes,
            seconds=seconds,
            budget_s=budget_s,
            threads=threads,
            say=say,
        )
