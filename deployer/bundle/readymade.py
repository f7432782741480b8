"""Handlers that ship with the serving code, chosen by name: common models then need no code."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from deployer.errors import InputError


@dataclass(frozen=True)
class ReadyMade:
    """A handler by its ``name``: a module of the serving code, and what must come with it.

    Of ``files`` those that lie beside a model go in with it; ``needed`` must be there.
    """

    name: str
    requirements: tuple[str, ...]
    needed: str
    files: tuple[str, ...]

    @property
    def source(self) -> str:
        """The text of ``code/inference.py``."""
        return (
            f'"""Serves this bundle\'s ONNX model: {self.name} in."""\n\n'
            f"from inference_code.handlers.{self.name} import Handler\n\n"
            '__all__ = ["Handler"]\n'
        )

    def check(self, model: Path, members: Collection[str], main: str) -> None:
        """Raise InputError when ``members`` lack the file that is needed, beside ``main`` and at the root."""
        places = {self.needed, str(Path(main).parent / self.needed)}
        if not places & set(members):
            raise InputError(
                f"the handler {self.name!r} needs {self.needed!r}, which does not come with {str(model)!r}",
                hint=f"save it beside the model, or name it: --extra {self.needed}",
            )


READY: Mapping[str, ReadyMade] = {
    each.name: each
    for each in (
        ReadyMade(
            "image",
            ("pillow==13.0.0",),
            "preprocessor_config.json",
            ("preprocessor_config.json", "config.json"),
        ),
        ReadyMade(
            "text",
            ("tokenizers==0.23.3",),
            "tokenizer.json",
            (
                *("tokenizer.json", "tokenizer_config.json", "config.json", "modules.json"),
                *("sentence_bert_config.json", "1_Pooling/config.json"),
            ),
        ),
    )
}


def ready_made(handler: Path | None) -> ReadyMade | None:
    """Return the handler that ``handler`` names; None for a path, that of any file there is included.

    Raises InputError for a bare word that is neither.
    """
    if handler is None or handler.is_file():
        return None
    found = READY.get(str(handler))
    if found is None and len(handler.parts) == 1 and not handler.suffix:
        raise InputError(
            f"{str(handler)!r} is no file, and no handler that comes ready-made",
            hint=f"known: {', '.join(READY)}; or give a path: --handler inference.py",
        )
    return found
