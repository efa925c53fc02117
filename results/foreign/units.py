"""What the numbers are: percentages or shares, logged together or not, losses where there is no accuracy."""

import numpy as np
import pandas as pd

from results.foreign.errors import ForeignError
from results.foreign.names import says_error, says_percent
from results.foreign.shapes import Understanding

ACCURACIES = ("train_accuracy", "val_accuracy")
LOSSES = ("train_loss", "val_loss")
ROUNDING = 1e-6
CLEARLY_PERCENT = 10
"""What goes beyond this is no share that was computed wrongly."""
NEAR_GUESS = 3
"""A run starts at chance, give or take this factor; the two units lie a hundred apart."""
LOSS_AGREEMENT = 0.84
"""Labels read off losses are no surer than this: the share of 352 runs (double_descent_small) that losses give the same
label as accuracies (LOG.md). exp(-loss), the other way to a score, gave .75."""


def as_shares(long: pd.DataFrame, classes: float | None, understood: Understanding) -> pd.DataFrame:
    """Accuracies between 0 and 1, whether logged as shares or as percentages.

    A column that exceeds 1 holds percentages. Beside it one that does not may hold either: percentages that never
    left chance among many classes, or shares. Its name may say, or the guess that a run starts with.

    Raises ForeignError for what is neither, and where nothing tells.
    """
    present = [name for name in ACCURACIES if _has_numbers(long, name)]
    highest = {name: float(long[name].max()) for name in present}
    lowest = {name: float(long[name].min()) for name in present}
    for name in present:
        if lowest[name] < -ROUNDING or highest[name] > 100 + 100 * ROUNDING:
            value = lowest[name] if lowest[name] < 0 else highest[name]
            column = understood.columns.get(name, name)
            raise ForeignError(
                f"{column!r} was taken for {name.replace('_', ' ')}, but holds {value:g}",
                hint=f"Accuracies are shares (0 to 1) or percentages (0 to 100). Say which column: --map {name}=COLUMN",
            )
    high = [name for name in present if highest[name] > 1 + ROUNDING]
    if not high:
        return long
    shares = [name for name in present if name not in high and _are_shares(long, name, high[0], classes, understood)]
    told = {name: f"{understood.columns.get(name, name)} up to {highest[name]:g}" for name in present}
    percent = ", ".join(told[name] for name in present if name not in shares)
    beside = f"; {told[shares[0]]} are shares" if shares else ""
    understood.remarks.append(f"accuracies are percentages ({percent}{beside})")
    return long.assign(**{name: long[name] / 100 for name in present if name not in shares})


def _are_shares(long: pd.DataFrame, name: str, other: str, classes: float | None, understood: Understanding) -> bool:
    """Whether `name`, which never exceeds 1, holds shares although `other` does not.

    Percentages if they start at chance, and above `other` if they were shares; shares if those start at chance.
    Raises ForeignError if in doubt.
    """
    column, high = (understood.columns.get(which, which) for which in (name, other))
    highest, most = float(long[name].max()), float(long[other].max())
    if highest == 0 or says_percent(column):
        return False
    start, beside = long.sort_values("step").groupby("run_id")[[name, other]].first().median()
    as_share, as_percent = (1 - s if says_error(column) else s for s in (start, start / 100))
    others = 1 - beside / 100 if says_error(high) else beside / 100
    if classes and 1 / NEAR_GUESS <= as_percent * classes <= NEAR_GUESS and others < as_share:
        return False
    if classes and 1 / NEAR_GUESS <= as_share * classes <= NEAR_GUESS and most > CLEARLY_PERCENT:
        return True
    raise ForeignError(
        f"{column!r} never exceeds {highest:g}, as shares do, and {high!r} goes up to {most:g}, as percentages do",
        hint="Give both in one unit, or write % into the name of a column that holds percentages."
        + ("" if classes else " If runs were logged from their start, --classes K may tell."),
    )


def right_for_wrong(long: pd.DataFrame, understood: Understanding) -> pd.DataFrame:
    """Accuracies where the columns taken for them hold errors, as shares: 1 - error."""
    wrong = {name: understood.columns[name] for name in ACCURACIES if says_error(understood.columns.get(name, ""))}
    if wrong:
        told = ", ".join(f"1 - {column} is {name.replace('_', ' ')}" for name, column in wrong.items())
        understood.remarks.append(f"errors are the share of wrong answers: {told}")
    return long.assign(**{name: 1 - long[name] for name in wrong})


def side_by_side(long: pd.DataFrame, understood: Understanding) -> pd.DataFrame:
    """Where training and validation were logged at different steps, the last value of the one logged more often at
    each row of the other."""
    kind = "loss" if _rests_on_losses(long) else "accuracy"
    pair = [f"train_{kind}", f"val_{kind}"]
    if not all(name in long for name in pair):
        return long
    runs = pd.Series(pd.factorize(long["run_id"])[0], index=long.index)  # in the order they come in; -1 is none
    known = long[pair].notna()
    n_rows = known.assign(both=known.all(axis=1)).groupby(runs).transform("sum")
    is_apart = (n_rows["both"] * 2 < n_rows[pair].min(axis=1)) & (runs >= 0)
    if is_apart.any():
        is_rare = known[pair[1]].where(n_rows[pair[0]] >= n_rows[pair[1]], known[pair[0]])
        long = pd.concat([long[~is_apart], _joined(long[is_apart], runs, is_rare, pair)])
        understood.remarks.append(
            f"training and validation were logged at different steps ({runs[is_apart].nunique()} runs): "
            "the latest value of each counts"
        )
    order = runs[long.index].sort_values(kind="stable")
    return long.loc[order.index[order >= 0]].reset_index(drop=True) if order.max() >= 0 else long


def _joined(long: pd.DataFrame, runs: pd.Series, is_rare: pd.Series, pair: list[str]) -> pd.DataFrame:
    """Rows of what was logged less often, with the last value of the metrics beside it up to there."""
    long = long.sort_values("step", kind="stable")
    names = [name for name in (*pair, "param_norm") if name in long]
    filled = without_gaps(long[names], runs[long.index])
    return long.assign(**filled)[is_rare[long.index]]


def without_gaps(columns: pd.DataFrame, runs: pd.Series) -> pd.DataFrame:
    """Each gap holds the last value of its run before it, or else the first one behind it."""
    filled = columns.groupby(runs, sort=False).ffill().groupby(runs, sort=False).bfill()
    return filled.where(filled.notna(), columns)  # None stays None


def _rests_on_losses(long: pd.DataFrame) -> bool:
    """Whether an accuracy has no number at all, and both losses have some."""
    accuracies, losses = ([_has_numbers(long, name) for name in names] for names in (ACCURACIES, LOSSES))
    return not all(accuracies) and all(losses)


def _has_numbers(long: pd.DataFrame, name: str) -> bool:
    return name in long and bool(long[name].notna().any())


def scores_for_losses(long: pd.DataFrame, classes: float | None, understood: Understanding) -> pd.DataFrame:
    """Adds accuracies where one of them has no number, but both losses have: 1 - loss / ln K rescaled so that a uniform
    guess over K classes is at chance and no loss is all right. Cross entropy only.

    Raises ForeignError if K is not known.
    """
    if not _rests_on_losses(long):
        if any(_has_numbers(long, name) for name in ACCURACIES):
            return long
        raise ForeignError("no row has a number for an accuracy, and there are no losses to go by")
    empty = [name for name in ACCURACIES if not _has_numbers(long, name)]
    named = " and ".join(understood.columns.get(name, name.replace("_", " ")) for name in empty)
    are_there = any(name in long for name in ACCURACIES)
    lack = f"no row has a number for {named}" if are_there else "there are losses but no accuracies"
    if classes is None:
        raise ForeignError(
            f"{lack}, and a loss says little without that of a uniform guess",
            hint="Give the number of classes, --classes K (a guess then has the loss ln K), or "
            "the accuracies: --map train_accuracy=COLUMN,val_accuracy=COLUMN",
        )
    if are_there:
        understood.remarks.append(f"{lack}: accuracies are left aside, losses count")
    guess, chance = np.log(classes), 1 / classes
    understood.remarks.append(
        f"read off losses: a uniform guess over {classes:g} classes has the loss {guess:.3g}, which counts as accuracy "
        f"{chance:.3g}, and no loss as 1"
    )
    start = long.sort_values("step").groupby("run_id")["train_loss"].first().median()
    if not 0.5 * guess <= start <= 4 * guess:
        understood.remarks.append(
            f"the first training losses are about {start:.3g}: is {classes:g} the number of classes, and the loss a "
            "cross entropy in nats?"
        )
    scores = {
        f"{split}_accuracy": chance + (1 - chance) * (1 - long[f"{split}_loss"] / guess).clip(0, 1)
        for split in ("train", "val")
    }
    return long.assign(**scores)
