"""The reason for a label: one sentence in plain words, with the numbers that decided."""

from collections.abc import Callable, Mapping

from results.classify.settings import ClassifierSettings

Numbers = Mapping[str, float]
"""One run's evidence and facts by name."""


def explain_run(rule: str, numbers: Numbers, settings: ClassifierSettings, before_divergence: str, failed: bool) -> str:
    """`rule` is the rule of pass 1 that held; `before_divergence` the phase before a divergence, else ""."""
    if rule == "no_trace":
        return "The run diverged; it has no trace." if before_divergence else _no_trace(failed)
    sentence = _SENTENCES[rule](numbers, settings)
    if before_divergence:
        end = f"Diverged by step {steps(numbers['last_step'])}; until then {before_divergence}"
        return f"{end}: {_uncapitalized(sentence)}"
    return sentence


def _no_trace(failed: bool) -> str:
    return f"There is no trace{': the run failed' if failed else ''}."


def _collapsed(n: Numbers, s: ClassifierSettings) -> str:
    return (
        f"Validation accuracy had reached {acc(n['peak_val_accuracy'])} and ends at {acc(n['final_val_accuracy'])}, "
        f"at most {s.collapse:g} of that, while training accuracy ends at {acc(n['final_train_accuracy'])}."
    )


def _declined(n: Numbers, s: ClassifierSettings) -> str:
    return (
        f"Validation accuracy had held {s.validation_level:g} from step {steps(n['t_val'])} and ends at "
        f"{acc(n['final_val_accuracy'])}, while training accuracy ends at {acc(n['final_train_accuracy'])}."
    )


def _progression(n: Numbers, s: ClassifierSettings) -> str:
    done = f"validation accuracy reached {s.validation_level:g} at step {steps(n['t_val'])}"
    return f"{_together(n)}; {done}."


def _partial_progression(n: Numbers, s: ClassifierSettings) -> str:
    return f"{_together(n)}; validation accuracy ends at {acc(n['final_val_accuracy'])}, below {s.validation_level:g}."


def _together(n: Numbers) -> str:
    norm = n["norm_change"]
    grew = f", the parameter norm changing by {norm:+.0%}" if norm == norm else ""
    return (
        f"Validation accuracy left chance at step {steps(n['t_onset'])} with training accuracy stalled at "
        f"{acc(n['onset_train_accuracy'])}, which then gained {acc(n['train_gain'])} along with it{grew}"
    )


def _no_yes(n: Numbers, s: ClassifierSettings) -> str:
    return (
        f"Validation accuracy reached {s.validation_level:g} at step {steps(n['t_val'])}, though training accuracy "
        f"never held {acc(n['theta_train'])} (it ends at {acc(n['final_train_accuracy'])})."
    )


def _delayed(n: Numbers, s: ClassifierSettings) -> str:
    plateau = n["onset_train_accuracy"] >= n["theta_train"]
    manner = f"at chance until step {steps(n['t_onset'])}" if plateau else "slow, no plateau"
    return f"{_crossings(n, s)}: {_delay(n)}, at least {steps(s.delta_steps)} ({manner}; ratio {_ratio(n)})."


def _prompt(n: Numbers, s: ClassifierSettings) -> str:
    if n["delay"] < s.delta_steps:
        return f"{_crossings(n, s)}: {_delay(n)}, fewer than {steps(s.delta_steps)}."
    return f"{_crossings(n, s)}: {_delay(n)}, but without the plateau or the ratio ({_ratio(n)}) that is required."


def _crossings(n: Numbers, s: ClassifierSettings) -> str:
    levels = f"{acc(n['theta_train'])}", f"{s.validation_level:g}"
    return (
        f"Training accuracy reached {levels[0]} at step {steps(n['t_train'])} and validation accuracy {levels[1]} at "
        f"step {steps(n['t_val'])}"
    )


def _delay(n: Numbers) -> str:
    delay = n["delay"]
    if delay == 0:
        return "at the same evaluation"
    return f"{steps(abs(delay))} steps {'later' if delay > 0 else 'earlier'}"


def _ratio(n: Numbers) -> str:
    return f"{n['t_val'] / max(n['t_train'], 1.0):.3g}"


def _partial_late(n: Numbers, s: ClassifierSettings) -> str:
    return (
        f"Training accuracy reached {acc(n['theta_train'])} at step {steps(n['t_train'])}; validation accuracy was at "
        f"{acc(n['val_when_late'])} {steps(s.delta_steps)} steps later, and ends at {acc(n['final_val_accuracy'])}, "
        f"above chance ({acc(n['chance'])}) but below {s.validation_level:g}."
    )


def _partial_from_start(n: Numbers, s: ClassifierSettings) -> str:
    return (
        f"Training accuracy reached {acc(n['theta_train'])} at step {steps(n['t_train'])}; validation accuracy ends at "
        f"{acc(n['final_val_accuracy'])}, above chance ({acc(n['chance'])}), {_without_delay(n, s)}."
    )


def _without_delay(n: Numbers, s: ClassifierSettings) -> str:
    if n["val_when_late"] != n["val_when_late"]:
        return f"fewer than {steps(s.delta_steps)} steps before the end of the trace"
    return f"and was at {acc(n['val_when_late'])} by {steps(s.delta_steps)} steps after that"


def _fitted_only(n: Numbers, s: ClassifierSettings) -> str:
    return (
        f"Training accuracy reached {acc(n['theta_train'])} at step {steps(n['t_train'])}; validation accuracy ends at "
        f"{acc(n['final_val_accuracy'])}, no better than chance ({acc(n['chance'])})."
    )


def _nothing(n: Numbers, s: ClassifierSettings) -> str:
    return (
        f"Neither accuracy reached its level ({acc(n['theta_train'])} and {s.validation_level:g}): training ends at "
        f"{acc(n['final_train_accuracy'])}, validation at {acc(n['final_val_accuracy'])}, and neither is on its way."
    )


def _unfinished(n: Numbers, s: ClassifierSettings) -> str:
    if n["last_step"] < s.full_budget * n["budget"]:
        end = f"The trace ends at step {steps(n['last_step'])} of {steps(n['budget'])}"
    else:
        rising = "training" if n["rise_train"] > 0 and not n["rise_val"] > 0 else "validation"
        end = f"At the end of its budget of {steps(n['budget'])} steps {rising} accuracy is still rising"
    levels = f"training at {acc(n['final_train_accuracy'])}, validation at {acc(n['final_val_accuracy'])}"
    return f"{end} ({levels}): too early to say."


def _too_few_rows(n: Numbers, s: ClassifierSettings) -> str:
    return f"Only {n['n_measured']:.0f} of {n['n_rows']:.0f} rows have both accuracies: too few to say."


def _too_few_validation(n: Numbers, s: ClassifierSettings) -> str:
    examples = "example validates" if n["n_val"] == 1 else "examples validate"
    return f"Only {n['n_val']:.0f} {examples} the run, and luck alone gets so few right: too few to say."


def _no_accuracy(n: Numbers, s: ClassifierSettings) -> str:
    return "No row has both training and validation accuracy; phases are read off accuracies."


_SENTENCES: dict[str, Callable[[Numbers, ClassifierSettings], str]] = {
    "no_accuracy": _no_accuracy,
    "too_few_rows": _too_few_rows,
    "too_few_validation": _too_few_validation,
    "collapsed": _collapsed,
    "forgot": _collapsed,
    "declined": _declined,
    "progression": _progression,
    "no_yes": _no_yes,
    "delayed": _delayed,
    "prompt": _prompt,
    "partial_progression": _partial_progression,
    "partial_unfinished": _unfinished,
    "partial_late": _partial_late,
    "partial_from_start": _partial_from_start,
    "fitted_unfinished": _unfinished,
    "fitted_only": _fitted_only,
    "nothing_unfinished": _unfinished,
    "nothing": _nothing,
}


def acc(x: float) -> str:
    """An accuracy to three digits after the point, without trailing zeros."""
    return f"{x:.3f}".rstrip("0").rstrip(".")


def apart(x: float, threshold: float) -> str:
    """To two digits, or to as many more as tell it from the threshold that it is compared with."""
    texts = [f"{x:.{digits}g}" for digits in range(2, 17)]
    told = (text for text in texts if float(text) != threshold and (float(text) > threshold) == (x > threshold))
    return next(told, texts[0])


def steps(x: float) -> str:
    return f"{x:,.0f}"


def _uncapitalized(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
