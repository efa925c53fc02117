"""The same run in the words of two papers, taken literally.

liu_phase (Liu et al. 2022, table 1): two questions and a delay, by FIRST crossings within 1e5 steps or the budget. Its
four phases leave one combination without a name (`undefined`: validation crosses, training does not), and a run that
was cut before the horizon may not have answered yet (`undecided`).

huang_dynamic (Huang et al. 2024): progression, ungrokking, grokking and semi-grokking. Grokking there has a falling
parameter norm, and ungrokking is memorization below the critical size (pass 2 sets it), not a lost generalization.
"""

import numpy as np

from results.classify.batch import FloatArray
from results.classify.evidence import Evidence
from results.classify.facts import Facts
from results.classify.settings import ClassifierSettings


def liu_phase(evidence: Evidence, facts: Facts, settings: ClassifierSettings) -> np.ndarray:
    train, val = evidence.t_train_first, evidence.t_val_first
    horizon = np.minimum(settings.liu_horizon_steps, facts.budget)
    unread = np.isnan(evidence.final_val_accuracy)
    crossed_both = np.isfinite(train) & np.isfinite(val)
    may_change = ~crossed_both & ~(facts.last_step >= settings.full_budget * horizon)
    return np.where(unread | may_change, "undecided", liu_rule(train, val, settings.delta_steps))


def liu_rule(t_train: FloatArray, t_val: FloatArray, delta_steps: float) -> np.ndarray:
    """By crossing times, NaN for never."""
    train, val = np.isfinite(t_train), np.isfinite(t_val)
    late = t_val - t_train >= delta_steps
    cases = [train & val & late, train & val, train, val]
    return np.select(cases, ["grokking", "comprehension", "memorization", "undefined"], "confusion")


def huang_dynamic(phase: np.ndarray, evidence: Evidence) -> np.ndarray:
    """For pass-1 phases. A norm that was not measured does not speak against grokking."""
    norm_grows = evidence.norm_change > 0
    named = np.isin(phase, ["semi-grokking", "progression"]) | ((phase == "grokking") & ~norm_grows)
    return np.where(named, phase, "none")
