"""Pass 1: the run alone. An ordered list of rules; the first that holds names the phase.

Nothing is forced into a phase: what the budget ended before anything could be said is `undecided`.

How sure a label is, is said in results.classify.confidence. `undecided` claims no phase: 0.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from results.classify import margins
from results.classify.batch import BoolArray, FloatArray, IntArray
from results.classify.confidence import Sureness, above_chance, delay_interval, sureness
from results.classify.evidence import Evidence
from results.classify.facts import Facts
from results.classify.measure import EPSILON, above_chance_level
from results.classify.settings import ClassifierSettings

ACCURACY_UNIT = 0.1
"""An accuracy this far from its threshold is sure..."""
RISE_UNIT = 0.05
"""...and a gain this far from what would be a rise."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdict:
    """One entry a run."""

    phase: np.ndarray
    rule: np.ndarray
    """Name of the rule that held (RULES); sentences explain by it."""
    before_divergence: np.ndarray
    """For diverged runs the phase of what came before, else ""."""
    sureness: Sureness
    """What the confidence is made of."""
    confidence: FloatArray
    flags: dict[str, BoolArray]


@dataclass(frozen=True, kw_only=True, eq=False)
class Signs:
    """Evidence turned into yes and no, with signed distances (positive: yes) in units that make 1 sure."""

    fitted: BoolArray
    """F: training accuracy crossed theta."""
    generalized: BoolArray
    """G: validation accuracy crossed theta_val."""
    risen: FloatArray
    """Validation accuracy had generalized, or got over half of the way."""
    fallen: FloatArray
    """Its end lies below half of its maximum."""
    declined: FloatArray
    """Its end lies below the level that it had held."""
    above: FloatArray
    """Its end lies well above chance."""
    progression: FloatArray
    """P, the mark of progression."""
    late: FloatArray
    """The delay reaches delta_steps."""
    late_rise: FloatArray
    """Validation gained semi_gain after delta_steps had passed since the training set was fitted, however much it had
    before: readers call that late (LOG.md)."""
    steady_val: FloatArray
    """Validation accuracy is not rising any more."""
    creeping: FloatArray
    """Validation creeps up, and generalizes soon if it goes on so."""
    arriving: FloatArray
    """The same, or it rises faster and faster."""
    fitting: FloatArray
    """Training accuracy rises, and fits soon if it goes on so or rises faster and faster."""
    stopped_early: BoolArray
    holds_training: BoolArray
    """At the end the training set is still fitted."""


class Rule(NamedTuple):
    """Holds where all of its criteria do."""

    name: str
    phase: str
    needs: tuple[str, ...]
    """Names of criteria (see `criteria`)."""


RULES = (
    Rule("no_trace", "undecided", ("no_rows",)),
    Rule("no_accuracy", "undecided", ("no_accuracies",)),
    Rule("too_few_rows", "undecided", ("few_rows",)),
    Rule("too_few_validation", "undecided", ("few_validation",)),
    Rule("collapsed", "ungrokking", ("risen", "fallen", "holds_training")),
    Rule("forgot", "confusion", ("risen", "fallen")),
    Rule("declined", "ungrokking", ("generalized", "declined", "holds_training")),
    Rule("progression", "progression", ("generalized", "together")),
    Rule("no_yes", "comprehension", ("generalized", "not_fitted")),
    Rule("delayed", "grokking", ("generalized", "late", "as_required")),
    Rule("prompt", "comprehension", ("generalized",)),
    Rule("partial_progression", "progression", ("above_chance", "risen", "together")),
    Rule("partial_unfinished", "undecided", ("above_chance", "fitted", "val_arriving")),
    Rule("partial_late", "semi-grokking", ("above_chance", "fitted", "late_rise")),
    Rule("partial_from_start", "memorization", ("above_chance", "fitted")),
    Rule("fitted_unfinished", "undecided", ("fitted", "val_unfinished")),
    Rule("fitted_only", "memorization", ("fitted",)),
    Rule("nothing_unfinished", "undecided", ("unfinished",)),
    Rule("nothing", "confusion", ()),
)
"""In order: the first that holds names the phase. `diverged` stands before all of them."""

RULE_NAMES = tuple(rule.name for rule in RULES)


def decide(evidence: Evidence, facts: Facts, n_measured: IntArray, settings: ClassifierSettings) -> Verdict:
    """`n_measured` is the number of rows with both accuracies."""
    with np.errstate(invalid="ignore", divide="ignore"):
        signs = read_signs(evidence, facts, settings)
        met = criteria(evidence, signs, facts, n_measured, settings)
        everywhere = np.ones(len(n_measured), bool)
        holds = [np.all([everywhere, *(met[need] for need in rule.needs)], axis=0) for rule in RULES]
        rule_index = np.argmax(holds, axis=0)
    rule = np.array(RULE_NAMES, object)[rule_index]
    phase = np.array([rule.phase for rule in RULES], object)[rule_index]
    sure = sureness(evidence, facts, rule, settings)
    confidence = np.where(facts.diverged, 1.0, np.where(phase == "undecided", 0.0, sure.confidence))
    return Verdict(
        phase=np.where(facts.diverged, "diverged", phase),
        rule=rule,
        before_divergence=np.where(facts.diverged, phase, ""),
        sureness=sure,
        confidence=confidence,
        flags=warnings(evidence, signs, facts, rule, settings),
    )


def read_signs(evidence: Evidence, facts: Facts, settings: ClassifierSettings) -> Signs:
    e, scale = evidence, 1 - facts.chance
    creeping = np.minimum(e.creep_val / RISE_UNIT, (e.leads_to - settings.validation_level) / ACCURACY_UNIT)
    fits = (e.leads_train_to - e.theta_train) / ACCURACY_UNIT
    fitted, generalized = np.isfinite(e.t_train), np.isfinite(e.t_val)
    peak_g, final_g = (e.peak_val_accuracy - facts.chance) / scale, (e.final_val_accuracy - facts.chance) / scale
    return Signs(
        fitted=fitted,
        generalized=generalized,
        risen=np.where(generalized, 1.0, (peak_g - settings.peak) / ACCURACY_UNIT),
        fallen=(settings.collapse * peak_g - final_g) / ACCURACY_UNIT,
        declined=(margins.declined(e, facts, settings) - EPSILON) / ACCURACY_UNIT,
        above=(e.final_val_accuracy - above_chance_level(facts, settings)) / ACCURACY_UNIT,
        progression=progression_sign(evidence, facts, settings),
        late=octaves(steps_between(e.t_train, e.t_val), settings.delta_steps),
        late_rise=(margins.late_rise(e, facts, settings) + EPSILON) / ACCURACY_UNIT,
        steady_val=-e.rise_val / RISE_UNIT,
        creeping=creeping,
        arriving=np.fmax(creeping, np.minimum(e.rise_val / RISE_UNIT, octaves(e.speeding, settings.accelerating))),
        fitting=np.minimum(e.rise_train / RISE_UNIT, np.fmax(fits, octaves(e.speeding_train, settings.accelerating))),
        stopped_early=facts.last_step < settings.full_budget * facts.budget,
        holds_training=e.final_train_accuracy >= e.theta_train - settings.slack - EPSILON,
    )


def steps_between(one: FloatArray, other: FloatArray) -> FloatArray:
    """Rounded, for 1,999.9 - 999.9 is a little less than 1,000."""
    return np.asarray(np.round(other - one, 6))


def progression_sign(evidence: Evidence, facts: Facts, settings: ClassifierSettings) -> FloatArray:
    """The least of its parts. NaN where validation never rose; a norm that was not measured did not fall."""
    parts = [part / ACCURACY_UNIT for part in margins.together(evidence, facts, settings)]
    parts[-1] = np.nan_to_num(parts[-1], nan=1.0)
    return np.asarray(np.min(parts, axis=0))


def criteria(
    evidence: Evidence, signs: Signs, facts: Facts, n_measured: IntArray, settings: ClassifierSettings
) -> dict[str, BoolArray]:
    """What the rules ask, each a yes or no a run. `results.classify.criteria` puts them in words."""
    s = signs
    val_unfinished = (s.steady_val < 0) | s.stopped_early
    ratio = evidence.t_val / np.maximum(evidence.t_train, 1)
    return {
        "no_rows": facts.n_rows == 0,
        "no_accuracies": n_measured == 0,
        "few_rows": np.isnan(evidence.final_val_accuracy),
        "few_validation": facts.n_val < settings.least_val,
        "risen": s.risen >= 0,
        "fallen": s.fallen >= 0,
        "declined": s.declined > 0,
        "holds_training": s.holds_training,
        "generalized": s.generalized,
        "fitted": s.fitted,
        "not_fitted": ~s.fitted,
        "together": s.progression >= 0,
        "late": s.late >= 0,
        "as_required": (ratio >= settings.require_ratio) & (has_plateau(evidence) | (not settings.require_plateau)),
        "above_chance": s.above > 0,
        "late_rise": s.late_rise >= 0,
        "val_arriving": (s.arriving > 0) | s.stopped_early,
        "val_unfinished": val_unfinished,
        "unfinished": (s.creeping > 0) | (s.fitting > 0) | s.stopped_early,
    }


def straddles(evidence: Evidence, settings: ClassifierSettings) -> BoolArray:
    low, high = delay_interval(evidence)
    return np.asarray((low < settings.delta_steps) & (high >= settings.delta_steps))


def has_plateau(evidence: Evidence) -> BoolArray:
    """The training set was fitted while validation was still at chance."""
    return np.asarray(evidence.onset_train_accuracy >= evidence.theta_train - EPSILON)


def warnings(
    evidence: Evidence, signs: Signs, facts: Facts, rule: np.ndarray, settings: ClassifierSettings
) -> dict[str, BoolArray]:
    """What a reader of the label should know beside it."""
    held_part = above_chance(evidence.final_train_accuracy, facts) >= settings.above_chance
    unestablished = np.isin(rule, ["no_trace", "no_accuracy", "too_few_rows"])
    return {
        **{name: rule == name for name in ("no_trace", "no_accuracy", "too_few_rows", "too_few_validation")},
        **{name: rule == name for name in ("no_yes", "forgot")},
        "no_plateau": (rule == "delayed") & ~has_plateau(evidence),
        "straddles_delta": np.isin(rule, ["delayed", "prompt"]) & straddles(evidence, settings),
        "fell_again": np.isin(rule, ["delayed", "prompt", "no_yes", "progression"])
        & (evidence.final_val_accuracy < settings.validation_level - settings.slack),
        "partial": rule == "partial_progression",
        "partial_from_start": rule == "partial_from_start",
        "partial_training": (rule == "nothing") & held_part,
        "unstable": evidence.n_falls >= settings.unstable_falls,
        "noisy_labels": (evidence.theta_train < settings.theta) & signs.fitted,
        "stopped_early": signs.stopped_early,
        "crossing_cut_short": (evidence.cut_short > 0) & (signs.fitted | signs.generalized),
        "chance_unknown": ~facts.chance_known & ~unestablished,
    }


def octaves(value: FloatArray, threshold: float) -> FloatArray:
    """log2 of value over threshold; a value at or below 0 counts as far below. NaN stays."""
    if threshold <= 0:
        return np.where(np.isnan(value), np.nan, np.where(value >= threshold, 1.0, -1.0))
    return np.where(np.isnan(value), np.nan, np.log2(np.maximum(value, threshold * 1e-9) / threshold))
