"""Find the handler of a model folder, and check it before the first request."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from pathlib import Path
from types import ModuleType

from inference_code.contract import HANDLER_PATH
from inference_code.errors import HandlerInvalid, PackageMissing
from inference_code.handler import toolkits
from inference_code.handler.base import Handler
from inference_code.handler.functions import FunctionHandler, functions_in

PROGRAM_ENV = "SAGEMAKER_PROGRAM"
DEFAULT_MODULE = "inference_code.handlers.onnx"
_METHODS = {"load": 1, "decode": 2, "predict": 1, "encode": 2}


def find_handler(model_dir: Path) -> Handler[object, object]:
    """Return the handler of ``code/inference.py`` (or of SAGEMAKER_PROGRAM), not loaded yet.

    A folder without handler code gets the default one, which serves an ONNX file as it is.
    Raises HandlerInvalid with what to change.
    """
    path = _path(model_dir)
    module = importlib.import_module(DEFAULT_MODULE) if path is None else _import(path)
    handler_class = _handler_class(module)
    if handler_class is not None:
        return _instance(handler_class)
    if functions_in(module):
        return FunctionHandler(module)
    raise HandlerInvalid(
        f"{module.__name__} has no handler: add a class that extends inference_code.handler.Handler, "
        "or SageMaker's model_fn and predict_fn"
    )


def _path(model_dir: Path) -> Path | None:
    program = os.environ.get(PROGRAM_ENV)
    if program:
        path = model_dir / "code" / Path(program).name
        if not path.is_file():
            raise HandlerInvalid(f"{PROGRAM_ENV} names {program!r}, but {path} does not exist")
        return path
    path = model_dir / HANDLER_PATH
    return path if path.is_file() else None


def _import(path: Path) -> ModuleType:
    code_dir = str(path.parent)
    if code_dir not in sys.path:
        sys.path.insert(0, code_dir)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise HandlerInvalid(f"{path} cannot be imported; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    toolkits.install()
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise PackageMissing(
            f"{path.name} needs the module {error.name!r}, which neither lies in {code_dir} nor is installed: "
            "package the missing file beside the handler, or name the package that brings it in the requirements"
        ) from error
    except Exception as error:
        raise HandlerInvalid(f"{path.name} fails on import: {_first_line(error)}") from error
    return module


def _handler_class(module: ModuleType) -> type[Handler[object, object]] | None:
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Handler) and value is not Handler
    ]
    # A handler may extend another one: the leaves are meant.
    leaves = [
        kind for kind in found if not any(o is not kind and issubclass(o, kind) for o in found)
    ]
    named = [kind for kind in leaves if kind.__name__ == "Handler"]
    if len(leaves) > 1 and len(named) != 1:
        names = ", ".join(kind.__name__ for kind in leaves)
        raise HandlerInvalid(
            f"{module.__name__} has several handlers ({names}): name one 'Handler'"
        )
    chosen = named if len(leaves) > 1 else leaves
    return chosen[0] if chosen else None


def _instance(kind: type[Handler[object, object]]) -> Handler[object, object]:
    if inspect.isabstract(kind):
        missing = ", ".join(sorted(kind.__abstractmethods__))
        raise HandlerInvalid(f"class {kind.__name__} lacks {missing}: write it")
    for name, count in _METHODS.items():
        signature = inspect.signature(getattr(kind, name))
        try:
            signature.bind(None, *range(count))
        except TypeError as error:
            wanted = inspect.signature(getattr(Handler, name))
            raise HandlerInvalid(
                f"{kind.__name__}.{name}{signature} does not fit: write {name}{wanted}"
            ) from error
    try:
        return kind()
    except Exception as error:
        raise HandlerInvalid(
            f"{kind.__name__}() fails: {_first_line(error)}; read files in load(), not in __init__"
        ) from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}".rstrip(": ")
