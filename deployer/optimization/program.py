"""What a module, a TorchScript program or an ExportedProgram calls its arguments and outputs, and how it is run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree as trees

from deployer.errors import InputError
from deployer.optimization.session import Array, Arrays

OUTPUT = "output"
"""Name of the first output of every export, unless the source names several."""


def ordered(source: Any, example: Arrays) -> tuple[str, ...]:
    """Return the example's names in the order in which the source takes them.

    Raises InputError when a program of several arguments does not know the names: their order would be a guess.
    """
    parameters = _parameters(source)
    if parameters is None:
        return tuple(example)
    if isinstance(source, torch.export.ExportedProgram) and len(parameters) > len(example):
        lacking = ", ".join(name for name in parameters if name not in example)
        raise InputError(f"the program also takes {lacking}, for which there is no array")
    if set(example) <= set(parameters):
        return tuple(name for name in parameters if name in example)
    fixed = isinstance(source, torch.jit.ScriptModule | torch.export.ExportedProgram)
    if fixed and (len(example) > 1 or len(parameters) > 1):
        raise InputError(
            f"the program takes {', '.join(parameters)}, the arrays are called {', '.join(example)}",
            hint="name each array as the program names its argument",
        )
    return tuple(example)


def runner(source: Any, example: Arrays) -> Callable[[Arrays], dict[str, Array]]:
    """Return a function that runs the source itself on named arrays and names what it answers."""
    names = ordered(source, example)
    call = _called(source, names)

    def run(feeds: Arrays) -> dict[str, Array]:
        with torch.no_grad():
            return named(call([torch.from_numpy(feeds[name]) for name in names]))

    return run


def named(answer: Any) -> dict[str, Array]:
    """Return the tensors of an answer by name: a mapping's own, else ``output``, ``output_1`` and so on.

    Raises InputError for an answer without tensors, or with something else among them.
    """
    leaves = [
        (path, leaf) for path, leaf in trees.tree_flatten_with_path(answer)[0] if leaf is not None
    ]
    odd = [type(leaf).__name__ for _, leaf in leaves if not isinstance(leaf, torch.Tensor)]
    if odd or not leaves:
        raise InputError(f"the model answers with {', '.join(odd) or 'nothing'}, not with tensors")
    if isinstance(answer, Mapping) and len(leaves) > 1:
        names = [
            ".".join(str(part.key if hasattr(part, "key") else part.idx) for part in path)
            for path, _ in leaves
        ]
    else:
        names = [OUTPUT, *(f"{OUTPUT}_{place}" for place in range(1, len(leaves)))]
    return {name: leaf.numpy() for name, (_, leaf) in zip(names, leaves, strict=True)}


def _parameters(source: Any) -> list[str] | None:
    """Return the names of the arguments in their order, None where the source takes any."""
    if isinstance(source, torch.jit.ScriptModule):
        return [item.name for item in source.forward.schema.arguments][1:]
    if isinstance(source, torch.export.ExportedProgram):
        return [str(name) for name in source.graph_signature.user_inputs]
    found = inspect.signature(source.forward).parameters.values()
    if any(item.kind is inspect.Parameter.VAR_POSITIONAL for item in found):
        return None
    return [item.name for item in found]


def _called(source: Any, names: Sequence[str]) -> Callable[[list[Any]], Any]:
    if isinstance(source, torch.export.ExportedProgram):
        module, spec = source.module(), source.call_spec.in_spec

        def run(tensors: list[Any]) -> Any:
            arguments, options = trees.tree_unflatten(tensors, spec)
            return module(*arguments, **options)

        return run
    original = getattr(source, "original", None)
    if callable(original):  # what is exported may be a lighter form of it
        return lambda tensors: original(**dict(zip(names, tensors, strict=True)))
    return lambda tensors: source(*tensors)
