"""A Hugging Face folder as a module that answers as its architecture does: logits, hidden states, sentence vectors.

Only a local folder with safetensors weights is read; nothing is downloaded, and no code from the folder runs.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from deployer.errors import EnvironmentProblem, InputError, NotSupported
from deployer.optimization import sentence
from deployer.optimization.jsonfile import read_object

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
TEXT = ("input_ids", "attention_mask")


def load(folder: Path, inputs: Collection[str] | None = None) -> torch.nn.Module:
    """Return the model of ``folder`` taking ``inputs``: of texts (default: the first two) or of pictures.

    The first of ``architectures`` in its config decides the class, and with it the head; all that it answers is kept.
    With a ``modules.json`` of sentence-transformers the hidden states go through what that lists.
    Raises InputError for a folder that cannot be read or takes other inputs, NotSupported for an encoder-decoder,
    EnvironmentProblem without the transformers package.
    """
    if not (folder / "config.json").is_file():
        files = ", ".join(str(path) for path in sorted(folder.glob("*.onnx")))
        raise InputError(
            f"{str(folder)!r} is no Hugging Face folder: it has no config.json",
            hint="a model file is named by itself"
            + (f" (here {files})" if files else "")
            + "; a folder is what save_pretrained writes",
        )
    config = read_object(folder / "config.json")
    architecture = str(next(iter(config.get("architectures") or []), ""))
    if config.get("is_encoder_decoder"):
        name = architecture or str(config.get("model_type"))
        raise NotSupported(
            f"{folder.name}: {name} is an encoder-decoder: it answers step by step, no one ONNX file does",
            hint="export its encoder as a model of its own",
        )
    chain = sentence.chain(folder) if (folder / sentence.MODULES).is_file() else None
    if not any((folder / name).is_file() for name in _WEIGHTS):
        raise InputError(
            f"{str(folder)!r} holds no safetensors weights: neither {' nor '.join(_WEIGHTS)}",
            hint="pickled weights are not read: model.save_pretrained(folder) writes safetensors",
        )
    transformers = _package()
    headed = bool(architecture) and chain is None
    kind = getattr(transformers, architecture, None) if headed else transformers.AutoModel
    if kind is None:
        raise InputError(f"{folder.name}: transformers has no {architecture!r}")
    model, pooled = _weighted(kind, folder)
    if getattr(model.config, "use_cache", False):
        model.config.use_cache = False  # what only the next step of a text would need
    return _lighter(_wrapped(model.eval(), chain, inputs, pooled=pooled, where=folder.name))


def _wrapped(
    model: Any,
    chain: torch.nn.ModuleList | None,
    inputs: Collection[str] | None,
    *,
    pooled: bool,
    where: str,
) -> Encoder:
    main = str(model.main_input_name)
    wanted = set(inputs or (TEXT if main == "input_ids" else (main,)))
    taken = set(inspect.signature(model.forward).parameters)
    if not wanted <= taken or main not in wanted:
        shown = ", ".join(sorted(wanted - taken)) or "no " + main
        raise InputError(
            f"{where}: {type(model).__name__} is given {shown}",
            hint=f"its main input is {main!r}; the arrays carry the names of its arguments",
        )
    for wrapper in (Text, Pair, Alone, Pictures):
        if set(inspect.signature(wrapper.forward).parameters) - {"self"} == wanted:
            made: Encoder = wrapper(model, chain, pooled=pooled).eval()
            return made
    raise InputError(
        f"{where}: no export for the inputs {', '.join(sorted(wanted))} together",
        hint="texts: input_ids, attention_mask, token_type_ids; pictures: pixel_values",
    )


def _lighter(encoder: Encoder) -> Encoder:
    """Return ``encoder`` with its mask made in two steps, where that gives the same answers to padded texts.

    What transformers makes of a mask takes forty operators, a twentieth of a small encoder's time for a short text.
    A decoder, which hides later tokens as well, answers otherwise and stays as it is.
    """
    if not isinstance(encoder, (Text, Pair)):
        return encoder
    # As short as can tell a decoder from an encoder; each token is another one, in every row.
    ids, mask = torch.arange(1, 9).reshape(2, 4), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    example = (ids, mask, torch.zeros_like(ids))[: 3 if isinstance(encoder, Pair) else 2]
    answers = []
    try:
        for light in (False, True):
            encoder.light = light
            with torch.no_grad():
                answers.append(_first(encoder(*example)))
    except (
        Exception
    ):  # a model that takes no such mask, or no such tokens: each has its own way to say so
        encoder.light = False
        return encoder
    wanted, given = answers
    seen = mask.bool() if wanted.shape[:2] == mask.shape else slice(None)
    encoder.light = wanted.shape == given.shape and torch.allclose(
        wanted[seen], given[seen], rtol=1e-5, atol=1e-6
    )
    return encoder


def _first(answer: Any) -> Any:
    return answer if isinstance(answer, torch.Tensor) else next(iter(answer.values()))


def _package() -> Any:
    try:
        transformers: Any = importlib.import_module("transformers")
    except ImportError as error:
        raise EnvironmentProblem(
            "a Hugging Face folder needs the transformers package", hint="pip install transformers"
        ) from error
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    return transformers


def _weighted(kind: Any, folder: Path) -> tuple[Any, bool]:
    """Return the model with the folder's weights, and whether its pooler has any; others must have."""
    try:
        model, loaded = kind.from_pretrained(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            # The exporter and the integer rungs want the matrix products in the open.
            attn_implementation="eager",
            dtype=torch.float32,
        )
    except (
        Exception
    ) as error:  # transformers and safetensors have no common base for what they raise
        line = str(error).strip().splitlines() or [""]
        raise InputError(
            f"{str(folder)!r} cannot be loaded: {type(error).__name__}: {line[0]}"
        ) from error
    # A pooler without weights is not part of the answer.
    pooler = [name for name in loaded["missing_keys"] if name.startswith("pooler.")]
    lacking = sorted(name for name in loaded["missing_keys"] if name not in pooler)
    if lacking:
        raise InputError(
            f"{str(folder)!r} lacks {len(lacking)} of the weights that {type(model).__name__} needs: "
            f"{', '.join(lacking[:3])}",
            hint="'architectures' in config.json must name the class that was saved",
        )
    return model, not pooler


class Encoder(torch.nn.Module):  # type: ignore[misc]
    """A model with what follows it; ``original`` answers as transformers does, ``forward`` as it is exported."""

    def __init__(self, model: Any, chain: torch.nn.ModuleList | None, *, pooled: bool) -> None:
        super().__init__()
        self.model = model
        self.chain = chain
        self.pooled = pooled
        self.light = False

    def original(self, **inputs: Any) -> Any:
        """Return what the model itself answers to the same inputs, with its own mask."""
        return self._answer(inputs, light=False)

    def _answer(self, inputs: dict[str, Any], *, light: bool) -> Any:
        mask = inputs.get("attention_mask")
        if light:
            inputs = inputs | {"attention_mask": _hidden(mask)}
        found = self.model(**inputs, return_dict=True)
        if self.chain is not None:
            value = found[0]
            for part in self.chain:
                value = part(value, mask)
            return value
        return self._kept(dict(found))

    def _kept(self, found: dict[str, Any]) -> Any:
        """Return all outputs by name, or the one alone; raise InputError for one that ONNX cannot hold."""
        if not self.pooled:
            found.pop("pooler_output", None)
        found = {name: value for name, value in found.items() if value is not None}
        odd = [name for name, value in found.items() if not isinstance(value, torch.Tensor)]
        if odd:
            raise InputError(
                f"{type(self.model).__name__} answers with {', '.join(odd)}: no tensors"
            )
        return next(iter(found.values())) if len(found) == 1 else found


class Text(Encoder):
    """Takes texts."""

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        return self._answer(inputs, light=self.light)


class Pair(Encoder):
    """Takes pairs of texts: ``token_type_ids`` says which of the two a token is of."""

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        return self._answer(inputs | {"token_type_ids": token_type_ids}, light=self.light)


class Alone(Encoder):
    """Takes texts without padding."""

    def forward(self, input_ids: Any) -> Any:
        return self._answer({"input_ids": input_ids}, light=False)


class Pictures(Encoder):
    """Takes pictures."""

    def forward(self, pixel_values: Any) -> Any:
        return self._answer({"pixel_values": pixel_values}, light=False)


def _hidden(attention_mask: Any) -> Any:
    """Return what is added to the scores of attention: 0 for a token, the lowest number for padding."""
    padding = 1 - attention_mask[:, None, None, :].to(torch.float32)
    return padding * torch.finfo(torch.float32).min
