"""A manifest from a stranger: each wrong value is refused by its name, whatever JSON allows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployer.bundle.manifest import read_manifest
from deployer.bundle.members import LIMITS, Limits
from deployer.errors import InputError

if TYPE_CHECKING:
    from conftest import Forge

BUNDLE = Path("b.tar.gz")


def text(forge: Forge, change: Callable[[dict[str, Any]], object]) -> bytes:
    data = json.loads(forge.manifest().to_json())
    change(data)
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


def refusal(data: bytes, limits: Limits = LIMITS) -> str:
    with pytest.raises(InputError) as caught:
        read_manifest(BUNDLE, data, limits)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_manifest_comes_back(forge: Forge) -> None:
    assert read_manifest(BUNDLE, forge.manifest().to_json().encode(), LIMITS) == forge.manifest()


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "name": (lambda m: m.update(name="../x"), "name: '../x'"),
    "name type": (lambda m: m.update(name=5), "name must be text, not 5"),
    "model type": (lambda m: m.update(model=None), "model must be text"),
    "model that is no member": (lambda m: m.update(model="x.onnx"), "'x.onnx' is no member"),
    "precision": (lambda m: m.update(precision=[]), "precision must be text"),
    "version": (lambda m: m.update(contract_version=2), "contract_version is 2"),
    "unknown key": (lambda m: m.update(extra=1), "unknown key 'extra'"),
    "lineage": (lambda m: m.update(lineage=["a"]), "lineage must be text by name"),
    "lineage value": (lambda m: m.update(lineage={"a": 1}), "'a': 1"),
    "serving key": (lambda m: m["serving"].update(wrokers=1), "unknown key 'wrokers'"),
    "serving type": (lambda m: m["serving"].update(workers="2"), "serving"),
    "serving bool": (lambda m: m["serving"].update(workers=True), "serving.workers"),
    "serving fraction": (lambda m: m["serving"].update(workers=1.5), "a whole number, not 1.5"),
    "serving infinite": (
        lambda m: m["serving"].update(drain_s=1e999),
        "serving.drain_s must be finite",
    ),
    "serving range": (
        lambda m: m["serving"].update(workers=0),
        "serving.workers must be at least 1",
    ),
    "inputs": (lambda m: m.update(inputs=3), "not iterable"),
    "input": (lambda m: m.update(inputs=[{"name": 1, "dtype": "f", "shape": []}]), "name=1"),
    "shape": (
        lambda m: m.update(inputs=[{"name": "x", "dtype": "f", "shape": [-1]}]),
        "shape=(-1,)",
    ),
    "members": (lambda m: m.update(members={}), "canonical form"),
    "member": (lambda m: m["members"].append(7), "not iterable"),
    "member key": (lambda m: m["members"][0].update(link="x"), "unknown key 'link'"),
    "member path": (lambda m: m["members"][0].update(path="../x"), "'../x' leaves"),
    "member path type": (lambda m: m["members"][0].update(path=1), "path must be text, not 1"),
    "member mode": (lambda m: m["members"][0].update(mode="4755"), "the mode '4755'"),
    "member size": (lambda m: m["members"][0].update(size=-1), "the size -1"),
    "member size type": (lambda m: m["members"][0].update(size=1.0), "the size 1.0"),
    "member sha256": (lambda m: m["members"][0].update(sha256="0" * 63), "the sha256"),
    "lists itself": (lambda m: m["members"][0].update(path="code/manifest.json"), "lists itself"),
    "lists twice": (lambda m: m["members"].append(m["members"][0]), "is there twice"),
    "too large": (lambda m: m["members"][0].update(size=1 << 60), "lists 1,152,921,504,606,84"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_wrong_value_is_refused_by_name(
    forge: Forge, change: tuple[Callable[[dict[str, Any]], object], str]
) -> None:
    alter, problem = change
    message = refusal(text(forge, alter))
    assert message.startswith("b.tar.gz: ")
    assert problem in message


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b"1" * 5000])
def test_what_is_no_object_is_refused(data: bytes) -> None:
    assert refusal(data).startswith("b.tar.gz: ")


def test_another_form_of_the_same_manifest_is_refused(forge: Forge) -> None:
    data = json.loads(forge.manifest().to_json())
    assert "not in its canonical form" in refusal(json.dumps(data, indent=1).encode())


def test_a_key_given_twice_is_refused(forge: Forge) -> None:
    data = forge.manifest().to_json()
    assert "canonical form" in refusal(
        data.replace('"name":', '"name":"other","name":', 1).encode()
    )


def test_more_members_than_the_bound_are_refused(forge: Forge) -> None:
    data = forge.manifest().to_json().encode()
    assert "lists 3 members: the bound is 3 with the manifest" in refusal(data, Limits(members=3))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(data=st.data(), value=anything)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_in_any_place_is_refused_or_kept(
    forge: Forge, data: st.DataObject, value: Any
) -> None:
    tree = json.loads(forge.manifest().to_json())
    tree["inputs"] = [{"name": "x", "dtype": "float32", "shape": [None, 3]}]
    place = tree
    while True:
        key = data.draw(
            st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place)))
        )
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = value
    written = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    try:
        assert read_manifest(BUNDLE, written.encode(), LIMITS).to_json() == written
    except InputError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - either outcome is right
