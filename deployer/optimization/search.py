"""A search for a better static int8 rung than the ladder has, within a budget of minutes.

Calibrations are ranked by their error on calibration rows, kernel by kernel, by successive halving: all on a few rows,
the better half on twice as many, and so on (Jamieson & Talwalkar 2016, "Non-stochastic Best Arm Identification and
Hyperparameter Optimization"). The best of each kernel is tried with its biases corrected and with costly layers left in
FP32, and timed briefly. Of what is neither slower nor further off than another one, a few finalists see the
evaluation rows, the fastest first, at a confidence that allows for their number; the one that passes is timed in
the same rounds as the ladder's best, and counts when the two intervals have no number in common.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deployer.errors import DeployerError
from deployer.optimization import advice, probe, recipe
from deployer.optimization.finalists import Point, against, front, rivals, thinned
from deployer.optimization.gate import CONFIDENCE
from deployer.optimization.isolation import Lost
from deployer.optimization.judge import Judge
from deployer.optimization.recipe import Recipe
from deployer.optimization.report import RungResult
from deployer.progress import Say

STRATEGY = "successive halving of calibrations, then counts of FP32 layers, by error on calibration rows and by speed"
FINALISTS = 4
FEWEST_ROWS = 16
EXPLORED, CONFIRMED = 0.6, 0.9
"""Shares of the budget after which no more candidates are tried, and after which numbers of threads are not timed."""

AT_ONCE = 8
"""Candidates that are open in one process while they are timed."""

LARGEST_SHARE = 0.5
"""Of the layers, that may be left in FP32."""


class _Over(Exception):
    """The budget is spent."""


@dataclass
class Found:
    """What a search found: rungs that saw the evaluation rows, and what ladder.json tells of it.

    ``retimed`` are the ladder's best rungs as they were timed in the same rounds as one that passed.
    """

    rungs: list[RungResult] = field(default_factory=list)
    retimed: dict[str, RungResult] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


def search(
    judge: Judge,
    best: RungResult | None,
    kept: Sequence[RungResult],
    *,
    minutes: float,
    reduce_range: bool,
    others: Mapping[str, Path],
    say: Say,
) -> Found:
    """Search for ``minutes`` at most around the ladder's ``best`` of the ``kept`` rungs (None: FP32 stays).

    Where that is one of the alternatives ``others``, as it is or in int8, it is what the candidates are made from.
    What runs when the time is over is abandoned; what was tried is told. A climb that was stopped is taken up.
    """
    say(f"search for {minutes:g} minutes at most: {STRATEGY}")
    run = _Search(judge, best, rivals(kept), minutes, reduce_range, others, say)
    try:
        run.all()
    except (_Over, Lost):
        run.ended = "the time was over"
    found = run.found
    found.details = run.told()
    say(f"search: {len(run.tried)} candidates tried, {run.ended}")
    return found


class _Search:
    """One search, with what it has tried."""

    def __init__(
        self,
        judge: Judge,
        incumbent: RungResult | None,
        near: Sequence[RungResult],
        minutes: float,
        reduce_range: bool,
        others: Mapping[str, Path],
        say: Say,
    ) -> None:
        self._seconds = 60 * minutes
        self._start = time.monotonic()
        isolation = judge.isolation.until(self._start + self._seconds)
        self._judge = replace(judge, isolation=isolation)
        self._incumbent, self._near = incumbent, near
        self._reduce, self._others, self._say = reduce_range, others, say
        name = incumbent.name if incumbent else ""
        names = (name, name.removesuffix("-int8"))
        self._source = next((known for known in names if known in others), "")
        self._rows = probe.largest_part(len(next(iter(judge.calibration.values()))))
        self.tried: dict[str, dict[str, Any]] = {}
        self.found = Found()
        self.ended = "all that were planned"
        self._confirming: dict[str, Any] = {"finalists": [], "confidence": CONFIDENCE}
        self._threads: dict[str, Any] = {}

    def all(self) -> None:
        """Go through the steps; raises _Over, or Lost, when the time is over."""
        best = self._halve()
        points = self._timed(self._lessened(best)) if best else []
        finalists = thinned(front(points), FINALISTS)
        passed = self._confirm([point.recipe for point in finalists])
        winner = self._decide(passed) if passed is not None else None
        self._by_threads(winner or self._incumbent)

    def told(self) -> dict[str, Any]:
        """Return what ladder.json holds of the search."""
        return {
            "minutes": self._seconds / 60,
            "seconds": round(min(time.monotonic() - self._start, self._seconds), 1),
            "strategy": STRATEGY,
            "ended": self.ended,
            "rows_fitted": self._rows,
            "rows_judged": self._rows,
            "tried": len(self.tried),
            "candidates": list(self.tried.values()),
            **self._confirming,
            "threads": self._threads,
        }

    def _left(self) -> float:
        return self._start + self._seconds - time.monotonic()

    def _exploring(self) -> bool:
        """Whether there is time for another candidate; once there is not, the search says so."""
        enough = self._left() > (1 - EXPLORED) * self._seconds
        if not enough:
            self.ended = "the time for more candidates was over"
        return enough

    def _halve(self) -> list[tuple[Recipe, float]]:
        """Return the best calibration of each kernel with its error, biases corrected where that lowers it."""
        arms = {
            kernel: [Recipe(kernel, calibration, source=self._source) for calibration in names]
            for kernel, names in recipe.FAMILIES.items()
        }
        count = min(FEWEST_ROWS, self._rows)
        errors: dict[Recipe, float] = {}
        while True:
            for kernel, left in arms.items():
                errors |= self._errors(left, count)
                able = sorted((r for r in left if r in errors), key=errors.__getitem__)
                last = count == self._rows
                arms[kernel] = able[: 1 if last else max(1, (len(able) + 1) // 2)]
            if last or not self._exploring():
                break
            count = min(2 * count, self._rows)
        best = [left[0] for left in arms.values() if left]
        corrected = {r: replace(r, corrected=True) for r in best}
        errors |= self._errors(corrected.values(), count)
        worst = float("inf")
        chosen = [min((r, corrected[r]), key=lambda x: errors.get(x, worst)) for r in best]
        return [(r, errors[r]) for r in chosen]

    def _errors(self, recipes: Iterable[Recipe], count: int) -> dict[Recipe, float]:
        """Return the errors of those that could be made from ``count`` rows, as far as the time goes."""
        found = {}
        for one in recipes:
            if not self._exploring():
                break
            answer = self._try(one, count)
            if "error" in answer:
                found[one] = float(answer["error"])
        return found

    def _try(self, one: Recipe, count: int) -> dict[str, Any]:
        judge = self._judge
        note = f"try-{judge.seed}-{count}-{one.name}"
        before: dict[str, Any] | None = judge.finished.noted(note)
        answer = before
        if answer is None:
            answer = self._run("try", made_by=recipe.record(one), count=count, seed=judge.seed)
            if "error" in answer:
                judge.finished.note(note, answer)
        if count < self._rows:
            self._file(one, count).unlink(missing_ok=True)
        place = {"recipe": one.to_json(), "rows": count}
        result = {key: answer[key] for key in ("error", "failed") if key in answer}
        self.tried[one.name] = {**self.tried.get(one.name, {}), **place, **result}
        shown = f"error {answer['error']:.4g}" if "error" in answer else answer["failed"]
        shown += " (taken up)" if before else ""
        self._say(f"  {one.name}, {count} rows: {shown}; {max(self._left(), 0):.0f} s left")
        return answer

    def _run(self, call: str, **arguments: Any) -> Any:
        """Run a piece; what it lost without the time being over is its own failure."""
        try:
            return self._judge.isolation.run(call, **arguments)
        except Lost as lost:
            if self._left() <= 0:
                raise _Over from lost
            return {"failed": lost.told("while it was tried")}
        except DeployerError as error:
            return {"failed": error.message}

    def _lessened(self, best: Sequence[tuple[Recipe, float]]) -> list[tuple[Recipe, float]]:
        """Return the best with 0, 1, 2, 4, ... of their costly layers in FP32, and their errors."""
        found = list(best)
        ranking = self._ranking() if self._exploring() else {}
        for one, _ in best:
            able = [name for name in ranking if one.kernel not in recipe.PRODUCTS or ranking[name]]
            count = 1
            while count <= LARGEST_SHARE * len(able):
                lighter = replace(one, float_layers=tuple(able[:count]))
                found += self._errors([lighter], self._rows).items()
                count *= 2
        return found

    def _ranking(self) -> dict[str, bool]:
        """Return the layers, the most costly first, and whether the kernels for products take them."""
        judge, note = self._judge, f"layers-{self._source}"
        ranked = judge.finished.noted(note)
        if ranked is None:
            ranked = self._run("layers", of=self._source)
            if isinstance(ranked, dict):
                return {}
            judge.finished.note(note, ranked)
        return {name: kind != "Conv" for name, kind in ranked}

    def _timed(self, found: Sequence[tuple[Recipe, float]]) -> list[Point]:
        """Return the candidates with their speed in a few rounds, the ladder's best among each group of them."""
        made = {}
        for one, off in found:
            file = self._file(one, self._rows)
            if not file.exists():  # its error was taken up, or is one of fewer rows
                how = {"made_by": recipe.record(one), "seed": self._judge.seed}
                self._run("try", count=self._rows, **how)
            if file.exists():
                made[one.name] = (one, off)
        points = []
        for group in _groups(list(made), AT_ONCE):
            files = {name: [str(self._file(made[name][0], self._rows)), ""] for name in group}
            kept = self._incumbent.variant if self._incumbent else None
            if kept is not None:
                files[""] = [str(kept.path.resolve()), kept.engine]
            brief = {f"{place}": file for place, file in enumerate(files.values())}
            answer = self._run("time", able={}, brief=brief, threads=self._judge.threads)
            if "failed" in answer:
                self._say(f"  not timed: {answer['failed']}")
                continue
            speeds = [answer["speedups"][place]["median"] for place in brief]
            own = speeds[-1] if kept is not None else 1.0
            for name, speed in zip(group, speeds, strict=False):
                self.tried[name] |= {"speed": speed, "speed_of_best": own}
                points.append(Point(made[name][0], made[name][1], speed / own))
        return points

    def _file(self, one: Recipe, count: int) -> Path:
        return self._judge.folder / probe.FOLDER / f"{count}" / f"{one.name}.onnx"

    def _confirm(self, finalists: Sequence[Recipe]) -> RungResult | None:
        """Let the finalists answer the evaluation rows, the fastest first; return the first that passes."""
        judge = self._judge
        while finalists:
            confidence = 1 - (1 - CONFIDENCE) / len(finalists)
            careful = replace(judge, confidence=confidence)
            if careful.can_tell() or len(finalists) == 1:
                break
            finalists = finalists[1:]  # fewer rows can tell of fewer: the surest stay
        else:
            self._say("  nothing is faster than the ladder's best: no finalist")
            return None
        self._confirming |= {"finalists": [r.name for r in finalists], "confidence": confidence}
        recipe.save(finalists, judge.folder)
        for one in finalists:
            made = recipe.rung(one, reduce_range=self._reduce, searches=None, others=self._others)
            result = replace(
                careful.score(made, one.name),
                fp32_layers=one.float_layers,
                recipe={**one.to_json(), "threads": judge.threads},
            )
            self._say(f"  {one.name} on the evaluation rows: {result.reason}")
            if self._left() <= 0:
                raise _Over
            self.found.rungs.append(result)
            if result.accuracy and result.accuracy.passed:
                return result
        return None

    def _decide(self, passed: RungResult) -> RungResult | None:
        """Time it in the same rounds as the ladder's best; return it where it is faster beyond the noise."""
        self.found.rungs.remove(passed)
        *others, result = self._judge.time([*self._near, passed])
        if self._left() <= 0:
            raise _Over
        if result.status == "kept":
            self.found.retimed = {other.name: other for other in others}
            for other in others:
                result = against(result, other)
        self._say(f"  {result.name}: {result.status}, {result.reason}")
        self.found.rungs.append(result)
        return result if result.status == "kept" else None

    def _by_threads(self, best: RungResult | None) -> None:
        """Time the best against FP32 at each number of threads that may serve, and tell what that advises."""
        if best is None or best.variant is None:
            return
        times: dict[int, Mapping[str, Any]] = {}
        for threads in advice.counts():
            if self._left() < (1 - CONFIRMED) * self._seconds:
                self.ended = "the time for more threads was over"
                break
            answer = self._run(
                "threads",
                model=str(best.variant.path.resolve()),
                engine=best.variant.engine,
                threads=threads,
                budget_s=min(advice.SECONDS, self._left() / 2),
            )
            if "failed" in answer:
                self._say(f"  not timed on {threads} threads: {answer['failed']}")
                continue
            times[threads] = answer
            self._threads = advice.told(best.name, times)
            self.found.rungs = [self._advised(rung, best.name) for rung in self.found.rungs]
        if times:
            self._say(f"  {self._threads['advice']}")

    def _advised(self, rung: RungResult, best: str) -> RungResult:
        """Return the rung, with the number of threads that it answers soonest on where it is the best."""
        if rung.name != best:
            return rung
        return replace(rung, recipe={**(rung.recipe or {}), "threads": self._threads["fastest"]})


def _groups(names: Sequence[str], size: int) -> list[Sequence[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]
