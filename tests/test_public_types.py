"""Every type that a public signature or field names can be imported from ``deployer``: derived from the annotations."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import typing
from collections.abc import Iterator
from functools import cache
from typing import Any

import deployer
from deployer import errors

WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


@cache
def names_of(module: str) -> dict[str, tuple[str, str]]:
    """Where each name of a module's source comes from, imports for type checkers among them."""
    found: dict[str, tuple[str, str]] = {}
    for node in ast.walk(ast.parse(inspect.getsource(importlib.import_module(module)))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for item in node.names:
                found[item.asname or item.name] = (node.module, item.name)
        if isinstance(node, ast.ClassDef):
            found[node.name] = (module, node.name)
    return found


def named(annotation: Any, module: str) -> Iterator[type]:
    """Yield our classes that an annotation names; aliases are followed into what they stand for."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    for word in WORD.findall(text):
        home, name = names_of(module).get(word, (module, word))
        if not home.startswith(("deployer", "inference_code")):
            continue
        value = getattr(importlib.import_module(home), name, None)
        if inspect.isclass(value):
            if value.__module__.startswith(("deployer.", "inference_code.")):
                yield value
        elif value is not None and not inspect.ismodule(value) and not callable(value):
            for item in getattr(value, "__args__", ()):
                kind = typing.get_origin(item) or item
                if inspect.isclass(kind) and kind.__module__.startswith("deployer."):
                    yield kind


def annotations(value: Any) -> Iterator[tuple[Any, str]]:
    """Yield the annotations of a function's signature, or of a class's fields and public methods, with their module."""
    if inspect.isclass(value):
        for field in dataclasses.fields(value) if dataclasses.is_dataclass(value) else ():
            if not field.name.startswith("_"):
                owner = next(c for c in value.__mro__ if field.name in inspect.get_annotations(c))
                yield field.type, owner.__module__
        for name, member in inspect.getmembers(value):
            function = member.fget if isinstance(member, property) else member
            if not name.startswith("_") and inspect.isfunction(function):
                yield from annotations(function)
        return
    function = inspect.unwrap(value)
    for item in inspect.get_annotations(function).values():
        yield item, function.__module__


def public() -> set[type]:
    """Every class that can be reached from a public name by annotations alone."""
    todo: list[Any] = [getattr(deployer, name) for name in deployer.__all__]
    seen: set[Any] = set()
    while todo:
        value = todo.pop()
        if value in seen or not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        seen.add(value)
        for annotation, module in annotations(value):
            todo += named(annotation, module)
    return {value for value in seen if inspect.isclass(value)}


def test_every_type_that_a_signature_names_is_public() -> None:
    missing = {
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in public()
        if getattr(deployer, kind.__name__, None) is not kind
    }
    assert sorted(missing) == []


def test_every_error_is_public() -> None:
    kinds = [k for k in vars(errors).values() if inspect.isclass(k) and issubclass(k, Exception)]
    assert [k.__name__ for k in kinds if getattr(deployer, k.__name__, None) is not k] == []


def test_a_path_may_be_text_wherever_one_is_taken() -> None:
    # `model` of optimize and export is any model: a path, a module, or text that names one.
    functions = [getattr(deployer, name) for name in deployer.__all__]
    strict = [
        f"{function.__name__}: {name}"
        for function in functions
        if inspect.isfunction(function)
        for name, text in inspect.get_annotations(inspect.unwrap(function)).items()
        if name != "return" and re.search(r"\bPath\b", str(text))
    ]
    assert strict == []
