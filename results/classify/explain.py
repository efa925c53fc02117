"""What each phase means, where the meaning comes from, and how it differs from its neighbours.

The order here is the order of every legend and table, and decides ties.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from results.classify.settings import CLASSIFIER_VERSION, ClassifierSettings
from results.classify.warning_texts import warning_text


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Texts; {names} of knobs in `decided_by` are filled in from the settings."""

    definition: str
    sources: tuple[str, ...]
    decided_by: str
    differs_from: Mapping[str, str]


LIU = "Liu et al. 2022, Towards Understanding Grokking: An Effective Theory of Representation Learning, table 1"
HUANG = "Huang et al. 2024, Unified View of Grokking, Double Descent and Emergent Abilities"
VARMA = "Varma et al. 2023, Explaining grokking through circuit efficiency, section 5"
POWER = "Power et al. 2022, Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets"

PHASES: Mapping[str, Phase] = MappingProxyType(
    {
        "comprehension": Phase(
            definition="The network fits its training set and generalizes without delay.",
            sources=(LIU,),
            decided_by="Validation accuracy holds {theta_val:g}, less than {delta_steps:,.0f} steps after training "
            "accuracy holds {theta:g}; or training accuracy never does (warning no_yes). Warning fell_again: "
            "validation ends more than {slack:g} below that level, but so does training, or it is one example.",
            differs_from={
                "grokking": "there the delay is {delta_steps:,.0f} steps or more.",
                "ungrokking": "there validation ends more than {slack:g} below {theta_val:g} again.",
            },
        ),
        "grokking": Phase(
            definition="The network fits its training set first and generalizes long after.",
            sources=(POWER, LIU, HUANG),
            decided_by="Validation accuracy holds {theta_val:g}, {delta_steps:,.0f} steps or more after training "
            "accuracy holds {theta:g}. Where validation left chance before the training set was fitted the warning "
            "says no_plateau: slow learning, in which both curves rise together.",
            differs_from={
                "comprehension": "there the delay is shorter.",
                "semi-grokking": "there validation accuracy stays below {theta_val:g}.",
                "progression": "there only a part of the training set is fitted when validation leaves chance, and "
                "the parameter norm does not fall.",
            },
        ),
        "semi-grokking": Phase(
            definition="The network fits its training set; validation rises late, and only to a moderate level, "
            "sometimes over several plateaus. It lives near the critical training size.",
            sources=(VARMA, HUANG),
            decided_by="Training accuracy holds {theta:g}; after {delta_steps:,.0f} steps more validation accuracy "
            "still gains g >= {semi_gain:g} (and {semi_examples} examples or more), and it ends at "
            "g >= {above_chance:g}, beyond luck, without ever holding {theta_val:g}.",
            differs_from={
                "grokking": "there validation accuracy reaches {theta_val:g}.",
                "memorization": "there validation ends at chance, or gains less so late.",
            },
        ),
        "progression": Phase(
            definition="The training set exceeds what the network can memorize. A part is memorized with validation at "
            "chance; then training and validation accuracy rise together.",
            sources=(HUANG + ", section 3 and figure 2",),
            decided_by="Before validation leaves chance training accuracy holds g >= {progression_floor:g} (or what "
            "{progression_examples:,.0f} memorized examples give, if that is less, but {progression_least:g} or more) "
            "and then is below {theta:g}, it has stalled ({progression_held:.0%} of what it holds was there "
            "{progression_stall:g} times earlier), gains {progression_gain:g} or more along with validation, "
            "and the parameter norm does not fall by more than {progression_norm_fall:.0%} meanwhile. Validation holds "
            "{theta_val:g}, or had reached g = {peak:g} (warning partial).",
            differs_from={
                "grokking": "there all of the training set is fitted first, and the norm falls.",
                "comprehension": "there training accuracy does not stall.",
            },
        ),
        "memorization": Phase(
            definition="The network fits its training set and does not generalize within the budget.",
            sources=(LIU,),
            decided_by="Training accuracy holds {theta:g}, validation accuracy does not hold {theta_val:g} and is not "
            "rising at the end. Warning partial_from_start: validation ends above chance, where it was soon.",
            differs_from={
                "ungrokking": "there neighbours with more training data generalize, and this size lies below D50.",
                "semi-grokking": "there validation rises late, above chance.",
                "undecided": "there the run stopped early, or validation is still rising.",
            },
        ),
        "ungrokking": Phase(
            definition="Too few data: the network fits its training set, but that is below the critical size. Three "
            "kinds: below_critical_size (it never generalized, more data would have), collapsed and declined (it had "
            "generalized, and lost all of it or a part).",
            sources=(VARMA + " (collapsed, declined)", HUANG + " (below_critical_size)"),
            decided_by="below_critical_size: memorization at a training size below the lower end of the "
            "{pass2_level:.0%} profile interval of D50, where at most {pass2_share:.0%} of the seeds generalize, and "
            "D50 moved by at most {pass2_stability:.0%} since half of the budget. collapsed: validation had held "
            "{theta_val:g} or reached g = {peak:g}, and ends at {collapse:g} of its maximum or less with the "
            "training set still fitted. declined: validation had held {theta_val:g}, and ends more than {slack:g} (and "
            "one example) below it with the training set still fitted.",
            differs_from={
                "memorization": "there it is not known that more data would have helped.",
                "confusion": "there the training set is not fitted at the end either.",
            },
        ),
        "confusion": Phase(
            definition="The network does not even fit its training set within the budget.",
            sources=(LIU,),
            decided_by="Neither accuracy holds its level ({theta:g}, {theta_val:g}), and neither is on its way there. "
            "Warning partial_training: a part is fitted. Warning forgot: it had generalized and lost both.",
            differs_from={
                "memorization": "there the training set is fitted.",
                "undecided": "there an accuracy is on its way to its level, or the run stopped early.",
            },
        ),
        "diverged": Phase(
            definition="A loss or a parameter stopped being a finite number.",
            sources=("no paper: a result of its own, not a failure",),
            decided_by="The run's outcome; for a trace without one, an infinite loss or norm, or a training loss that "
            "vanished. The phase before it stays in the warning (was_...).",
            differs_from={"undecided": "there all numbers are finite."},
        ),
        "undecided": Phase(
            definition="The budget, or the trace, ends before anything can be said. A fact about the budget, not about "
            "the network.",
            sources=("no paper: nothing is forced into a phase",),
            decided_by="Fewer than 3 rows with both accuracies, or fewer than {least_val} validation examples; or the "
            "run ends before {full_budget:g} of its budget or with an accuracy still rising (by {rise:g} or more in "
            "the last {tail:.0%} of the steps), where going on could change the phase. Of a fitted run with validation "
            "well above chance, or of one that is not fitted, more is known: it is undecided if an accuracy, going on "
            "at its pace, would reach its level within {finish_within:g} times the steps, or rises faster and faster. "
            "Its confidence is 0, for it claims nothing.",
            differs_from={
                "memorization": "there the full budget was spent and validation is not rising.",
                "confusion": "there the full budget was spent and nothing is on its way.",
            },
        ),
    }
)
"""In the order of legends. Keys are the names as stored."""

PHASE_ORDER: tuple[str, ...] = tuple(PHASES)


def explain_phase(name: str, settings: ClassifierSettings | None = None) -> str:
    """A page on one phase, with the thresholds of `settings`. ValueError on an unknown name, with the nearest one."""
    if name not in PHASES:
        near = get_close_matches(name, PHASES, n=1)
        raise ValueError(f"no phase {name!r}; " + (f"did you mean {near[0]!r}?" if near else ", ".join(PHASE_ORDER)))
    phase, knobs = PHASES[name], knobs_of(settings or ClassifierSettings())
    lines = [
        name,
        "",
        phase.definition,
        "",
        f"Decided by: {phase.decided_by.format(**knobs)}",
        "(g is accuracy rescaled so that chance is 0 and everything right is 1. A level is held over at least "
        "{dwell_rows} rows and up to {dwell_factor:g} times its step.)".format(**knobs),
        "",
        *(f"Unlike {other}: {text.format(**knobs)}" for other, text in phase.differs_from.items()),
        "",
        *(f"Source: {source}" for source in phase.sources),
        f"Classifier version {CLASSIFIER_VERSION}.",
    ]
    return "\n".join(lines)


def explain_warning(name: str, settings: ClassifierSettings | None = None) -> str:
    """A warning's sentence, with the thresholds of `settings`. ValueError on an unknown name."""
    text = warning_text(name)
    if text is None:
        raise ValueError(f"no warning {name!r}")
    return f"{name}\n\n{text.format(**knobs_of(settings or ClassifierSettings()))}"


def knobs_of(settings: ClassifierSettings) -> dict[str, Any]:
    """By name, for texts with {names} of knobs."""
    return {**settings.model_dump(), "theta_val": settings.validation_level}
