"""Every test runs without AWS credentials; tests of an extra that is not installed are left out, aloud."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

EXTRAS = {
    "optimize": ("torch", "onnx", "onnxruntime"),
    "serve": ("onnxruntime", "uvloop", "orjson"),
    "report": ("jinja2", "matplotlib"),
    "aws": ("boto3",),
    "cdk": ("aws_cdk", "cdk_nag", "cfnlint"),
    "openvino": ("openvino", "nncf"),
    "trees": ("skl2onnx", "onnxmltools"),
}
FOLDERS = {
    "optimize": ("deployer/optimization", "deployer/test_quickstart.py"),
    "serve": ("inference_code",),
    "report": ("deployer/report",),
    "aws": ("deployer/aws", "deployer/deployments/sagemaker", "inference_code/worker"),
    "cdk": ("stacks",),
    "openvino": (),
    "trees": (),
}
OPTIONAL = ("openvino", "trees")
"""Extras outside ``dev``: even the run that must cover everything may lack them, aloud."""


# A shell that runs us in the background has Ctrl-C ignored, here and in every child; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _missing(extra: str) -> bool:
    return any(importlib.util.find_spec(package) is None for package in EXTRAS[extra])


MISSING = tuple(extra for extra in EXTRAS if _missing(extra))
collect_ignore = [path for extra in MISSING for path in FOLDERS[extra]]


def pytest_report_header() -> str:
    """Say which extras the run covers."""
    if not MISSING:
        return "extras: all that tests need are installed"
    return f"extras NOT installed, their tests are left out: {', '.join(MISSING)}"


def pytest_configure() -> None:
    """Refuse to leave tests out where everything must be covered."""
    needed = [extra for extra in MISSING if extra not in OPTIONAL]
    if needed and os.environ.get("DEPLOYER_TEST_ALL"):
        raise pytest.UsageError(f"extras not installed: {', '.join(needed)}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip single tests marked with an extra that is missing; files with slow tests run first.

    In a parallel run a slow file that begins last would keep one core idle till it ends.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    for item in items:
        for extra in MISSING:
            if item.get_closest_marker(extra):
                item.add_marker(pytest.mark.skip(reason=f"extra {extra!r} is not installed"))


_LIBM = ctypes.CDLL(None)
_DEFAULT_ENVIRONMENT = ctypes.c_void_p(-1)
"""C's FE_DFL_ENV, in glibc and musl."""


@pytest.fixture(autouse=True)
def _subnormal_numbers() -> Iterator[None]:
    """Give the process its subnormal numbers back: the first served session takes them, and hypothesis needs them."""
    yield
    if sys.platform == "linux":
        _LIBM.fesetenv(_DEFAULT_ENVIRONMENT)


@pytest.fixture(autouse=True)
def _no_aws_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-aws-credentials"))
    monkeypatch.setenv("DEPLOYER_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture(scope="session")
def _fake_aws_server() -> Iterator[Any]:
    source = Path(__file__).with_name("fakes") / "aws.py"
    spec = importlib.util.spec_from_file_location("fake_aws", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fake_aws"] = module
    spec.loader.exec_module(module)
    server = module.FakeAws()
    yield server
    server.stop()


@pytest.fixture
def fake_aws(_fake_aws_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """moto's server over HTTP with the shim of ``tests/fakes/aws.py``, empty, and our environment for it."""
    _fake_aws_server.reset()
    for name, value in _fake_aws_server.environment.items():
        monkeypatch.setenv(name, value)
    return _fake_aws_server
