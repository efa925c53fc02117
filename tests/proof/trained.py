"""Runs that were trained, from docs/evidence/proof: dense and exact, accuracies as counts.

As they are, their truth is what the classifier says of them: good for invariance. Resampled they are a family of their
own: real shapes, stretched in time, with real restlessness, and a truth read off the shape by definition.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from blind import LEAST_VAL, evenly
from parent import Curves, Parent, log_uniform
from scipy.ndimage import median_filter

EVIDENCE = Path(__file__).resolve().parents[2] / "docs" / "evidence" / "proof"


DEVELOPED, FRESH_FOR_8, FRESH_FOR_9, FRESH = "", "fresh_for_8_", "fresh_for_9_", "fresh_"
"""Names of files begin with this: runs that rules were made on; runs of other experiments and seeds, fresh for the
version of the classifier that is named, until they showed something wrong; and runs that nothing was made on."""
FACTS = ["run_id", "task", "train_size", "val_size", "train_fraction", "chance_accuracy", "steps", "outcome", "sweep"]
N_FRESH = 800


def read_trained(which: str = DEVELOPED) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of traces and runs. Each run's `task` is its own, so that no two are neighbours."""
    runs = pd.read_csv(EVIDENCE / f"{which}runs.csv").assign(task=lambda table: table["run_id"])
    traces = pd.read_parquet(EVIDENCE / f"{which}traces.parquet").merge(runs[["run_id", "train_size", "val_size"]])
    traces["train_accuracy"] = traces["train_correct"] / traces["train_size"]
    traces["val_accuracy"] = traces["val_correct"] / traces["val_size"]
    return traces.drop(columns=["train_correct", "val_correct", "train_size", "val_size"]), runs


def in_other_packs() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Some of these runs, trained again beside others and with another number of lanes."""
    _, runs = read_trained()
    traces = pd.read_parquet(EVIDENCE / "other_packs.parquet").astype({"run_id": object})
    return traces, runs[runs["run_id"].isin(traces["run_id"])]


def keep_fresh(sweeps: Sequence[Path]) -> None:
    """Writes fresh_runs.csv and fresh_traces.parquet: runs drawn evenly over sweeps, whatever the classifier says."""
    tables = []
    for root in sweeps:
        runs = pd.read_parquet(root / "runs.parquet")
        name = json.loads((root / "plan.json").read_text())["name"]
        tables.append(runs[runs["val_size"] >= LEAST_VAL].assign(sweep=name, root=str(root)))
    runs = pd.concat(tables, ignore_index=True).drop_duplicates("run_id", ignore_index=True)
    runs = runs.iloc[np.sort(evenly(runs["sweep"], N_FRESH, np.random.default_rng(0)))]
    traces = pd.concat([_counts(Path(root), some) for root, some in runs.groupby("root")], ignore_index=True)
    runs = runs[runs["run_id"].isin(traces["run_id"])]
    runs[FACTS].to_csv(EVIDENCE / f"{FRESH}runs.csv", index=False)
    small = {"compression": "zstd", "compression_level": 19, "use_byte_stream_split": ["param_norm"]}
    traces.to_parquet(EVIDENCE / f"{FRESH}traces.parquet", index=False, use_dictionary=False, **small)
    print(runs["sweep"].value_counts().to_string())


def _counts(root: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """Accuracies as the counts that they are."""
    rows = pd.read_parquet(root / "traces", columns=["run_id", "step", "train_accuracy", "val_accuracy", "param_norm"])
    rows = rows.merge(runs[["run_id", "train_size", "val_size"]]).dropna(subset=["train_accuracy", "val_accuracy"])
    for split in ("train", "val"):
        rows[f"{split}_correct"] = (rows[f"{split}_accuracy"] * rows[f"{split}_size"]).round().astype("int16")
    kept = rows[["run_id", "step", "train_correct", "val_correct", "param_norm"]].sort_values(["run_id", "step"])
    return kept.astype({"step": "int32"}).assign(param_norm=_briefly(kept["param_norm"].to_numpy("float32")))


def _briefly(x: np.ndarray) -> np.ndarray:
    """To a part in 4,000, so that it takes half of the space."""
    return (x.view("uint32") & np.uint32(0xFFFFF000)).view("float32")


def parents(which: str = DEVELOPED) -> list[Parent]:
    """The same as parents of noised, thinned and cut children."""
    traces, runs = read_trained(which)
    facts = runs.set_index("run_id")
    return [_parent(run, facts.loc[run_id]) for run_id, run in traces.groupby("run_id", sort=True)]


def _parent(run: pd.DataFrame, facts: pd.Series) -> Parent:
    columns = [run[name].to_numpy(float) for name in ("train_accuracy", "val_accuracy", "param_norm")]
    return Parent(
        family=str(facts["sweep"]),
        is_trained=True,
        curves=nearest_row(run["step"].to_numpy(float), columns),
        budget=int(facts["steps"]),
        chance=float(facts["chance_accuracy"]),
        n_train=int(facts["train_size"]),
        n_val=int(facts["val_size"]),
        train_fraction=float(facts["train_fraction"]),
    )


def nearest_row(step: np.ndarray, columns: list[np.ndarray]) -> Curves:
    """Between rows nothing is known."""

    def curves(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        nearest = np.searchsorted((step[1:] + step[:-1]) / 2, steps)
        train, val, norm = (values[nearest] for values in columns)
        return train, val, norm

    return curves


# Resampled

WINDOW, BLOCK = 9, 8
"""Rows: of the running median that is a run's shape, and of the blocks of what it leaves over."""
STRETCH = 2.5
BUDGET_SHARE = (1 / 3, 2 / 3)


def resampled(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    """Runs drawn anew: the shape of one, its time stretched by up to STRETCH either way, so that delays pass through
    1,000 steps. Each block of its noise changes places with a neighbouring one. The budget is a part of the run, so
    that it is known what comes after. Progression is no matter of shape alone, so no run is that here, and the
    classifier errs wherever it says so."""
    traces, runs = read_trained()
    facts = runs.set_index("run_id")
    by_run = dict(list(traces.groupby("run_id", sort=True)))
    for run_id in draw.choice(list(by_run), n):
        yield _resampled(by_run[run_id], facts.loc[run_id], draw)


def _resampled(run: pd.DataFrame, facts: pd.Series, draw: np.random.Generator) -> Parent:
    stretch = log_uniform(draw, 1 / STRETCH, STRETCH)
    step = run["step"].to_numpy(float) * stretch
    logged = [run[name].to_numpy(float) for name in ("train_accuracy", "val_accuracy", "param_norm")]
    shape = [median_filter(values, WINDOW, mode="nearest") for values in logged]
    order = _blocks_swapped(len(step), draw)
    noisy = [(s + (x - s)[order]).clip(0, 1) for x, s in zip(logged[:2], shape[:2], strict=True)]
    return Parent(
        family="resampled",
        is_trained=True,
        curves=nearest_row(step, [*noisy, logged[2]]),
        smooth=nearest_row(step, shape),
        budget=int(step[-1] * draw.uniform(*BUDGET_SHARE)),
        chance=float(facts["chance_accuracy"]),
        n_train=int(facts["train_size"]),
        n_val=int(facts["val_size"]),
        train_fraction=float(facts["train_fraction"]),
    )


def _blocks_swapped(n: int, draw: np.random.Generator) -> np.ndarray:
    """Rows in an order in which pairs of neighbouring blocks have changed places; the first pair begins by chance."""
    blocks = np.array_split(np.arange(n), max(n // BLOCK, 1))
    for first in range(int(draw.integers(2)), len(blocks) - 1, 2):
        blocks[first], blocks[first + 1] = blocks[first + 1], blocks[first]
    return np.concatenate(blocks)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="Keep some runs of these sweeps as fresh ones.")
    options.add_argument("sweeps", type=Path, nargs="+")
    keep_fresh(options.parse_args().sweeps)
