"""How sure a label is: the probability that the same run, logged without noise, densely and for three times as long,
has the same label.

Three things can come between, and each is asked of the trace itself.

    read     Every quantity that the rule was decided on lies some way from its threshold. A way that is long against
             the trace's own noise (results.classify.noise) is safe, whatever its length. The shortest one counts.
    side     A delay is known but for a part of the gaps between rows, and noise: the probability that it lies on the
             label's side of delta_steps.
    outlook  What has been seen stays so; what has not been seen yet may come. Validation (and training, where nothing
             is fitted yet) goes on as it went over the last half of the steps, for as many doublings as three budgets
             are: how far from a threshold does it end?

Their product, put on the scale of what held in families of runs that the scales were not fitted to
(results.classify.calibration), is the confidence. `undecided` claims no phase: 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from results.classify import calibration, margins
from results.classify.batch import BoolArray, FloatArray
from results.classify.evidence import Evidence
from results.classify.facts import Facts
from results.classify.measure import EPSILON, above_chance_level
from results.classify.settings import ClassifierSettings

FLOOR = 0.002
"""No accuracy is known better than this: where rows fall matters too."""
SPEED_FLOOR = 0.2
"""The same, in factors of two, of how much faster validation rises than before..."""
NORM_ERROR = 0.033
"""...and of a norm's relative change."""
STEP_FLOOR = 1.0
BETWEEN_ROWS = 0.1
"""Of the gap between two rows: what a crossing on the line of log odds between them is off by. (.29 where nothing is
known of where between them it lies.)"""
CROSSING_NOISE = 0.5
"""Of what noise moves a crossing of single rows by: what it moves one of medians of three by. Both as measured: with
.25 and 1 delays were read rightly more often than promised (LOG.md)."""

HORIZON = 3.0
"""Times the budget that the label is to outlive."""
TREND_ERROR = 0.06
"""What the outlook errs by where nothing moves, in g; a trend errs by as much as it leads on, on top."""
NOTICED = 2.0
"""Standard errors from which a trend is rather there than not."""

DECIDED_ON: Mapping[str, tuple[str, ...]] = {
    "collapsed": ("fallen", "train"),
    "forgot": ("fallen", "train"),
    "declined": ("level", "declined", "fallen", "train"),
    "progression": ("level", "declined", "together"),
    "partial_progression": ("level", "above", "together"),
    "no_yes": ("level", "declined", "train"),
    "delayed": ("level", "declined", "together"),
    "prompt": ("level", "declined", "together"),
    "partial_late": ("level", "above", "together", "train", "arriving", "late_rise"),
    "partial_from_start": ("level", "above", "together", "train", "arriving", "late_rise"),
    "fitted_only": ("above", "train", "steady_val"),
    "nothing": ("above", "train", "creeping", "fitting"),
}
"""By rule, the quantities that another label hangs on."""
MAY_COME = ("partial_late", "partial_from_start", "fitted_only", "nothing")
"""Rules whose phase is about what was not seen."""
AT_CHANCE = ("fitted_only", "nothing")

QUESTIONS: Mapping[str, str] = {
    "level": "whether validation holds its level",
    "train": "whether training holds its level",
    "above": "whether validation ends well above chance",
    "fallen": "whether validation has collapsed",
    "declined": "whether validation has left its level for good",
    "together": "whether it is progression",
    "steady_val": "whether validation is still rising",
    "creeping": "whether validation creeps to its level",
    "fitting": "whether training is on its way to its level",
    "late_rise": "how much validation gained late",
    "arriving": "whether validation is on its way to its level, or speeds up",
    "delay": "whether the delay is long",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Sureness:
    """One entry a run."""

    distance: FloatArray
    """Of the least certain quantity from its threshold, in standard errors."""
    doubt: np.ndarray
    """Which it is (QUESTIONS); "" where nothing is."""
    side: FloatArray
    """Share of the delay's interval on the label's side; 1 where no delay decides."""
    trend: FloatArray
    """How far validation ends from a threshold if it goes on as it went; NaN where the phase was seen."""

    @property
    def read(self) -> FloatArray:
        """Probability that the label is that of a clean and dense log."""
        return calibration.reading(self.distance) * self.side

    @property
    def outlook(self) -> FloatArray:
        """Probability that it then outlives three times the budget."""
        return np.where(np.isnan(self.trend), 1.0, calibration.outlook(self.trend))

    @property
    def confidence(self) -> FloatArray:
        return calibration.strangers(self.read * self.outlook)


def sureness(evidence: Evidence, facts: Facts, rule: np.ndarray, settings: ClassifierSettings) -> Sureness:
    """`rule` names the rule of pass 1 that held."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        distances = in_standard_errors(evidence, facts, settings)
        side = side_share(evidence, rule, settings)
        trend = np.where(np.isin(rule, MAY_COME), where_it_leads(evidence, facts, rule, settings), np.nan)
    names = list(distances)
    seen = {name: np.nan_to_num(values, nan=np.inf) for name, values in distances.items()}
    away = np.array([np.where(_hangs_on(rule, name), seen[name], np.inf) for name in names])
    least = np.argmin(away, axis=0)
    distance = away[least, np.arange(len(rule))]
    doubt = np.where(np.isfinite(distance), np.array(names, object)[least], "")
    doubt = np.where(side < calibration.reading(distance), "delay", doubt)
    return Sureness(distance=distance, doubt=doubt, side=side, trend=trend)


def _hangs_on(rule: np.ndarray, name: str) -> BoolArray:
    return np.isin(rule, [each for each, quantities in DECIDED_ON.items() if name in quantities])


def in_standard_errors(evidence: Evidence, facts: Facts, settings: ClassifierSettings) -> dict[str, FloatArray]:
    """How far each quantity lies from its threshold, by the trace's own noise; NaN where it was not seen."""
    e = evidence
    g_peak, g_final = above_chance(e.peak_val_accuracy, facts), above_chance(e.final_val_accuracy, facts)
    final = np.hypot(e.error_final_val, FLOOR)
    creeping = _creeping(e, settings)
    level = e.peak_val_accuracy - between_counts(settings.validation_level, facts.n_val)
    train = e.final_train_accuracy - between_counts(e.theta_train, facts.n_train)
    return {
        "level": np.abs(level) / np.hypot(e.error_val, FLOOR),
        "train": np.abs(train) / np.hypot(e.error_train, FLOOR),
        "above": np.abs(e.final_val_accuracy - above_chance_level(facts, settings)) / final,
        "fallen": np.abs(settings.collapse * g_peak - g_final) / final,
        "declined": np.abs(margins.declined(e, facts, settings)) / final,
        "late_rise": np.abs(margins.late_rise(e, facts, settings)) / np.hypot(final, e.error_when_late),
        "together": _together(evidence, facts, settings),
        "steady_val": -e.rise_val / np.hypot(e.error_rise_val, FLOOR),
        "creeping": creeping,
        "fitting": _fitting(e, settings),
        "arriving": np.minimum(creeping, _speeding(e, settings)),
    }


def _creeping(e: Evidence, settings: ClassifierSettings) -> FloatArray:
    """How surely validation does not creep to its level..."""
    leads = (settings.validation_level - e.leads_to) / np.hypot(e.error_leads_to, FLOOR)
    return np.maximum(-e.creep_val / np.hypot(e.error_rise_val, FLOOR), leads)


def _speeding(e: Evidence, settings: ClassifierSettings) -> FloatArray:
    """...and does not rise faster and faster."""
    return np.maximum(-e.rise_val / np.hypot(e.error_rise_val, FLOOR), _as_slow(e.speeding, e.error_speeding, settings))


def _fitting(e: Evidence, settings: ClassifierSettings) -> FloatArray:
    """How surely training does neither."""
    leads = (e.theta_train - e.leads_train_to) / np.hypot(e.error_leads_train_to, FLOOR)
    slow = _as_slow(e.speeding_train, e.error_speeding_train, settings)
    return np.maximum(-e.rise_train / np.hypot(e.error_rise_train, FLOOR), np.minimum(leads, slow))


def _as_slow(speeding: FloatArray, error: FloatArray, settings: ClassifierSettings) -> FloatArray:
    return np.asarray(np.log2(settings.accelerating / np.maximum(speeding, 1e-9)) / np.hypot(error, SPEED_FLOOR))


def _together(evidence: Evidence, facts: Facts, settings: ClassifierSettings) -> FloatArray:
    """Of the parts of progression the one that decides: the nearest to failing, or what fails most surely. (A run that
    generalized has risen for sure.)"""
    e, error, of_means = evidence, np.hypot(evidence.error_onset, FLOOR), np.hypot(evidence.error_held, FLOOR)
    margin = margins.together(e, facts, settings)
    risen = (above_chance(e.peak_val_accuracy, facts) - settings.peak) / np.hypot(e.error_val, FLOOR)
    parts = (
        margin.memorized / of_means,
        margin.unfitted / error,
        margin.stalled / of_means,
        margin.gained / error,
        np.nan_to_num(margin.norm / NORM_ERROR, nan=np.inf),
        np.where(np.isfinite(e.t_val), np.inf, risen),
    )
    return np.asarray(np.abs(np.min(parts, axis=0)))


def between_counts(level: FloatArray | float, n_examples: FloatArray) -> FloatArray:
    """Half an example below the least count that meets the level: 9 of 10 meet .9, by as much as 8 of 10 miss it."""
    least_count = np.ceil(level * n_examples - EPSILON * n_examples)
    return np.asarray(np.where(n_examples > 0, (least_count - 0.5) / n_examples, level))


def side_share(evidence: Evidence, rule: np.ndarray, settings: ClassifierSettings) -> FloatArray:
    """Probability that the delay lies on the label's side of delta_steps: it is read on the lines between rows, from
    which the curve may stray by a part of the gap, and noise moves it beyond them."""
    e = evidence
    train = _step_error(e.t_train_lo, e.t_train_hi, e.error_t_train)
    val = _step_error(e.t_val_lo, e.t_val_hi, e.error_t_val)
    late = ndtr((e.t_val - e.t_train - settings.delta_steps) / np.maximum(np.hypot(train, val), STEP_FLOOR))
    share = np.where(rule == "delayed", late, np.where(rule == "prompt", 1 - late, 1.0))
    return np.asarray(np.nan_to_num(share, nan=1.0))


def delay_interval(evidence: Evidence) -> tuple[FloatArray, FloatArray]:
    """Least and largest delay that the logged rows allow."""
    return evidence.t_val_lo - evidence.t_train_hi, evidence.t_val_hi - evidence.t_train_lo


def _step_error(low: FloatArray, high: FloatArray, noise: FloatArray) -> FloatArray:
    return np.hypot(BETWEEN_ROWS * (high - low), CROSSING_NOISE * noise)


def where_it_leads(evidence: Evidence, facts: Facts, rule: np.ndarray, settings: ClassifierSettings) -> FloatArray:
    """Distance of validation from the nearest threshold at HORIZON times the budget, if it goes on at its rate per
    doubling of steps, over what such a forecast errs by; or of training, where nothing is fitted yet."""
    e = evidence
    then, move = _goes_on(e.final_val_accuracy, e.late_gain, e.error_late_gain, facts)
    chance_level = above_chance(above_chance_level(facts, settings), facts)
    above = np.where(np.isin(rule, AT_CHANCE), chance_level - then, then - chance_level)
    level = above_chance(np.full(len(rule), settings.validation_level), facts) - then
    middle = (settings.earlier_from + settings.earlier_to) / 2
    steady = settings.rise * np.log(HORIZON) / np.log(1 / middle) - np.abs(move)
    trend = np.min((above, level, steady), axis=0) / (TREND_ERROR + np.abs(move))
    train, train_move = _goes_on(e.final_train_accuracy, e.late_gain_train, e.error_late_gain_train, facts)
    fits = (above_chance(e.theta_train, facts) - train) / (TREND_ERROR + np.abs(train_move))
    trend = np.where(rule == "nothing", np.fmin(trend, fits), trend)
    return np.asarray(np.clip(trend, calibration.TRENDS[0], calibration.TRENDS[-1]))


def _goes_on(now: FloatArray, gain: FloatArray, error: FloatArray, facts: Facts) -> tuple[FloatArray, FloatArray]:
    """Where an accuracy is at HORIZON times the budget, in g, and what it gains until then. A trend that drowns in
    noise counts as the less of one."""
    seen = (gain / (error + FLOOR)) ** 2
    move = gain / (1 - facts.chance) * seen / (seen + NOTICED**2) * np.log2(HORIZON)
    return above_chance(now, facts) + move, move


def above_chance(accuracy: FloatArray, facts: Facts) -> FloatArray:
    """g: 0 at chance, 1 where everything is right."""
    return np.asarray((accuracy - facts.chance) / (1 - facts.chance))
