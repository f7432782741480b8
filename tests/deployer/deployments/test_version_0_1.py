"""What version 0.1 wrote is read and managed: records, notes, plan.json, resolved.json, tags and names.

The fixtures were written by version 0.1 itself and are never written anew.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from deployer.deployments import documents, locate
from deployer.deployments.aws import notes
from deployer.deployments.local import steps
from deployer.deployments.local.balanced import record as balanced
from deployer.deployments.state import Store
from deployer.spec import naming
from deployer.spec.fleet_resolved import ResolvedFleet
from deployer.spec.resolved import Expression, Resolved

BEFORE = Path(__file__).parents[2] / "fixtures" / "version_0_1"
IN_AWS = ("digits", "digits-fleet", "digits-tracking", "digits-queue")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    shutil.copytree(BEFORE / "state", tmp_path / "state")
    return Store(tmp_path / "state")


@pytest.mark.parametrize("name", IN_AWS)
def test_a_resolved_document_reads_and_says_the_same(name: str) -> None:
    path = BEFORE / "state" / name / "resolved.json"
    found = documents.resolved_in(path)
    assert found is not None
    assert found.to_json() == json.loads(path.read_text())


@pytest.mark.parametrize("name", IN_AWS[1:])
def test_a_fleet_has_the_digest_that_its_stack_says(name: str) -> None:
    # Another digest would mean that every fleet is changed by the upgrade alone.
    found = documents.resolved_in(BEFORE / "state" / name / "resolved.json")
    assert isinstance(found, ResolvedFleet)
    digests = json.loads((BEFORE / "digests.json").read_text())
    assert found.digest == digests[name.removeprefix("digits-")]


def test_alarms_and_policies_on_expressions_are_read_as_such() -> None:
    fleet = documents.resolved_in(BEFORE / "state" / "digits-fleet" / "resolved.json")
    tracking = documents.resolved_in(BEFORE / "state" / "digits-tracking" / "resolved.json")
    assert isinstance(fleet, ResolvedFleet)
    assert isinstance(tracking, ResolvedFleet)
    kinds = {row.name.rpartition("/")[2]: type(row.metric).__name__ for row in fleet.alarms}
    assert kinds == {"p99": "Metric", "5xx": "Expression", "unreachable": "Expression"}
    assert fleet.scaling is not None
    assert tracking.scaling is not None
    assert all(isinstance(row.alarm.metric, Expression) for row in fleet.scaling.stepping)
    assert isinstance(tracking.scaling.tracking[0].metric, Expression)


@pytest.mark.parametrize("name", IN_AWS)
def test_a_note_is_found_and_the_next_deployment_replaces_it(store: Store, name: str) -> None:
    note = notes.recall(name, store)
    assert note is not None
    assert (note.account, note.region) == ("123456789012", "us-east-1")
    assert note.bucket == naming.bucket(note.account, note.region)
    document = documents.resolved_in(store.folder(name) / "resolved.json")
    assert isinstance(document, Resolved | ResolvedFleet)
    notes.remember(document, store)
    assert notes.recall(name, store) == note
    assert not (store.folder(name) / notes.FILE_0_1).exists()
    notes.forget(name, store)
    assert not store.folder(name).exists()


def test_names_are_those_that_exist_in_accounts() -> None:
    fleet = documents.resolved_in(BEFORE / "state" / "digits-queue" / "resolved.json")
    assert isinstance(fleet, ResolvedFleet)
    assert fleet.stack == "deployer-digits-queue" == naming.stack("digits-queue")
    assert fleet.group == naming.group("digits-queue") == fleet.queue
    assert fleet.log_group == "/deployer/digits-queue" == naming.fleet_logs("digits-queue")
    assert fleet.role.name == naming.role("digits-queue", "us-east-1")
    digest = fleet.artifact.digest
    assert fleet.artifact.key == naming.bundle_key("digits-queue", digest)
    assert {naming.NAME_TAG, naming.DIGEST_TAG, naming.VERSION_TAG} <= fleet.tags.keys()


def test_records_of_servers_are_read(store: Store) -> None:
    two, balanced_one = store.get("local-two"), store.get("local-balanced")
    assert [server.port for server in two.servers] == [8080, 8081]
    assert two.url == "http://127.0.0.1:8080/invocations"
    assert balanced_one.balancer is not None
    assert balanced_one.url == "http://127.0.0.1:8080/invocations"
    assert balanced.load_spec(store, "local-balanced").target.balancer


def test_a_local_name_leads_to_this_machine(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOYER_STATE_DIR", str(store.root))
    assert locate.of_name("local-two").whereabouts == ""
    assert locate.of_name("local-two").remaining("local-two")[0].startswith("server on port 8080")


def test_a_saved_plan_is_read_and_says_the_same() -> None:
    path = BEFORE / "plan.json"
    assert steps.load(path).to_json() == json.loads(path.read_text())
