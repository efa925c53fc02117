"""How a row of the benchmark table is measured and written: two sides, side by side in one run.

Machines are shared and clocks drift, so absolute times say little; ratios of interleaved medians say more. Starts and
compiling are left out of a row's medians and named beside them.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

FAILED = "could not be measured"
"""How the comparison of a row ends that has no number."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the command line asks of all rows."""

    device: str = "cpu"
    quick: bool = False
    """A smoke version: whether everything runs, not how fast."""

    def repeats(self, full: int = 5) -> int:
        """How often each side is measured."""
        return 1 if self.quick else full


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison."""

    comparison: str
    ours: float | None = None
    """Median of grokctl's side, in `unit`. None: the row has no meaning here, and `beside` says why."""
    baseline: float | None = None
    """Median of the other side. None: an absolute number, which gates nothing."""
    unit: str = ""
    lower_is_better: bool = False
    goal: float | None = None
    """Of `ratio`; without a baseline, of `ours`."""
    beside: str = ""
    """What the medians leave out (starts, compiling), and what the baseline is."""

    @property
    def ratio(self) -> float | None:
        """How many times better than the baseline."""
        if self.ours is None or self.baseline is None:
            return None
        better, worse = (self.baseline, self.ours) if self.lower_is_better else (self.ours, self.baseline)
        return better / worse

    @property
    def is_met(self) -> bool | None:
        """None: there is nothing to meet."""
        if self.goal is None or self.ours is None:
            return None
        if self.ratio is not None:
            return self.ratio >= self.goal
        return self.ours <= self.goal if self.lower_is_better else self.ours >= self.goal


def interleave(sides: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, float]:
    """Measure every side once a round, in turning order, and give each side's median over the rounds."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(repeats):
        for name in list(sides) if number % 2 == 0 else list(sides)[::-1]:
            found[name].append(sides[name]())
    return {name: statistics.median(values) for name, values in found.items()}


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


HEADINGS = ("comparison", "grokctl", "baseline", "ratio", "goal", "met", "beside")


def table(rows: Iterable[Row]) -> str:
    """Rows as a Markdown table."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|---" * len(HEADINGS) + "|"]
    return "\n".join([*lines, *map(line, rows)]) + "\n"


def line(row: Row) -> str:
    """One row of Markdown."""
    cells = (
        row.comparison,
        "–" if row.ours is None else _with_unit(row.ours, row.unit),
        "–" if row.baseline is None else _with_unit(row.baseline, row.unit),
        "–" if row.ratio is None else f"{_number(row.ratio)}x",
        _goal(row),
        {None: "–", True: "yes", False: "no"}[row.is_met],
        row.beside,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _goal(row: Row) -> str:
    if row.goal is None:
        return "–"
    if row.baseline is not None:
        return f"{_number(row.goal)}x"
    return f"{'at most' if row.lower_is_better else 'at least'} {_with_unit(row.goal, row.unit)}"


def _with_unit(value: float, unit: str) -> str:
    return f"{_number(value)} {unit}".strip()


def _number(value: float) -> str:
    """Three digits, and no exponents."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{float(f'{value:.3g}'):g}"
