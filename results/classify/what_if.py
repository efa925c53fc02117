"""What would change a label: the smallest move of each knob that does, and the label at every shorter budget.

Computed by labelling again. A knob is moved in growing steps until the label is another one, then the step before and
that one are halved between: a label that changes and changes back within one step is missed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from results.classify.batch import Rows
from results.classify.columns import VARIES_AMONG_NEIGHBOURS
from results.classify.settings import ClassifierSettings, movable_knobs, moved
from results.classify.table import SortedRuns, label_sorted, read_runs

REACH = (0.03, 0.1, 0.25, 0.5)
"""Shares by which a knob is moved, down and up."""
HALVINGS = 5
MOST_CUTS = 400

PhaseUnder = Callable[[ClassifierSettings], str]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A knob's move that gives another label."""

    knob: str
    before: Any
    after: Any
    share: float
    """Signed; 0 for a switch."""
    phase: str


def smallest_changes(sorted_runs: SortedRuns, run_id: str, settings: ClassifierSettings) -> list[Change]:
    """For each knob that changes the label when it is moved by half of its value or less, the smallest such move found,
    smallest first; switches last."""
    run = list(sorted_runs.config["run_id"]).index(run_id)
    phase_under = _phase_under(sorted_runs, run)
    now = phase_under(settings)
    found = [change for name in movable_knobs(settings) for change in _moves(name, settings, phase_under, now)]
    switched = settings.model_copy(update={"require_plateau": not settings.require_plateau})
    if (phase := phase_under(switched)) != now:
        before, after = settings.require_plateau, switched.require_plateau
        found.append(Change(knob="require_plateau", before=before, after=after, share=0.0, phase=phase))
    return sorted(found, key=lambda change: abs(change.share) or np.inf)


def _phase_under(sorted_runs: SortedRuns, run: int) -> PhaseUnder:
    """Neighbours are labelled only where they could have a say: if the run alone reads memorization."""
    alone = one_run(sorted_runs, run)
    group = replace(sorted_runs, config=sorted_runs.config.drop(columns=_idle(sorted_runs.config)))

    def phase_under(settings: ClassifierSettings) -> str:
        phase = str(read_runs(alone, settings).verdict.phase[0])
        if phase != "memorization" or len(sorted_runs.config) == 1:
            return phase
        return str(label_sorted(group, settings)["phase"].iloc[run])

    return phase_under


def _idle(config: pd.DataFrame) -> list[str]:
    """Columns that neither tell neighbours apart nor say anything of a trace; without them labelling is faster."""
    own = ("run_id", "outcome", *VARIES_AMONG_NEIGHBOURS, "steps", "modulus", "label_noise", "batch_size")
    return [name for name in config.columns if name not in own and config[name].nunique(dropna=False) == 1]


def _moves(name: str, settings: ClassifierSettings, phase_under: PhaseUnder, now: str) -> Iterator[Change]:
    """At most one: the smaller of down and up."""
    found = [change for sign in (-1, 1) if (change := _smallest(name, sign, settings, phase_under, now))]
    yield from sorted(found, key=lambda change: abs(change.share))[:1]


def _smallest(name: str, sign: int, settings: ClassifierSettings, phase_under: PhaseUnder, now: str) -> Change | None:
    low = 0.0
    for share in REACH:
        if _under(name, sign * share, settings, phase_under, now) != now:
            return _refined(name, sign, low, share, settings, phase_under, now)
        low = share
    return None


def _refined(
    name: str, sign: int, low: float, high: float, settings: ClassifierSettings, phase_under: PhaseUnder, now: str
) -> Change:
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        changed = _under(name, sign * middle, settings, phase_under, now) != now
        low, high = (low, middle) if changed else (middle, high)
    after = moved(settings, name, sign * high)
    assert after is not None
    phase = phase_under(after)
    before, value = _value(settings, name), _value(after, name)
    return Change(knob=name, before=before, after=value, share=value / before - 1, phase=phase)


def _under(name: str, share: float, settings: ClassifierSettings, phase_under: PhaseUnder, now: str) -> str:
    """The phase with the knob moved; as it is if the knob can't be moved there."""
    changed = moved(settings, name, share)
    return now if changed is None else phase_under(changed)


def _value(settings: ClassifierSettings, name: str) -> Any:
    return settings.validation_level if name == "theta_val" else getattr(settings, name)


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Budgets under which the run, alone, would have this label."""

    first_step: float
    phase: str


def by_budget(sorted_runs: SortedRuns, run_id: str, settings: ClassifierSettings) -> list[Stretch]:
    """The label by pass 1 if the run had been given each shorter budget, ending at a row; neighbours of one label are
    joined. Empty for a run with fewer than two rows."""
    run = list(sorted_runs.config["run_id"]).index(run_id)
    start, stop = sorted_runs.rows.starts[run : run + 2]
    n_rows = int(stop - start)
    ends = np.unique(np.linspace(1, n_rows, min(n_rows, MOST_CUTS)).round().astype(int))[1:]
    if not len(ends):
        return []
    phases = [str(phase) for phase in read_runs(_cut(sorted_runs, run, ends), settings).verdict.phase]
    last_steps = sorted_runs.rows.step[start + ends - 1]
    change = np.append(True, np.array(phases[1:], object) != np.array(phases[:-1], object))
    return [Stretch(first_step=float(last_steps[i]), phase=phases[i]) for i in np.flatnonzero(change)]


def one_run(sorted_runs: SortedRuns, run: int) -> SortedRuns:
    """The same, for one run alone."""
    rows, (start, stop) = sorted_runs.rows, sorted_runs.rows.starts[run : run + 2]
    part = slice(int(start), int(stop))
    own = Rows(
        run_ids=rows.run_ids[[run]],
        starts=np.array([0, stop - start]),
        positions=rows.positions[part],
        step=rows.step[part],
        metrics={name: values[part] for name, values in rows.metrics.items()},
    )
    return replace(sorted_runs, rows=own, config=sorted_runs.config.iloc[[run]].reset_index(drop=True))


def _cut(sorted_runs: SortedRuns, run: int, ends: np.ndarray) -> SortedRuns:
    """The run once for each number of rows, as if its budget had ended there."""
    rows, start = sorted_runs.rows, sorted_runs.rows.starts[run]
    take = np.concatenate([np.arange(start, start + end) for end in ends])
    last_step = rows.step[start + ends - 1]
    config = pd.DataFrame([sorted_runs.config.iloc[run].to_dict()] * len(ends)).assign(
        run_id=[f"{i:06d}" for i in range(len(ends))], steps=last_step, outcome="ended"
    )
    cut = Rows(
        run_ids=config["run_id"].to_numpy(dtype=object),
        starts=np.concatenate([[0], np.cumsum(ends)]),
        positions=np.arange(len(take)),
        step=rows.step[take],
        metrics={name: values[take] for name, values in rows.metrics.items()},
    )
    return replace(sorted_runs, rows=cut, config=config)
