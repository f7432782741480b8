"""What `import deployer` offers: sorted, complete, documented, typed, and loaded on first use."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import deployer
from deployer import api
from deployer.cli.main import VERBS


def test_the_public_names_are_sorted_once_each() -> None:
    names = list(deployer.__all__)
    assert len(set(names)) == len(names)
    classes = [name for name in names if name[0].isupper()]
    functions = [name for name in names if not name[0].isupper()]
    assert names == [*sorted(classes), *sorted(functions)]


@pytest.mark.parametrize("name", deployer.__all__)
def test_every_public_name_loads_and_is_documented(name: str) -> None:
    value = getattr(deployer, name)
    assert inspect.getdoc(value)
    assert name in dir(deployer)
    if inspect.isfunction(value):
        hints = inspect.signature(value)
        assert hints.return_annotation is not inspect.Signature.empty
        assert all(p.annotation is not inspect.Parameter.empty for p in hints.parameters.values())


def test_every_verb_of_the_command_line_is_a_function_too() -> None:
    # `trace` reads or makes; `doctor`, `help` and `quickstart` are about this machine, not a deploy script.
    spelled = {
        "trace": ("make_trace", "read_trace", "save_trace"),
        "image": ("build_image", "push_image"),
    }
    for verb in VERBS.keys() - {"doctor", "help", "init", "quickstart"}:
        for name in spelled.get(verb, (verb,)):
            assert callable(getattr(deployer, name))


def test_api_offers_what_the_package_does() -> None:
    assert set(api.__all__) - {"init", "to_toml"} <= set(deployer.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'optimise'"):
        deployer.optimise  # noqa: B018


def test_submodules_do_not_hide_the_functions_of_the_same_name() -> None:
    code = (
        "import deployer, deployer.optimization, deployer.bundle, deployer.deployments.local.steps\n"
        "import deployer.profiles, deployer.conformance, deployer.pricing\n"
        "print(all(callable(getattr(deployer, n)) for n in deployer.__all__))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
