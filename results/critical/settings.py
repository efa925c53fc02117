"""Thresholds of everything that is read off a whole sweep, and the version of the readings."""

from dataclasses import dataclass

CRITICAL_VERSION = "1"
"""Stored with every row of critical.parquet. Raised whenever the same labels could give another number."""


@dataclass(frozen=True, kw_only=True)
class CriticalSettings:
    """The knobs."""

    level: float = 0.95
    """Coverage of all intervals."""
    shares: tuple[float, ...] = (0.05, 0.5, 0.95)
    """Of the seeds: D05, D50 and D95. Huang et al.'s critical dataset size (near-perfect validation) is the upper one;
    the band between the outer ones is semi-grokking's."""
    budget_shares: tuple[float, ...] = (0.25, 0.5, 1.0)
    """Ascending, the last is the whole budget."""
    stability: float = 0.1
    """A size that moves by at most this share between half of the budget and all of it has stopped moving."""
    memory: float = 0.99
    """Training accuracy from which a set of random labels counts as fitted."""
    tail: float = 0.1
    """Accuracies and losses at a budget are medians over this last share of its steps."""
    modelwise_ratio: float = 1.5
    """Model-wise grokking: validation needs this many times the width that training needs, surely."""
    min_seeds: int = 5
    """With fewer, no verdict."""
