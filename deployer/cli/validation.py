"""The verb that holds specifications against the rule book: validate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from deployer.api import validation
from deployer.cli.console import Console
from deployer.cli.options import INPUT, verb
from deployer.errors import ConditionFailed, InputError
from deployer.spec.rules import Rule, Verdict
from deployer.spec.rules.facts import TOLD_BY

Verdicts = Sequence[tuple[Path, Verdict]]


@verb(
    "validate",
    "deployer validate deployment.toml",
    "deployer validate candidates/*.toml --json    # one document, for CI",
    "deployer validate --rules    # the whole book, with the source of every rule",
)
@click.argument("specs", type=INPUT, nargs=-1, metavar="SPEC...")
@click.option("--rules", "book", is_flag=True, help="List the rules instead.")
@click.pass_obj
def validate_verb(console: Console, specs: tuple[Path, ...], book: bool) -> None:
    """Hold specifications against every rule of AWS and of deployer.

    The same rules that every other verb asks, so what passes here is refused by none of them for its keys. It needs
    neither AWS nor a bundle; what only a bundle tells is said to be unchecked where there is none. Exit 1 when a rule
    is broken.
    """
    if book:
        rules = validation.book()
        console.result([_rule_document(item) for item in rules], _book_text(rules))
        return
    if not specs:
        raise InputError("no specification is named", hint="deployer validate deployment.toml")
    found = [(path, validation.look(path)) for path in specs]
    console.result([_document(path, item) for path, item in found], _text(found))
    _require(found)


def _require(found: Verdicts) -> None:
    wrong = [item for _, item in found if not item.ok]
    if not wrong:
        return
    ids = dict.fromkeys(row.id for item in wrong for row in item.broken)
    verb_word = "breaks" if len(wrong) == 1 else "break"
    raise ConditionFailed(
        f"{len(wrong)} of {len(found)} specifications {verb_word} a rule: {', '.join(ids)}",
        hint="each is explained on stdout, with what to do",
    )


def _document(path: Path, item: Verdict) -> dict[str, Any]:
    unchecked = [{"id": rule.id, "needs": list(rule.needs)} for rule in item.unchecked]
    broken = [asdict(row) for row in item.broken]
    return {"path": str(path), "ok": item.ok, "broken": broken, "unchecked": unchecked}


def _text(found: Verdicts) -> str:
    return "\n".join(line for path, item in found for line in _lines(path, item))


def _lines(path: Path, item: Verdict) -> list[str]:
    lines = [f"{path}: {'ok' if item.ok else f'{len(item.broken)} broken'}"]
    for row in item.broken:
        lines.append(f"  {row.id}: {row.key}: {row.problem}")
        lines += [f"    fix: {row.hint}"] if row.hint else []
        lines.append(f"    source: {row.source}")
    lines += [
        f"  {rule.id}: unchecked, needs {' and '.join(dict.fromkeys(TOLD_BY[n] for n in rule.needs))}"
        for rule in item.unchecked
    ]
    return lines


def _rule_document(item: Rule) -> dict[str, Any]:
    return {
        "id": item.id,
        "keys": list(item.keys),
        "says": item.says,
        "source": item.source,
        "needs": list(item.needs),
    }


def _book_text(rules: Sequence[Rule]) -> str:
    return "\n".join(
        f"{item.id} ({', '.join(item.keys)})\n  {item.says}\n  source: {item.source}"
        for item in rules
    )
