"""Every verb on real input: results on stdout, talk on stderr, JSON that parses, files that feed the next."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from deployer.cli.main import cli
from deployer.deployments.local import server as servers
from deployer.deployments.state import Store


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="deployer")


def good(*words: object) -> Result:
    done = run(*words)
    assert done.exit_code == 0, done.stderr
    return done


def as_json(*words: object) -> Any:
    return json.loads(good(*words, "--json").stdout)


PROFILE = {
    "schema_version": 1, "name": "digits", "bundle_digest": "d" * 64, "precision": "fp32",
    "hardware": {"cpu": "a CPU"}, "workers": 1, "threads": 1, "max_batch": 1, "queue_limit": 128,
    "service_time_ms": {"1": {"law": "deterministic", "mean": 10.0, "quantiles": []}},
    "request_bytes": 100, "response_bytes": 100, "memory_mb": 100.0, "startup_s": 1.0,
    "date": "2026-11-20T00:00:00+00:00",
}  # fmt: skip
SPEC = """
name = "digits"
bundle = "b.tar.gz"
[target]
kind = "sagemaker-realtime"
instance_type = "ml.c5.large"
[slo]
p99_ms = 100.0
"""


@pytest.fixture
def inputs(tmp_path: Path) -> SimpleNamespace:
    (tmp_path / "profile.json").write_text(json.dumps(PROFILE))
    (tmp_path / "spec.toml").write_text(SPEC)
    good("trace", "--shape", "poisson", "--rate", 20, "--duration", "100s", "-o", "trace.csv")
    return SimpleNamespace(profile="profile.json", spec="spec.toml", trace="trace.csv")


def test_init_writes_a_specification_that_loads_and_keeps_an_existing_file() -> None:
    from deployer.spec import serde

    assert good("init", "--name", "digits").stdout == "deployment.toml\n"
    assert serde.load(Path("deployment.toml")).name == "digits"
    Path("deployment.toml").write_text("mine")
    assert run("init").exit_code == 2
    assert Path("deployment.toml").read_text() == "mine"
    good("init", "--force")
    assert Path("deployment.toml").read_text() != "mine"


def test_init_writes_the_schema_beside_the_specification_and_renews_it() -> None:
    from deployer.spec import schema

    told = as_json("init", "-o", "models/a.toml")
    assert told == {"path": "models/a.toml", "schema": "models/deployment.schema.json"}
    assert Path("models/a.toml").read_text().startswith("#:schema ./deployment.schema.json\n")
    beside = Path("models/deployment.schema.json")
    assert beside.read_text() == schema.shipped()
    beside.write_text("of an older version")
    good("init", "-o", "models/b.toml")
    assert beside.read_text() == schema.shipped()


def test_init_does_not_write_the_specification_where_its_schema_belongs() -> None:
    refused = run("init", "-o", "deployment.schema.json")
    assert refused.exit_code == 2
    assert "is the name of the schema" in refused.stderr
    assert not Path("deployment.schema.json").exists()


def test_init_explains_every_kind_of_target() -> None:
    import tomllib

    from deployer.spec import serde
    from deployer.spec.template import render

    text = render("a", 'odd "path"\\ö.tar.gz')
    assert tomllib.loads(text)["bundle"] == 'odd "path"\\ö.tar.gz'
    for kind in ("sagemaker-realtime", "sagemaker-serverless", "ec2-fleet"):
        block = text.partition(f'# kind = "{kind}"')[2].partition("\n\n")[0]
        lines = [f'kind = "{kind}"', *(line.removeprefix("# ") for line in block.splitlines()[1:])]
        target = tomllib.loads("\n".join(lines))
        spec = {"name": "a", "bundle": "b", "target": target}
        assert serde.from_dict(spec).target.kind == kind


def test_trace_makes_the_same_from_the_same_seed_and_reads_it_back() -> None:
    words = ("trace", "--shape", "gamma", "--cv", 3, "--rate", 5, "--duration", "60s", "--seed", 4)
    first = as_json(*words, "-o", "a.csv")
    assert as_json(*words, "-o", "b.csv")["digest"] == first["digest"]
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()
    assert as_json("trace", "--from", "a.csv", "-o", "c.csv")["digest"] == first["digest"]


def test_a_trace_is_given_a_start_once_and_shows_it() -> None:
    words = ("trace", "--shape", "constant", "--rate", 5, "--duration", "60s", "-o", "a.csv")
    assert as_json(*words)["start"] is None
    given = ("trace", "--from", "a.csv", "--start", "2026-03-02T12:00:00+02:00", "-o", "b.csv")
    assert as_json(*given)["start"] == "2026-03-02T10:00:00Z"
    shown = good("trace", "--from", "b.csv", "-o", "c.csv").stdout
    assert "in 1 min from 2026-03-02T10:00:00Z, 5 per second" in shown
    other = run("trace", "--from", "b.csv", "--start", "2026-03-02T11:00:00Z", "-o", "d.csv")
    assert other.exit_code == 2
    assert "starts at 2026-03-02T10:00:00Z, not at 2026-03-02T11:00:00Z" in other.stderr
    assert not Path("d.csv").exists()
    made = as_json(*words[:-1], "e.csv", "--start", "2026-03-02T10:00:00Z")
    assert made["start"] == "2026-03-02T10:00:00Z"
    unclear = run(*words, "--start", "10:00")
    assert unclear.exit_code == 2
    assert "'10:00' is no moment of ISO 8601" in unclear.stderr


def test_simulate_says_why_requests_fail(inputs: SimpleNamespace) -> None:
    sizes = [10] * 3 + [40 * 2**20] * 1000
    rows = "\n".join(f"{i},{size}" for i, size in enumerate(sizes))
    Path("large.csv").write_text(f"arrival_s,payload_bytes\n{rows}\n")
    words = ("simulate", inputs.spec, "--trace", "large.csv", "--profile", inputs.profile)
    lines = good(*words, "-o", "a.json").stdout.splitlines()
    assert "status      200: 3, 413: 1,000" in lines
    assert "failed by   413 1,000 request larger than 6,291,456 bytes (InvokeEndpoint)" in lines
    small = good("simulate", inputs.spec, "--trace", inputs.trace, "--profile", inputs.profile,
                 "-o", "b.json")  # fmt: skip
    assert "failed by" not in small.stdout


def test_simulate_gives_the_same_file_byte_for_byte(inputs: SimpleNamespace) -> None:
    words = ("simulate", inputs.spec, "--trace", inputs.trace, "--profile", inputs.profile)
    document = as_json(*words, "--seed", 3, "-o", "a.json")
    good(*words, "--seed", 3, "-o", "b.json")
    assert Path("a.json").read_bytes() == Path("b.json").read_bytes()
    assert document["provenance"] == "simulated"
    assert document["offered"] == json.loads(Path("a.json").read_text())["offered"]
    assert "samples" not in document


@pytest.mark.report
def test_compare_writes_the_report_and_says_where(inputs: SimpleNamespace) -> None:
    words = ("compare", inputs.spec, "--trace", inputs.trace, "--profile", inputs.profile)
    done = good(*words, "--slo", "p99=100ms", "-o", "report")
    assert "ml.c5.large" in done.stdout
    assert done.stdout.rstrip().endswith("report/index.html")
    assert {path.name for path in Path("report").iterdir()} == {
        "index.html", "report.md", "report.json", "report.csv",
    }  # fmt: skip


@pytest.mark.report
def test_compare_exits_1_when_nobody_meets_the_objective(inputs: SimpleNamespace) -> None:
    words = ("compare", inputs.spec, "--trace", inputs.trace, "--profile", inputs.profile)
    done = run(*words, "--slo", "p99=5ms", "-o", "report")
    assert done.exit_code == 1
    assert Path("report/report.json").exists()
    assert done.stderr.count("error: ") == 1


def test_the_objective_of_the_specifications_counts_without_the_option(
    inputs: SimpleNamespace, tmp_path: Path
) -> None:
    words = ("compare", "spec.toml", "--trace", "trace.csv", "--profile", "profile.json")
    met = as_json(*words, "-o", "report")
    assert met["slo"] == {"p99_ms": 100.0}
    assert "no objective" not in " ".join(met["headline"])
    (tmp_path / "spec.toml").write_text(SPEC.replace("100.0", "5.0"))
    missed = run(*words, "-o", "report")
    assert missed.exit_code == 1
    assert "No candidate meets p99 ≤ 5 ms" in missed.stderr
    assert (tmp_path / "report" / "index.html").exists()
    # What --slo says wins over it, and none of several is guessed.
    good(*words, "--slo", "p99=100ms", "-o", "report")
    (tmp_path / "other.toml").write_text(SPEC)
    unclear = run("compare", "other.toml", *words[1:], "-o", "report")
    assert unclear.exit_code == 2
    assert "different objectives" in unclear.stderr


@pytest.mark.report
@pytest.mark.parametrize(("budget", "code"), [("0.0000001", 1), ("1000", 0)])
def test_compare_holds_the_best_to_a_budget(
    inputs: SimpleNamespace, budget: str, code: int
) -> None:
    words = ("compare", inputs.spec, "--trace", inputs.trace, "--profile", inputs.profile)
    assert run(*words, "--slo", "p99=1s", "--budget", budget, "-o", "report").exit_code == code


def test_prices_prints_a_table_and_json() -> None:
    assert "0.102" in good("prices", "--item", "ml.c5.large", "--region", "us-east-1").stdout
    (price,) = as_json("prices", "--item", "ml.c5.large", "--region", "us-east-1")
    assert price["usd"] == "0.102"
    assert price["source"]


def test_doctor_tells_what_is_here() -> None:
    assert "python: CPython 3." in good("doctor").stdout
    document = as_json("doctor")
    assert document["ok"] is True
    assert {"python", "core", "state folder"} <= {f["subject"] for f in document["findings"]}


def test_loadtest_measures_a_server(web: SimpleNamespace) -> None:
    Path("body.json").write_text("[1]")
    with web.server(web.Behaviour()) as url:
        words = ("loadtest", url, "--rate", 50, "--duration", "1s", "--data", "body.json")
        document = as_json(*words, "-o", "run.json")
        assert run(*words, "-o", "run.json").exit_code == 2  # a measurement is kept
        text = good(*words, "-o", "run.json", "--force").stdout
    assert document["provenance"] == "measured"
    assert document["successes"] == document["offered"]
    assert text.splitlines()[1].startswith("success")
    assert "p99 needs 1,000 successes" in text


@pytest.mark.serve
def test_from_model_to_nothing_left(echo_bundle: Callable[..., Path]) -> None:
    """package, check, profile, plan, deploy, status, loadtest, invoke, logs, destroy."""
    folder = echo_bundle().parent.parent
    packaged = as_json(
        "package", folder / "weights.txt", "--handler", folder / "handler.py",
        "--samples", folder / "samples", "--name", "echo", "-o", "dist",
    )  # fmt: skip
    bundle = Path(packaged["path"])
    assert bundle.name == f"echo-{packaged['digest'][:12]}.tar.gz"
    assert "21 of 21 rules hold" in good("check", bundle).stdout
    profile = as_json("profile", bundle, "--seconds", 0.1, "-o", "profile.json")
    assert profile["bundle_digest"] == packaged["digest"]
    assert run("profile", bundle, "-o", "profile.json").exit_code == 2

    port = servers.free_port()
    Path("d.toml").write_text(
        f'name = "echo"\nbundle = "{bundle}"\n[target]\nkind = "local"\nport = {port}\n'
    )
    assert "Plan: 1 to add" in good("plan", "d.toml", "-o", "plan.json").stdout
    assert run("plan", "d.toml", "--check").exit_code == 1
    try:
        deployed = as_json("deploy", "plan.json")
        assert deployed["bundle_digest"] == packaged["digest"]
        assert good("plan", "d.toml", "--check").stdout.rstrip().endswith("runs as specified.")
        assert as_json("status", "echo")["healthy"] is True
        url = deployed["servers"][0]["url"]
        measured = as_json("loadtest", url, "--rate", 50, "--duration", "1s", "-o", "run.json")
        assert measured["details"]["bundle_digest"] == packaged["digest"]
        assert measured["successes"] == measured["offered"]
        Path("body.json").write_text('"hi"')
        answer = json.loads(good("invoke", "echo", "--data", "body.json").stdout)
        assert answer == {"version": "1", "echo": "hi"}
        document = as_json("invoke", "echo", "--data", "body.json")
        assert document["status"] == 200
        Path("bad.json").write_text("{")
        assert run("invoke", "echo", "--data", "bad.json").exit_code == 2
        assert "listening" in good("logs", "echo").stdout
        assert run("destroy", "echo").exit_code == 2  # nobody said yes
        assert Store().find("echo") is not None
        assert as_json("destroy", "echo", "--yes")["name"] == "echo"
        assert Store().names() == ()
    finally:
        for name in Store().names():
            for server in Store().get(name).servers:
                servers.stop(server, 0)


@pytest.mark.serve
def test_status_exits_1_when_a_server_is_gone(echo_bundle: Callable[..., Path]) -> None:
    port = servers.free_port()
    Path("d.toml").write_text(
        f'name = "echo"\nbundle = "{echo_bundle()}"\n[target]\nkind = "local"\nport = {port}\n'
    )
    good("deploy", "d.toml")
    servers.stop(Store().get("echo").servers[0], 0)
    done = run("status", "echo")
    assert done.exit_code == 1
    assert "0 of 1 servers answer" in done.stdout
    good("destroy", "echo", "--yes")
