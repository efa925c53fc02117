"""What a verdict asks for."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DescentSettings:
    """Thresholds of the verdict and the size of the bootstrap."""

    threshold: float = 0.1
    """Smallest effect that counts, in units (1 for an accuracy, the range of the mean curve for a loss)."""
    alpha: float = 0.05
    """Level of the test after Holm's correction, and one minus that of the intervals."""
    min_seeds: int = 5
    """With fewer seeds the verdict is `underpowered`, whatever the curve."""
    detectable: float = 0.2
    """`none` is said only where a dip this deep (in units) would have been found with 80 % power."""
    n_resamples: int = 1999
    seed: int = 0
    """Of the bootstrap: the same labels give the same verdict."""
