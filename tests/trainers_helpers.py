"""Small runs and what tests read from them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainers.config import RunConfig
from trainers.loop import train_pack
from trainers.trace import DENSE_METRICS, PackSettings, RunEnd, TraceBlock


def transformer(**changes: Any) -> RunConfig:
    """15 of the 25 sums mod 5, width 8, two heads; a few dozen steps."""
    fields = {
        "modulus": 5,
        "train_size": 15,
        "width": 8,
        "heads": 2,
        "learning_rate": 1e-2,
        "steps": 40,
        "eval_gaps": 8,
    }
    return RunConfig.model_validate(fields | {"eval_growth": 2.0} | changes)


def toy(**changes: Any) -> RunConfig:
    """Liu et al.'s toy addition, p = 5, 12 of 15 pairs."""
    fields = {"task_kind": "toy_addition", "task": "a + b", "model": "toy", "modulus": 5, "train_size": 12, "width": 16}
    fields |= {"depth": 2, "loss": "mse", "target_dim": 6, "learning_rate": 1e-2, "steps": 40, "eval_gaps": 8}
    return RunConfig.model_validate(fields | {"eval_growth": 2.0} | changes)


def settings(**changes: Any) -> PackSettings:
    fields = {"lanes": 4, "engine": "eager", "threads": 1, "segment_steps": 20, "device": "cpu", "keep_weights": True}
    return PackSettings(**(fields | changes))


def train(configs: Sequence[RunConfig], checkpoint: bytes | None = None, **changes: Any) -> list[TraceBlock]:
    return list(train_pack(configs, settings(**changes), checkpoint=checkpoint))


def trace(blocks: Sequence[TraceBlock], run: int) -> np.ndarray:
    """(rows, 6): step and the dense metrics of one run."""
    parts = [
        np.stack([block.columns[name][block.columns["run"] == run] for name in ("step", *DENSE_METRICS)], axis=1)
        for block in blocks
    ]
    return np.concatenate(parts)


def end_of(blocks: Sequence[TraceBlock], run: int) -> RunEnd:
    (found,) = [end for block in blocks for end in block.ended if end.run == run]
    return found


def final_vector(blocks: Sequence[TraceBlock], run: int) -> np.ndarray:
    """All final weights of a run as one vector."""
    weights = end_of(blocks, run).weights
    assert weights is not None
    return np.concatenate([weight.reshape(-1) for weight in weights.values()])
