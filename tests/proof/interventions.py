"""Truth by intervention: runs that were trained so that their phase is known before anybody looks at the trace.

    python tests/proof/interventions.py SWEEP...     keep the traces of ended runs in docs/evidence/interventions, in
                                                     the place of what is kept of sweeps with these names

What was done to a run says what it can be. Without a rule (random labels, x^3 + xy^2 + y) nobody generalizes:
memorization if the network holds so many labels, confusion if it is far too small. With nearly all of the table it
understands, above all a rule that does not care for the order of a and b, where each pair tells of another. With next
to none of it, where the same seed with nearly all of it does generalize, more data were wanting: ungrokking below the
critical size. Where all of the table is taken away after a while but for a few pairs: ungrokking, collapsed; but for
nearly all, where the same seed generalizes from so many alone: comprehension. (Where it does not it may decline.) Where
decay makes a seed generalize that does not without it: memorization without. Where the decay is so weak that a weight
without gradient takes 1,111 steps to shrink to 1/e of it, and the seed generalizes all the same: grokking. (With a
decay of 1 that takes 333 steps, and what it brings may come before 1,000 or after.)
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from scores import proportion

from results.classify import label_runs

EVIDENCE = Path(__file__).resolve().parents[2] / "docs" / "evidence" / "interventions"
CONFIG = [
    "run_id", "sweep", "task", "task_kind", "modulus", "width", "train_size", "train_size_before", "val_size",
    "train_fraction", "weight_decay", "learning_rate", "chance_accuracy", "steps", "seed", "outcome",
]  # fmt: skip
SCHEDULE = "train_size_before"
EVERY = 2
"""Of so many rows one is kept, and the last three."""

GENERALIZES = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", type=Path, nargs="+")
    keep(parser.parse_args().sweeps)


def keep(sweeps: list[Path]) -> None:
    from results import open_sweep

    rows, runs = read()
    opened = {root: open_sweep(root) for root in sweeps}
    runs = runs[~runs["sweep"].isin({sweep.plan["name"] for sweep in opened.values()})]
    rows = rows[rows["run_id"].isin(runs["run_id"])]
    for root, sweep in opened.items():
        finished = sweep.traces(include_running=False)
        firsts = finished.drop_duplicates("run_id").assign(sweep=sweep.plan["name"], outcome="ended")
        runs = pd.concat([runs, complete(firsts, sweep.settings(), root)])
        rows = pd.concat([rows, thinned(finished)])
    table = runs.sort_values("run_id", ignore_index=True)
    table.to_csv(EVIDENCE / "runs.csv", index=False, float_format="%.8g")
    stored = rows.sort_values(["run_id", "step"], ignore_index=True).astype({"run_id": "category"})
    stored.to_parquet(EVIDENCE / "traces.parquet", index=False, compression="zstd")


def thinned(traces: pd.DataFrame) -> pd.DataFrame:
    traces = traces.sort_values(["run_id", "step"], ignore_index=True)
    place, size = traces.groupby("run_id").cumcount(), traces.groupby("run_id")["step"].transform("size")
    rows = traces[(place % EVERY == 0) | (place >= size - 3)]
    return pd.DataFrame(
        {
            "run_id": rows["run_id"],
            "step": rows["step"].astype("int32"),
            "train_accuracy": rows["train_accuracy"].astype("float32"),
            "val_accuracy": rows["val_accuracy"].astype("float32"),
            "param_norm": rows["param_norm"].map("{:.4g}".format).astype("float32"),
        }
    )


def complete(runs: pd.DataFrame, settings: pd.DataFrame, root: Path) -> pd.DataFrame:
    """CONFIG of all runs. Tables of an older sweep say nothing of the training sets that came before; its plan does, if
    there were any. (Without them runs with a schedule pass for neighbours of those without, and labels change.)

    Raises SystemExit if another column is missing."""
    if SCHEDULE not in runs.columns:
        before = settings.set_index("run_id").get(SCHEDULE, pd.Series(dtype=object))
        runs = runs.assign(**{SCHEDULE: runs["run_id"].map(before[before != ""])})
    missing = ", ".join(name for name in CONFIG if name not in runs.columns)
    if missing:
        raise SystemExit(f"{root}: no column {missing} in its tables; launch its spec into a new folder and keep that")
    return runs[CONFIG]


def read() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of traces and runs."""
    runs = pd.read_csv(EVIDENCE / "runs.csv", dtype={"train_size_before": object})
    return pd.read_parquet(EVIDENCE / "traces.parquet").astype({"run_id": object}), runs


def truth(run: Any, generalizes: set[tuple[Any, ...]]) -> str:
    """By what was done, "" where that leaves it open. `generalizes` holds those (sweep, task, modulus, seed) that do
    with most data, or with decay."""
    pair = (run.sweep, run.task, run.modulus, run.seed)
    match run.sweep:
        case "intervention_no_rule":
            return "memorization" if run.width == 32 else "confusion"
        case "intervention_data" if run.train_size == 480:
            return "comprehension"
        case "intervention_data" if run.train_size == 60:
            return "ungrokking" if pair in generalizes else "memorization"
        case "intervention_most_data":
            return "comprehension"
        case "intervention_collapse" if run.train_size == 60:
            return "ungrokking"
        case "intervention_collapse" if ("intervention_data", *pair[1:]) in generalizes:
            return "comprehension"
        case "intervention_decay" if run.weight_decay == 0 and pair in generalizes:
            return "memorization"
        case "intervention_slow_decay" if pair in generalizes:
            return "grokking"
    return ""


def interventions() -> dict[str, Any]:
    """For each sweep and truth: how many runs of how many tasks, and how many are called so."""
    traces, runs = read()
    labels = label_runs(traces, runs).merge(runs[["run_id", "sweep"]], on="run_id")
    ends = labels.set_index("run_id")["final_val_accuracy"]
    most = runs[
        ((runs["sweep"] == "intervention_data") & (runs["train_size"] == 480))
        | (runs["sweep"].isin(["intervention_decay", "intervention_slow_decay"]) & (runs["weight_decay"] > 0))
    ]
    most = most[ends.loc[most["run_id"]].to_numpy() >= GENERALIZES]
    generalizes = set(most[["sweep", "task", "modulus", "seed"]].itertuples(index=False, name=None))
    labels["truth"] = [truth(run, generalizes) for run in labels.itertuples()]
    report: dict[str, Any] = {}
    for (sweep, meant), group in labels[labels["truth"] != ""].groupby(["sweep", "truth"]):
        said = group["phase"].value_counts()
        report[f"{sweep.removeprefix('intervention_')}: {meant}"] = {
            "truth": meant,
            "runs": len(group),
            "tasks": int(group[["task", "modulus"]].drop_duplicates().shape[0]),
            "right": proportion(group["phase"] == meant),
            "called": {str(phase): int(n) for phase, n in said.items()},
        }
    return report


if __name__ == "__main__":
    main()
