"""Serve every ONNX file of a folder to eight clients at once, five rounds each: equal, refused or wrong?

    pip install -e '.[dev]' -c constraints.txt
    python tests/benchmarks/models/crowd.py FOLDER

Each file is packaged and served four times: with samples and without, with default options and with ``--exact``. Every
answer is held against ONNX Runtime's for that request alone (``tests/fakes/crowd.py``). Prints a table; exit 1 when an
answer was wrong. A file that may not be served so must be refused with a reason.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

WAYS = (("samples", True, ()), ("none", False, ()), ("samples, exact", True, ("--exact",)),
        ("none, exact", False, ("--exact",)))  # fmt: skip


def fake() -> ModuleType:
    """Load ``tests/fakes/crowd.py``, which the tests use too."""
    source = Path(__file__).parents[2] / "fakes" / "crowd.py"
    spec = importlib.util.spec_from_file_location("crowd_fake", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def played(crowd: ModuleType, model: Path, folder: Path) -> list[str]:
    """Return how each way of serving ended: "equal", "refused: ..." or what was wrong."""
    ends = []
    for number, (_, samples, options) in enumerate(WAYS):
        problems = crowd.wrong(model, folder / str(number), samples=samples, options=options)
        if not problems or problems[0].startswith(crowd.REFUSED):
            ends.append(problems[0] if problems else "equal")
        else:
            ends.append(f"wrong: {len(problems)} of {crowd.CLIENTS * crowd.ROUNDS}, {problems[0]}")
    shutil.rmtree(folder)
    return ends


def cells(ends: list[str], model: Path) -> str:
    """Return a line of the table: one cell where all ways ended alike."""
    plain = [_told(each, model) for each in ends]
    return "; ".join(dict.fromkeys(plain))


def _told(end: str, model: Path) -> str:
    """Return an end without what differs from start to start: the path and the port."""
    text = end.replace(f"{str(model)!r}: ", "").replace("|", "/")
    _, told, reason = text.partition("ended before it answered: error: ")
    return f"does not start: {reason}" if told else text


def main() -> int:
    """Play every file; return 1 when an answer was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--at-once", type=int, default=1, help="files")
    options = parser.parse_args()
    crowd, start = fake(), time.monotonic()
    models = sorted(options.folder.rglob("*.onnx"))
    with (
        tempfile.TemporaryDirectory(prefix="crowd-") as folder,
        ThreadPoolExecutor(options.at_once) as pool,
    ):
        ends = list(pool.map(lambda each: played(crowd, each, Path(folder) / each.stem), models))
    print("| file | four ways |\n|---|---|")
    for model, told in zip(models, ends, strict=True):
        print(f"| {model.stem} | {cells(told, model)} |")
    every = [each for told in ends for each in told]
    counts = {
        kind: sum(each.startswith(kind) for each in every) for kind in ("equal", "refused", "wrong")
    }
    words = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    print(
        f"\n{len(models)} files, {len(every)} servings: {words}; {time.monotonic() - start:.0f} s"
    )
    return 1 if counts["wrong"] or not models else 0


if __name__ == "__main__":
    sys.exit(main())
