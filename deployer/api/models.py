"""A model file becomes a variant, a bundle, a profile."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.api.sources import Say, silent
from inference_code.contract import ServingConfig

if TYPE_CHECKING:
    from deployer.bundle.bundle import Bundle
    from deployer.optimization.report import LadderReport
    from deployer.optimization.variant import Variant
    from deployer.profiles import Profile

Arrays = Mapping[str, Any]


def export(model: Any, example: Arrays, out: Path, **options: Any) -> Variant:
    """Export a torch module to ONNX and check it against the source on ``example``.

    ``example`` maps input names to arrays, the batch first. Raises ConditionFailed on a mismatch.
    """
    from deployer.optimization import export as stage

    return stage.export(model, example, out, **options)


def optimize(
    model: Path,
    *,
    calibration: Path | Arrays,
    evaluation: Path | Arrays,
    metric: str = "accuracy",
    max_drop: float = 0.01,
    out: Path,
    say: Say = silent,
    **options: Any,
) -> LadderReport:
    """Climb the quantization ladder; keep what passes the accuracy, latency and cost gates.

    ``calibration`` and ``evaluation`` are .npz files or mappings from the model's input names to arrays;
    ``evaluation`` also holds ``label`` where the metric needs it. Writes ``out/best.onnx``, ``ladder.json``
    and, with the extra ``report``, ``ladder.html`` and ``ladder.md``.
    """
    from deployer.optimization import data, ladder

    report = ladder.climb(
        model,
        calibration=data.load_npz(calibration) if isinstance(calibration, Path) else calibration,
        evaluation=data.load_npz(evaluation) if isinstance(evaluation, Path) else evaluation,
        metric=metric,
        max_drop=max_drop,
        out=out,
        progress=say,
        **options,
    )
    _write_page(report, out, say)
    return report


def _write_page(report: LadderReport, out: Path, say: Say) -> None:
    from deployer.report.write import write_ladder

    if any(importlib.util.find_spec(name) is None for name in ("jinja2", "matplotlib")):
        say("no page of the ladder: it needs `pip install 'deployer[report]'`")
        return
    write_ladder(report.to_json(), out)


def package(
    model: Path,
    out_dir: Path,
    *,
    name: str,
    handler: Path | None = None,
    requirements: Path | None = None,
    extra: Sequence[Path] = (),
    samples: Path | None = None,
    precision: str = "fp32",
    serving: ServingConfig = ServingConfig(),  # noqa: B008 - frozen
    lineage: Mapping[str, str] | None = None,
) -> Bundle:
    """Seal model, handler and serving code into ``out_dir/NAME-<digest>.tar.gz``."""
    from deployer.bundle import build

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
        lineage=lineage or {},
    )


def profile(
    bundle: Path,
    *,
    batch_sizes: Sequence[int] = (1, 2, 4, 8),
    seconds: float = 2.0,
    threads: int | None = None,
    say: Say = silent,
) -> Profile:
    """Measure the bundle's service time by batch size on this machine, ``seconds`` for each size."""
    from deployer import profiles
    from deployer.bundle import archive

    with tempfile.TemporaryDirectory(prefix="deployer-profile-") as folder:
        model_dir = Path(folder) / "model"
        manifest = archive.unpack(bundle, model_dir)
        return profiles.measure(
            model_dir, manifest, batch_sizes=batch_sizes, seconds=seconds, threads=threads, say=say
        )
