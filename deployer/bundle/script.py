"""Whether a handler's file can hold a handler, read without running it: what surely fails at the start is told here."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from deployer.bundle.disk import DiskFile, reading
from deployer.bundle.imports import parsed
from deployer.errors import InputError

_BASE_MODULE, _BASE = "inference_code.handler", "Handler"
_FUNCTIONS = {"model_fn", "input_fn", "predict_fn", "output_fn", "transform_fn"}
_METHODS = ("load", "predict")
_HINT = (
    "write a class that extends inference_code.handler.Handler, with load and predict, "
    "or SageMaker's model_fn and predict_fn"
)


def check_handler(file: DiskFile) -> None:
    """Raise InputError for a file that names no handler, or one of ours without ``load`` or ``predict``.

    What a file may get from elsewhere is left to the start.
    """
    with file.open() as stream, reading(str(file)):
        tree = parsed(str(file), stream.read())
    classes = [node for node in _top(tree.body) if isinstance(node, ast.ClassDef)]
    if not _may_have_handler(tree, classes):
        raise InputError(f"{str(file)!r} has no handler", hint=_HINT)
    bases = set(_names_of_base(tree))
    extended = {ast.unparse(base) for each in classes for base in each.bases}
    for each in classes:
        own = [ast.unparse(base) for base in each.bases]
        if each.name in extended or len(own) != 1 or own[0].partition("[")[0] not in bases:
            continue
        missing = [name for name in _METHODS if name not in _bound(each.body)]
        if missing and not each.decorator_list:
            raise InputError(
                f"{str(file)!r}: class {each.name} lacks {' and '.join(missing)}", hint=_HINT
            )


def _may_have_handler(tree: ast.Module, classes: list[ast.ClassDef]) -> bool:
    if any(each.bases for each in classes):
        return True
    nodes = list(_top(tree.body))
    taken = {
        alias.asname or alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module != _BASE_MODULE
        for alias in node.names
    }
    given = (_bound(nodes) | taken) - {each.name for each in classes}
    made = any(isinstance(node, ast.Name) and node.id == "globals" for node in ast.walk(tree))
    return (
        made or bool(given & _FUNCTIONS) or any(name[:1].isupper() or name == "*" for name in given)
    )


def _names_of_base(tree: ast.Module) -> Iterator[str]:
    yield f"{_BASE_MODULE}.{_BASE}"
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == _BASE_MODULE:
            yield from (alias.asname or _BASE for alias in node.names if alias.name == _BASE)


def _top(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run on import: those below ``if``, ``try`` and ``with`` too."""
    for node in body:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for part in ("body", "orelse", "finalbody"):
                yield from _top(getattr(node, part, []))
            for handler in getattr(node, "handlers", []):
                yield from _top(handler.body)


def _bound(nodes: list[ast.stmt]) -> set[str]:
    """Return the names that statements define or assign."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return found
