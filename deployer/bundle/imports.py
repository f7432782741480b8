"""What a Python file imports, read without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass

from deployer.bundle.disk import DiskFile, reading
from deployer.errors import InputError

_MISSING = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
_IMPORTERS = {"import_module", "__import__"}
#: Whoever uses these may make names that no reader sees.
_MAKERS = {"globals", "locals", "vars", "setattr", "exec", "__getattr__", "__path__"}


@dataclass(frozen=True)
class Import:
    """One statement: ``module`` is "" in ``from . import x``; ``names`` are those of ``from``.

    ``needed`` is False where the file can do without: in ``try``, below ``if``, by a call; ``late`` is True in a
    function, which may never run.
    """

    module: str
    names: tuple[str, ...] = ()
    level: int = 0
    needed: bool = True
    late: bool = False


@dataclass(frozen=True)
class Code:
    """A file's imports and the names that it binds; ``names`` is None when they cannot be told.

    ``finds_paths`` says that it mentions ``sys.path``, so that modules may lie anywhere.
    """

    imports: tuple[Import, ...]
    names: frozenset[str] | None
    finds_paths: bool


def read_code(file: DiskFile) -> Code:
    """Parse a file. Raises InputError with the line when it is not Python."""
    with file.open() as stream, reading(str(file)):
        tree = parsed(str(file), stream.read())
    visitor = _Visitor()
    visitor.visit(tree)
    nodes = list(ast.walk(tree))
    return Code(tuple(visitor.found), _bound(nodes), any(map(_is_sys_path, nodes)))


def parsed(path: str, data: bytes) -> ast.Module:
    """Return the tree of a file's text. Raises InputError with ``path`` and the line when it is not Python."""
    try:
        return ast.parse(data)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f" at line {line}" if line else ""
        raise InputError(
            f"{path!r} is not Python{where}: {getattr(error, 'msg', error)}",
            hint="mend that line; `python FILE` shows it too",
        ) from error


class _Visitor(ast.NodeVisitor):
    def __init__(self) -> None:
        self.found: list[Import] = []
        self._needed = True
        self._late = False

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [
            Import(alias.name, needed=self._needed, late=self._late) for alias in node.names
        ]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        names = tuple(alias.name for alias in node.names)
        self.found.append(Import(node.module or "", names, node.level, self._needed, self._late))

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        before, self._late = self._late, True
        self.generic_visit(node)
        self._late = before

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Call(self, node: ast.Call) -> None:
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        module = getattr(node.args[0], "value", None) if node.args else None
        if name in _IMPORTERS and isinstance(module, str) and module.strip(".") == module != "":
            self.found.append(Import(module, needed=False))
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        words = ast.unparse(node.test)
        if not words.endswith("TYPE_CHECKING") and "__main__" not in words:
            self._without_need(node.body)
        self._without_need(node.orelse)

    def visit_With(self, node: ast.With) -> None:
        if any("ImportError" in ast.unparse(item) for item in node.items):
            self._without_need(node.body)
        else:
            self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> None:
        if any(_catches_missing(handler) for handler in node.handlers):
            self._without_need([*node.body, *node.handlers])
            self._visit_all([*node.orelse, *node.finalbody])
        else:
            self.generic_visit(node)

    def _without_need(self, nodes: Iterable[ast.AST]) -> None:
        before, self._needed = self._needed, False
        self._visit_all(nodes)
        self._needed = before

    def _visit_all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)


def _catches_missing(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    return any(
        getattr(node, "id", getattr(node, "attr", "")) in _MISSING
        for node in ast.walk(handler.type)
    )


def _bound(nodes: Iterable[ast.AST]) -> frozenset[str] | None:
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Name):
            if node.id in _MAKERS:
                return None
            names.add(node.id)
        elif isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.module):
            # ``from . import x`` finds a file, and makes none.
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
    return None if names & {"*", "__getattr__"} else frozenset(names)


def _is_sys_path(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr == "path"
        and getattr(node.value, "id", "") == "sys"
    )
