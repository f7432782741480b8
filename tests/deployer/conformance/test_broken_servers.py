"""A server broken on purpose is caught by the rule that it breaks, whichever it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployer import conformance
from deployer.conformance.site import Process
from deployer.deployments.local import server as servers
from deployer.deployments.state import Server
from inference_code.contract import MULTI_MODEL_ENV, PORT_ENV

pytestmark = pytest.mark.serve

STARTS = "serves with argument `serve` on $SAGEMAKER_BIND_TO_PORT"
PINGS = "GET /ping answers 200 within 2 s"
STOPS = "SIGTERM drains and exits 0 within 30 s"
CAUGHT_BY = {
    "does not start": STARTS,
    "another port": STARTS,
    "accepts late": "accepts a connection within 250 ms",
    "ping is slow": PINGS,
    "ping fails later": PINGS,
    "ping says much": PINGS,
    "samples fail": "answers a sample with 200 within 60 s",
    "short headers only": "accepts SageMaker's headers",
    "bad body is 500": "bad body is answered 400",
    "unknown type is 500": "unknown content type is answered 415",
    "any path is 200": "unknown path is answered 404",
    "GET /invocations is 200": "wrong method is answered 405",
    "reads any length": "body past the limit is answered 413",
    "dies of a large body": "serves on after bad requests",
    "drops what is in flight": STOPS,
    "exits with 1": STOPS,
    "writes into the model folder": "leaves the model folder as it is",
}
CAUGHT_BY_MODELS = {
    "does not start": "multi-model: starts without a model",
    "knows every model": "multi-model: an unknown model is 404",
    "loads twice": "multi-model: POST /models loads; again it is 409",
    "lists no model": "multi-model: a loaded model is listed and answers",
    "loads any size": "multi-model: a model beyond memory is 507",
    "unloads nothing": "multi-model: DELETE unloads",
}


class Broken(Process):
    """Runs ``broken_server.py`` in place of the bundle's own serving code."""

    def __init__(self, fault: str = "none", of_models: str | None = None) -> None:
        self.fault, self.of_models = fault, of_models
        self.multi_model = of_models is not None

    def check(self, model_dir: Path, timeout_s: float) -> dict[str, Any]:
        return {"ok": True, "batching": {"wanted": False, "unbatched": "it takes one at a time"}}

    def start(self, model_dir: Path, port: int, *, log: Path, digest: str) -> Server:
        return self._launch(self.fault, model_dir, port, log, digest)

    def start_models(self, model_dir: Path, models: Path, port: int, *, log: Path) -> Server:
        return self._launch(self.of_models or "none", models, port, log, "")

    def _launch(self, fault: str, folder: Path, port: int, log: Path, digest: str) -> Server:
        command = [sys.executable, str(Path(__file__).with_name("broken_server.py")), fault]
        env = {**os.environ, PORT_ENV: str(port), MULTI_MODEL_ENV: str(self.multi_model).lower()}
        return servers.launch(command, port, log=log, digest=digest, env=env, cwd=folder)


def test_a_server_not_our_own_that_keeps_the_rules_passes(echo_bundle: Callable[..., Path]) -> None:
    report = conformance.check(echo_bundle(), site=Broken(of_models="none"), startup_s=10)
    assert [rule for rule in report.rules if rule.outcome != "passed"] == []


@pytest.mark.parametrize(("fault", "rule"), CAUGHT_BY.items(), ids=CAUGHT_BY)
def test_a_broken_server_is_caught_by_name(
    fault: str, rule: str, echo_bundle: Callable[..., Path]
) -> None:
    report = conformance.check(echo_bundle(), site=Broken(fault), startup_s=1.5)
    assert rule in [each.rule for each in report.broken]
    assert next(each for each in report.broken if each.rule == rule).fix


@pytest.mark.parametrize(("fault", "rule"), CAUGHT_BY_MODELS.items(), ids=CAUGHT_BY_MODELS)
def test_a_broken_multi_model_server_is_caught_by_name(
    fault: str, rule: str, echo_bundle: Callable[..., Path]
) -> None:
    report = conformance.check(echo_bundle(), site=Broken(of_models=fault), startup_s=1.5)
    assert rule in [each.rule for each in report.broken]


def test_every_rule_that_any_server_can_break_is_broken_here(
    echo_bundle: Callable[..., Path],
) -> None:
    report = conformance.check(echo_bundle(), site=Broken(of_models="none"), startup_s=10)
    # The handler's own check is broken in test_play.
    ours = {"handler loads and answers its samples", "an answer does not depend on who else asked"}
    rules = {rule.rule for rule in report.rules} - ours
    assert rules == {*CAUGHT_BY.values(), *CAUGHT_BY_MODELS.values()}
