"""By how much a reading exceeds its threshold, in its own unit; above 0 it is met.

Pass 1 asks whether it is; the confidence asks how far it lies from 0 by the trace's own noise.
"""

from typing import NamedTuple

import numpy as np

from results.classify.batch import FloatArray
from results.classify.evidence import Evidence
from results.classify.facts import Facts
from results.classify.measure import EPSILON, declined_level, late_gain_level, memorized_level, stalled_level
from results.classify.settings import ClassifierSettings


class Together(NamedTuple):
    """The parts of progression, P. All must be met; NaN where validation never rose."""

    memorized: FloatArray
    """A part of the training set was memorized..."""
    unfitted: FloatArray
    """...and not all of it,..."""
    stalled: FloatArray
    """...training stalled,..."""
    gained: FloatArray
    """...it rose together with validation,..."""
    norm: FloatArray
    """...and the norm did not fall. NaN also where it was not measured."""


def together(evidence: Evidence, facts: Facts, settings: ClassifierSettings) -> Together:
    e = evidence
    return Together(
        memorized=e.held_before - memorized_level(facts, settings),
        unfitted=e.theta_train - EPSILON - e.onset_train_accuracy,
        stalled=e.held_early - stalled_level(e.held_before, facts, settings),
        gained=e.train_gain - settings.progression_gain,
        norm=e.norm_change + settings.progression_norm_fall,
    )


def declined(evidence: Evidence, facts: Facts, settings: ClassifierSettings) -> FloatArray:
    """Validation ends below the level that it had held."""
    return np.asarray(declined_level(facts, settings) - evidence.final_val_accuracy)


def late_rise(evidence: Evidence, facts: Facts, settings: ClassifierSettings) -> FloatArray:
    """Validation gains what semi-grokking asks for; NaN where the trace does not tell."""
    return np.asarray(evidence.final_val_accuracy - evidence.val_when_late - late_gain_level(facts, settings))
