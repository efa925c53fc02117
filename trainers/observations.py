"""What is looked at between the rows of the traces: measures and snapshots, each on a schedule of its own.

A run whose parameters are not all finite is observed no more: its trace says that it diverged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainers.config import RunConfig
from trainers.metrics.measures import Reading


@dataclass
class Observations:
    """Of one segment."""

    measures: list[tuple[int, int, Reading]] = field(default_factory=list)
    """Run, step, reading."""
    snapshots: list[tuple[int, int, str, np.ndarray]] = field(default_factory=list)
    """Run, step, name of the parameter, its values."""

    def tables(self, config: RunConfig) -> dict[str, Mapping[str, Any]]:
        """The columns of those tables that the pack has (`config` is of any of its runs)."""
        found: dict[str, Mapping[str, Any]] = {}
        if config.measures:
            found["measures"] = self._measures()
        if config.snapshots:
            found["snapshots"] = self._snapshots()
        return found

    def _measures(self) -> dict[str, Any]:
        sizes = [len(reading.values) for _, _, reading in self.measures]
        readings = [reading for _, _, reading in self.measures]
        values = [np.zeros(0), *(reading.values for reading in readings)]
        index = [np.zeros(0, np.int64), *(_index(reading) for reading in readings)]
        is_single = np.repeat([reading.index is None for reading in readings], sizes)
        return {
            "run": np.repeat(np.array([run for run, _, _ in self.measures], dtype=np.int64), sizes),
            "step": np.repeat(np.array([step for _, step, _ in self.measures], dtype=np.int64), sizes),
            "name": np.repeat(np.array([reading.name for reading in readings], dtype=object), sizes),
            "layer": np.repeat(np.array([reading.layer for reading in readings], dtype=object), sizes),
            "index": np.ma.masked_array(np.concatenate(index), is_single),
            "value": np.concatenate(values),
        }

    def _snapshots(self) -> dict[str, Any]:
        return {
            "run": np.array([run for run, *_ in self.snapshots], dtype=np.int64),
            "step": np.array([step for _, step, *_ in self.snapshots], dtype=np.int64),
            "name": [name for _, _, name, _ in self.snapshots],
            "shape": [list(values.shape) for *_, values in self.snapshots],
            "values": [values.reshape(-1) for *_, values in self.snapshots],
        }


def _index(reading: Reading) -> np.ndarray:
    return np.zeros(len(reading.values), np.int64) if reading.index is None else reading.index


def kept_names(config: RunConfig, names: list[str]) -> list[str]:
    """Of the parameters with these names those that a snapshot holds."""
    return names if config.snapshots == "weights" else [name for name in names if name == "embed.weight"]
