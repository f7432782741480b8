"""The verb edge: a model for a device."""

from __future__ import annotations

from pathlib import Path

import click

from deployer import api
from deployer.cli import text
from deployer.cli.console import Console
from deployer.cli.options import INPUT, NUMBER, output_option, seed_option, shape_option, verb
from deployer.cli.output import check_folder


@verb(
    "edge",
    "deployer edge opt/best.onnx -o device",
    "deployer edge opt/best.onnx --max-mb 2 --max-memory-mb 30 --max-latency-ms 5 -o device",
    "deployer edge opt/best.onnx --target arm64 --samples held_out.npz -o device",
)
@click.argument("model", type=INPUT)
@click.option("--target", type=click.Choice(["amd64", "arm64", "native"]),
              help="What will run it; native: this kind of processor alone; default: this machine's.")  # fmt: skip
@click.option("--max-mb", type=NUMBER, help="Exit 1 when the file is larger (1e6 bytes).")
@click.option("--max-memory-mb", type=NUMBER, help="Exit 1 when loading and running it takes more.")
@click.option("--max-latency-ms", type=NUMBER,
              help="Exit 1 when a request takes longer on one thread of this machine.")  # fmt: skip
@click.option("--samples", type=INPUT, help=".npz: rows by input, to ask it; default: made ones.")
@shape_option
@seed_option
@output_option("Folder for model.ort, its operators, edge.json and a script that runs it.")
@click.pass_obj
def edge_verb(
    console: Console,
    model: Path,
    target: str | None,
    max_mb: float | None,
    max_memory_mb: float | None,
    max_latency_ms: float | None,
    samples: Path | None,
    shapes: tuple[tuple[str, tuple[int, ...]], ...],
    seed: int,
    output: Path,
) -> None:
    """Write a model for a device, within its file, memory and latency.

    MODEL is an ONNX file, as it is or from `deployer optimize`. It is written in ONNX Runtime's own format, asked the
    same as MODEL, and refused where the answers differ. Memory and latency are those of the stock runtime in a fresh
    process of one thread on this machine. Exit 1, with all written, when a limit does not hold.
    """
    check_folder(output)
    bundle = api.edge(
        model,
        output,
        target=target,
        samples=samples,
        shapes=dict(shapes),
        max_mb=max_mb,
        max_memory_mb=max_memory_mb,
        max_latency_ms=max_latency_ms,
        seed=seed,
        require=False,
    )
    console.result(bundle.to_json(), text.edge(bundle))
    bundle.require()
