"""What lies beside an .ort file on a device: how to run it, and a check that it answers there as it did here."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from deployer.optimization.device import MAPPED
from deployer.optimization.session import Arrays

CHECK, RUN, README = "check.npz", "run.py", "README.md"
MOST_CHECKED, MOST_CHECK_BYTES = 4, 4_000_000

_RUN = '''"""Run model.ort with the stock ONNX Runtime on one thread, and compare its answers with those of the source.

    pip install onnxruntime=={version} numpy
    python run.py
"""

from pathlib import Path

import numpy as np
import onnxruntime

here = Path(__file__).parent
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
for entry in {mapped}:
    options.add_session_config_entry(entry, "1")  # the weights stay in the file
session = onnxruntime.InferenceSession(
    str(here / "model.ort"), options, providers=["CPUExecutionProvider"]
)
names = [each.name for each in session.get_inputs()]

worst = 0.0
with np.load(here / "check.npz") as held:
    for number in range(int(held["requests"])):
        feeds = {{name: held[f"{{number}}.in{{place}}"] for place, name in enumerate(names)}}
        for place, answer in enumerate(session.run(None, feeds)):
            wanted = held[f"{{number}}.out{{place}}"].astype(np.float64)
            known = np.isfinite(wanted)
            scale = float(np.abs(wanted[known]).max(initial=0.0)) or 1.0
            off = np.abs(answer.astype(np.float64) - wanted)[known]
            off = np.where(np.isnan(off), np.inf, off) / scale
            worst = max(worst, float(off.max(initial=0.0)))
print(f"onnxruntime {{onnxruntime.__version__}}: off by at most {{worst:.3g}} of an output's largest value")
raise SystemExit(worst > {allowed:.3g})
'''

_README = """# {name}: an ONNX Runtime model for {target}

| file | what it is |
|---|---|
| `model.ort` | the model in ONNX Runtime's own format, optimised when it was written |
| `run.py`, `check.npz` | a run of it, and requests with the answers of the model that it was made from |
| `required_operators.config` | its operators: what a reduced runtime must be built with (`--include_ops_by_config`) |
| `required_operators_and_types.config` | the same with their types, for `--enable_reduced_operator_type_support` |
| `edge.json` | sizes, digests, versions, what was measured where, and each gate |

```bash
pip install onnxruntime=={version} numpy
python run.py    # exit 1 where the answers do not hold
```

It runs on {runs_on}. What `edge.json` says of memory and latency is of the machine that it names, in the stock
runtime; of a reduced one nothing was measured.
"""

_RUNS_ON = {
    "amd64": "x86-64 processors; what only some of them have is chosen when it is loaded",
    "arm64": "64-bit ARM processors",
    "native": "processors with the vector width of the one it was made on, for which convolutions are laid out; on "
    "others it answers wrongly, without an error",
}
_SATURATES = "; products of 8-bit integers saturate on x86-64 without VNNI where it was not quantized for that"


def runs_on(target: str, *, integer: bool) -> str:
    """Return in words what processors a file is for; ``integer`` says that it computes in 8-bit integers."""
    return _RUNS_ON[target] + (_SATURATES if integer and target != "arm64" else "")


@dataclass(frozen=True)
class Page:
    """What the page says: the model's name, its target, what that runs on, and the runtime's version."""

    name: str
    target: str
    runs_on: str
    version: str


def write(
    folder: Path,
    page: Page,
    requests: Sequence[Arrays],
    answers: Sequence[Arrays],
    *,
    allowed: float,
) -> None:
    """Write the check, its script and the page that explains both to ``folder``; ``allowed`` is what may differ."""
    (folder / README).write_text(_README.format(**asdict(page)), encoding="utf-8")
    script = _RUN.format(version=page.version, mapped=MAPPED, allowed=allowed)
    (folder / RUN).write_text(script, encoding="utf-8")
    (folder / CHECK).write_bytes(_check(requests, answers))


def _check(requests: Sequence[Arrays], answers: Sequence[Arrays]) -> bytes:
    """Return an .npz without the time at which it was made: the same arrays, the same bytes."""
    one = sum(value.nbytes for each in (requests[0], answers[0]) for value in each.values())
    count = max(1, min(len(requests), MOST_CHECKED, MOST_CHECK_BYTES // max(one, 1)))
    arrays = {"requests": np.array(count)}
    for number in range(count):
        for kind, each in (("in", requests[number]), ("out", answers[number])):
            arrays |= {f"{number}.{kind}{i}": value for i, value in enumerate(each.values())}
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in arrays.items():
            part = BytesIO()
            np.save(part, value, allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, part.getvalue())
    return packed.getvalue()
