"""Tables of crossing times: a row a run, the steps at which training and validation accuracy crossed their threshold.

Such a table says nothing of plateaus, collapses or unfinished rises, so only Liu et al.'s rule can be applied to it.
"Never" is written in it as a number at or above budget - 1 (their published tables have 99999), as nothing, or below 0.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from results.classify.other_names import liu_rule
from results.classify.sentences import steps
from results.classify.settings import CLASSIFIER_VERSION, ClassifierSettings
from results.foreign.errors import ForeignError
from results.foreign.names import CONFIG, RUNS, crossing_split, meaning_of, plain
from results.foreign.shapes import Understanding, numbers

TARGETS = {"train": "t_train", "val": "t_val"}
SUSPICIOUS = 0.05
"""A largest value that this share of the crossings has is likely to mean "never"."""


def crossing_columns(frame: pd.DataFrame, given: Mapping[str, str]) -> dict[str, str] | None:
    """t_train and t_val by column, if this is such a table: both are there, and no metric is."""
    if set(TARGETS.values()) <= set(given):
        return {target: given[target] for target in TARGETS.values()}
    if any(meaning_of(name) and crossing_split(name) is None for name in frame.columns):
        return None
    found: dict[str, list[str]] = {}
    for name in frame.columns:
        if (split := crossing_split(name)) and plain(name) not in CONFIG:
            found.setdefault(TARGETS[split], []).append(name)
    found = {target: names for target, names in found.items() if target not in given}
    for target, names in found.items():
        if len(names) > 1:
            raise ForeignError(
                f"{target} could be any of {', '.join(names)}", hint=f"Say which: --map {target}={names[0]}"
            )
    chosen = {target: names[0] for target, names in found.items()}
    chosen |= {target: name for target, name in given.items() if target in TARGETS.values()}
    return chosen if set(chosen) == set(TARGETS.values()) else None


def label_crossings(
    frame: pd.DataFrame,
    given: Mapping[str, str],
    settings: ClassifierSettings,
    budget: float | None,
    understood: Understanding,
) -> pd.DataFrame:
    """run_id, liu_phase, t_train, t_val (NaN: never), delay, budget, why, version, thresholds; then other columns."""
    columns = crossing_columns(frame, given)
    assert columns is not None, "only tables of crossing times come here"
    understood.shape, understood.columns = "crossing times", dict(columns)
    times = {target: numbers(frame[name], name).to_numpy() for target, name in columns.items()}
    budgets = _budgets(frame, given, settings, budget, understood)
    _remark_on_never(times, budgets, understood)
    t_train, t_val = (np.where((t >= budgets - 1) | (t < 0), np.nan, t) for t in (times["t_train"], times["t_val"]))
    run = given.get("run_id") or next((c for c in frame.columns if plain(c) in RUNS), None)
    others = frame.drop(columns=[*columns.values(), *([run] if run else [])])
    named = others.rename(columns={name: CONFIG.get(plain(name), name) for name in others.columns})
    labels = pd.DataFrame(
        {
            "run_id": frame[run].astype(str) if run else [f"row {i + 1}" for i in range(len(frame))],
            "liu_phase": liu_rule(t_train, t_val, settings.delta_steps),
            "t_train": t_train,
            "t_val": t_val,
            "delay": t_val - t_train,
            "budget": budgets,
            "why": [_why(*row, settings.delta_steps) for row in zip(t_train, t_val, budgets, strict=True)],
            "classifier_version": CLASSIFIER_VERSION,
            "thresholds": settings.model_dump_json(),
        }
    )
    kept = [name for name in named.columns if name not in labels.columns]
    return pd.concat([labels, named[kept]], axis=1)


def _budgets(
    frame: pd.DataFrame,
    given: Mapping[str, str],
    settings: ClassifierSettings,
    budget: float | None,
    understood: Understanding,
) -> np.ndarray:
    """The column, else the option, else Liu et al.'s horizon; never more than that horizon."""
    column = given.get("steps") or next((c for c in frame.columns if CONFIG.get(plain(c)) == "steps"), None)
    if column:
        found = numbers(frame[column], column).to_numpy()
    elif budget is not None:
        found = np.full(len(frame), float(budget))
    else:
        found = np.full(len(frame), settings.liu_horizon_steps)
        understood.remarks.append(
            f"no budget given: Liu et al.'s, {steps(settings.liu_horizon_steps)} steps, is taken (or: --budget STEPS)"
        )
    return np.asarray(np.minimum(found, settings.liu_horizon_steps))


def _remark_on_never(times: Mapping[str, np.ndarray], budgets: np.ndarray, understood: Understanding) -> None:
    values = np.concatenate(list(times.values()))
    known = values[np.isfinite(values)]
    if not len(known):
        return
    largest = known.max()
    n_never = int(np.count_nonzero(known >= np.concatenate([budgets] * 2)[np.isfinite(values)] - 1))
    if n_never:
        understood.remarks.append(f"{n_never:,} crossings at or above budget - 1 (up to {steps(largest)}) mean never")
    elif np.mean(known == largest) >= SUSPICIOUS and np.count_nonzero(known == largest) > 2:
        understood.remarks.append(
            f"{np.count_nonzero(known == largest):,} crossings are {steps(largest)}, the largest value: if that means "
            f"never, give --budget {largest + 1:.0f}"
        )


def _why(t_train: float, t_val: float, budget: float, delta: float) -> str:
    told = [
        f"{name} accuracy {'never crossed its threshold' if t != t else f'crossed its threshold at step {steps(t)}'}"
        for name, t in (("training", t_train), ("validation", t_val))
    ]
    delay = t_val - t_train
    side = "fewer than" if delay < delta else "at least"
    end = "" if delay != delay else f": a delay of {steps(delay)}, {side} {steps(delta)}"
    sentence = f"{told[0]} and {told[1]} within {steps(budget)} steps{end}."
    return sentence[0].upper() + sentence[1:]
