"""What the rules of pass 1 ask, in words: the question with its threshold, and what was measured.

`pass1.criteria` decides; here nothing is decided, so an explanation can't disagree with the label.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from results.classify.sentences import Numbers, acc, apart, steps
from results.classify.settings import ClassifierSettings

InWords = Callable[[Numbers, ClassifierSettings], str]


@dataclass(frozen=True, kw_only=True)
class Criterion:
    question: InWords
    """A statement that holds or does not."""
    measured: InWords


def question_of(name: str, numbers: Numbers, settings: ClassifierSettings) -> str:
    return CRITERIA[name].question(numbers, settings)


def measured_of(name: str, numbers: Numbers, settings: ClassifierSettings) -> str:
    return CRITERIA[name].measured(numbers, settings)


def crossing(last_before: float, first_row: float) -> str:
    """`between steps 100 and 120`: what the logged rows allow."""
    if last_before == first_row:
        return f"from step {steps(first_row)}"
    return f"between steps {steps(last_before)} and {steps(first_row)}"


def _fitted(n: Numbers, s: ClassifierSettings) -> str:
    if n["t_train"] == n["t_train"]:
        return f"it does, {crossing(n['t_train_lo'], n['t_train_hi'])}"
    return f"it never does, and ends at {acc(n['final_train_accuracy'])}"


def _generalized(n: Numbers, s: ClassifierSettings) -> str:
    if n["t_val"] == n["t_val"]:
        return f"it does, {crossing(n['t_val_lo'], n['t_val_hi'])}"
    return f"it never does; the most that it holds is {acc(n['peak_val_accuracy'])}"


def _risen(n: Numbers, s: ClassifierSettings) -> str:
    return f"the most that it holds is {acc(n['peak_val_accuracy'])} (g = {acc(_g(n, 'peak_val_accuracy'))})"


def _fallen(n: Numbers, s: ClassifierSettings) -> str:
    ends, highest = _g(n, "final_val_accuracy"), s.collapse * _g(n, "peak_val_accuracy")
    return f"ends at g = {acc(ends)} against {acc(highest)}"


def _together(n: Numbers, s: ClassifierSettings) -> str:
    if n["t_onset"] != n["t_onset"]:
        return "validation accuracy never left chance for good"
    held, early, at_onset = n["held_before"], n["held_early"], n["onset_train_accuracy"]
    if held != held:
        return "what training held before validation left chance is not in the trace"
    had = f"it had {acc(early)} ({acc(n['stalled_level'])} wanted)" if early == early else "the trace had not begun"
    parts = [
        f"before validation left chance, at step {steps(n['t_onset'])}, training held {acc(held)} "
        f"({acc(n['memorized_level'])} wanted), and then {acc(at_onset)} (below {acc(n['theta_train'])} wanted)",
        f"{s.progression_stall:g} times earlier {had}",
        f"it then gained {acc(n['train_gain'])} ({s.progression_gain:g} wanted)",
    ]
    if n["norm_change"] == n["norm_change"]:
        parts.append(f"the norm changed by {n['norm_change']:+.0%} ({-s.progression_norm_fall:.0%} or more wanted)")
    return ", ".join(parts)


def _late(n: Numbers, s: ClassifierSettings) -> str:
    if n["delay"] != n["delay"]:
        return "not both were crossed"
    low, high = n["t_val_lo"] - n["t_train_hi"], n["t_val_hi"] - n["t_train_lo"]
    return f"{steps(n['delay'])}, on the lines between rows; {steps(low)} to {steps(high)} as logged"


def _as_required(n: Numbers, s: ClassifierSettings) -> str:
    ratio = f"ratio {n['t_val'] / max(n['t_train'], 1.0):.3g}" if n["delay"] == n["delay"] else "no ratio"
    plateau = n["onset_train_accuracy"] >= n["theta_train"]
    return f"{ratio}, {'a' if plateau else 'no'} plateau"


def _required(n: Numbers, s: ClassifierSettings) -> str:
    wanted = [f"a ratio of {s.require_ratio:g}"] if s.require_ratio else []
    wanted += ["a plateau"] if s.require_plateau else []
    return f"{' and '.join(wanted) or 'nothing further'} is required of grokking"


def _above(n: Numbers, s: ClassifierSettings) -> str:
    return f"ends at {acc(n['final_val_accuracy'])}"


def _late_rise(n: Numbers, s: ClassifierSettings) -> str:
    if n["val_when_late"] != n["val_when_late"]:
        return "the trace does not tell"
    return f"it had {acc(n['val_when_late'])} by then and ends at {acc(n['final_val_accuracy'])}"


def _early(n: Numbers, s: ClassifierSettings) -> str:
    whole = n["last_step"] >= s.full_budget * n["budget"]
    return "" if whole else f"stopped at step {steps(n['last_step'])} of {steps(n['budget'])}; "


def _rising(which: str, n: Numbers) -> str:
    name = {"train": "training", "val": "validation"}[which]
    over = n[f"rise_{which}"]
    if over != over:
        return f"{name} accuracy can't be told"
    is_rising = over > 0
    return f"{name} accuracy is {'' if is_rising else 'not '}rising ({over:+.3f} against what counts as a rise)"


def _val_unfinished(n: Numbers, s: ClassifierSettings) -> str:
    return _early(n, s) + _rising("val", n)


def _val_arriving(n: Numbers, s: ClassifierSettings) -> str:
    pace = apart(n["speeding"], s.accelerating)
    speeding = f"it gains {pace} times as fast as before (more than {s.accelerating:g} would be speeding up)"
    return f"{_early(n, s)}{_creeping(n, s)}{', and ' + speeding if n['creep_val'] > 0 else ''}"


def _creeping(n: Numbers, s: ClassifierSettings) -> str:
    if not n["creep_val"] > 0:
        return "validation accuracy creeps no more"
    how = "rises" if n["rise_val"] > 0 else "creeps up"
    leads = f"going on so it leads to {acc(n['leads_to'])} at {s.finish_within:g} times the steps"
    return f"validation accuracy {how}; {leads}"


def _unfinished(n: Numbers, s: ClassifierSettings) -> str:
    leads = (
        f"leads to {acc(n['leads_train_to'])}, at {apart(n['speeding_train'], s.accelerating)} times the pace of before"
    )
    return f"{_early(n, s)}{_creeping(n, s)}; {_rising('train', n)}{'; it ' + leads if n['rise_train'] > 0 else ''}"


def _rows(n: Numbers, s: ClassifierSettings) -> str:
    return f"{n['n_measured']:,.0f} of {n['n_rows']:,.0f}"


def _g(n: Numbers, name: str) -> float:
    return (n[name] - n["chance"]) / (1 - n["chance"])


CRITERIA: Mapping[str, Criterion] = {
    "no_rows": Criterion(question=lambda n, s: "there is no row", measured=_rows),
    "no_accuracies": Criterion(question=lambda n, s: "no row has both accuracies", measured=_rows),
    "few_rows": Criterion(question=lambda n, s: "fewer than 3 rows have both accuracies", measured=_rows),
    "few_validation": Criterion(
        question=lambda n, s: f"fewer than {s.least_val} examples validate the run",
        measured=lambda n, s: "their number is not known" if n["n_val"] != n["n_val"] else f"{n['n_val']:,.0f}",
    ),
    "risen": Criterion(
        question=lambda n, s: f"validation accuracy had held {s.validation_level:g}, or reached g = {s.peak:g}",
        measured=_risen,
    ),
    "fallen": Criterion(
        question=lambda n, s: f"validation accuracy ends at {s.collapse:g} or less of its maximum", measured=_fallen
    ),
    "declined": Criterion(
        question=lambda n, s: f"validation accuracy ends below {acc(n['declined_level'])}",
        measured=lambda n, s: f"ends at {acc(n['final_val_accuracy'])}",
    ),
    "holds_training": Criterion(
        question=lambda n, s: f"training accuracy ends at {acc(_train_level(n, s) - s.slack)} or more",
        measured=lambda n, s: f"ends at {acc(n['final_train_accuracy'])}",
    ),
    "generalized": Criterion(
        question=lambda n, s: f"validation accuracy holds {s.validation_level:g}", measured=_generalized
    ),
    "fitted": Criterion(question=lambda n, s: f"training accuracy holds {acc(_train_level(n, s))}", measured=_fitted),
    "not_fitted": Criterion(
        question=lambda n, s: f"training accuracy does not hold {acc(_train_level(n, s))}", measured=_fitted
    ),
    "together": Criterion(
        question=lambda n, s: "both accuracies rise together, after a stall with a part memorized", measured=_together
    ),
    "late": Criterion(question=lambda n, s: f"the delay is {steps(s.delta_steps)} steps or more", measured=_late),
    "as_required": Criterion(question=_required, measured=_as_required),
    "above_chance": Criterion(
        question=lambda n, s: f"validation accuracy ends above {acc(n['above_level'])}, well above chance",
        measured=_above,
    ),
    "late_rise": Criterion(
        question=lambda n, s: (
            f"validation accuracy gains {acc(n['late_gain_level'])} or more after {steps(s.delta_steps)} steps have "
            "passed since training was fitted"
        ),
        measured=_late_rise,
    ),
    "val_arriving": Criterion(
        question=lambda n, s: (
            f"validation accuracy is on its way to {s.validation_level:g} within {s.finish_within:g} times the steps, "
            "or speeds up, or the run stopped early"
        ),
        measured=_val_arriving,
    ),
    "val_unfinished": Criterion(
        question=lambda n, s: "validation accuracy is still rising, or the run stopped early", measured=_val_unfinished
    ),
    "unfinished": Criterion(
        question=lambda n, s: (
            f"an accuracy is on its way to its level within {s.finish_within:g} times the steps, or training speeds "
            "up, or the run stopped early"
        ),
        measured=_unfinished,
    ),
}
"""In the order in which the rules first ask. `table.Reading.numbers` computes `above_level`, `declined_level`,
`late_gain_level`, `memorized_level` and `stalled_level`."""


def _train_level(n: Numbers, s: ClassifierSettings) -> float:
    """Noisy labels may have lowered it."""
    level = n["theta_train"]
    return level if level == level else s.theta
