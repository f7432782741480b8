"""The serving code runs with nothing but its own requirements."""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.serve, pytest.mark.slow]


def test_it_serves_in_a_fresh_environment_with_only_its_requirements(tmp_path, model_dir):
    folder = model_dir(samples={"a.json": b'{"x": 4}'})
    shutil.copytree(ROOT / "inference_code", folder / "code" / "inference_code")
    environment = tmp_path / "env"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    requirements = folder / "code" / "inference_code" / "requirements.txt"
    install = [str(python), "-m", "pip", "install", "-q", "-r", str(requirements)]
    subprocess.run(install, check=True, timeout=250)
    check = [str(python), "-I", "-c", _CHECK, str(folder / "code"), str(folder)]
    result = subprocess.run(check, capture_output=True, text=True, timeout=60)
    assert '"answer": 8' in result.stdout.replace("\\", "").replace('":8', '": 8'), result.stderr
    assert str(ROOT) not in result.stdout


_CHECK = """
import sys
sys.path.insert(0, sys.argv[1])
import inference_code, uvloop, httptools, inference_code.server.run, inference_code.runtime
from inference_code.__main__ import main
print(inference_code.__file__)
sys.exit(main(["check", "--model-dir", sys.argv[2]]))
"""


def test_requirements_are_pinned_and_few():
    lines = (ROOT / "inference_code" / "requirements.txt").read_text().splitlines()
    wanted = [line.split("#")[0].strip() for line in lines]
    wanted = [line for line in wanted if line]
    assert all("==" in line for line in wanted)
    assert len(wanted) <= 6


def test_it_imports_nothing_of_the_tool_that_built_it():
    code = (
        "import sys, inference_code.__main__, inference_code.server.run, inference_code.bench.timing;"
        "print([m for m in sys.modules if m.split('.')[0] in ('deployer', 'stacks', 'torch', 'click')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"
