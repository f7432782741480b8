"""Modules beside a handler are packaged whole, or refused by the name of the file that is missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from deployer.bundle.archive import unpack
from deployer.bundle.build import build
from deployer.bundle.bundle import Bundle
from deployer.clients.http import HttpInvoker
from deployer.deployments.local import server as servers
from deployer.errors import InputError

END = "\ndef model_fn(folder): return None\ndef predict_fn(data, model): return data\n"


class Project:
    """A folder with ``inference.py`` and what lies beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / "src" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def packaged(
        self, imports: str, files: Mapping[str, str] | None = None, needs: str = ""
    ) -> Bundle:
        end = "" if "def model_fn" in imports else END
        self.write({"inference.py": imports + end, **(files or {})})
        (self.folder / "weights.bin").write_bytes(b"1")
        (self.folder / "needs.txt").write_text(needs)
        return build(
            self.folder / "weights.bin",
            self.folder / "out",
            name="d",
            handler=self.folder / "src" / "inference.py",
            requirements=self.folder / "needs.txt",
        )

    def refused(
        self, imports: str, files: Mapping[str, str] | None = None, needs: str = ""
    ) -> InputError:
        with pytest.raises(InputError) as caught:
            self.packaged(imports, files, needs)
        assert not (self.folder / "out").exists()
        return caught.value


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def code(bundle: Bundle) -> set[str]:
    """Return the handler's own members."""
    paths = {member.path.removeprefix("code/") for member in bundle.manifest.members}
    return {p for p in paths if not p.startswith("inference_code/")} - {
        "weights.bin",
        "requirements.txt",
    }


LIB = {
    "lib/__init__.py": "from .deep.er import answer\n",
    "lib/deep/__init__.py": "",
    "lib/deep/er.py": "import other\nfrom ..words import WORDS\nanswer = other.ANSWER\n",
    "lib/words.py": "WORDS = []\n",
    "lib/vocabulary.txt": "a b c",
    "other.py": "ANSWER = 42\n",
    "unused.py": "import nowhere_to_be_found\n",
}


def test_a_module_and_a_package_with_its_data_go_in_and_what_they_import(project: Project) -> None:
    bundle = project.packaged("from lib import answer\n", LIB)
    assert code(bundle) == {"inference.py", *LIB} - {"unused.py"}
    unpack(bundle.path, project.folder / "unpacked")
    assert (project.folder / "unpacked/code/lib/vocabulary.txt").read_text() == "a b c"


def test_the_digest_depends_on_the_modules_and_on_nothing_beside_them(project: Project) -> None:
    first = project.packaged("import other\n", LIB)
    project.write({"notes.txt": "x", "unused.py": "y = 1", "__pycache__/other.pyc": "z"})
    assert project.packaged("import other\n").digest == first.digest
    project.write({"other.py": "ANSWER = 43\n"})
    assert project.packaged("import other\n").digest != first.digest


@pytest.mark.parametrize(
    ("imports", "files", "what", "base"),
    [
        ("from lib import x", {}, "lib", "lib"),
        ("import helpers", {}, "helpers", "helpers"),
        ("import lib.tools", {"lib/__init__.py": ""}, "lib.tools", "lib/tools"),
        ("from lib import tools", {"lib/__init__.py": ""}, "lib.tools", "lib/tools"),
        ("from lib import tools", {"lib/more.py": ""}, "lib.tools", "lib/tools"),
        ("def predict_fn(d, m):\n    import lib\n", {}, "lib", "lib"),
        ("import lib", {"lib/__init__.py": "from . import tools"}, "lib.tools", "lib/tools"),
        ("import lib", {"lib/__init__.py": "from .a import b"}, "lib.a", "lib/a"),
        ("import helpers", {"helpers.py": "import lib"}, "lib", "lib"),
    ],
)
def test_a_missing_file_is_refused_by_its_name_and_no_package_is_advised(
    project: Project, imports: str, files: Mapping[str, str], what: str, base: str
) -> None:
    error = project.refused(imports, files)
    assert f"imports {what!r}, and there is no {base}.py or {base}/ beside the handler" in str(
        error
    )
    assert "pip" not in str(error) + str(error.hint)
    assert (error.hint or "").startswith("put the missing file there")


@pytest.mark.parametrize(
    ("imports", "files"),
    [
        ("try:\n    import fast_lib\nexcept ImportError:\n    fast_lib = None\n", {}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import stubs_only\n", {}),
        ("import contextlib\nwith contextlib.suppress(ImportError):\n    import maybe\n", {}),
        ("if __name__ == '__main__':\n    import trainer\n", {}),
        ("import sys\nsys.path.insert(0, '/opt/more')\nimport from_there\n", {}),
        ("import sagemaker_inference\nfrom inference_code import errors\nimport json, numpy\n", {}),
        ("from lib import made", {"lib/__init__.py": "globals()['made'] = 1"}),
        ("from lib import made", {"lib/__init__.py": "from json import *"}),
        ("from lib import VALUE", {"lib/__init__.py": "VALUE = 1"}),
        ("import helpers", {"helpers.py": "def plot():\n    import some_plots\n"}),
        ("import yaml", {}),  # installed, as ever
    ],
)
def test_what_is_not_needed_or_comes_from_elsewhere_is_left_to_the_start(
    project: Project, imports: str, files: Mapping[str, str]
) -> None:
    project.packaged(imports, files)


def test_a_requirement_brings_its_own_name_and_one_not_installed_here_may_bring_any(
    project: Project,
) -> None:
    assert code(project.packaged("import some_thing\n", needs="some-thing==1\n")) == {
        "inference.py"
    }
    project.packaged("import thing\n", needs="not-installed-here==1\n")
    # A folder without __init__.py gives way to the package, as it does on Python's own path.
    files = {"some_thing/script.py": ""}
    assert code(project.packaged("from some_thing import x\n", files, "some-thing==1\n")) == {
        "inference.py"
    }
    with pytest.raises(InputError, match="imports 'thing'"):
        project.packaged("import thing\n", needs="packaging\n")


@pytest.mark.parametrize(
    ("imports", "files", "words"),
    [
        ("import queue", {"queue.py": ""}, "'queue' from beside it, which is a module of the stan"),
        ("import numpy", {"numpy.py": ""}, "'numpy' from beside it, which is a name that the serv"),
        ("import samples", {"samples/__init__.py": ""}, "'samples' from beside it, which is a nam"),
        ("import inference_code", {"inference_code/__init__.py": ""}, "'inference_code' from besi"),
    ],
)
def test_a_module_whose_name_is_taken_is_refused(
    project: Project, imports: str, files: Mapping[str, str], words: str
) -> None:
    error = project.refused(imports, files)
    assert words in str(error)
    assert error.hint == "give your module another name"


def test_a_relative_import_of_the_handler_is_refused_with_what_to_write(project: Project) -> None:
    error = project.refused("from .helpers import x\n", {"helpers.py": "x = 1"})
    assert "has 'from .helpers import x', and lies in no such package" in str(error)
    assert error.hint == "name the module from the handler's folder: import helpers"


def test_a_package_by_a_link_is_refused(project: Project, tmp_path: Path) -> None:
    project.write(LIB)
    (tmp_path / "src" / "linked").symlink_to("lib")
    assert "linked' is a symbolic link" in str(project.refused("import linked\n"))


def test_a_credential_in_a_module_is_refused(project: Project) -> None:
    error = project.refused("import keys\n", {"keys.py": f"KEY = 'AKIA{'A' * 16}'\n"})
    assert "keys.py' looks like a credential: it holds an AWS access key" in str(error)


def test_a_handler_that_is_no_python_is_refused_with_its_line(project: Project) -> None:
    assert "inference.py' is not Python at line 1" in str(project.refused("def f(:\n"))


def test_a_model_folder_brings_its_own_modules(project: Project, tmp_path: Path) -> None:
    model = tmp_path / "m"
    (model / "code" / "lib").mkdir(parents=True)
    (model / "code" / "inference.py").write_text("import lib.tools\n" + END)
    (model / "code" / "lib" / "tools.py").write_text("")
    bundle = build(model, tmp_path / "out", name="d")
    assert code(bundle) == {"inference.py", "lib/tools.py"}
    (model / "code" / "inference.py").write_text("import lib.tools, gone\n" + END)
    with pytest.raises(InputError, match=r"imports 'gone', and there is no gone\.py or gone/"):
        build(model, tmp_path / "out", name="d")


SERVED = """
import json

import helpers
from lib import scale
from lib.words import WORDS


def model_fn(folder): return scale.FACTOR
def predict_fn(data, model):
    from lib.late import later
    return [later(value * model) for value in data] + WORDS
def output_fn(prediction, accept):
    return helpers.written(prediction, accept), accept
"""
SERVED_FILES = {
    "helpers.py": (
        "import json\ndef written(value, accept):\n"
        "    return json.dumps(value) if accept == 'application/json' else repr(value)\n"
    ),
    "lib/__init__.py": "",
    "lib/scale.py": "FACTOR = 3\n",
    "lib/words.py": (
        "from pathlib import Path\n"
        "WORDS = Path(__file__).with_name('words.txt').read_text().split()\n"
    ),
    "lib/words.txt": "and more",
    "lib/late.py": "from . import scale\ndef later(value): return value + scale.FACTOR\n",
}


@pytest.mark.serve
def test_a_handler_of_many_files_is_served_and_asked_for_one_type(project: Project) -> None:
    folder = project.folder
    bundle = project.packaged(SERVED, SERVED_FILES)
    digest = unpack(bundle.path, folder / "unpacked").digest
    port, log = servers.free_port(), folder / "server.log"
    server = servers.start(folder / "unpacked", port, log=log, digest=digest)
    try:
        servers.wait_ready(server, log, limit_s=60)
        invoker = HttpInvoker(f"http://{servers.HOST}:{port}")
        for accept, kind, body in (
            ("application/json, text/csv", "application/json", b'[9, "and", "more"]'),
            ("text/plain, application/json;q=0.9", "text/plain", b"[9, 'and', 'more']"),
            ("application/json;q=0.1, */*;q=0.5", "text/csv", b"[9, 'and', 'more']"),
        ):
            headers = {"Content-Type": "application/json", "Accept": accept}
            answer = invoker.request("POST", "/invocations", b"[2]", headers)
            assert (answer.status, answer.content_type, answer.content) == (200, kind, body)
    finally:
        servers.stop(server, 5)
