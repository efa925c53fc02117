"""One run under the magnifier: its key moments, the rule that named it, and the rules that came nearest to naming it
something else.

Nothing is decided here. The rules and the criteria are those of pass 1, asked again for one run.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from results.classify.confidence import HORIZON, QUESTIONS
from results.classify.criteria import crossing, measured_of, question_of
from results.classify.pass1 import ACCURACY_UNIT, RULE_NAMES, RULES, Rule, criteria, read_signs
from results.classify.pass2 import standing
from results.classify.sentences import acc, steps
from results.classify.settings import ClassifierSettings
from results.classify.table import Reading, SortedRuns, label_sorted, read_runs

FAR = 10.0
"""Distance, in units that make 1 sure, of what cannot be measured; and the most that counts."""
SURENESS = ("distance", "doubt", "read", "outlook")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A criterion and how the run meets it."""

    question: str
    measured: str
    holds: bool
    distance: float
    """How far the number is from its threshold, 1 being sure; 0 for what has no number."""


@dataclass(frozen=True, kw_only=True)
class NotThis:
    """Why the run isn't called by another phase."""

    phase: str
    rule: str
    failed: tuple[Answer, ...]
    """Criteria of that rule that the run does not meet."""
    came_first: tuple[Answer, ...]
    """Criteria that hold and would have to fail for the rule to have its turn, where others come first: of each such
    rule the one nearest to failing."""

    @property
    def distance(self) -> float:
        return sum(answer.distance for answer in (*self.failed, *self.came_first))


@dataclass(frozen=True, kw_only=True)
class Examination:
    """All that is known of one label."""

    label: Mapping[str, Any]
    """The run's row of the labels table."""
    rule: str
    """Name of the rule of pass 1 that held."""
    answers: tuple[Answer, ...]
    """Its criteria."""
    others: tuple[NotThis, ...]
    """One for each other phase, nearest first."""
    numbers: Mapping[str, float]
    sureness: Mapping[str, Any]
    """What the confidence is made of: distance, doubt, read and outlook of results.classify.confidence."""
    among_neighbours: str
    settings: ClassifierSettings


def examine(sorted_runs: SortedRuns, run_id: str, settings: ClassifierSettings) -> Examination:
    """`sorted_runs` holds the run and, for pass 2, its neighbours. Raises KeyError if it does not hold the run."""
    labels = label_sorted(sorted_runs, settings)
    place = {other: i for i, other in enumerate(labels["run_id"])}
    run = place[run_id]
    reading = read_runs(sorted_runs, settings)
    numbers = {name: float(values[run]) for name, values in reading.numbers(settings).items()}
    rule = RULES[RULE_NAMES.index(reading.verdict.rule[run])]
    asked = _ask(reading, run, numbers, settings)
    label: dict[str, Any] = {str(name): value for name, value in labels.iloc[run].items()}
    return Examination(
        label=label,
        rule=rule.name,
        answers=tuple(asked[need] for need in rule.needs),
        others=tuple(_others(rule, asked)),
        numbers=numbers,
        sureness={name: getattr(reading.verdict.sureness, name)[run] for name in SURENESS},
        among_neighbours=standing(labels, run_id, settings),
        settings=settings,
    )


def key_moments(examination: Examination) -> list[tuple[str, str]]:
    """What happened when: name and value, ready to be printed."""
    n, s = examination.numbers, examination.settings
    level = n["theta_train"] if n["theta_train"] == n["theta_train"] else s.theta
    moments = [
        (f"training accuracy holds {acc(level)}", _when(n, "t_train")),
        (f"validation accuracy holds {s.validation_level:g}", _when(n, "t_val")),
    ]
    if n["t_onset"] == n["t_onset"]:
        onset = f"after step {steps(n['t_onset'])}, with training accuracy at {acc(n['onset_train_accuracy'])}"
        moments.append(("validation leaves chance", onset))
    moments += [
        ("most that validation holds", acc(n["peak_val_accuracy"])),
        ("ends at", f"training {acc(n['final_train_accuracy'])}, validation {acc(n['final_val_accuracy'])}"),
    ]
    if n["norm_change"] == n["norm_change"]:
        moments.append(("parameter norm during the rise", f"{n['norm_change']:+.0%}"))
    return [(name, value) for name, value in moments if value != "nan"]


def how_sure(examination: Examination) -> list[str]:
    """What the confidence is made of, in words; nothing for a run that is named by what it lacks, or diverged."""
    label, sure = examination.label, examination.sureness
    if label["phase"] in ("undecided", "diverged"):
        return []
    doubt = f"; least certain is {QUESTIONS[sure['doubt']]}" if sure["doubt"] else ""
    if sure["doubt"] not in ("", "delay"):
        doubt += f", {sure['distance']:.1f} standard errors of the trace's own noise from its threshold"
    outlook = f"nothing else comes within {HORIZON:g} times the budget: {sure['outlook']:.2f}"
    return [
        f"the rows were read rightly: {sure['read']:.2f}{doubt}",
        outlook if sure["outlook"] < 1 else "what was seen stays so",
        f"both, as it held in families of runs that this was not fitted to: {label['confidence']:.2f}",
    ]


def _when(n: Mapping[str, float], name: str) -> str:
    return "never" if n[name] != n[name] else crossing(n[f"{name}_lo"], n[f"{name}_hi"])


def _ask(reading: Reading, run: int, numbers: Mapping[str, float], settings: ClassifierSettings) -> dict[str, Answer]:
    """Every criterion, by name."""
    with np.errstate(invalid="ignore", divide="ignore"):
        signs = read_signs(reading.evidence, reading.facts, settings)
        met = criteria(reading.evidence, signs, reading.facts, reading.n_measured, settings)
    e = reading.evidence
    distances = {
        "risen": signs.risen,
        "fallen": signs.fallen,
        "holds_training": (e.final_train_accuracy - e.theta_train + settings.slack) / ACCURACY_UNIT,
        "declined": signs.declined,
        "generalized": (e.peak_val_accuracy - settings.validation_level) / ACCURACY_UNIT,
        "fitted": (e.final_train_accuracy - settings.theta) / ACCURACY_UNIT,
        "not_fitted": (e.final_train_accuracy - settings.theta) / ACCURACY_UNIT,
        "together": signs.progression,
        "late": signs.late,
        "above_chance": signs.above,
        "late_rise": signs.late_rise,
        "val_arriving": signs.arriving,
        "val_unfinished": signs.steady_val,
        "unfinished": np.fmax(signs.creeping, signs.fitting),
    }
    return {
        name: Answer(
            question=question_of(name, numbers, settings),
            measured=measured_of(name, numbers, settings),
            holds=bool(holds[run]),
            distance=float(np.clip(np.nan_to_num(abs(distances[name][run]), nan=FAR), 0, FAR))
            if name in distances
            else FAR,
        )
        for name, holds in met.items()
    }


def _others(rule: Rule, asked: Mapping[str, Answer]) -> Iterator[NotThis]:
    """For each other phase its nearest rule."""
    nearest: dict[str, NotThis] = {}
    for i, other in enumerate(RULES):
        holding = [earlier for earlier in RULES[:i] if all(asked[need].holds for need in earlier.needs)]
        obstacles = [_nearest_to_failing(earlier, other, asked) for earlier in holding]
        if other.phase == rule.phase or None in obstacles:
            continue
        found = NotThis(
            phase=other.phase,
            rule=other.name,
            failed=tuple(asked[need] for need in other.needs if not asked[need].holds),
            came_first=tuple(asked[name] for name in dict.fromkeys(obstacles) if name),
        )
        if other.phase not in nearest or found.distance < nearest[other.phase].distance:
            nearest[other.phase] = found
    yield from sorted(nearest.values(), key=lambda found: found.distance)


def _nearest_to_failing(earlier: Rule, other: Rule, asked: Mapping[str, Answer]) -> str | None:
    """None if whatever lets `other` hold lets `earlier` hold too."""
    free = [need for need in earlier.needs if need not in other.needs]
    return min(free, key=lambda need: asked[need].distance, default=None)


def neighbours_of(runs: pd.DataFrame, run_id: str) -> list[str]:
    """run_ids of the runs that pass 2 compares this one with, itself among them. `runs` has the config columns."""
    from results.classify.pass2 import groups

    if "train_size" not in runs.columns:
        return [run_id]
    run_ids = runs["run_id"].to_numpy(dtype=object)
    return next([str(run_ids[row]) for row in rows] for rows in groups(runs) if run_id in run_ids[rows])
