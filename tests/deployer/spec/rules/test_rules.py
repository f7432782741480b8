"""Every rule of the book is broken once, alone, by a specification kept as data; and what the book says of itself."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tomllib
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import deployer
from deployer.cli.main import cli
from deployer.errors import InputError, RuleBroken
from deployer.spec import rules, serde
from inference_code.contract import (
    MANIFEST_PATH,
    REQUIREMENTS_PATH,
    SAMPLES_PATH,
    Manifest,
    Member,
    ServingConfig,
)

ROOT = Path(__file__).parents[4]
DATA: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_name("broken.toml").read_text())
EXAMPLES = sorted((ROOT / "examples").glob("deploy_*/*.toml"))
HEAVY = ("numpy", "numba", "boto3", "botocore", "torch", "onnxruntime", "aws_cdk")


def seal(path: Path, requirements: str = "", sample_bytes: int = 1, drain_s: float = 20.0) -> None:
    """Write what `validate` reads of a bundle; nothing else is in it."""
    member = Member(f"{SAMPLES_PATH}/one.json", "644", sample_bytes, "0" * 64)
    manifest = Manifest("digits", ".", "fp32", (member,), serving=ServingConfig(drain_s=drain_s))
    with tarfile.open(path, "w:gz") as archive:
        for name, text in ((MANIFEST_PATH, manifest.to_json()), (REQUIREMENTS_PATH, requirements)):
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, BytesIO(text.encode()))


def document(id: str) -> dict[str, Any]:
    rest = {key: value for key, value in DATA[id].items() if key != "sealed"}
    return {"name": "digits", "bundle": "digits.tar.gz", **rest}


def write(folder: Path, id: str) -> Path:
    """Write deployment.toml of a broken specification, with its bundle where the rule needs one."""
    if "sealed" in DATA[id]:
        seal(folder / "digits.tar.gz", **DATA[id]["sealed"])
    path = folder / f"{id}.toml"
    path.write_text(serde.to_toml(serde.from_dict(document(id))))
    return path


def run(*words: Any) -> Any:
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="deployer")


def test_every_rule_has_its_broken_specification_and_no_other_has_one() -> None:
    ids = [item.id for item in rules.BOOK]
    assert len(set(ids)) == len(ids)
    assert set(DATA) == set(ids)


@pytest.mark.parametrize("id", DATA)
def test_validate_names_the_rule_that_is_broken_and_only_that(id: str, tmp_path: Path) -> None:
    done = run("validate", write(tmp_path, id), "--json")
    assert done.exit_code == 1
    (found,) = json.loads(done.stdout)
    assert found["ok"] is False
    assert {row["id"] for row in found["broken"]} == {id}
    (item,) = (item for item in rules.BOOK if item.id == id)
    assert all(row["source"] == item.source for row in found["broken"])
    assert done.stderr.splitlines()[0].endswith(f"1 of 1 specifications breaks a rule: {id}")


@pytest.mark.parametrize("id", DATA)
def test_the_gate_of_every_verb_refuses_it_by_its_id_and_key(id: str, tmp_path: Path) -> None:
    path = write(tmp_path, id)
    with pytest.raises(RuleBroken) as caught:
        deployer.plan(path)
    assert (caught.value.code, caught.value.broken) == (id, (id,))
    assert caught.value.exit_code == 1
    assert caught.value.key == deployer.validate(path)[0].key
    assert f"`deployer validate {path}` explains" in (caught.value.hint or "")


CARD = serde.from_dict(document("accelerator-unused"))


@pytest.mark.parametrize(
    ("facts", "id"),
    [
        (rules.Facts(cpu_only="it has no runtime for it"), "accelerator-unused"),
        (rules.Facts(measured_on_cpu=True), "accelerator-unused"),
        (rules.Facts(cpu_only="", measured_on_cpu=True), ""),
        (rules.Facts(cpu_only="it has none", measured_on_cpu=False), "accelerator-unused"),
        (rules.Facts(measured_on_cpu=False), ""),
    ],
)
def test_the_bundle_knows_better_than_a_profile_what_it_can_use(
    facts: rules.Facts, id: str
) -> None:
    assert [row.id for row in rules.broken(CARD, facts)] == ([id] if id else [])
    assert "accelerator-unused" not in [item.id for item in rules.unchecked(CARD, facts)]


def test_an_image_may_bring_what_the_bundle_does_not() -> None:
    target: Any = CARD.target
    image = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6.0-gpu-py312"
    brought = replace(CARD, target=replace(target, image_uri=image))
    assert rules.broken(brought, rules.Facts(cpu_only="it has none")) == ()


def test_without_bundle_and_profile_nobody_knows() -> None:
    assert rules.broken(CARD) == ()
    assert "accelerator-unused" in [item.id for item in rules.unchecked(CARD)]


@pytest.mark.parametrize("item", rules.BOOK, ids=lambda item: item.id)
def test_a_rule_explains_itself(item: rules.Rule) -> None:
    assert item.keys
    assert item.says.endswith(".")
    assert item.source
    assert all(hasattr(rules.Facts(), name) for name in item.needs)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_right(path: Path) -> None:
    done = run("validate", path)
    assert done.exit_code == 0, done.stdout
    assert done.stdout.startswith(f"{path}: ok")


def test_what_init_writes_is_right(tmp_path: Path) -> None:
    run("init", "-o", tmp_path / "d.toml")
    assert deployer.validate(tmp_path / "d.toml") == ()


def test_without_a_bundle_its_rules_are_unchecked_and_said_to_be(tmp_path: Path) -> None:
    path = write(tmp_path, "queue-boto3")
    (tmp_path / "digits.tar.gz").unlink()
    done = run("validate", path, "--json")
    assert done.exit_code == 0
    (found,) = json.loads(done.stdout)
    assert {row["id"]: row["needs"] for row in found["unchecked"]} == {
        "sample-size": ["largest_sample"],
        "queue-boto3": ["boto3"],
        "drain-budget": ["drain_s", "request_timeout_s"],
    }


def test_a_bundle_that_cannot_be_read_tells_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, "queue-boto3")
    (tmp_path / "digits.tar.gz").write_bytes(b"not an archive")
    assert deployer.validate(path) == ()


def test_several_broken_rules_are_all_named_and_the_first_one_leads() -> None:
    data = document("scaling-bounds") | {"tags": {"a{": "b"}}
    spec = serde.from_dict(data)
    assert [row.id for row in deployer.validate(spec)] == ["scaling-bounds", "tags"]
    with pytest.raises(RuleBroken, match=r"^scaling.min_instances: .* \(1 more broken: tags\)$"):
        rules.require(spec)


@pytest.mark.parametrize(
    ("text", "id", "key"),
    [
        ('name = "a"\nbundle = "b"\ncolour = "red"\ntarget = {kind = "local"}', "key", "colour"),
        ('name = "a"\ntarget = {kind = "local"}', "key", "bundle"),
        ('name = "a"\nbundle = "b"\ntarget = {kind = "local", port = "x"}', "key", "target.port"),
        ('name = "a"\nbundle = "b"\ntarget = {kind = "local", port = 0}', "value", "target.port"),
        ('name = "a"\nbundle = "b"\ntarget = {kind = "local", gpu = 1}', "key", "target.gpu"),
    ],
)
def test_what_cannot_be_read_as_keys_and_values_is_broken_too(
    text: str, id: str, key: str, tmp_path: Path
) -> None:
    (tmp_path / "d.toml").write_text(text)
    (found,) = deployer.validate(tmp_path / "d.toml")
    assert (found.id, found.key) == (id, key)
    assert run("validate", tmp_path / "d.toml").exit_code == 1


def test_a_file_that_is_none_is_exit_2(tmp_path: Path) -> None:
    (tmp_path / "d.toml").write_text("name = ")
    assert run("validate", tmp_path / "d.toml").exit_code == 2
    assert run("validate", tmp_path / "none.toml").exit_code == 2
    assert run("validate").exit_code == 2
    with pytest.raises(InputError, match="is not toml"):
        deployer.validate(tmp_path / "d.toml")


def test_several_files_get_one_document_and_one_exit_code(tmp_path: Path) -> None:
    bad = write(tmp_path, "step-stop")
    done = run("validate", EXAMPLES[0], bad, "--json")
    assert done.exit_code == 1
    assert [row["ok"] for row in json.loads(done.stdout)] == [True, False]
    text = run("validate", EXAMPLES[0], bad).stdout
    assert f"{bad}: 1 broken\n  step-stop: scaling.adjustments: only removes instances" in text
    assert "\n    fix: add a step with change = 0 above the others\n    source: deployer: " in text


def test_the_book_can_be_listed() -> None:
    listed = json.loads(run("validate", "--rules", "--json").stdout)
    assert [row["id"] for row in listed] == [item.id for item in rules.BOOK]
    assert "schedule-full-minute (scaling.periods.start_s)\n" in run("validate", "--rules").stdout


def test_validate_loads_nothing_heavy(tmp_path: Path) -> None:
    words = ["validate", *map(str, EXAMPLES), str(write(tmp_path, "cpu-vcpus"))]
    code = (
        "import sys\nfrom deployer.cli.main import cli\n"
        f"try:\n    cli.main({words!r})\nexcept SystemExit as end:\n    assert end.code == 1\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
