"""What a bundle says of itself, read without verifying it: for rules that judge a specification, not the bundle.

A bundle that is missing or cannot be read tells nothing; the verb that needs it says what is wrong with it.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
import zlib
from functools import lru_cache
from pathlib import Path

from deployer.bundle.manifest import LONGEST_MANIFEST
from deployer.spec.rules.facts import Facts
from inference_code.contract import (
    MANIFEST_PATH,
    REQUIREMENTS_PATH,
    SAMPLES_PATH,
    ContractError,
    Manifest,
)

UNKNOWN = Facts()
_NAME = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)", re.MULTILINE)
_ACCELERATED = re.compile(
    r"onnxruntime-(gpu|rocm|migraphx).*|torch(-.*)?|pytorch.*|tensorflow(-(?!cpu).*)?|jax(lib)?|jax-.*|cupy.*"
    r"|tensorrt.*|triton.*|vllm|nvidia-.*|cuda-.*|pycuda|numba(-cuda)?|cuml.*|mxnet.*|paddlepaddle-gpu|ctranslate2"
    r"|llama-cpp-python|xgboost|deepspeed|.*neuron.*|habana.*|optimum-habana"
    r"|torchvision|torchaudio|sentence-transformers|transformers|diffusers|accelerate|timm|fastai|flair|keras|flax"
    r"|lightning|pytorch-lightning|ultralytics|open-clip-torch|faster-whisper|xformers|bitsandbytes|easyocr"
)
"""Packages that can compute on an accelerator or bring one that can, by their names in lower case with hyphens."""


def glance(path: Path, digest: str = "") -> Facts:
    """Return the facts of the bundle at ``path``, an archive or a folder; with ``digest`` only of that bundle."""
    try:
        stat = (path / MANIFEST_PATH if path.is_dir() else path).stat()
        manifest, requirements = _members(path, stat.st_mtime_ns, stat.st_size)
        if digest and hashlib.sha256(manifest).hexdigest() != digest:
            return UNKNOWN
        return facts(Manifest.from_json(manifest), requirements.decode())
    except (OSError, EOFError, ValueError, RecursionError, tarfile.TarError, zlib.error):
        return UNKNOWN


def facts(manifest: Manifest, requirements: str) -> Facts:
    """Return what rules need of a bundle with this manifest and these requirements."""
    names = {
        found[1].lower().replace("_", "-").replace(".", "-")
        for found in _NAME.finditer(requirements)
    }
    accelerated = any(_ACCELERATED.fullmatch(name) for name in names)
    samples = [m.size for m in manifest.members if m.path.startswith(f"{SAMPLES_PATH}/")]
    reason = (
        f"it runs on {manifest.engine}, and its requirements name no runtime for an accelerator"
    )
    return Facts(
        cpu_only="" if accelerated else reason,
        largest_sample=max(samples, default=0),
        boto3="boto3" in names,
        drain_s=float(manifest.serving.drain_s),
        request_timeout_s=float(manifest.serving.request_timeout_s),
    )


@lru_cache(maxsize=64)
def _members(path: Path, changed_ns: int, size: int) -> tuple[bytes, bytes]:
    """Return the manifest and the requirements; the file's time and size are there to tell a newer one."""
    if path.is_dir():
        needs = path / REQUIREMENTS_PATH
        text = needs.read_bytes() if needs.is_file() else b""
        return (path / MANIFEST_PATH).read_bytes(), text
    found: dict[str, bytes] = {}
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            if member.name in (MANIFEST_PATH, REQUIREMENTS_PATH) and member.isreg():
                stream = archive.extractfile(member)
                found[member.name] = stream.read(LONGEST_MANIFEST) if stream else b""
            if MANIFEST_PATH in found and member.name >= REQUIREMENTS_PATH:
                break  # members are sorted by their paths
    if MANIFEST_PATH not in found:
        raise ContractError("no manifest")
    return found[MANIFEST_PATH], found.get(REQUIREMENTS_PATH, b"")
