from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deployer
from deployer import distribution
from deployer.errors import EnvironmentProblem

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = tuple(PROJECT["optional-dependencies"])
COMMIT = "0123456789abcdef0123456789abcdef01234567"
REQUIRES = (
    "click>=8.1",
    'boto3>=1.40; extra == "aws"',
    'aws-cdk-lib<3,>=2.275; extra == "cdk"',
    'moto[server]>=5.2; extra == "dev"',
    'never>=1; python_version < "3" and extra == "aws"',
    'deployer-ml[aws,cdk]; extra == "all"',
    'boto3>=1.40; extra == "all"',
)
FOLDER = {"url": "file:///home/me/deployer", "dir_info": {"editable": True}}
GIT = {"url": "https://git.example/d.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT}}
ARCHIVE = {"url": "https://files.example/d-0.1.0.tar.gz", "archive_info": {}}
WHEEL = "file:///tmp/my%20files/deployer_ml-0.1.0-py3-none-any.whl"


def hint(extra: str, origin: dict[str, Any] | None, *there: str, lacks: bool = True) -> str:
    return distribution.command(
        extra,
        origin,
        REQUIRES,
        exists=lambda path: str(path) in there,
        lacking=lambda one: lacks or one.name == "boto3",
    )


@pytest.mark.parametrize(
    ("origin", "there", "said"),
    [
        (FOLDER, ["/home/me/deployer"], "pip install -e '/home/me/deployer[aws]'"),
        (
            FOLDER,
            ["/home/me/deployer", "/home/me/deployer/constraints.txt"],
            "pip install -c /home/me/deployer/constraints.txt -e '/home/me/deployer[aws]'",
        ),
        (
            {"url": "file:///home/it%27s%20mine", "dir_info": {"editable": True}},
            ["/home/it's mine"],
            """pip install -e '/home/it'"'"'s mine[aws]'""",
        ),
        ({"url": "file:///src", "dir_info": {}}, ["/src"], "pip install '/src[aws]'"),
        (
            {"url": WHEEL, "archive_info": {"hashes": {"sha256": "00"}}},
            ["/tmp/my files/deployer_ml-0.1.0-py3-none-any.whl"],
            f"pip install 'deployer-ml[aws] @ {WHEEL}'",
        ),
        (ARCHIVE, [], f"pip install 'deployer-ml[aws] @ {ARCHIVE['url']}'"),
        (
            ARCHIVE | {"subdirectory": "python"},
            [],
            f"pip install 'deployer-ml[aws] @ {ARCHIVE['url']}#subdirectory=python'",
        ),
        (GIT, [], f"pip install 'deployer-ml[aws] @ git+https://git.example/d.git@{COMMIT}'"),
        (
            GIT | {"url": "ssh://git@git.example/d.git", "subdirectory": "python"},
            [],
            f"pip install 'deployer-ml[aws] @ git+ssh://git@git.example/d.git@{COMMIT}"
            "#subdirectory=python'",
        ),
        (FOLDER, [], "pip install 'boto3>=1.40'"),  # the folder is gone
        ({"url": WHEEL, "archive_info": {}}, [], "pip install 'boto3>=1.40'"),
        (
            GIT | {"url": "file:///src"},
            ["/src"],
            "pip install 'boto3>=1.40'",
        ),  # not every pip takes it
        (None, [], "pip install 'boto3>=1.40'"),  # an index of one's own, conda, a distribution
    ],
)
def test_a_hint_repeats_where_this_installation_came_from(
    origin: dict[str, Any] | None, there: list[str], said: str
) -> None:
    assert hint("aws", origin, *there) == said


def test_without_an_origin_only_what_is_lacking_is_named() -> None:
    assert hint("all", None) == "pip install 'boto3>=1.40' 'aws-cdk-lib<3,>=2.275'"
    assert hint("all", None, lacks=False) == "pip install 'boto3>=1.40'"
    assert hint("dev", None) == "pip install 'moto[server]>=5.2'"


def test_an_extra_whose_packages_are_there_but_broken_is_named_whole() -> None:
    assert hint("cdk", None, lacks=False) == "pip install 'aws-cdk-lib<3,>=2.275'"


def test_the_core_is_what_no_extra_asks_for() -> None:
    assert hint(distribution.CORE, None) == "pip install 'click>=8.1'"
    assert hint(distribution.CORE, FOLDER, "/home/me/deployer") == (
        "pip install -e /home/me/deployer"
    )


PATHS = st.text(
    st.characters(exclude_characters="\0\r\n", exclude_categories=("Cs",)), min_size=1, max_size=20
).map(lambda name: Path("/") / name.strip("/") / "d")
ORIGINS = st.one_of(
    st.none(),
    st.builds(lambda path, e: {"url": path.as_uri(), "dir_info": {"editable": e}}, PATHS, st.booleans()),
    st.builds(lambda path: {"url": (path / "d.whl").as_uri(), "archive_info": {}}, PATHS),
    st.builds(lambda path: GIT | {"url": f"https://git.example{path.as_uri()[7:]}"}, PATHS),
)  # fmt: skip


@settings(deadline=None)
@given(st.sampled_from(EXTRAS), ORIGINS, st.booleans())
def test_every_hint_is_words_for_a_shell_that_never_ask_an_index_for_our_name(
    extra: str, origin: dict[str, Any] | None, there: bool
) -> None:
    requires = distribution.requirements()
    said = distribution.command(
        extra,
        origin,
        requires,
        exists=lambda path: there,
        lacking=lambda one: True,
    )
    words = shlex.split(said)
    assert words[:2] == ["pip", "install"]
    ours = [word for word in words[2:] if f"[{extra}]" in word]
    if origin is None or (not there and origin["url"].startswith("file:")):
        assert ours == []
        assert not any(word.startswith("deployer") for word in words)
    else:
        assert len(ours) == 1
        assert ours[0].startswith((f"{distribution.NAME}[{extra}] @ ", "/"))


def test_metadata_and_project_agree_on_name_version_and_extras() -> None:
    assert PROJECT["name"] == distribution.NAME
    assert distribution.version() == PROJECT["version"] == deployer.__version__
    assert set(distribution.extras()) == set(EXTRAS)


@pytest.mark.parametrize("extra", ["aws", "cdk", "openvino", "report"])
def test_an_extra_needs_what_the_project_file_says(extra: str) -> None:
    found = [one.name for one in distribution.needs(extra, distribution.requirements())]
    assert found == [
        line.partition(">")[0].partition("<")[0] for line in PROJECT["optional-dependencies"][extra]
    ]


def test_a_version_that_will_not_do_is_lacking() -> None:
    from packaging.requirements import Requirement

    assert not distribution.lacks(Requirement("click>=8"))
    assert distribution.lacks(Requirement("click>=999"))
    assert distribution.lacks(Requirement("no-such-package-anywhere"))


def write_metadata(folder: Path, origin: dict[str, Any] | None) -> None:
    folder.mkdir(parents=True)
    text = "Metadata-Version: 2.4\nName: deployer-ml\nVersion: 9\nProvides-Extra: aws\n"
    (folder / "METADATA").write_text(f"{text}Requires-Dist: boto3>=999; extra == 'aws'\n")
    if origin is not None:
        (folder / "direct_url.json").write_text(json.dumps(origin))


def test_a_clone_on_the_path_does_not_hide_the_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_metadata(tmp_path / "clone/deployer_ml-9.dist-info", None)
    write_metadata(tmp_path / "site/deployer_ml-9.dist-info", ARCHIVE)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "clone")])
    assert distribution.install_hint("aws") == "pip install 'boto3>=999'"
    monkeypatch.setattr(sys, "path", [str(tmp_path / "clone"), str(tmp_path / "site")])
    assert ARCHIVE["url"] in distribution.install_hint("aws")
    assert distribution.version() == "9"


def test_deployer_that_is_not_installed_says_how_to_install_this_very_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    folder = shlex.quote(f"{ROOT}[aws]")
    assert distribution.install_hint("aws") == (
        f"pip install -c {shlex.quote(str(ROOT / 'constraints.txt'))} -e {folder}"
    )
    with pytest.raises(EnvironmentProblem, match="without being installed") as caught:
        distribution.version()
    assert str(caught.value.hint).endswith(f"-e {shlex.quote(str(ROOT))}")


def test_the_program_without_boto3_says_what_installs_it() -> None:
    code = (
        "import sys; sys.modules['boto3'] = None\n"
        "from deployer.errors import DeployerError\n"
        "try: import deployer.aws.session\n"
        "except DeployerError as error: print(error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == distribution.install_hint("aws")
