"""The numbers that LOG.md states of a paper's experiment, taken from a sweep's own files; `make.py` keeps them in
evidence.json.

A function for each kind of experiment, chosen by the name of the spec; every sweep gets a table of its cells besides.
"""

from collections.abc import Callable
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from orchestrator.papers import training_sets
from results.agreement import fleiss_kappa
from results.axes import label_of
from results.cells import SEED_COLUMNS
from results.critical.half_width import half_width, shift
from results.descent import descents
from results.figures.curves import cells, in_words, numbers, runs_of
from results.figures.davies2022_fig6 import bumps
from results.figures.liu2022_fig4 import linear_at
from results.figures.power2022_fig2 import variants
from results.figures.times import censored_median, first_reach, fit_slope
from results.measures import predicted_accuracy
from results.sweep import Sweep

Record = dict[str, Any]
KEY_WAVES = 5
MOST_CELLS = 40


def findings(sweep: Sweep, labels: pd.DataFrame, name: str) -> Any:
    """What make.py writes under `seen`; `name` is that of the spec."""
    chosen = [find for start, find in OF_SPEC.items() if name.startswith(start)]
    found: Record = {}
    for find in chosen:
        found |= find(sweep, labels)
    if cell_names(sweep, labels):
        found["cells"] = cell_table(sweep, labels)
    return _finite(found)


def _finite(value: Any) -> Any:
    """With null for what is not known and for what did not happen within the budget."""
    if isinstance(value, dict):
        return {str(name): _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


def cell_names(sweep: Sweep, labels: pd.DataFrame) -> list[str]:
    """The axes of the sweep that vary, without the seed."""
    return [n for n in sweep.plan["axes"] if n not in SEED_COLUMNS and labels[n].nunique(dropna=False) > 1]


def cell_table(sweep: Sweep, labels: pd.DataFrame) -> list[str] | Record:
    """A line a cell, where there are not too many: phases, median steps to .9 (inf: most do not get there), ends."""
    parts = cells(labels, cell_names(sweep, labels))
    if len(parts) > MOST_CELLS:
        return {"number": len(parts)}
    lines = []
    for cell, part in parts:
        phases = ", ".join(f"{phase} {n}" for phase, n in part["phase"].value_counts().items())
        train, val = (censored_median(part[t].astype(float).fillna(np.inf)) for t in ("t_train", "t_val"))
        ends = ", ".join(f"{mean:.2f}" for mean in part[["final_train_accuracy", "final_val_accuracy"]].mean())
        lines.append(f"{in_words(cell)}: {phases}; .9 at {train:g} and {val:g}; ends {ends}")
    return lines


def liu_phases(sweep: Sweep, labels: pd.DataFrame) -> Record:
    """Counts by the paper's own rule, for each seed, and how far seeds agree (Fleiss over all, Cohen by pairs)."""
    axes = cell_names(sweep, labels)
    by_seed = {int(seed): part.set_index(axes)["liu_phase"] for seed, part in labels.groupby("seed")}
    pairs = {f"{a}, {b}": _cohen(by_seed[a], by_seed[b]) for a, b in combinations(by_seed, 2)}
    return {
        "liu_phases": labels["liu_phase"].value_counts().to_dict(),
        "liu_phases_by_seed": {seed: phases.value_counts().to_dict() for seed, phases in by_seed.items()},
        "fleiss_kappa": round(fleiss_kappa(labels, axes, "liu_phase"), 3),
        "cohen_kappa_by_seeds": {pair: round(kappa, 3) for pair, kappa in pairs.items()},
    }


def _cohen(one: "pd.Series[str]", other: "pd.Series[str]") -> float:
    both = pd.concat([one, other], axis=1, keys=["a", "b"]).dropna()
    observed = float((both["a"] == both["b"]).mean())
    a, b = (both[name].value_counts(normalize=True) for name in ("a", "b"))
    expected = float(a.mul(b, fill_value=0).sum())
    return (observed - expected) / (1 - expected) if expected < 1 else float("nan")


def davies_bumps(sweep: Sweep, labels: pd.DataFrame) -> Record:
    return {"bumps": [asdict(bump) for bump in bumps(sweep, labels)]}


def dip(sweep: Sweep, labels: pd.DataFrame) -> Record:
    facet = "train_size" if labels["train_size"].nunique() > 1 else None
    rows = descents(labels, axis="width", facet=facet).to_dict("records")
    means = labels.groupby("width")["final_val_accuracy"].agg(["mean", "sem"]).round(3)
    return {"descents": [{str(k): v for k, v in row.items()} for row in rows], "mean_over_width": _plain(means)}


def half_widths(sweep: Sweep, labels: pd.DataFrame) -> Record:
    """From which width the mean stays above half, and the factor against the first arm (fewest labels; no split)."""
    by = "split_mlp" if "split_mlp" in labels and labels["split_mlp"].nunique() > 1 else "train_size"
    parts = cells(labels, [by])
    names = [f"{by} {label_of(cell[by])}" for cell, _ in parts]
    base = parts[0][1]
    return {
        "half_width": {name: asdict(half_width(part)) for name, (_, part) in zip(names, parts, strict=True)},
        "shift": {name: asdict(shift(base, part)) for name, (_, part) in list(zip(names, parts, strict=True))[1:]},
        "mean_by_width": {
            name: _plain(part.groupby("width")[["final_val_accuracy"]].agg(["mean", "min", "max"]).round(3))
            for name, (_, part) in zip(names, parts, strict=True)
        },
    }


def neurons(sweep: Sweep, labels: pd.DataFrame) -> Record:
    """Of each seed: the subnetwork's size at its most and at the end, and norms of its neurons and of the others."""
    norms, sizes = (sweep.measures(name=name, include_running=False) for name in ("neuron_norms", "subnetwork_size"))
    found = {}
    for _, row in labels.sort_values("seed").iterrows():
        size = sizes[sizes["run_id"] == row["run_id"]].sort_values("step")["value"]
        table = norms[norms["run_id"] == row["run_id"]].pivot_table(index="step", columns="index", values="value")
        end = int(size.iloc[-1])
        order = table.iloc[-1].sort_values(ascending=False).index
        inside, rest = table[order[:end]], table[order[end:]]
        found[int(row["seed"])] = {
            "t_train": row["t_train"],
            "t_val": row["t_val"],
            "subnetwork_most": int(size.max()),
            "subnetwork_at_end": end,
            "norms_inside_first_and_last": [_range(inside.iloc[0]), _range(inside.iloc[-1])],
            "median_of_rest_first_and_last": [round(float(rest.iloc[i].median()), 4) for i in (0, -1)],
        }
    return {"by_seed": found}


def waves(sweep: Sweep, labels: pd.DataFrame) -> Record:
    """Of each seed: how much of the embedding's power the strongest frequencies hold, over steps."""
    measures = sweep.measures(include_running=False)
    found = {}
    for row, trace in runs_of(sweep, labels, ("val_accuracy",)):
        own = measures[(measures["run_id"] == row["run_id"]) & (measures["index"].fillna(0) > 0)]
        power = own[own["name"] == "embedding_power"].pivot_table(index="step", columns="index", values="value")
        share = power.div(power.sum(axis=1), axis=0)
        top = np.sort(share.to_numpy(), axis=1)[:, ::-1][:, :KEY_WAVES].sum(axis=1)
        half = first_reach(trace, "val_accuracy", 0.5)
        before = int(np.searchsorted(share.index.to_numpy(), half)) - 1
        found[int(row["seed"])] = {
            "phase": row["phase"],
            "t_train": row["t_train"],
            "t_val": row["t_val"],
            f"share_of_{KEY_WAVES}_waves": {
                int(share.index[i]): round(float(top[i]), 3) for i in (0, max(before, 0), len(top) - 1)
            },
            "waves_above_a_twentieth_at_end": int((share.iloc[-1] > 0.05).sum()),
        }
    return {"by_seed": found}


def data_slope(sweep: Sweep, labels: pd.DataFrame) -> Record:
    """Of each task: steps to 99 % over the per cent of data, censored runs included."""
    found = {}
    for task, part in labels.groupby("task"):
        runs = list(runs_of(sweep, part, ("val_accuracy",)))
        times = np.array([first_reach(trace, "val_accuracy", 0.99) for _, trace in runs])
        percent = np.array([100 * row["train_fraction"] for row, _ in runs])
        fit = fit_slope(percent, times, float(labels["steps"].max()))
        found[task] = {
            "runs": len(times),
            "censored": int(np.isinf(times).sum()),
            "time_factor_per_percent_less": None
            if fit is None
            else [round(float(np.exp(-fit.slope + k * fit.slope_se)), 3) for k in (0, -1.96, 1.96)],
            "steps_by_percent": {f"{x:.0f}": sorted(times[percent == x].tolist()) for x in np.unique(percent)},
        }
    return {"steps_to_99": found}


def best_by_variant(sweep: Sweep, labels: pd.DataFrame) -> Record:
    """Of each variant: mean best accuracy at each per cent of data and how many runs that is, and how many hold .9."""
    settings = [name for name in cell_names(sweep, labels) if name != "train_size"]
    parts = cells(labels.assign(percent=(100 * labels["train_fraction"]).round()), settings)
    found = {}
    for name, (_, part) in zip(variants([cell for cell, _ in parts]), parts, strict=True):
        at = part.groupby("percent").agg(
            best=("peak_val_accuracy", "mean"), runs=("run_id", "size"), held=("t_val", "count")
        )
        found[name] = {
            f"{percent:.0f} %": f"{best:.2f}; {held:.0f} of {runs:.0f} at .9"
            for percent, best, runs, held in at.itertuples()
        }
    return {"best_by_variant": found}


def embeddings(sweep: Sweep, labels: pd.DataFrame) -> Record:
    """Steps to an RQI of .95 by train size, and the accuracy that embeddings foretell against the measured one."""
    training = training_sets(sweep)
    times: dict[int, list[float]] = {}
    both = []
    for row, trace in runs_of(sweep, labels, ("full_accuracy",)):
        kept = sweep.snapshots(row["run_id"])
        times.setdefault(int(row["train_size"]), []).append(linear_at(sweep, row["run_id"]))
        foretold = predicted_accuracy(kept[max(kept)], training(row["run_id"]))
        both.append((foretold, float(trace["full_accuracy"].iloc[-1])))
    foretold_N, measured_N = np.array(both).T
    return {
        "steps_to_rqi": {size: sorted(found) for size, found in sorted(times.items())},
        "correlation": round(float(np.corrcoef(foretold_N, measured_N)[0, 1]), 4),
        "largest_difference": round(float(np.abs(foretold_N - measured_N).max()), 4),
    }


def transitions(sweep: Sweep, labels: pd.DataFrame) -> Record:
    """Of each run: steps from 10 to 90 % of validation accuracy, and where the norm stood then."""
    found = []
    for row, trace in runs_of(sweep, labels, ("val_accuracy", "param_norm")):
        steps, norm = numbers(trace["step"]), numbers(trace["param_norm"])
        t10, t50, t90 = (first_reach(trace, "val_accuracy", level) for level in (0.1, 0.5, 0.9))
        at = {t: round(float(norm[np.searchsorted(steps, t)]), 2) if np.isfinite(t) else None for t in (t10, t50, t90)}
        run = in_words({name: row[name] for name in (*cell_names(sweep, labels), "seed")})
        found.append(
            f"{run}: {row['phase']}, t10 {t10:g} t50 {t50:g} t90 {t90:g}; "
            f"norm {norm[0]:.1f}, {at[t10]}, {at[t50]}, {at[t90]}, {norm[-1]:.1f}"
        )
    return {"transitions": found}


def _range(values: "pd.Series[float]") -> list[float]:
    return [round(float(values.min()), 3), round(float(values.max()), 3)]


def _plain(table: pd.DataFrame) -> Record:
    return {label_of(key): row for key, row in zip(table.index.tolist(), table.to_numpy().tolist(), strict=True)}


OF_SPEC: dict[str, Callable[[Sweep, pd.DataFrame], Record]] = {
    "liu2022_fig6": liu_phases,
    "davies2022_fig1": transitions,
    "davies2022_fig6": davies_bumps,
    "huang2024_fig7": dip,
    "huang2024_fig8": half_widths,
    "huang2024_fig10": half_widths,
    "huang2024_fig9": transitions,
    "huang2024_fig5": transitions,
    "huang2024_fig2": transitions,
    "merrill2023": neurons,
    "nanda2022_fourier": waves,
    "power2022_fig1": data_slope,
    "power2022_fig2_optimizers": best_by_variant,
    "liu2022_fig4": embeddings,
    "pope2023": transitions,
}
"""By how the name of a spec begins."""
