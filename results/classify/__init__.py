"""From a trace to its label: which learning phase a run shows, the evidence for it, and how sure that is.

    settings    every threshold, documented; the classifier's version
    columns     which columns are metrics, labels, hyperparameters
    batch       traces as arrays: runs that were evaluated at the same steps share one
    facts       what is known of a run besides its trace: budget, outcome, chance
    measure     what is read off a trace: crossings, onset, tails, rises
    noise       how far these readings may be off
    evidence    these readings for all runs, one array each
    pass1       the run alone: an ordered list of rules, the first that holds names the phase
    confidence  how sure that is; calibration: on which scale
    other_names the same run in Liu et al.'s and in Huang et al.'s words
    pass2       the run among its neighbours: memorized because its training set lies below the critical size?
    sentences   the reason in words
    table       the whole way, for a table of runs or a single trace

    explain     the definitions, for readers
    criteria    what each rule asks, in words
    examine     one label with everything that it was read off
    what_if     what would change it
    compare     what changes between two labellings
    sensitivity how many labels hang on each threshold

Everything is a pure function of traces and settings. Attributes are loaded when first asked for, so that checking the
knobs of a spec needs neither numpy nor pandas.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from results.classify.batch import Trace
    from results.classify.explain import PHASE_ORDER, PHASES, explain_phase
    from results.classify.settings import CLASSIFIER_VERSION, ClassifierSettings
    from results.classify.table import Label, classify_trace, label_runs

__all__ = [
    "CLASSIFIER_VERSION",
    "PHASES",
    "PHASE_ORDER",
    "ClassifierSettings",
    "Label",
    "Trace",
    "classify_trace",
    "explain_phase",
    "label_runs",
]

_HOME = {
    "CLASSIFIER_VERSION": "settings",
    "ClassifierSettings": "settings",
    "PHASES": "explain",
    "PHASE_ORDER": "explain",
    "explain_phase": "explain",
    "Trace": "batch",
    "Label": "table",
    "classify_trace": "table",
    "label_runs": "table",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
