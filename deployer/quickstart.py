"""The main job on one machine: train, optimise, package, check, serve, measure, simulate, price, compare.

The model reads a scanned page: 128 handwritten digits a request. The digits are the 1,797 real images that
scikit-learn carries; 600 of them are held out and never seen in training or calibration. Everything after
the training goes through the public functions that a deploy script would call.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployer import api, conformance
from deployer.bundle.bundle import Bundle
from deployer.cost.report import CostReport
from deployer.distribution import install_hint
from deployer.errors import EnvironmentProblem
from deployer.progress import Say
from deployer.spec.deployment import DeploymentSpec, Slo
from deployer.spec.fleet import Listener
from deployer.spec.scaling import Fixed, TargetTracking
from deployer.spec.target import Ec2Fleet, SageMakerRealtime, SageMakerServerless, Target
from inference_code.contract import ServingConfig

DIGITS_PER_PAGE = 128
HELD_OUT = 600
EPOCHS = 8
WORKERS, THREADS = 2, 1
"""Of an instance with two vCPUs. Two threads within one inference wait for each other wherever a core is shared."""
RUNGS = ("int8-static-minmax", "int8-static-percentile", "int8-dynamic-per-channel")
"""A short ladder, so that the whole job stays under three minutes; `deployer optimize` climbs every rung."""
SLO = Slo(p99_ms=100.0)
MEAN_RPS, PEAK_RPS = 40.0, 80.0
SEEDS = (0, 1, 2)
TARGETS: tuple[Target, ...] = (
    SageMakerRealtime("ml.c7i.large"),
    SageMakerRealtime("ml.c5.large"),
    SageMakerServerless(memory_mb=2048),
    Ec2Fleet("c7i.large", listener=Listener(protocol="http")),
)


@dataclass(frozen=True)
class Digits:
    """Images (n, 1, 8, 8) float32 in 0..16 with labels 0..9, split into training and held-out sets."""

    train: NDArray[np.float32]
    train_label: NDArray[np.int64]
    held_out: NDArray[np.float32]
    held_out_label: NDArray[np.int64]


def run(out_dir: Path, *, seed: int = 0, say: Say = lambda _: None) -> CostReport:
    """Do the main job; everything it makes lies in ``out_dir``, the report in ``out_dir/report``."""
    out_dir.mkdir(parents=True, exist_ok=True)
    say("train a small CNN on handwritten digits")
    digits = load_digits(seed)
    model = train(digits, seed)
    say("export to ONNX, checked against the source on held-out images")
    variant = api.export(
        model, {"image": digits.held_out[:DIGITS_PER_PAGE]}, out_dir / "model.onnx"
    )
    say("climb the quantization ladder")
    ladder = api.optimize(
        variant.path,
        calibration={"image": digits.train[:256]},
        evaluation={"image": digits.held_out, "label": digits.held_out_label},
        metric="accuracy",
        max_drop=0.01,
        batch_sizes=(DIGITS_PER_PAGE,),
        threads=THREADS,
        rungs=RUNGS,
        out=out_dir / "ladder",
        seed=seed,
        say=say,
    )
    samples = write_samples(digits, out_dir / "samples")
    variants = [ladder.fp32, *([ladder.best_quantized] if ladder.best_quantized else [])]
    bundles = [
        api.package(
            v.path,
            out_dir / "dist",
            name="digits",
            samples=samples,
            precision=v.precision,
            serving=ServingConfig(workers=WORKERS, threads=THREADS, max_batch=4),
        )
        for v in variants
    ]
    measured = [measure(bundle, out_dir, say) for bundle in bundles]
    trace = api.make_trace(
        "daily", rate=MEAN_RPS, peak_rate=PEAK_RPS, duration_s=86_400, seed=seed, name="one day"
    )
    trace_path = out_dir / "trace.csv"
    api.save_trace(trace, trace_path)
    say(f"simulate one day of {len(trace):,} requests on {len(TARGETS)} targets")
    return api.compare(
        candidates(bundles, out_dir / "candidates"),
        trace=trace_path,
        profiles=[profile for profile, _ in measured],
        measured=[run for _, run in measured],
        slo=SLO,
        seeds=SEEDS,
        name="digits",
        out_dir=out_dir / "report",
        say=say,
    )


def load_digits(seed: int) -> Digits:
    """Return the images in a seeded order. Raises EnvironmentProblem without scikit-learn."""
    try:
        from sklearn.datasets import load_digits as bundled
    except ImportError as error:
        raise EnvironmentProblem(
            "the quickstart needs scikit-learn", hint=install_hint("quickstart")
        ) from error
    data = bundled()
    order = np.random.default_rng(seed).permutation(len(data.target))
    images = data.images.astype(np.float32)[order, None]
    labels = data.target.astype(np.int64)[order]
    return Digits(images[HELD_OUT:], labels[HELD_OUT:], images[:HELD_OUT], labels[:HELD_OUT])


def train(digits: Digits, seed: int) -> Any:
    """Train a CNN of 0.6 million weights for EPOCHS rounds, each image shifted by up to a pixel."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = _network(nn)
    steps = -(-len(digits.train) // 64)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=EPOCHS * steps)
    for _ in range(EPOCHS):
        for rows in np.array_split(rng.permutation(len(digits.train)), steps):
            shift = tuple(int(v) for v in rng.integers(-1, 2, 2))
            images = torch.roll(torch.from_numpy(digits.train[rows]), shift, (2, 3))
            loss = nn.functional.cross_entropy(
                model(images), torch.from_numpy(digits.train_label[rows])
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def _network(nn: Any, width: int = 64) -> Any:
    def block(inputs: int, outputs: int) -> Any:
        conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())

    return nn.Sequential(
        block(1, width),
        block(width, 2 * width),
        block(2 * width, 2 * width),
        nn.MaxPool2d(2),
        block(2 * width, 4 * width),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, 10),
    )


def write_samples(digits: Digits, folder: Path) -> Path:
    """Write eight requests of 128 held-out digits each as .npy, for warm-up, checks and timing."""
    folder.mkdir(exist_ok=True)
    for i in range(8):
        page = np.roll(digits.held_out, -i * DIGITS_PER_PAGE, axis=0)[:DIGITS_PER_PAGE]
        np.save(folder / f"page-{i}.npy", page)
    return folder


def measure(bundle: Bundle, out_dir: Path, say: Say) -> tuple[Path, Path]:
    """Check, profile and load-test one bundle as real processes; return profile.json and run.json."""
    precision = bundle.manifest.precision
    say(f"check {precision} against SageMaker's container rules")
    conformance.check(bundle.path, say=say).require()
    say(f"profile {precision}")
    profile = api.profile(bundle.path, batch_sizes=(1, 2, 4), seconds=2.0)
    profile_path = out_dir / f"profile-{precision}.json"
    profile.save(profile_path)
    rate = 0.5 * profile.capacity_rps / WORKERS
    say(f"load-test {precision}: one worker, open loop, {rate:.0f} requests/s for 12 s")
    # One worker: the load needs a core of this machine, too.
    with api.serving(bundle.path, workers=1) as url:
        run = api.loadtest(url, rate=rate, duration_s=12, bundle=bundle.path)
    run_path = out_dir / f"run-{precision}.json"
    run_path.write_text(run.dumps())
    return profile_path, run_path


def candidates(bundles: list[Bundle], folder: Path) -> list[Path]:
    """Write a deployment.toml for each bundle on each target, and return their paths."""
    folder.mkdir(exist_ok=True)
    paths = []
    for bundle in bundles:
        for target in TARGETS:
            serverless = isinstance(target, SageMakerServerless)
            scaling = Fixed() if serverless else TargetTracking(max_instances=6)
            spec = DeploymentSpec("digits", str(bundle.path.resolve()), target, scaling, slo=SLO)
            kind = (target.instance_type or "serverless").replace(".", "-")
            path = folder / f"{target.kind}-{kind}-{bundle.manifest.precision}.toml"
            path.write_text(api.to_toml(spec))
            paths.append(path)
    return paths
