"""The schema of deployment.toml is that of the code: what it takes is read, what it refuses is refused."""

import copy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.errors import DeployerError, SpecError
from deployer.spec import schema, serde, template
from deployer.spec.fleet import Listener
from deployer.spec.rollout import ROLLOUTS
from deployer.spec.scaling import POLICIES, Adjustment, CustomMetric, Step
from deployer.spec.target import (
    TARGETS,
    Ec2Fleet,
    SageMakerAsync,
    SageMakerBatch,
    SageMakerRealtime,
)

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").rglob("*.toml"))
CHECK = jsonschema.Draft202012Validator(schema.schema())


def wrong(data: Any) -> list[str]:
    return [error.message for error in CHECK.iter_errors(data)]


def local(**changes: Any) -> dict[str, Any]:
    return {"name": "digits", "bundle": "b.tar.gz", "target": {"kind": "local"}, **changes}


def test_the_schema_is_one_of_draft_2020_12() -> None:
    jsonschema.Draft202012Validator.check_schema(schema.schema())


def test_the_shipped_file_is_what_the_command_prints() -> None:
    words = (sys.executable, "-m", "deployer.spec.schema")
    printed = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert printed == schema.shipped() == schema.text()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_example_fits(path: Path) -> None:
    assert wrong(tomllib.loads(path.read_text())) == []


def uncommented(kind: str) -> dict[str, Any]:
    """The block of the template that begins with a commented kind."""
    block = template.render("a", "b").partition(f'# kind = "{kind}"')[2].partition("\n\n")[0]
    rows = [line.removeprefix("# ") for line in block.splitlines()[1:]]
    return tomllib.loads("\n".join([f'kind = "{kind}"', *rows]))


def test_the_template_names_the_schema_in_its_first_line_and_fits() -> None:
    text = template.render("a", "b")
    assert text.splitlines()[0] == "#:schema ./deployment.schema.json"
    assert wrong(tomllib.loads(text)) == []


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("target", "sagemaker-realtime"),
        ("target", "sagemaker-serverless"),
        ("target", "ec2-fleet"),
        ("scaling", "target-tracking"),
        ("rollout", "canary"),
    ],
)
def test_each_commented_kind_of_the_template_fits(key: str, kind: str) -> None:
    data = uncommented(kind)
    assert len(data) > 2
    assert wrong(local(**{key: data})) == []
    assert wrong(local(**{key: {**data, "colour": 1}})) != []


WRONG = {
    "no table": [],
    "an unknown key": local(colour="red"),
    "an unknown key of a target": local(target={"kind": "local", "colour": 1}),
    "a key of another kind": local(target={"kind": "local", "memory_mb": 1024}),
    "a key deep inside": local(
        target={"kind": "ec2-fleet", "instance_type": "c7i.large", "health": {"colour": 1}}
    ),
    "no name": {"bundle": "b", "target": {"kind": "local"}},
    "no target": {"name": "a", "bundle": "b"},
    "no kind": local(target={"instances": 1}),
    "an unknown kind": local(target={"kind": "lambda"}),
    "a kind that is no text": local(target={"kind": 1}),
    "a kind of another table": local(target={"kind": "canary"}),
    "no instance type": local(target={"kind": "ec2-fleet"}),
    "no threshold": local(scaling={"kind": "step", "metric": "cpu", "adjustments": []}),
    "text for a number": local(target={"kind": "local", "port": "80"}),
    "true for a number": local(target={"kind": "local", "instances": True}),
    "a fraction for a count": local(target={"kind": "local", "instances": 1.5}),
    "a number for true": local(target={"kind": "local", "balancer": 1}),
    "text for a table": local(target="local"),
    "text for a list": local(rollout={"kind": "canary", "alarms": "errors"}),
    "a number in a list of texts": local(rollout={"kind": "canary", "alarms": [1]}),
    "a table for a list": local(scaling={"kind": "scheduled", "periods": {"start_s": 0}}),
    "a row without a key": local(scaling={"kind": "scheduled", "periods": [{"start_s": 0}]}),
    "a number for a tag": local(tags={"team": 1}),
    "an unknown objective": local(slo={"p95_ms": 1}),
    "an unknown assumption": local(assumptions={"luck": 1}),
    "a region without prices": local(target={"kind": "sagemaker-serverless", "region": "mars-1"}),
    "a size that is not there": local(target={"kind": "sagemaker-serverless", "memory_mb": 2000}),
    "a word that is not there": local(scaling={"kind": "target-tracking", "metric": "luck"}),
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_wrong_for_the_schema_and_for_the_reader(data: Any) -> None:
    assert wrong(data) != []
    with pytest.raises(DeployerError):
        serde.from_dict(data)


def test_a_wrong_key_is_named_and_not_only_that_no_alternative_fits() -> None:
    assert wrong(local(target={"kind": "local", "port": "80"})) == ["'80' is not of type 'integer'"]


def test_every_kind_and_every_default_of_the_schema_is_read() -> None:
    for kinds in (TARGETS, POLICIES, ROLLOUTS):
        for kind in kinds.values():
            properties = schema.schema()["$defs"][kind.__name__]["properties"]
            assert properties["kind"]["const"] == kind.kind
    fields = schema.schema()["properties"]
    told = {key: value["default"] for key, value in fields.items() if "default" in value}
    assert serde.from_dict(local(**told)) == serde.from_dict(local())


def tables(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All schemas of tables, nested ones too."""
    yield part
    for inner in part.get("properties", {}).values():
        yield from tables(inner)
    if "items" in part:
        yield from tables(part["items"])


def test_every_key_is_described_in_one_line_without_marks_of_docstrings() -> None:
    document = schema.schema()
    for whole in (document, *document["$defs"].values()):
        for table in tables(whole):
            for key, item in table.get("properties", {}).items():
                said = item.get("description", "as its table says" if key == "kind" else "")
                assert said, key
                assert "``" not in said
                assert "\n" not in said


def test_a_key_is_described_by_the_sentence_that_names_it() -> None:
    realtime = schema.schema()["$defs"]["SageMakerRealtime"]["properties"]
    assert realtime["routing"]["description"] == (
        "`routing` chooses the instance for a request, at random unless said otherwise."
    )
    assert realtime["instances"]["description"] == "A real-time endpoint."
    assert realtime["startup_s"]["default"] == 300.0


NEEDS: dict[type, dict[str, Any]] = {
    Listener: {"certificate_arn": "arn:aws:acm:us-east-1:123456789012:certificate/1"},
    CustomMetric: {"namespace": "a", "name": "b"},
    Step: {"threshold": 1.0, "adjustments": (Adjustment(0.0, 1),)},
    SageMakerRealtime: {"instance_type": "ml.c7i.large"},
    SageMakerAsync: {"instance_type": "ml.c7i.large"},
    SageMakerBatch: {"instance_type": "ml.c7i.large"},
    Ec2Fleet: {"instance_type": "c7i.large"},
}
"""What a class needs besides the key that is looked at."""


def complaint(kind: type, key: str, word: Any) -> str:
    try:
        kind(**{**NEEDS.get(kind, {}), key: word})
    except SpecError as error:
        return error.message
    return ""


@pytest.mark.parametrize(
    ("kind", "key"), schema.WORDS, ids=lambda v: v if isinstance(v, str) else v.__name__
)
def test_the_words_of_the_schema_are_those_of_the_check(kind: type, key: str) -> None:
    words = schema.WORDS[kind, key]
    other = 7_000 if isinstance(words[0], int) else "luck"
    assert "is not one of" in complaint(kind, key, other)
    for word in words:  # one may ask for another key beside it
        assert "is not one of" not in complaint(kind, key, word)


def fleet_of(kind: str, **keys: Any) -> dict[str, Any]:
    """A target with the least that its kind needs."""
    needs = {"ec2-fleet": "c7i.large", "local": "", "sagemaker-serverless": ""}
    instance_type = needs.get(kind, "ml.c7i.large")
    return {"kind": kind, **({"instance_type": instance_type} if instance_type else {}), **keys}


SEEDS = [
    *(tomllib.loads(path.read_text()) for path in EXAMPLES),
    *(local(target=fleet_of(kind)) for kind in TARGETS),
    *(local(rollout={"kind": kind, "bake_s": 1.0, "alarms": ["a"]}) for kind in ROLLOUTS),
    local(slo={"p99_ms": 1}, tags={"a": "b"}, assumptions={"launches": 2.0}),
]
SCALARS = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=8), inner, max_size=2)
    ),
    max_leaves=4,
)
KEYS = sorted({key for part in schema.schema()["$defs"].values() for key in part["properties"]})


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a document, nested ones too."""
    rows = list(value.items() if isinstance(value, dict) else enumerate(value))
    found = [(value, key) for key, _ in rows]
    return found + [p for _, v in rows if isinstance(v, dict | list) for p in places(v)]


@st.composite
def mutants(draw: st.DrawFn) -> Any:
    """A document that is read, with one to three keys changed, added or taken away."""
    data = copy.deepcopy(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 3))):
        spots = places(data)
        if not spots:
            break
        holder, key = draw(st.sampled_from(spots))
        if isinstance(holder, dict) and draw(st.booleans()):
            key = draw(st.one_of(st.sampled_from(KEYS), st.text(max_size=6)))
        if draw(st.integers(0, 3)):
            holder[key] = draw(VALUES)
        elif isinstance(holder, list) or key in holder:
            del holder[key]
    return data


@given(mutants())
def test_what_the_schema_refuses_the_reader_refuses(data: Any) -> None:
    """Not the other way round: bounds and what goes with what are code."""
    if wrong(data):
        with pytest.raises(DeployerError):
            serde.from_dict(data)
