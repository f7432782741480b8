"""May requests for a bundle's model be joined? Proven on its graph, then tried in the handler's own process.

The graph decides; what was tried may only refute it, or say by how much a shared scale moves answers.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from deployer import processes
from deployer.bundle.axes.graph import prove
from deployer.bundle.disk import DiskFile
from deployer.bundle.sources import DEFAULT_HANDLER, Source, Text
from deployer.errors import DeployerError, InputError
from inference_code.contract import HANDLER_PATH, MANIFEST_PATH, SAMPLES_PATH, Batching, Manifest

_TRIED_S = 120.0
_HINT = "mend what it names, or give a handler that serves the model: --handler inference.py"


def proven(manifest: Manifest, sources: Mapping[str, Source]) -> Batching | None:
    """Return the proof for the model of a bundle to be, or why there is none; None without an ONNX model.

    A handler of ours is run where there is anything to try: a proof, samples, files that a ready-made one reads. What
    it refuses then is refused here, not at the start. One of the user's is run only where rows share a scale: what
    samples then show is kept.

    Raises InputError with what a handler of ours says.
    """
    model = sources.get(manifest.model)
    if not isinstance(model, DiskFile) or not manifest.model.lower().endswith(".onnx"):
        return None
    digest = next(each.sha256 for each in manifest.members if each.path == manifest.model)
    proof = prove(Path(str(model)), digest)
    handler = sources.get(HANDLER_PATH)
    ours = isinstance(handler, Text)
    samples = any(path.startswith(f"{SAMPLES_PATH}/") for path in sources)
    ready = isinstance(handler, Text) and handler.text != DEFAULT_HANDLER
    shares = proof.proven and proof.kind == "scale" and samples
    if not (ready or shares or (ours and (proof.proven or samples))):
        return proof
    found = _tried(replace(manifest, batching=proof), sources)
    if ours and "refused" in found:
        raise InputError(
            f"{str(model)!r} cannot be served as it is given: {found['refused']}", hint=_HINT
        )
    return judged(proof, found)


def _tried(manifest: Manifest, sources: Mapping[str, Source]) -> dict[str, Any]:
    """Return what the handler's process showed; ``{}`` where it does not run."""
    with tempfile.TemporaryDirectory(prefix="deployer-package-") as folder:
        model_dir = Path(folder)
        for path, source in sources.items():
            _put(source, model_dir / path)
        (model_dir / MANIFEST_PATH).write_text(manifest.to_json())
        try:
            return processes.call(model_dir, "together", timeout_s=_TRIED_S)
        except DeployerError:
            return {}  # it does not run here; where it is served, the start tries


def judged(proof: Batching, found: Mapping[str, Any]) -> Batching:
    """Return the proof after a trial; ``found`` is what the serving code's ``together`` prints."""
    if not found.get("tried"):
        return proof
    moved = found.get("moved")
    tried = replace(proof, runtime=str(found.get("runtime", "")))
    if found.get("same"):
        return tried
    if proof.kind == "scale" and moved is not None:
        return replace(tried, moved=float(moved))
    far = "in more than numbers" if moved is None else f"by {moved:.2g} of the largest number"
    return replace(
        tried, axes={}, outputs={}, kind="rows", reason=f"tried: a batch changed answers {far}"
    )


def _put(source: Source, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(source, DiskFile):
        try:
            os.link(str(source), path, follow_symlinks=False)
            return
        except OSError:  # another disk, or one without such links
            pass
    with source.open() as file, path.open("wb") as copy:
        shutil.copyfileobj(file, copy)
