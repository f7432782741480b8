"""The shape of the code: small files, documented names, light imports, examples on public ground."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("deployer", "stacks", "inference_code")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
HEAVY = (
    "torch",
    "numba",
    "numpy",
    "boto3",
    "onnx",
    "onnxruntime",
    "aws_cdk",
    "matplotlib",
    "click",
)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_is_short_and_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 380
    assert ast.get_docstring(ast.parse(text)), "has no docstring"


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_functions_stay_within_sixty_lines(path: Path) -> None:
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in functions(ast.parse(path.read_text()))
        if node.end_lineno and node.end_lineno - node.lineno + 1 > 60
    ]
    assert not long


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_public_names_are_documented(path: Path) -> None:
    tree = ast.parse(path.read_text())
    public = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not (isinstance(node, ast.ClassDef) and _is_error(node))
    ]
    assert [node.name for node in public if not ast.get_docstring(node)] == []


def _is_error(node: ast.ClassDef) -> bool:
    """Exceptions are documented in the tree that opens their module."""
    return any(
        isinstance(base, ast.Name) and base.id.endswith(("Error", "Request")) for base in node.bases
    )


def imported(tree: ast.AST) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
    return modules


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.py")), ids=name)
def test_examples_use_public_names_only(path: Path) -> None:
    allowed = {
        "deployer",
        "deployer.quickstart",
        "inference_code.contract",
        "inference_code.handler",
        "inference_code.runtime",
    }
    ours = {m for m in imported(ast.parse(path.read_text())) if m.split(".")[0] in PACKAGES}
    assert ours <= allowed


def test_importing_deployer_loads_nothing_heavy() -> None:
    code = f"import sys, deployer; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_names_this_machine() -> None:
    words = ("/wor" + "k/", "/opt" + "/dv", "shared" + "/facts", "shared" + "/design")
    for path in (
        p for p in ROOT.rglob("*") if p.suffix in {".py", ".md", ".toml", ".json", ".txt"}
    ):
        parts = path.relative_to(ROOT).parts
        if parts[0].startswith(".") or parts[0] in {"out", "build", "node_modules"}:
            continue
        text = path.read_text(encoding="utf-8")
        assert not any(word in text for word in words), path
