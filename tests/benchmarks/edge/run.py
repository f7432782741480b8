"""Run edge bundles on processors that this machine has not: 64-bit ARM, and x86-64 without AVX-512, under qemu.

    apt-get install qemu-user                                     # 8.1 or later: Debian 13; not Debian 12's 7.2
    pip install -e '.[dev]' -c constraints.txt
    python tests/benchmarks/edge/run.py out/                      # the digits CNN, FP32 and int8
    python tests/benchmarks/edge/run.py out/ opt/best.onnx ...    # and models of yours
    python tests/benchmarks/edge/run.py out/ --qemu DIR           # where qemu-aarch64 and qemu-x86_64 lie in DIR

Wants Debian or Ubuntu with apt, and a package index. An ARM system is laid out in OUT from Debian's packages for arm64
(Python 3.11 of Debian 12, which must be this machine's release too) with the wheels of this machine's onnxruntime and
numpy for ARM; nothing is installed on this machine. Each bundle's own ``run.py`` then runs there, and compares its
answers with those that the ONNX file gave here. Time under qemu is no latency: none is told. Exit 1 where answers do
not hold and the bundle does not warn of it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import deployer
from deployer import machine, quickstart

PACKAGES = ("python3", "libgcc-s1", "libstdc++6")
WHEELS = ("onnxruntime", "numpy")
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
OLDEST_QEMU = (8, 1)  # before, it showed programs for ARM this machine's own /proc/cpuinfo
WITHOUT_AVX512 = "Haswell"


def main() -> None:
    """Make each bundle for each target, run it here and elsewhere, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--qemu", type=Path, help="Folder of qemu-aarch64 and qemu-x86_64.")
    asked = parser.parse_intermixed_args()
    out = asked.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    arm, x86 = (emulator(name, asked.qemu) for name in ("qemu-aarch64", "qemu-x86_64"))
    root = arm_system(out / "arm64")
    packages = ":".join(path for path in sys.path if path.endswith("site-packages"))
    on_arm = [
        *(arm, "-L", str(root), "-E", f"PYTHONHOME={root}/usr", "-E", f"PYTHONPATH={root}/site"),
        f"{root}/usr/bin/python3.11",
    ]
    on_x86 = [x86, "-cpu", WITHOUT_AVX512, "-E", f"PYTHONPATH={packages}", real_python()]
    print(f"{machine.describe()} onnxruntime {version('onnxruntime')}", file=sys.stderr)
    print("| model | target | here | arm64 | x86-64 without AVX-512 |\n|---|---|---|---|---|")
    held = True
    for model in (*digits(out), *asked.models):
        for target in ("amd64", "arm64", "native"):
            folder = out / "bundles" / f"{model.parent.name}-{model.stem}-{target}"
            found = deployer.edge(model, folder, target=target)
            elsewhere = on_arm if target == "arm64" else on_x86
            here, there = ran([sys.executable], folder), ran(elsewhere, folder)
            warned = any(word in found.runs_on for word in ("wrongly", "saturate"))
            held = held and here[1] and (there[1] or warned)
            cells = (there[0], "") if target == "arm64" else ("", there[0])
            name = f"{model.parent.name}/{model.name}"
            print(f"| {name} | {target} | {here[0]} | {' | '.join(cells)} |", flush=True)
    sys.exit(not held)


def digits(out: Path) -> tuple[Path, Path]:
    """Train the quickstart's CNN; return it in FP32 and in static int8."""
    folder = out / "digits"
    if not (folder / "int8.onnx").exists():
        data = quickstart.load_digits(0)
        net = quickstart.train(data, 0)
        made = deployer.export(net, {"image": data.held_out[:8]}, folder / "fp32.onnx")
        report = deployer.optimize(
            made.path,
            calibration={"image": data.train[:256]},
            evaluation={"image": data.held_out, "label": data.held_out_label},
            rungs=["int8-static-minmax"],
            out=folder / "opt",
        )
        assert report.best_quantized is not None
        shutil.copyfile(report.best_quantized.path, folder / "int8.onnx")
    return folder / "fp32.onnx", folder / "int8.onnx"


def ran(command: list[str], folder: Path) -> tuple[str, bool]:
    """Run the bundle's script; return the largest difference that it tells, and whether it says that answers hold."""
    done = subprocess.run([*command, str(folder / "run.py")], capture_output=True, text=True)
    found = re.search(r"off by at most (\S+)", done.stdout)
    if found is None:
        return (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1][:80], False
    return found[1] + ("" if done.returncode == 0 else " **wrong**"), done.returncode == 0


def emulator(name: str, folder: Path | None) -> str:
    """Return the path of an emulator that is new enough."""
    path = str(folder / name) if folder else shutil.which(name)
    if path is None or not Path(path).exists():
        sys.exit(f"error: {name} is missing\nhint: apt-get install qemu-user, or --qemu DIR")
    told = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    numbers = re.search(r"version (\d+)\.(\d+)", told)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < OLDEST_QEMU:
        sys.exit(
            f"error: {path} is too old: {told.splitlines()[0]}\nhint: 8.1 or later; --qemu DIR"
        )
    return path


def arm_system(folder: Path) -> Path:
    """Lay out Debian's Python for arm64 with the wheels, in apt's and dpkg's private folders."""
    root = folder / "root"
    if (root / "site" / "onnxruntime").is_dir():
        return root
    state = folder / "apt"
    for part in ("lists/partial", "cache/archives/partial"):
        (state / part).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    places = {
        "Dir::State": state,
        "Dir::State::Lists": state / "lists",
        "Dir::Cache": state / "cache",
    }
    places["Dir::State::status"] = state / "status"
    settings = {"APT::Architecture": "arm64", "APT::Architectures": "arm64", **places}
    apt = ["apt-get", *(word for k, v in settings.items() for word in ("-o", f"{k}={v}"))]
    quietly([*apt, "update"])
    quietly([*apt, "install", "--download-only", "--no-install-recommends", "-y", *PACKAGES])
    for package in sorted((state / "cache" / "archives").glob("*.deb")):
        quietly(["dpkg-deb", "-x", str(package), str(root)])
    wanted = [f"{name}=={version(name)}" for name in WHEELS]
    kinds = [word for name in PLATFORMS for word in ("--platform", name)]
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--only-binary=:all:",
        "--python-version",
        "3.11",
    ]
    quietly([*pip, *kinds, "--target", str(root / "site"), *wanted])
    return root


def quietly(command: list[str]) -> None:
    """Run a command; its words are told where it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {' '.join(command[:3])} ... failed:\n{done.stderr.strip()[-2000:]}")


def real_python() -> str:
    """Return the interpreter itself: an emulator does not follow what a virtual environment starts."""
    return str(Path(sys.executable).resolve())


if __name__ == "__main__":
    main()
