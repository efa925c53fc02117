"""A run's label, explained on one page of text: what happened when, why this label and not its neighbour, and what
would change it. The terminal and the documentation show the same page."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from results.classify.examine import Answer, Examination, NotThis, how_sure, key_moments
from results.classify.sentences import steps
from results.classify.table import SortedRuns
from results.classify.what_if import Change, Stretch
from results.text_plot import text_plot

N_OTHERS = 3
"""Phases that the run nearly had."""
N_CHANGES = 4
N_STRETCHES = 6
LINE = 100
"""Characters of a line."""


def run_page(
    examination: Examination,
    sorted_runs: SortedRuns,
    changes: Sequence[Change],
    stretches: Sequence[Stretch],
    shown: Mapping[str, Any],
) -> str:
    """`shown` are the hyperparameters that tell the run from the others."""
    label = examination.label
    parts = [
        f"run {label['run_id']}" + (f"  ({', '.join(f'{k} {v}' for k, v in shown.items())})" if shown else ""),
        _verdict(label),
        run_plot(sorted_runs, examination),
        _section("Key moments", [f"{name}: {value}" for name, value in key_moments(examination)]),
        _section(f"Why {label['phase']}", _why(examination)),
        _section("Why not another", [line for other in examination.others[:N_OTHERS] for line in _not(other)]),
        _section("How sure", how_sure(examination)),
        _section("What would change it", _changes(changes, stretches)),
        _section("Among runs with more or less data", [examination.among_neighbours]),
        f"Classifier version {label['classifier_version']}.",
    ]
    return "\n\n".join(part for part in parts if part)


def run_plot(sorted_runs: SortedRuns, examination: Examination) -> str:
    """Both accuracies over the steps, with the crossings and the onset below; empty without rows."""
    run = list(sorted_runs.config["run_id"]).index(examination.label["run_id"])
    part = slice(*sorted_runs.rows.starts[run : run + 2])
    step, metrics = sorted_runs.rows.step[part], sorted_runs.rows.metrics
    if len(step) < 2:
        return ""
    n = examination.numbers
    marks = {"T": n["t_train"], "^": n["t_onset"], "V": n["t_val"]}
    curves = {".": metrics["train_accuracy"][part], "o": metrics["val_accuracy"][part]}
    named = {"T": "T training holds its level", "^": "^ validation leaves chance", "V": "V validation holds its level"}
    legend = [". training accuracy", "o validation accuracy", *(named[m] for m, at in marks.items() if np.isfinite(at))]
    lines = [", ".join(legend[:2]), ", ".join(legend[2:])]
    return "\n".join([text_plot(step, curves, marks), "", *(" " * 6 + line for line in lines if line)])


def _verdict(label: Mapping[str, Any]) -> str:
    kind = f", kind {label['ungrokking_kind']}" if label["ungrokking_kind"] else ""
    sure = "0, for it claims nothing" if label["phase"] == "undecided" else f"{label['confidence']:.2f}"
    head = (
        f"{label['phase']}{kind}; confidence {sure}; decided by "
        f"{'its neighbours (pass 2)' if label['pass'] == 2 else 'the run alone (pass 1)'}"
    )
    names = f"in Liu's words {label['liu_phase']}, in Huang's {label['huang_dynamic']}"
    warning = f"warnings: {label['warning'].replace(',', ', ')}" if label["warning"] else ""
    return "\n".join(textwrap.fill(line, LINE) for line in (head, names, warning, label["why"]) if line)


def _why(examination: Examination) -> list[str]:
    lines = [_answer(answer) for answer in examination.answers]
    if examination.label["pass"] == 2:
        lines.append("yes below D50: see below")
    return lines or ["No other rule holds."]


def _not(other: NotThis) -> list[str]:
    """What was said under "why" is not said again."""
    return [
        f"{other.phase}:",
        *(f"  {_answer(answer)}" for answer in other.failed),
        *(f"  its turn would come only if this failed: {answer.question}" for answer in other.came_first),
    ]


def _answer(answer: Answer) -> str:
    return f"{'yes' if answer.holds else 'no '} {answer.question}: {answer.measured}"


def _changes(changes: Sequence[Change], stretches: Sequence[Stretch]) -> list[str]:
    lines = [_change(change) for change in changes[:N_CHANGES]]
    lines = lines or ["No knob does, moved alone by up to half of its value."]
    if len(stretches) > 1:
        told = [f"{stretch.phase} from {steps(stretch.first_step)}" for stretch in stretches[-N_STRETCHES:]]
        earlier = "... " if len(stretches) > N_STRETCHES else ""
        lines.append(f"The budget, had it ended sooner (the run alone): {earlier}{', '.join(told)}.")
    elif stretches:
        lines.append(f"No shorter budget: {stretches[0].phase} from {steps(stretches[0].first_step)} on.")
    return [*lines, "What a longer budget would show is not in the trace."]


def _change(change: Change) -> str:
    share = f" ({change.share:+.1%})" if change.share else ""
    before, after = (str(v).lower() if isinstance(v, bool) else f"{v:,.4g}" for v in (change.before, change.after))
    return f"classifier.{change.knob} {before} -> {after}{share}: {change.phase}"


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(_wrapped(f"  {line}") for line in lines)]) if lines else ""


def _wrapped(line: str) -> str:
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.fill(line, LINE, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
