"""Reference packs, on which a machine is timed: from one that is all dispatch to one that is mostly arithmetic."""

from trainers.config import RunConfig

LONG = 10**6
"""Steps of a reference run: nothing ends while it is timed."""


def reference_packs() -> dict[str, tuple[RunConfig, int]]:
    """By name: the config of its runs, and lanes."""
    toy = RunConfig(
        task_kind="toy_addition", model="toy", modulus=10, width=32, depth=2, train_size=45, loss="mse", steps=LONG
    )
    small = RunConfig(modulus=31, width=4, train_size=400, weight_decay=1.0, steps=LONG)
    large = RunConfig(modulus=113, width=8, train_size=3000, weight_decay=1.0, steps=LONG)
    return {
        "toy-32x8": (toy, 8),
        "toy-32x64": (toy, 64),
        "toy-200x16": (toy.model_copy(update={"width": 200}), 16),
        "p31-4x2": (small, 2),
        "p31-4x24": (small, 24),
        "p31-32x8": (small.model_copy(update={"width": 32}), 8),
        "p113-8x4": (large, 4),
        "p113-64x4": (large.model_copy(update={"width": 64}), 4),
    }
