"""Eighty kinds of bad input over the command line: one clear error each, and nothing half-written."""

from __future__ import annotations

import gzip
import io
import json
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from deployer import api
from deployer.cli.main import cli
from deployer.deployments.local.server import free_port

HANDLER = """
from inference_code.handler import Handler as Base


class Handler(Base):
    def load(self, context):
        pass

    def predict(self, items):
        return list(items)
"""
SPEC = {"name": "digits", "bundle": "bundle.tar.gz", "target": {"kind": "local", "port": 18080}}
PROFILE: dict[str, Any] = {
    "schema_version": 1, "name": "digits", "bundle_digest": "d" * 64, "precision": "fp32",
    "hardware": {"cpu": "a CPU"}, "workers": 1, "threads": 1, "max_batch": 1, "queue_limit": 128,
    "service_time_ms": {"1": {"law": "deterministic", "mean": 10.0, "quantiles": []}},
    "request_bytes": 100, "response_bytes": 100, "memory_mb": 100.0, "startup_s": 1.0,
    "date": "2026-11-20T00:00:00+00:00",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """``words`` is the command line; ``says`` a part of the error; ``files`` are written first."""

    name: str
    words: str
    says: str
    files: tuple[tuple[str, str | bytes], ...] = ()
    code: int = 2


def spec(**changes: Any) -> tuple[tuple[str, str], ...]:
    """Return spec.json with keys changed; None removes one."""
    data = {k: v for k, v in {**SPEC, **changes}.items() if v is not None}
    return (("spec.json", json.dumps(data)),)


def profile(**changes: Any) -> tuple[tuple[str, str], ...]:
    return (("profile.json", json.dumps({**PROFILE, **changes})),)


def trace(text: str | bytes) -> tuple[tuple[str, str | bytes], ...]:
    return (("trace.csv", text),)


def times(**changes: Any) -> dict[str, Any]:
    return {"1": {"law": "deterministic", "mean": 10.0, **changes}}


def plain_tar(name: str) -> bytes:
    """An archive that is no bundle, with one member of this name."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    return file.getvalue()


SIMULATE = "simulate spec.json --trace trace.csv --profile profile.json -o run.json"
COMPARE = "compare spec.json --trace trace.csv --profile profile.json -o report"
LOADTEST = "loadtest http://127.0.0.1:1 --rate 5 --duration 1s --data body.json -o run.json"

USAGE = [
    Case("unknown verb", "depoy spec.json", "no command 'depoy'"),
    Case("unknown option", "prices --regions x", "No such option"),
    Case("missing argument", "check", "Missing argument 'BUNDLE'"),
    Case("missing option", "profile bundle.tar.gz", "Missing option '-o'"),
    Case(
        "missing name", "package model.txt --handler handler.py -o dist", "Missing option '--name'"
    ),
    Case("negative seed", "trace --shape poisson --rate 1 --duration 1s --seed -1 -o t.csv", "-1"),
    Case("unknown help topic", "help nonsense", "no command 'nonsense'"),
    Case("quickstart into a file", "quickstart -o model.txt", "is a file"),
]
BUNDLES = [
    Case("missing bundle", "check missing.tar.gz", "does not exist"),
    Case("folder as bundle", "check folder", "is a directory", (("folder/x", ""),)),
    Case("empty bundle", "check b.tar.gz", "b.tar.gz", (("b.tar.gz", b""),)),
    Case("text as bundle", "check b.tar.gz", "b.tar.gz", (("b.tar.gz", "hello"),)),
    Case("gzip of nothing", "check b.tar.gz", "b.tar.gz", (("b.tar.gz", gzip.compress(b"", mtime=0)),)),
    Case("foreign archive", "check b.tar.gz", "b.tar.gz", (("b.tar.gz", plain_tar("model")),)),
    Case("path traversal", "check b.tar.gz", "b.tar.gz", (("b.tar.gz", plain_tar("../../x")),)),
    Case("truncated bundle", "check truncated.tar.gz", "truncated.tar.gz"),
    Case("flipped byte", "profile flipped.tar.gz -o p.json", "flipped.tar.gz"),
    Case("bundle under a false name", "plan spec.json", "holds the bundle", spec(
        bundle="digits-000000000000.tar.gz")),
    Case("serving a truncated bundle", "serve truncated.tar.gz --port {free}", "truncated.tar.gz"),
]  # fmt: skip
PACKAGE = [
    Case("missing model", "package none.onnx --name a -o dist", "does not exist"),
    Case("bad name", "package model.txt --handler handler.py --name a_b -o dist", "'a_b' must be"),
    Case("model that is not ONNX", "package model.txt --name a -o dist", "model.txt"),
    Case("broken ONNX", "package m.onnx --name a -o dist", "m.onnx", (("m.onnx", b"\xff\xff"),)),
    Case("missing handler", "package model.txt --handler no.py --name a -o dist", "does not exist"),
    Case("no such ready-made handler", "package model.txt --handler imge --name a -o dist", "image, text"),
    Case("sample of unknown type", "package model.txt --handler handler.py --samples s --name a -o dist",
         "cat.gif", (("s/cat.gif", "x"),)),
    Case("link in the model folder", "package linked --handler handler.py --name a -o dist", "link"),
    Case("no batch", "package model.txt --handler handler.py --max-batch 0 --name a -o dist", "max-batch"),
    Case("dist is a file", "package model.txt --handler handler.py --name a -o body.json", "is a file"),
]  # fmt: skip
MEASURE = [
    Case("port in use", "serve bundle.tar.gz --port {taken}", "is in use"),
    Case("no such port", "serve bundle.tar.gz --port 70000", "70000"),
    Case("no workers", "serve bundle.tar.gz --workers 0", "workers"),
    Case("batch sizes that are words", "profile bundle.tar.gz --batch-sizes 1,x -o p.json", "'1,x'"),
    Case("batch size zero", "profile bundle.tar.gz --batch-sizes 0 -o p.json", "batch sizes"),
    Case("seconds NaN", "profile bundle.tar.gz --seconds nan -o p.json", "seconds"),
    Case("negative seconds", "profile bundle.tar.gz --seconds -1 -o p.json", "seconds"),
    Case("output is a folder", "profile bundle.tar.gz -o folder", "is a folder", (("folder/x", ""),)),
    Case("output exists", "profile bundle.tar.gz -o body.json", "is there already"),
    Case("output below a file", "profile bundle.tar.gz -o body.json/p.json", "cannot write into"),
    Case("unwritable folder", "profile bundle.tar.gz -o /proc/p.json", "'/proc"),
    Case("not a URL", "loadtest localhost --rate 1 --duration 1s --data body.json -o r.json", "not a URL"),
    Case("foreign scheme", "loadtest ftp://h --rate 1 --duration 1s --data body.json -o r.json",
         "not a URL"),
    Case("nothing listens", LOADTEST, "Connection refused"),
    Case("unknown host", LOADTEST.replace("127.0.0.1:1", "no-such-host.invalid"), "nothing answers at"),
    Case("trace and rate", LOADTEST + " --trace trace.csv", "either a trace or a rate"),
    Case("rate without duration", LOADTEST.replace("--duration 1s", ""), "needs a duration"),
    Case("no body", LOADTEST.replace("--data body.json", ""), "no request body"),
    Case("body of unknown type", LOADTEST.replace("body.json", "model.txt"), "no content type"),
    Case("no connections", LOADTEST + " --connections 0", "connections"),
    Case("zero time-out", LOADTEST + " --timeout 0s", "'0s'"),
]  # fmt: skip
TRACES = [
    Case("no shape", "trace --rate 1 --duration 1s -o t.csv", "either --shape or --from"),
    Case("unknown shape", "trace --shape wave --rate 1 --duration 1s -o t.csv", "'wave'"),
    Case("no rate", "trace --shape poisson --duration 1s -o t.csv", "needs --rate"),
    *(Case(f"rate {rate}", f"trace --shape poisson --rate {rate} --duration 1s -o t.csv", rate)
      for rate in ("0", "-5", "nan", "inf", "fast")),
    *(Case(f"duration {text}", f"trace --shape poisson --rate 1 --duration {text} -o t.csv", text)
      for text in ("soon", "-3s", "0s", "nan")),
    Case("cv of poisson", "trace --shape poisson --cv 2 --rate 1 --duration 9s -o t.csv", "no cv"),
    Case("empty trace", "trace --from trace.csv -o t.csv", "trace.csv", trace("")),
    Case("trace without rows", SIMULATE, "trace.csv", trace("arrival_s\n")),
    Case("arrival NaN", SIMULATE, "trace.csv", trace("arrival_s\n1\nnan\n")),
    Case("negative arrival", SIMULATE, "trace.csv", trace("arrival_s\n-1\n")),
    Case("arrival that is a word", SIMULATE, "trace.csv", trace("arrival_s\nnoon\n")),
    Case("unknown column", SIMULATE, "trace.csv", trace("when\n1\n")),
    Case("negative payload", SIMULATE, "trace.csv", trace("arrival_s,payload_bytes\n1,-5\n")),
    Case("row too short", SIMULATE, "trace.csv", trace("arrival_s,payload_bytes\n1\n")),
    Case("binary trace", SIMULATE, "trace.csv", trace(b"\x00\xff\xfe\x00")),
]  # fmt: skip
SPECS = [
    Case("spec is not TOML", SIMULATE.replace("spec.json", "spec.toml"), "spec.toml",
         (("spec.toml", "name = "),)),
    Case("spec is not JSON", SIMULATE, "spec.json", (("spec.json", "{"),)),
    Case("unknown key", SIMULATE, "colour", spec(colour="red")),
    Case("missing key", SIMULATE, "bundle: is missing", spec(bundle=None)),
    Case("unknown target", SIMULATE, "target.kind", spec(target={"kind": "moon"})),
    Case("unknown target key", SIMULATE, "target.colour", spec(target={"kind": "local", "colour": 1})),
    Case("wrong type", SIMULATE, "target.instances", spec(target={"kind": "local", "instances": "two"})),
    Case("instance type of the other service", SIMULATE, "target.instance_type",
         spec(target={"kind": "ec2-fleet", "instance_type": "ml.c5.large"})),
    Case("unknown region", SIMULATE, "target.region",
         spec(target={"kind": "sagemaker-serverless", "region": "mars-1"})),
    Case("negative objective", SIMULATE, "slo.p99_ms", spec(slo={"p99_ms": -1})),
    Case("bounds crossed", SIMULATE, "scaling.min_instances", spec(
        target={"kind": "local", "balancer": True},
        scaling={"kind": "target-tracking", "target": 1, "min_instances": 5, "max_instances": 2}), 1),
    Case("profile is not JSON", SIMULATE, "profile.json", (("profile.json", "?"),)),
    Case("unknown profile key", SIMULATE, "'colour'", profile(colour="red")),
    Case("service time NaN", SIMULATE, "mean", profile(service_time_ms=times(mean=float("nan")))),
    Case("unknown distribution", SIMULATE, "'normal'", profile(service_time_ms=times(law="normal"))),
    Case("no workers in the profile", SIMULATE, "workers", profile(workers=0)),
    Case("output is an input", SIMULATE.replace("run.json", "trace.csv"), "is also an input"),
    Case("unknown objective", COMPARE + " --slo p42=1s", "'p42=1s'"),
    Case("objective without unit of time", COMPARE + " --slo p99=quick", "'quick'"),
    Case("no candidate", "compare --trace trace.csv --profile profile.json -o report", "SPECS"),
    Case("report is a file", COMPARE.replace("-o report", "-o body.json"), "is a file"),
    Case("price nobody has", "prices --item ml.t3.large", "no price"),
    Case("price of an unknown region", "prices --region mars-1", "no price"),
]  # fmt: skip
DEPLOYMENTS = [
    Case("target that is not there yet", "plan spec.json", "target.shadow: a shadow test is not there yet",
         spec(target={"kind": "sagemaker-realtime", "instance_type": "ml.c5.large", "shadow": 1})),
    Case("planning for AWS without credentials", "plan spec.json", "Unable to locate credentials",
         spec(target={"kind": "ec2-fleet", "instance_type": "c5.large", "listener": {"protocol": "http"}})),
    Case("fleet that nobody reaches", "plan spec.json", "target.listener: is missing",
         spec(target={"kind": "ec2-fleet", "instance_type": "c5.large"}), 1),
    Case("deploying to AWS without credentials", "deploy spec.toml", "Unable to locate credentials",
         (("spec.toml", 'name = "a"\nbundle = "b"\n[target]\nkind = "sagemaker-realtime"\n'
           'instance_type = "ml.c5.large"\n'),)),
    Case("bundle of a plan is missing", "plan spec.json", "gone.tar.gz", spec(bundle="gone.tar.gz")),
    Case("port of a plan in use", "plan spec.json", "is in use",
         spec(target={"kind": "local", "port": "{taken}"})),
    Case("plan that is none", "deploy spec.json", "must be an object", (("spec.json", "[]"),)),
    Case("status of nobody", "status nobody", "no deployment 'nobody'"),
    Case("status of a path", "status ../../etc", "must be 1 to 41 letters"),
    Case("invoking nobody", "invoke nobody --data body.json", "no deployment 'nobody'"),
    Case("invoking with nothing", "invoke nobody --data none.json", "does not exist"),
    Case("logs of nobody", "logs nobody", "no deployment 'nobody'"),
    Case("destroying nobody", "destroy nobody --yes", "no deployment 'nobody'"),
    Case("init over a file", "init -o body.json", "is there already"),
    Case("init with a bad name", "init --name a_b -o d.toml", "'a_b' must be"),
]  # fmt: skip
CASES = [*USAGE, *BUNDLES, *PACKAGE, *MEASURE, *TRACES, *SPECS, *DEPLOYMENTS]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "model.txt").write_text("weights")
    (folder / "handler.py").write_text(HANDLER)
    made = api.package(
        folder / "model.txt", folder / "dist", name="digits", handler=folder / "handler.py"
    )
    return made.path.read_bytes()


@pytest.fixture
def folder(bundle: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of good inputs, for each case to spoil one."""
    monkeypatch.chdir(tmp_path)
    good: dict[str, str | bytes] = {
        "bundle.tar.gz": bundle,
        "digits-000000000000.tar.gz": bundle,
        "truncated.tar.gz": bundle[: len(bundle) // 2],
        "flipped.tar.gz": bundle[:2000] + bytes([bundle[2000] ^ 1]) + bundle[2001:],
        "model.txt": "weights",
        "handler.py": HANDLER,
        "body.json": "[1]",
        "trace.csv": "arrival_s\n0.5\n1.5\n",
        "profile.json": json.dumps(PROFILE),
        "spec.json": json.dumps(SPEC),
        "linked/model.txt": "weights",
    }
    for name, content in good.items():
        write(name, content)
    Path("linked/link.txt").symlink_to("/etc/hostname")
    return tmp_path


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which something else listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def write(name: str, content: str | bytes) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def everything(folder: Path) -> dict[str, bytes | None]:
    """All that lies in a folder, to the byte."""
    paths = sorted(folder.rglob("*"))
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_gets_one_clear_error(case: Case, folder: Path, taken: int) -> None:
    for name, content in case.files:
        if isinstance(content, str):
            content = content.replace('"{taken}"', str(taken))
        write(name, content)
    before = everything(folder)
    words = case.words.replace("{taken}", str(taken)).replace("{free}", str(free_port())).split()
    done = CliRunner().invoke(cli, words, prog_name="deployer")
    assert_one_error(done.stdout, done.stderr, case.says)
    assert done.exit_code == case.code
    assert everything(folder) == before


def assert_one_error(stdout: str, stderr: str, says: str) -> None:
    lines = stderr.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, stderr
    assert says in errors[0]
    assert "this should not happen" not in stderr
    assert "Traceback" not in stderr
    assert stdout == ""
    assert all(line.startswith(("error: ", "hint: ")) for line in lines), stderr


def test_there_are_eighty_kinds_and_each_has_its_name() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 80


@pytest.mark.parametrize(
    "name", ["missing bundle", "flipped byte", "port in use", "arrival NaN", "status of nobody"]
)
def test_the_real_process_says_the_same(name: str, folder: Path, taken: int) -> None:
    (case,) = (case for case in CASES if case.name == name)
    for path, content in case.files:
        write(path, content)
    before = everything(folder)
    words = case.words.replace("{taken}", str(taken)).split()
    done = subprocess.run(
        [sys.executable, "-m", "deployer", *words], capture_output=True, text=True, timeout=60
    )
    assert_one_error(done.stdout, done.stderr, case.says)
    assert done.returncode == case.code
    assert everything(folder) == before


def linear_onnx(path: Path) -> None:
    """Write y = x W for 4 inputs and 2 outputs."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.ones((4, 2), dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [weights],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


ROWS = np.zeros((8, 4), dtype=np.float32)
LABELS = np.zeros(8, dtype=np.int64)
OPTIMIZE: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    (
        "wrong dtype",
        {"x": ROWS.astype(np.complex64)},
        {"x": ROWS, "label": LABELS},
        "dtype complex64",
    ),
    ("missing input", {"z": ROWS}, {"x": ROWS, "label": LABELS}, "'z'"),
    ("wrong shape", {"x": ROWS[:, :3]}, {"x": ROWS, "label": LABELS}, "shape (8, 3)"),
    ("NaN among the inputs", {"x": ROWS * np.nan}, {"x": ROWS, "label": LABELS}, "NaN"),
    ("no label", {"x": ROWS}, {"x": ROWS}, "label"),
    ("empty evaluation", {"x": ROWS}, {"x": ROWS[:0], "label": LABELS[:0]}, "is empty"),
    ("too few labels", {"x": ROWS}, {"x": ROWS, "label": LABELS[:3]}, "differ in rows"),
]


@pytest.mark.optimize
@pytest.mark.parametrize(
    ("calibration", "evaluation", "says"),
    [case[1:] for case in OPTIMIZE],
    ids=[case[0] for case in OPTIMIZE],
)
def test_bad_data_for_the_ladder_gets_one_clear_error(
    calibration: dict[str, Any], evaluation: dict[str, Any], says: str, folder: Path
) -> None:
    linear_onnx(Path("m.onnx"))
    np.savez("c.npz", **calibration)
    np.savez("e.npz", **evaluation)
    before = everything(folder)
    words = ["optimize", "m.onnx", "--calibration", "c.npz", "--eval", "e.npz", "-o", "opt"]
    done = CliRunner().invoke(cli, words, prog_name="deployer")
    assert_one_error(done.stdout, done.stderr, says)
    assert done.exit_code == 2
    assert everything(folder) == before


@pytest.mark.optimize
@pytest.mark.parametrize("content", [b"", b"not an archive", gzip.compress(b"x", mtime=0)])
def test_calibration_that_is_no_npz_is_refused(content: bytes, folder: Path) -> None:
    linear_onnx(Path("m.onnx"))
    write("c.npz", content)
    before = everything(folder)
    words = ["optimize", "m.onnx", "--calibration", "c.npz", "--eval", "c.npz", "-o", "opt"]
    done = CliRunner().invoke(cli, words, prog_name="deployer")
    assert_one_error(done.stdout, done.stderr, "c.npz")
    assert everything(folder) == before


@pytest.mark.optimize
def test_a_model_that_exports_differently_from_its_source_is_refused(tmp_path: Path) -> None:
    """Dropout left in training mode: the source answers at random, so no export can agree with it."""
    import torch

    from deployer.errors import DeployerError

    class Noisy(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.rand(x.shape)

    check: Callable[..., Any] = api.export
    with pytest.raises(DeployerError):
        check(Noisy(), {"x": ROWS}, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
