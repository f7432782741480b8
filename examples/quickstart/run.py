"""The main job on one machine, without an AWS account: from training data to a bill.

Run it with the folder to write to::

    python examples/quickstart/run.py out
"""

import sys
from pathlib import Path

import deployer
from deployer import quickstart

if __name__ == "__main__":
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
    report = quickstart.run(out, say=lambda line: print(line, file=sys.stderr, flush=True))
    print(deployer.format_report(report))
    print(f"report: {out / 'report' / 'index.html'}")
