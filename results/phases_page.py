"""docs/phases.md: every phase, rule and knob, and runs that were trained, explained as `grokctl explain` does.

Nothing is written here that the classifier does not say itself, so the page can't fall behind it; a test holds the file
to this module.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from results.classify.confidence import HORIZON
from results.classify.criteria import question_of
from results.classify.examine import examine
from results.classify.explain import PHASES, knobs_of
from results.classify.pass1 import RULES
from results.classify.settings import CLASSIFIER_VERSION, ClassifierSettings
from results.classify.table import SortedRuns, label_runs, sort_runs
from results.classify.warning_texts import WARNINGS
from results.classify.what_if import by_budget, smallest_changes
from results.run_page import run_page, run_plot

OPENING = """\
# Phases

What each label means, how it is decided, and what it looks like. Written by `python docs/make_phases.py` from the
classifier itself; `grokctl explain PHASE` prints the same definitions under any thresholds, and
`grokctl explain DIR RUN_ID` explains a run of yours as the ones below are explained. Classifier version {version}.

Accuracies are compared with chance through g, accuracy rescaled so that chance is 0 and everything right is 1. A level
is *held* from a row on if, by medians of three rows, {dwell_share:.0%} of the rows up to {dwell_factor:g} times its
step, and of {dwell_rows} rows at least, lie no more than {slack:g} below it, and {dwell_majority:.0%} of those up to
{majority_factor:g} times its step, and of {majority_rows} at least, are at the level itself. A crossing is known to the
interval between two rows; its step is where the straight line of log odds between them meets the level.

The *confidence* of a label is the probability that the same run, logged without noise, densely and for {horizon:g}
times as long, has the same label. Two things are asked of the trace: how far each quantity that decided lies from its
threshold, in standard errors of the trace's own noise (what a row differs from the middle of its neighbours by); and,
where the phase is about what was not seen, where validation (and training, where nothing is fitted yet) ends if it goes
on as it went over the last half of the steps. How often either went well is fitted, and so is how much less sure one
can be of runs of another kind ([report](evidence/proof/report.md)). Pass 2 adds what the interval of D50 covers. That
of `undecided` is 0, for it claims nothing.
"""

EXAMPLES = """\
## Examples

Runs that were trained for [`double_descent_small`](evidence/double_descent_small) (a transformer on a + b mod 31),
[`quickstart`](evidence/quickstart) (Liu et al.'s toy), from the thinned traces kept there: the first of each phase
whose label the thinning leaves as it was. What these do not show is shown by one of the [fresh runs of the
proof](evidence/proof/report.md). The runs are shown alone, so none of them is `ungrokking` for want of data.
"""

SOURCES = (("double_descent_small", 31), ("quickstart", 0))
"""Evidence and modulus (0: the toy's sums)."""
FULL_EXAMPLE = "grokking"
"""The phase whose example shows the whole page."""


def phases_page(evidence: Path) -> str:
    """The page as Markdown. `evidence` is the folder docs/evidence."""
    settings = ClassifierSettings()
    opening = OPENING.format(version=CLASSIFIER_VERSION, horizon=HORIZON, **settings.model_dump(exclude={"theta_val"}))
    parts = [opening, *_phases(settings), _rules(settings), _warnings(settings), _knobs(settings)]
    parts += [EXAMPLES, *_examples(evidence, settings)]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _phases(settings: ClassifierSettings) -> Iterator[str]:
    knobs = knobs_of(settings)
    for name, phase in PHASES.items():
        unlike = [f"- Unlike `{other}`: {text.format(**knobs)}" for other, text in phase.differs_from.items()]
        sources = "; ".join(phase.sources)
        lines = [f"## {name}", "", phase.definition, "", phase.decided_by.format(**knobs), "", *unlike, ""]
        yield "\n".join([*lines, f"Source: {sources}."])


def _rules(settings: ClassifierSettings) -> str:
    """The rules in order, each with its criteria as questions under the usual thresholds."""
    numbers = {
        "theta_train": settings.theta,
        "above_level": settings.above_chance,
        "declined_level": settings.validation_level - settings.slack,
        "late_gain_level": settings.semi_gain,
    }
    lines = [
        "## The rules, in order",
        "",
        "The first that holds names the phase; a run that diverged is `diverged` before all of them. After this first "
        "pass a second one may turn `memorization` into `ungrokking`, from neighbours with more data.",
        "",
        "| rule | phase | holds if |",
        "|---|---|---|",
    ]
    for rule in RULES:
        needs = "; ".join(question_of(need, numbers, settings) for need in rule.needs) or "no other rule does"
        lines.append(f"| `{rule.name}` | `{rule.phase}` | {needs} |")
    return "\n".join(lines)


def _warnings(settings: ClassifierSettings) -> str:
    knobs = knobs_of(settings)
    lines = [
        "## The warnings",
        "",
        "What a reader of a label should know beside it: words in the column `warning`, separated by commas. "
        "`grokctl explain WARNING` prints the sentence.",
        "",
        "| warning | meaning |",
        "|---|---|",
    ]
    return "\n".join([*lines, *(f"| `{name}` | {text.format(**knobs)} |" for name, text in WARNINGS.items())])


def _knobs(settings: ClassifierSettings) -> str:
    lines = [
        "## The knobs",
        "",
        "In a spec under `classifier:`, on the command line `--set classifier.NAME=VALUE`. Each label carries them.",
        "",
        "| knob | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in ClassifierSettings.model_fields.items():
        value = getattr(settings, name)
        shown = "-" if value is None else str(value).lower() if isinstance(value, bool) else f"{value:g}"
        lines.append(f"| `{name}` | {shown} | {' '.join((field.description or '').split())} |")
    return "\n".join(lines)


def _examples(evidence: Path, settings: ClassifierSettings) -> Iterator[str]:
    found: dict[str, tuple[SortedRuns, str]] = {}
    for name, modulus in SOURCES:
        for phase, example in _first_of_each(evidence / name, modulus, settings).items():
            found.setdefault(phase, example)
    for phase, example in _first_of_fresh(evidence / "proof", settings).items():
        found.setdefault(phase, example)
    for phase in (phase for phase in PHASES if phase in found):
        sorted_runs, run_id = found[phase]
        examination = examine(sorted_runs, run_id, settings)
        if phase == FULL_EXAMPLE:
            changes = smallest_changes(sorted_runs, run_id, settings)
            text = run_page(examination, sorted_runs, changes, by_budget(sorted_runs, run_id, settings), {})
        else:
            text = f"{run_plot(sorted_runs, examination)}\n\n{examination.label['why']}"
        yield f"### {phase}: run {run_id}\n\n```\n{text}\n```"


def _first_of_each(folder: Path, modulus: int, settings: ClassifierSettings) -> dict[str, tuple[SortedRuns, str]]:
    """By phase, a run of this evidence that keeps its label when it is read alone and thinned."""
    traces = pd.read_parquet(folder / "traces.parquet")
    labels = pd.read_csv(folder / "labels.csv", keep_default_na=False).sort_values("run_id")
    steps = int(traces["step"].max())
    found: dict[str, tuple[SortedRuns, str]] = {}
    for run_id, phase, chance in zip(labels["run_id"], labels["phase"], _chance(labels, modulus), strict=True):
        if phase in found:
            continue
        config = pd.DataFrame([{"run_id": run_id, "steps": steps, "outcome": "ended", "chance_accuracy": chance}])
        sorted_runs = sort_runs(traces[traces["run_id"] == run_id], config)
        if examine(sorted_runs, run_id, settings).label["phase"] == phase:
            found[phase] = (sorted_runs, run_id)
    return found


def _first_of_fresh(folder: Path, settings: ClassifierSettings) -> dict[str, tuple[SortedRuns, str]]:
    """By phase, a run of those that the proof keeps densely."""
    runs = pd.read_csv(folder / "fresh_for_8_runs.csv")
    traces = pd.read_parquet(folder / "fresh_for_8_traces.parquet").merge(runs[["run_id", "train_size", "val_size"]])
    for split in ("train", "val"):
        traces[f"{split}_accuracy"] = traces[f"{split}_correct"] / traces[f"{split}_size"]
    columns = ["run_id", "step", "train_accuracy", "val_accuracy", "param_norm"]
    labels = label_runs(traces[columns], runs.assign(task=runs["run_id"]), settings)
    found: dict[str, tuple[SortedRuns, str]] = {}
    for run_id, phase in zip(labels["run_id"], labels["phase"], strict=True):
        if phase not in found:
            alone = runs[runs["run_id"] == run_id].drop(columns="sweep")
            found[phase] = (sort_runs(traces.loc[traces["run_id"] == run_id, columns], alone), run_id)
    return found


def _chance(labels: pd.DataFrame, modulus: int) -> np.ndarray:
    """The toy has 19 sums over 55 pairs, the commonest of them 5 times."""
    return np.full(len(labels), 1 / modulus if modulus else 5 / 55)
