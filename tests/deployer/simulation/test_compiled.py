"""Compiling works from a folder that nobody may write to, and a cached kernel is never a stale one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import deployer
from deployer.simulation.compiled import sources_digest

ROOT = Path(deployer.__file__).parents[1]

PROGRAM = """
from deployer.simulation import compiled
double = compiled.entry(lambda x: 2 * x)
print(double(21))
"""
CACHED = """
from pathlib import Path
import module
print(module.double(21), module.double.stats.cache_hits)
"""
MODULE = """
from deployer.simulation import compiled
def plain(x):
    return {factor} * x
inner = compiled.inner(plain)
def make(version):
    def double(x):
        return inner(x) if version else 0
    return compiled.entry(double)
double = make({version!r})
"""


def run(program: str, folder: Path, **variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", **variables}
    command = [sys.executable, "-W", "error", "-B", "-c", program]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, cwd=folder
    ).stdout.strip()


def test_without_any_folder_for_a_cache_it_compiles_all_the_same(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the cache folder would be")
    # code given with -c has no file beside which, and no user folder in which, to keep a cache
    assert run(PROGRAM, tmp_path, HOME=str(blocked), XDG_CACHE_HOME=str(blocked)) == "42"


def test_a_cached_kernel_is_found_again_and_left_when_what_it_calls_has_changed(
    tmp_path: Path,
) -> None:
    module = tmp_path / "module.py"
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    module.write_text(MODULE.format(factor=2, version="a"))
    assert run(CACHED, tmp_path, **cache) == "42 Counter()"
    assert run(CACHED, tmp_path, **cache).startswith("42 Counter({")
    stat = module.stat()
    module.write_text(MODULE.format(factor=3, version="b"))
    os.utime(module, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # numba itself sees no change
    assert run(CACHED, tmp_path, **cache) == "63 Counter()"


def test_the_version_of_a_kernel_depends_on_every_source(tmp_path: Path) -> None:
    source = tmp_path / "policy.py"
    source.write_text("a")
    before = sources_digest(str(source))
    source.write_text("b")
    assert sources_digest(str(source)) != before
