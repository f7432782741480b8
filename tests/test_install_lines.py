"""No text of the tree installs us from an index, where our name is not ours, or names an extra that does not exist."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
SUFFIXES = {
    ".cfg", ".html", ".jinja", ".json", ".md", ".py", ".service", ".sh", ".toml", ".txt", ".yaml", ".yml",
}  # fmt: skip
INSTALL = re.compile(
    r"\b(?:pip3?|pipx|uv|conda|poetry)\b[ \w.-]*? (?:install|add|download) ([^`\n]*)"
)
"""What follows the words of an install, to the end of the line or of its code span."""
INDEX = re.compile(
    r"(?<![\w./:@+=-])deployer(?:[-_.]+ml)?(?![\w./-])(?:\[[^\]]*\])?+(?!\s*@)", re.IGNORECASE
)
"""Our package's name or our distribution's, not in a path or a URL, and no ``@`` behind it."""
OURS = re.compile(r"\bdeployer(?:[-_.]+ml)?\[([\w, -]+)\]")
HERE = re.compile(r"(?:^|[\s'\"/])\.?\[([\w, -]+)\]")


def texts() -> Iterator[tuple[str, str]]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file() and (path.suffix in SUFFIXES or path.name in {"Dockerfile", "run"}):
            yield name, path.read_text(encoding="utf-8")


def faults(name: str, text: str) -> list[str]:
    """Return what is wrong in a text; commands over several lines and argument lists are read as one line."""
    flat = re.sub(r"\\\n", " ", re.sub(r"""(["']), \1""", " ", text))
    installs = [re.split(r"&&|\|\||;|  #", found)[0] for found in INSTALL.findall(flat)]
    if re.fullmatch(r".*(requirements|constraints)[^/]*\.txt", name):
        installs += text.splitlines()
    wrong = [f"from an index: {words}" for words in installs if INDEX.search(words)]
    named = [*OURS.findall(flat), *(extra for words in installs for extra in HERE.findall(words))]
    unknown = {extra.strip() for names in named for extra in names.split(",")} - EXTRAS.keys()
    return wrong + [f"no such extra: {extra}" for extra in sorted(unknown)]


def test_nothing_in_the_tree_installs_a_stranger() -> None:
    found = {name: faults(name, text) for name, text in texts()}
    assert len(found) > 500
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def spelt(line: str) -> str:
    """Spell out a line below: as they stand there, the test above would find them."""
    return line.replace("INSTALL", "pip install").replace("OURS", "deployer")


@pytest.mark.parametrize(
    "line",
    [
        "INSTALL OURS",
        "INSTALL 'OURS[aws]'",
        "INSTALL -U Deployer",
        "INSTALL OURS-ml",
        'INSTALL -c constraints.txt "OURS_ml[aws,cdk]==0.1.0"',
        "Get it with `INSTALL OURS[report]`.",
        "python -m INSTALL OURS>=0.3",
        "INSTALL -c constraints.txt \\\n  OURS",
        "INSTALL boto3 OURS",
        "uv INSTALL OURS",
        "uv add OURS-ml",
        "pipx install OURS",
        "pip download --no-deps OURS",
        'run(["pip", "install", "OURS"])',
        "hint=\"INSTALL 'OURS[cdk]'\"",
        "INSTALL -e '.[sagemaker]'",
        "INSTALL -e '/home/me/OURS[azure]'",
        "INSTALL 'OURS-ml[gpu] @ git+https://git.example/d@0123'",
        'all = ["OURS-ml[optimise,serve]"]',
    ],
)
def test_a_line_that_installs_a_stranger_or_no_extra_of_ours_is_found(line: str) -> None:
    assert faults("README.md", spelt(line))


@pytest.mark.parametrize(
    "line",
    [
        "INSTALL -c constraints.txt -e '.[quickstart]' && python examples/quickstart/run.py # OURS",
        "INSTALL -e /home/me/OURS",
        "INSTALL -e '/home/me/OURS[aws]'",
        "INSTALL ./dist/OURS_ml-0.1.0-py3-none-any.whl",
        "INSTALL git+https://git.example/OURS@0123",
        'INSTALL "OURS-ml[aws,cdk,serve] @ $DEPLOYER_SOURCE"',
        "INSTALL deployerless transformers",
        "`INSTALL transformers`, then OURS runs",
        'all = ["OURS-ml[optimize,serve]"]',
    ],
)
def test_a_line_that_installs_us_from_where_we_are_is_fine(line: str) -> None:
    assert faults("README.md", spelt(line)) == []


def test_a_file_of_requirements_names_us_by_a_url_only() -> None:
    assert faults("a/requirements.txt", "boto3>=1\ndeployer>=0.1\n")
    assert faults("constraints.txt", "deployer-ml==0.1.0\n")
    assert faults("requirements.txt", "deployer-ml @ git+https://git.example/d@0123\n") == []
