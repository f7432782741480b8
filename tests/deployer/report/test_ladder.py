"""The ladder of quantization: table, plot, page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployer.errors import EnvironmentProblem
from deployer.report.charts import ladder_plot
from deployer.report.ladder import ladder, to_markdown
from deployer.report.plots.ladder import drawable
from deployer.report.webpage import render_ladder
from deployer.report.write import write_ladder


def _rung(name: str, status: str, **given: Any) -> dict[str, Any]:
    size = given.pop("size", None)
    variant = (
        None if size is None else {"name": name, "size_bytes": size, "score": given.pop("score")}
    )
    record = {
        "name": name,
        "precision": name.partition("-")[0],
        "status": status,
        "reason": "",
        "variant": variant,
        "drop": None,
        "speedup": None,
        "latency_ms": None,
        "usd_per_thousand": None,
    }
    return record | given


def _span(
    middle: str, low: float | None, value: float, high: float | None
) -> dict[str, float | None]:
    return {middle: value, "low": low, "high": high}


@pytest.fixture
def document() -> dict[str, Any]:
    """FP32, the best, one kept, one too lossy to be drawn, one that could not be built."""
    return {
        "schema_version": 1,
        "metric": "accuracy",
        "max_drop": 0.01,
        "hardware": {"cpu": "Example CPU at 2.5 GHz"},
        "threads": 2,
        "seed": 0,
        "best": "int8-static",
        "conclusion": "int8-static: 2.50x FP32's speed at 0.25 of its size",
        "rungs": [
            _rung("fp32", "baseline", size=2_000_000, score=0.9917, latency_ms={"batch 8": 10.0},
                  usd_per_thousand="0.0125"),
            _rung("int8-static", "kept", size=500_000, score=0.99, latency_ms={"batch 8": 4.0},
                  drop=_span("value", -0.002, 0.0017, 0.004), speedup=_span("median", 2.4, 2.5, 2.6),
                  usd_per_thousand="0.0050"),
            _rung("int8-dynamic", "kept", size=510_000, score=0.9917, latency_ms={"batch 8": 8.0},
                  drop=_span("value", 0.0, 0.0, None), speedup=_span("median", 1.1, 1.25, 1.4)),
            _rung("int4-weights", "refused", size=300_000, score=0.9,
                  drop=_span("value", 0.08, 0.0917, 0.1), reason="drops by 0.0917, 0.01 is allowed",
                  latency_ms={"batch 8": 5.0}, speedup=_span("median", 1.9, 2.0, 2.1) | {"rounds": 5}),
            _rung("fp16", "failed", reason="the operator `Cast` is not supported"),
        ],
    }  # fmt: skip


def test_markdown_equals_the_approved_one(
    document: dict[str, Any], golden: Callable[[str, str], None]
) -> None:
    golden("ladder.md", to_markdown(ladder(document)))


def test_best_is_marked_and_refused_rungs_say_why(document: dict[str, Any]) -> None:
    rungs = ladder(document).rungs
    assert [r.mark for r in rungs] == ["", "✔", "", "✘", "✘"]
    assert [r.status for r in rungs] == ["baseline", "best", "kept", "refused", "failed"]
    assert rungs[3].reason == "drops by 0.0917, 0.01 is allowed"


def test_what_was_not_measured_is_empty_and_never_zero(document: dict[str, Any]) -> None:
    rungs = ladder(document).rungs
    assert rungs[3].usd == ""
    assert (rungs[4].speed_text, rungs[4].speed_range, rungs[4].latency_ms) == ("", "", "")
    assert (rungs[4].score, rungs[4].size_text, rungs[4].drop_text) == ("", "", "")


def test_speed_from_a_few_rounds_is_marked_as_such(document: dict[str, Any]) -> None:
    rungs = ladder(document).rungs
    assert rungs[3].speed_range == "1.90 to 2.10, 5 rounds"
    assert rungs[1].speed_range == "2.40 to 2.60"


def test_open_end_of_an_interval_is_said(document: dict[str, Any]) -> None:
    assert ladder(document).rungs[2].drop_range == "0.0000 to open"


def test_rung_sizes_are_relative_to_the_baseline(document: dict[str, Any]) -> None:
    assert [r.size_ratio for r in ladder(document).rungs] == [1.0, 0.25, 0.255, 0.15, None]


def test_finding_counts_the_rungs_that_pass(document: dict[str, Any]) -> None:
    assert ladder(document).finding == (
        "2 of 4 rungs pass every gate; int8-static is 2.50 times as fast as fp32 at 0.25 of its size."
    )


def test_finding_says_when_the_model_stays_as_it_is(document: dict[str, Any]) -> None:
    stays = document | {"best": "fp32", "rungs": [document["rungs"][0], *document["rungs"][3:]]}
    assert ladder(stays).finding == "0 of 2 rungs pass every gate; fp32 stays."


def test_only_rungs_with_drop_and_speed_are_drawn(document: dict[str, Any]) -> None:
    assert [r.name for r in drawable(ladder(document).rungs, 0.01)] == [
        "fp32",
        "int8-static",
        "int8-dynamic",
    ]


def test_plot_is_the_same_every_time(document: dict[str, Any]) -> None:
    assert ladder_plot(ladder(document)) == ladder_plot(ladder(document))
    assert "int8-static" in ladder_plot(ladder(document)).wide


def test_ladder_of_fp32_alone_is_drawn(document: dict[str, Any]) -> None:
    alone = document | {"best": "fp32", "rungs": document["rungs"][:1]}
    assert "<svg" in ladder_plot(ladder(alone)).wide


def test_page_has_a_row_a_rung_and_costs_only_when_known(document: dict[str, Any]) -> None:
    page = render_ladder(ladder(document))
    assert page.count('scope="row"') == 5
    assert "USD per 1,000 ok" in page
    for record in document["rungs"]:
        record["usd_per_thousand"] = None
    assert "USD per 1,000 ok" not in render_ladder(ladder(document))


def test_hostile_names_are_inert(document: dict[str, Any]) -> None:
    nasty = "<img src=x onerror=alert(1)>|`a`\n\u202eb"
    document["rungs"][1] |= {"name": nasty, "reason": nasty}
    document |= {"conclusion": nasty, "metric": nasty, "best": nasty}
    for text in (render_ladder(ladder(document)), to_markdown(ladder(document))):
        assert "<img" not in text
        assert "\u202e" not in text


def test_both_files_are_written_or_none(document: dict[str, Any], tmp_path: Path) -> None:
    paths = write_ladder(document, tmp_path / "ladder")
    assert sorted(p.name for p in (tmp_path / "ladder").iterdir()) == ["ladder.html", "ladder.md"]
    assert set(paths) == {"html", "markdown"}
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem):
        write_ladder(document, tmp_path / "file")


def test_notes_name_the_processor_what_was_not_tried_and_rows_in_both_sets(
    document: dict[str, Any],
) -> None:
    document["hardware"] |= {"cores": "2", "features": "AVX2 AVX512-VNNI"}
    document["details"] = {
        "evaluation_rows": 1200,
        "clock": "thread CPU time",
        "rows_in_both_sets": 7,
        "not_tried": {"openvino": "openvino not installed"},
    }
    notes = "\n".join(ladder(document).footnotes)
    assert "1,200 rows; latency by thread CPU time, Example CPU at 2.5 GHz, 2 cores, AVX2" in notes
    assert "7 of the rows were calibrated on too" in notes
    assert "Not tried: openvino. openvino not installed." in notes
