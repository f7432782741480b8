"""The words that the bundle's builder and the serving code share. Standard library only.

A bundle is a folder (or its tar.gz) in SageMaker's layout::

    model.onnx                  model files at the root
    code/inference.py           the handler
    code/requirements.txt       what the image must install
    code/inference_code/...     this package
    code/samples/*.json         sample requests (json, csv or npy), for warm-up, checks and timing
    code/manifest.json          Manifest: names every other member with its mode, size and sha256

The bundle's digest is the sha256 of the manifest's canonical JSON, so it does not depend on how the
archive was compressed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

_T = TypeVar("_T")

CONTRACT_VERSION = 1
MANIFEST_PATH = "code/manifest.json"
HANDLER_PATH = "code/inference.py"
REQUIREMENTS_PATH = "code/requirements.txt"
SAMPLES_PATH = "code/samples"
SERVING_CODE_PATH = "code/inference_code"

PING_ROUTE = "/ping"
INVOCATIONS_ROUTE = "/invocations"
METRICS_ROUTE = "/metrics"
STATS_ROUTE = "/stats"

PORT_ENV = "SAGEMAKER_BIND_TO_PORT"
DEFAULT_PORT = 8080
UNSTATED = "unstated"
"""The precision of a model that is no graph, where nobody states it."""

BENCH_BUDGET_S = 600.0
"""Seconds that `bench` may time for, unless told otherwise."""

BENCH_PROGRESS = "bench: "
"""What its lines about progress begin with, on stderr."""

MODEL_DIR = "/opt/ml/model"
OPTIONS_ENV = "INFERENCE_SERVE_OPTIONS"
"""Options of ``serve`` for where only an environment can be given, as on SageMaker; the command line wins."""
MULTI_MODEL_ENV = "SAGEMAKER_MULTI_MODEL"
MODELS_ROOT_ENV = "INFERENCE_MODELS_ROOT"
"""Where SageMaker unpacks the models of a multi-model endpoint, when not at /opt/ml/models."""

CUSTOM_ATTRIBUTES_HEADER = "X-Amzn-SageMaker-Custom-Attributes"
REQUEST_ID_HEADER = "X-Request-Id"

JSON_TYPE = "application/json"
CSV_TYPE = "text/csv"
NPY_TYPE = "application/x-npy"
ONNXRUNTIME = "onnxruntime"
OPENVINO = "openvino"
ENGINES = {ONNXRUNTIME: (), OPENVINO: ("openvino==2026.4.1",)}
"""What runs an ONNX file, each with what it must have installed beside ``requirements.txt``."""
ENGINE_KEY = "deployer.engine"
"""Under this name an ONNX file says, in its own metadata, by which engine it was measured."""

CONTENT_TYPES = {".json": JSON_TYPE, ".csv": CSV_TYPE, ".npy": NPY_TYPE}


class ContractError(ValueError):
    """The manifest cannot be read; the message names the key."""


ONNXRUNTIME_CONFIG = {
    # Spinning threads take the core from the HTTP process between batches.
    "session.intra_op.allow_spinning": "0",
    # Attention leaves numbers below 1e-38 wherever a row is padded, and arithmetic on them is slow:
    # a transformer in int8 is up to 1.4 times as fast without. It holds for the thread that opens the first session of
    # a process and for each session's own threads.
    "session.set_denormal_as_zero": "1",
}
"""Entries of ONNX Runtime's session options, wherever a model is timed, scored or served."""

ONNXRUNTIME_WITHOUT = ["SkipLayerNormFusion"]
"""Optimizers of ONNX Runtime to leave out. 1.31.1 adds and normalizes value by value in the operator that this one
makes; the two apart are 7 to 20% faster (MiniLM in FP32, static and dynamic int8)."""


def openvino_settings(threads: int, cpu_flags: Collection[str]) -> dict[str, str | int]:
    """Return how OpenVINO is to run a model here, where /proc/cpuinfo tells ``cpu_flags``.

    By default it computes in bfloat16 wherever there are instructions for it. Without matrix units (AMX) that is
    slower than float32 and less exact.
    """
    settings: dict[str, str | int] = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "CPU_DENORMALS_OPTIMIZATION": True,  # flushed to zero, as for ONNX Runtime
    }
    if "avx512_bf16" in cpu_flags and "amx_bf16" not in cpu_flags:
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    return settings


@dataclass(frozen=True)
class TensorSpec:
    """One input or output: ``dtype`` is numpy's name; a ``None`` in ``shape`` is a free dimension."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class ServingConfig:
    """How the server runs. Sizes in bytes, times in the unit of their name.

    ``exact`` forbids batches in which an answer depends on the other requests; ``objective_ms``, when it is
    not 0, keeps batches as small and waits as short as it takes to answer within it.
    """

    workers: int = 1
    threads: int = 1
    max_batch: int = 8
    max_wait_ms: float = 0.0
    queue_limit: int = 128
    max_body_bytes: int = 6 * 1024 * 1024
    request_timeout_s: float = 60.0
    drain_s: float = 20.0
    exact: bool = False
    objective_ms: float = 0.0

    def __post_init__(self) -> None:
        for name in ("workers", "threads", "max_batch", "queue_limit", "max_body_bytes"):
            if getattr(self, name) < 1:
                raise ContractError(
                    f"serving.{name} must be at least 1, not {getattr(self, name)!r}"
                )
        for name in ("max_wait_ms", "drain_s", "objective_ms"):
            if not getattr(self, name) >= 0:
                raise ContractError(f"serving.{name} must not be negative: {getattr(self, name)!r}")
        if not isinstance(self.exact, bool):
            raise ContractError(f"serving.exact must be true or false, not {self.exact!r}")
        if not self.request_timeout_s > 0:
            raise ContractError(
                f"serving.request_timeout_s must be positive, not {self.request_timeout_s!r}"
            )


@dataclass(frozen=True)
class Member:
    """One file of the bundle: ``path`` relative with ``/``, ``mode`` as octal text, ``size`` in bytes."""

    path: str
    mode: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Batching:
    """What packaging proved of an ONNX model: requests may be joined, and each gets its own rows back.

    ``axes`` tells for each input which axis carries the batch, ``outputs`` for each output (None: it is the same
    whatever was asked). ``kind`` is "rows" where rows never meet, "scale" where they meet in a scale or a
    rounding only; answers then moved by up to ``moved`` of an output's largest number when ``runtime`` tried it (""
    while nothing did). The proof is about the file of ``model_sha256``. ``reason`` says why there is none.
    """

    axes: Mapping[str, int] = field(default_factory=dict)
    outputs: Mapping[str, int | None] = field(default_factory=dict)
    kind: str = "rows"
    moved: float = 0.0
    model_sha256: str = ""
    runtime: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("rows", "scale"):
            raise ContractError(f"batching.kind is {self.kind!r}; known: rows, scale")
        for key in ("axes", "outputs"):
            for name, axis in getattr(self, key).items():
                if axis is None and key == "outputs":
                    continue
                if type(axis) is not int or axis < 0:
                    raise ContractError(f"batching.{key}: {name!r} has the axis {axis!r}")
        if type(self.moved) not in (int, float) or not 0 <= self.moved < float("inf"):
            raise ContractError(f"batching.moved must be a number from 0 on, not {self.moved!r}")

    @property
    def proven(self) -> bool:
        """Whether requests may be joined."""
        return bool(self.axes) and not self.reason

    @property
    def allowed(self) -> float:
        """How far a batch may move answers, as a share of an output's largest number."""
        return 1.5 * self.moved if self.kind == "scale" else 0.0


@dataclass(frozen=True)
class Manifest:
    """What is in a bundle and how to serve it; ``engine`` runs the model (a key of ENGINES).

    ``batching`` is None in bundles without an ONNX model, and in those that are older than the key.
    """

    name: str
    model: str
    precision: str
    members: tuple[Member, ...]
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    serving: ServingConfig = ServingConfig()
    lineage: Mapping[str, str] = field(default_factory=dict)
    contract_version: int = CONTRACT_VERSION
    engine: str = ONNXRUNTIME
    batching: Batching | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ContractError(f"engine is {self.engine!r}; known: {', '.join(ENGINES)}")

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys, no spaces, members sorted by path; what is usual is unsaid."""
        data = asdict(self)
        if self.engine == ONNXRUNTIME:
            del data["engine"]  # bundles older than the key keep their digest
        if self.batching is None:
            del data["batching"]
        if not self.serving.exact:
            del data["serving"]["exact"]  # likewise
        if not self.serving.objective_ms:
            del data["serving"]["objective_ms"]
        data["members"] = sorted(data["members"], key=lambda member: str(member["path"]))
        data["lineage"] = dict(self.lineage)
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    @property
    def proof(self) -> Batching | None:
        """The proof that requests may be joined, when it is about the model file that lies in the bundle."""
        found = self.batching
        if found is None or not found.proven:
            return None
        model = next((each for each in self.members if each.path == self.model), None)
        return found if model and model.sha256 == found.model_sha256 else None

    @property
    def digest(self) -> str:
        """The bundle's identity: sha256 of the canonical JSON, in hex."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @staticmethod
    def from_json(text: str | bytes) -> Manifest:
        """Read a manifest; raise ContractError naming the first key that is wrong."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise ContractError(f"{MANIFEST_PATH} is not JSON: {error}") from error
        if not isinstance(data, dict):
            raise ContractError(f"{MANIFEST_PATH} must be an object")
        if data.get("contract_version") != CONTRACT_VERSION:
            raise ContractError(
                f"contract_version is {data.get('contract_version')!r}, "
                f"this serving code reads {CONTRACT_VERSION}"
            )
        try:
            data["members"] = tuple(_build(Member, item, "members") for item in data["members"])
            for key in ("inputs", "outputs"):
                data[key] = tuple(_tensor(item, key) for item in data.get(key, ()))
            data["serving"] = _build(ServingConfig, data.get("serving", {}), "serving")
            if data.get("batching") is not None:
                data["batching"] = _build(Batching, data["batching"], "batching")
        except (KeyError, TypeError, AttributeError) as error:
            raise ContractError(f"{MANIFEST_PATH}: {error!r}") from error
        return _build(Manifest, data, "manifest")


def _tensor(item: Mapping[str, Any], where: str) -> TensorSpec:
    return _build(TensorSpec, {**item, "shape": tuple(item["shape"])}, where)


def _build(kind: type[_T], data: Mapping[str, Any], where: str) -> _T:
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - known)
    if unknown:
        raise ContractError(f"{where} has an unknown key {unknown[0]!r}; known: {sorted(known)}")
    try:
        return kind(**data)
    except TypeError as error:
        raise ContractError(f"{where}: {error}") from error
