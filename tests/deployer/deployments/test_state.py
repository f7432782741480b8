from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deployer.deployments.state import Deployment, Server, Store, default_root
from deployer.errors import DeployerError, EnvironmentProblem, InputError, SpecError

RECORD = Deployment(
    "digits", "local", "/x/b.tar.gz", "d" * 64, 1, "2026-11-21T00:00:00+00:00",
    (Server(8080, 7, "boot:1", "token", "d" * 64),),
)  # fmt: skip


def test_a_record_reads_back_as_it_was_saved(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(RECORD)
    assert store.find("digits") == RECORD
    assert store.names() == ("digits",)
    assert store.bundle_at(8080) == Path("/x/b.tar.gz")
    assert store.bundle_at(9) is None
    assert [path.name for path in (tmp_path / "digits").iterdir()] == ["deployment.json"]


def test_an_unknown_name_is_told_with_the_known_ones(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(RECORD)
    with pytest.raises(InputError, match="no deployment 'digit'") as caught:
        store.get("digit")
    assert caught.value.hint is not None
    assert "digits" in caught.value.hint


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "a b"])
def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError):
        Store(tmp_path / "state").find(name)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 9, "servers": []}'])
def test_a_damaged_record_is_an_error_and_not_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "deployment.json").write_text(text)
    with pytest.raises(DeployerError, match="cannot be read"):
        Store(tmp_path).find("digits")


def test_two_deployers_of_one_name_cannot_work_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    refused = pytest.raises(EnvironmentProblem, match="another deployer is changing 'digits'")
    with store.lock("digits"), store.lock("other"), refused, store.lock("digits"):
        pytest.fail("both hold the lock")
    with store.lock("digits"):
        pass


def test_turns_are_taken_once_each_whoever_asks(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(RECORD)
    with ThreadPoolExecutor(8) as pool:
        turns = list(pool.map(lambda _: store.turn("digits"), range(40)))
    assert sorted(turns) == list(range(40))


def test_a_foreground_server_is_noted_only_while_it_runs(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    with store.serving(9000, tmp_path / "b.tar.gz"):
        assert store.bundle_at(9000) == (tmp_path / "b.tar.gz").resolve()
    assert store.bundle_at(9000) is None


def test_an_unwritable_state_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = pytest.raises(EnvironmentProblem, match="cannot write the state folder")
    with refused, Store(tmp_path / "file" / "state").lock("digits"):
        pytest.fail("there is no such folder")


def test_where_the_state_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEPLOYER_STATE_DIR", "/a")
    monkeypatch.setenv("XDG_STATE_HOME", "/b")
    monkeypatch.setenv("HOME", "/c")
    assert default_root() == Path("/a")
    monkeypatch.delenv("DEPLOYER_STATE_DIR")
    assert default_root() == Path("/b/deployer")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_root() == Path("/c/.local/state/deployer")
