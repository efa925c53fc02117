"""The readings that labels are decided on, one entry a run; NaN where a trace does not show the thing."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from results.classify.batch import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """All float64, so that NaN can say "not seen"."""

    t_train: FloatArray
    """Step of the sustained crossing of theta by training accuracy, between the two rows around it."""
    t_train_lo: FloatArray
    """The row before..."""
    t_train_hi: FloatArray
    """...and the first row from which the level is held."""
    t_val: FloatArray
    t_val_lo: FloatArray
    t_val_hi: FloatArray
    theta_train: FloatArray
    """The level crossed: theta, or theta times the ceiling of noisy labels where only that is reached."""
    cut_short: FloatArray
    """1 if a crossing is held by fewer rows than it should be, because a stop rule ended the run there."""
    t_train_first: FloatArray
    """First row at or above theta within Liu et al.'s horizon, sustained or not."""
    t_val_first: FloatArray
    t_onset: FloatArray
    """The last row inside the chance band before validation rises."""
    val_when_late: FloatArray
    """Validation accuracy delta_steps after the crossing of theta by training accuracy; NaN beyond the trace."""
    onset_train_accuracy: FloatArray
    held_before: FloatArray
    """Mean training accuracy before validation left chance: what was memorized."""
    held_early: FloatArray
    """Training accuracy where that mean begins: whether it had stalled."""
    train_gain: FloatArray
    """Gain of training accuracy from the onset to the end of validation's rise."""
    norm_change: FloatArray
    """Relative change of the parameter norm over the same stretch."""
    peak_val_accuracy: FloatArray
    """Sustained maximum."""
    final_train_accuracy: FloatArray
    final_val_accuracy: FloatArray
    rise_train: FloatArray
    """How far training accuracy exceeds what counts as still rising (below 0: it is not rising)."""
    rise_val: FloatArray
    creep_val: FloatArray
    """The same of what counts as creeping."""
    leads_to: FloatArray
    """Where validation accuracy is at finish_within times the steps, if it goes on as it rose at the end."""
    speeding: FloatArray
    """How many times as fast as before it rises at the end, per step."""
    leads_train_to: FloatArray
    """The same of training accuracy, towards theta."""
    speeding_train: FloatArray
    n_surges: FloatArray
    n_falls: FloatArray

    # How far readings may be off by the trace's own noise (results.classify.noise): standard deviations
    error_train: FloatArray
    """Of single rows of training accuracy at the end."""
    error_val: FloatArray
    """Of single rows of validation accuracy where it crosses its level, else at the end."""
    error_final_val: FloatArray
    error_rise_train: FloatArray
    error_rise_val: FloatArray
    error_leads_to: FloatArray
    error_speeding: FloatArray
    """In factors of two."""
    error_leads_train_to: FloatArray
    error_speeding_train: FloatArray
    error_t_train: FloatArray
    """Of the crossing's step, beyond the gap between its rows."""
    error_t_val: FloatArray
    error_when_late: FloatArray
    error_onset: FloatArray
    """Of training accuracy at the onset: noise, and what it changes by between rows there."""
    error_held: FloatArray
    """Of means of training accuracy before it."""
    late_gain: FloatArray
    """What validation accuracy gained since half of the steps."""
    error_late_gain: FloatArray
    late_gain_train: FloatArray
    """The same of training accuracy."""
    error_late_gain_train: FloatArray

    @classmethod
    def blank(cls, n_runs: int) -> Self:
        return cls(**{field.name: np.full(n_runs, np.nan) for field in fields(cls)})

    def fill(self, index: IntArray, part: "Evidence") -> None:
        """Writes the readings of a batch to the places of its runs."""
        for field in fields(self):
            getattr(self, field.name)[index] = getattr(part, field.name)
