"""What a load test sends (files, or the samples that a bundle carries), and what it is sent to."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.errors import DeployerError, InputError
from inference_code.contract import SAMPLES_PATH, STATS_ROUTE

if TYPE_CHECKING:
    from deployer.clients.base import Body

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def bundle_behind(url: str) -> Path | None:
    """Return the bundle that a server of this machine answers with at ``url``, when it is ours."""
    from deployer.clients.base import Endpoint
    from deployer.deployments.state import Store

    endpoint = Endpoint.parse(url)
    return Store().bundle_at(endpoint.port) if endpoint.host in _LOOPBACK else None


def workers_behind(url: str) -> dict[str, int]:
    """Return ``{"workers": n}`` of the server at ``url``; empty for a server that is not ours."""
    from deployer.clients.http import HttpInvoker

    # The load test is over: what the server is must not cost what was measured of it.
    with contextlib.suppress(DeployerError, ValueError, KeyError, TypeError):
        answer = HttpInvoker(url, timeout_s=2.0).request("GET", STATS_ROUTE)
        return {"workers": len(json.loads(answer.content)["workers"])}
    return {}


def bodies(data: Sequence[Path], bundle: Path | None) -> list[Body]:
    """Return the bodies of ``data`` files, else the bundle's samples. Raises InputError when there is none."""
    from deployer.clients.base import Body

    if data:
        return [Body.from_file(path) for path in data]
    bodies = [] if bundle is None else _samples(bundle)
    if not bodies:
        raise InputError(
            "no request body to send",
            hint="add --data FILE, or --bundle BUNDLE to use the samples that it holds",
        )
    return bodies


def _samples(bundle: Path) -> list[Body]:
    from deployer.bundle import archive
    from deployer.clients.base import Body

    with tempfile.TemporaryDirectory(prefix="deployer-samples-") as folder:
        model_dir = Path(folder) / "model"
        archive.unpack(bundle, model_dir)
        return [Body.from_file(path) for path in sorted((model_dir / SAMPLES_PATH).glob("*"))]
