"""A plot of curves between 0 and 1 in plain characters, for terminals and for text files."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT = 64, 9
"""Columns and rows of the field."""

Values = npt.NDArray[np.float64]


def text_plot(step: Values, curves: Mapping[str, Values], marks: Mapping[str, float]) -> str:
    """Curves over log(1 + step), each drawn with the character that names it; a later one lies over an earlier one.

    `marks` are single characters under the axis at the steps given; one that is NaN is left out.
    """
    last = float(step[-1])
    field = np.full((HEIGHT, WIDTH), " ")
    for character, values in curves.items():
        for column, value in enumerate(_at_columns(step, values, last)):
            if np.isfinite(value):
                field[round((1 - min(max(value, 0.0), 1.0)) * (HEIGHT - 1)), column] = character
    lines = [f"{_height(row):>4} |{''.join(cells).rstrip()}" for row, cells in enumerate(field)]
    lines.append("     +" + "-" * WIDTH)
    if placed := {name: _column(at, last) for name, at in marks.items() if np.isfinite(at)}:
        lines.append(" " * 6 + _marks(placed))
    lines.append(" " * 6 + _ticks(last))
    return "\n".join(line.rstrip() for line in lines)


def _at_columns(step: Values, values: Values, last: float) -> Values:
    """The mean of the rows that fall into a column; where none does, on the line between the rows about it."""
    finite = np.isfinite(values)
    if not finite.any():
        return np.full(WIDTH, np.nan)
    x, y = np.log1p(step[finite]), values[finite]
    column = np.array([_column(each, last) for each in step[finite]])
    centres = (np.arange(WIDTH) + 0.5) / WIDTH * np.log1p(last)
    out: Values = np.interp(centres, x, y, left=np.nan, right=np.nan)
    n = np.bincount(column, minlength=WIDTH)
    out[n > 0] = (np.bincount(column, weights=y, minlength=WIDTH) / np.maximum(n, 1))[n > 0]
    return out


def _column(step: float, last: float) -> int:
    share = float(np.log1p(step) / np.log1p(last)) if last > 0 else 0.0
    return min(int(share * WIDTH), WIDTH - 1)


def _height(row: int) -> str:
    value = 1 - row / (HEIGHT - 1)
    return f"{value:g}" if row % 4 == 0 else ""


def _marks(placed: Mapping[str, int]) -> str:
    """One that stands where another does moves to the right."""
    line = [" "] * (WIDTH + len(placed))
    for name, column in placed.items():
        free = next(place for place in range(column, len(line)) if line[place] == " ")
        line[free] = name
    return "".join(line)


def _ticks(last: float) -> str:
    """Powers of ten, and the last step at the end."""
    line = list(f"{last:,.0f}".rjust(WIDTH))
    taken: Sequence[int] = [i for i, c in enumerate(line) if c != " "]
    for power in range(int(np.log10(max(last, 1))) + 1):
        text, column = f"{10**power:,}", _column(10.0**power, last)
        span = range(max(column - 1, 0), column + len(text) + 1)
        if span.stop < WIDTH and not set(span) & set(taken):
            line[column : column + len(text)] = text
            taken = [*taken, *span]
    return "".join(line)
