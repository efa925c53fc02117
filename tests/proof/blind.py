"""Blind reading: what do people call a run, who see its plot and the definitions, and neither its label nor its task?

    python tests/proof/blind.py pick SWEEP... --out FOLDER [--over sweeps]    choose runs, evenly over labels or sweeps
    python tests/proof/blind.py draw docs/evidence/proof/blind --out FOLDER      sheets, definitions, an empty form
        [--view steps|numbers]        of another kind: over the step itself, or rows of numbers instead of pictures
    python tests/proof/blind.py score docs/evidence/proof/blind READER.csv...    how far they agree

Readers get a number and a picture: both accuracies over log step, loss and norm below, chance and the sizes of both
sets. Three who saw the same pictures agreed nearly always, also where they misread the logarithmic axis; so others see
the same runs in other views, and readers of different views are asked how far they agree: the classifier has a view of
its own, too. A reader's file is named reader_NAME.csv, or reader_NAME_VIEW.csv. What nobody can see in one run (whether
more data would have generalized) is not asked: the classifier's side is pass 1, which reads a run alone.
"""

import argparse
import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scores import proportion

from results.classify import PHASE_ORDER, label_runs

N_ITEMS = 200
PANELS = 8
LEAST_VAL = 10
SEED = 20261122
REPEATS = 500
"""Of the bootstrap over items."""
METRICS = ["train_accuracy", "val_accuracy", "train_loss", "val_loss", "param_norm"]
DRAWN_ONLY = ["train_loss", "val_loss", "param_norm"]
"""Stored with three digits. (The norm decides where progression ends; three digits are enough for its 5 %.)"""
FACTS = ["train_size", "val_size", "train_fraction", "chance_accuracy", "steps", "outcome"]
SOURCE = ["sweep", "run_id"]
VIEWS = ("log", "steps", "numbers")
OF_THE_LOG_AXIS = """\
Steps are absolute: 1,000 steps
are wide at the left of the logarithmic axis and narrow at its right."""
NUMBERS_LINES = 28
"""Lines of a run in numbers: even in log step, then even in steps, as many of each."""
AS_NUMBERS = """\
Each block is one network that was trained once: a line for some of its steps, with accuracy on the training examples
and on validation examples that it never trains on, both losses and the norm of all parameters. Between these lines
nothing is told. The header has the sizes of both sets, chance and the budget. Nothing is said of the task."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    pick_parser = verbs.add_parser("pick")
    pick_parser.add_argument("sweeps", type=Path, nargs="+")
    pick_parser.add_argument("--out", type=Path, required=True)
    pick_parser.add_argument("--over", choices=("labels", "sweeps"), default="labels")
    draw_parser = verbs.add_parser("draw")
    draw_parser.add_argument("items", type=Path)
    draw_parser.add_argument("--out", type=Path, required=True)
    draw_parser.add_argument("--view", choices=VIEWS, default="log")
    score_parser = verbs.add_parser("score")
    score_parser.add_argument("items", type=Path)
    score_parser.add_argument("readers", type=Path, nargs="+")
    options = parser.parse_args()
    if options.verb == "pick":
        pick(options.sweeps, options.out, over=options.over)
    elif options.verb == "draw":
        draw(options.items, options.out, options.view)
    else:
        print(json.dumps(score(options.items, options.readers), indent=1))


# Which runs


def pick(sweeps: Sequence[Path], out: Path, *, over: str) -> None:
    """Over labels: as many of each phase and warning, so that rare ones are there; over sweeps: runs as they come, as
    many of each experiment, whatever the classifier says of them.

    Writes items.csv (number, where the run comes from, its facts) and traces.parquet (float32)."""
    traces, runs = zip(*(read_sweep(path) for path in sweeps), strict=True)
    pool, facts = pd.concat(traces, ignore_index=True), pd.concat(runs, ignore_index=True)
    # The same run may be a part of two sweeps.
    pool, facts = pool.drop_duplicates(["run_id", "step"]), facts.drop_duplicates("run_id")
    facts = facts.sort_values("run_id", ignore_index=True)
    labels = label_runs(pool[["run_id", "step", *METRICS]], facts.assign(task=facts["run_id"]))
    draw_from = np.random.default_rng(SEED)
    chosen = evenly(facts["sweep"] if over == "sweeps" else stratum(labels), N_ITEMS, draw_from)
    run_ids = labels["run_id"].to_numpy(dtype=object)[draw_from.permutation(chosen)]
    items = facts.set_index("run_id").loc[run_ids].reset_index()[[*SOURCE, *FACTS]]
    items.insert(0, "item", np.arange(1, len(items) + 1))
    out.mkdir(parents=True, exist_ok=True)
    items.to_csv(out / "items.csv", index=False, float_format="%.8g")
    rows = pool.merge(items[["item", "run_id"]], on="run_id").sort_values(["item", "step"])
    rows = rows[["item", "step", *METRICS]].astype(dict.fromkeys(METRICS, "float32") | {"step": "int32"})
    rows[DRAWN_ONLY] = rows[DRAWN_ONLY].map("{:.3g}".format).astype("float32")
    rows.to_parquet(out / "traces.parquet", index=False, compression="zstd")
    print(stratum(labels).iloc[chosen].value_counts().to_string())


def read_sweep(root: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Finished runs that LEAST_VAL examples or more validate, from the published tables alone."""
    traces = pd.read_parquet(root / "traces", columns=["run_id", "step", *METRICS])
    runs = pd.read_parquet(root / "runs.parquet")
    runs = runs[runs["run_id"].isin(traces["run_id"].unique()) & (runs["val_size"] >= LEAST_VAL)]
    traces = traces[traces["run_id"].isin(runs["run_id"])]
    name = json.loads((root / "plan.json").read_text())["name"]
    return traces, runs[["run_id", *FACTS]].assign(sweep=name)


def stratum(labels: pd.DataFrame) -> pd.Series:
    """The phase, and the warning that divides it most."""
    flags = ("no_plateau", "partial_from_start", "partial_training", "no_yes")
    kinds = [next((flag for flag in flags if flag in text.split(",")), "") for text in labels["warning"]]
    return (labels["phase"] + " " + pd.Series(kinds, labels.index)).str.strip()


def evenly(strata: pd.Series, n: int, draw: np.random.Generator) -> np.ndarray:
    """Row numbers: one of each stratum in turn, until there are n. Small strata are taken whole."""
    queues = [draw.permutation(np.flatnonzero(strata == name)).tolist() for name in sorted(strata.unique())]
    taken: list[int] = []
    while len(taken) < n and any(queues):
        taken += [queue.pop() for queue in queues if queue]
    return np.array(taken[:n])


# What readers see


def draw(folder: Path, out: Path, view: str = "log") -> None:
    items, traces = pd.read_csv(folder / "items.csv"), pd.read_parquet(folder / "traces.parquet")
    out.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(items), PANELS):
        sheet, name = items.iloc[first : first + PANELS], f"sheet_{first // PANELS + 1:02d}"
        if view == "numbers":
            blocks = [_numbers(item, traces[traces["item"] == item.item]) for item in sheet.itertuples()]
            (out / f"{name}.txt").write_text("\n".join(blocks))
        else:
            _sheet(sheet, traces, out / f"{name}.png", view)
    items[["item"]].assign(phase="", confidence="", remark="").to_csv(out / "form.csv", index=False)
    (out / "DEFINITIONS.md").write_text(_definitions(folder, view))


def _definitions(folder: Path, view: str) -> str:
    """What readers are told, fitted to what they see."""
    text = (folder / "DEFINITIONS.md").read_text()
    if view == "log":
        return text
    title, panel, rest = text.replace(OF_THE_LOG_AXIS, "Steps are absolute.").split("\n\n", 2)
    over_steps = panel.replace("over the logarithm of the step", "over the step")
    return "\n\n".join([title, AS_NUMBERS if view == "numbers" else over_steps, rest])


def _facts(item: Any) -> str:
    return (
        f"{item.train_size} training, {item.val_size} validation examples, chance {item.chance_accuracy:.2g}, "
        f"budget {item.steps:,} steps"
    )


def _numbers(item: Any, run: pd.DataFrame) -> str:
    step = run["step"].to_numpy(float)
    log = np.expm1(np.linspace(0, np.log1p(step[-1]), NUMBERS_LINES))
    wanted = np.concatenate([log, np.linspace(0, step[-1], NUMBERS_LINES)])
    rows = run.iloc[np.unique(np.searchsorted(step, np.minimum(wanted, step[-1])))]
    table = rows.drop(columns="item").to_string(index=False, float_format=lambda x: f"{x:.3g}")
    return f"# {item.item}: {_facts(item)}\n{table}\n"


def _sheet(items: pd.DataFrame, traces: pd.DataFrame, path: Path, view: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(20, 13))
    grid = figure.add_gridspec(2, PANELS // 2, hspace=0.22, wspace=0.38, left=0.035, right=0.965, top=0.95, bottom=0.04)
    for place, item in zip(grid, items.itertuples(), strict=False):
        above, below = place.subgridspec(2, 1, height_ratios=[2.4, 1], hspace=0.08).subplots(sharex=True)
        _panel(above, below, item, traces[traces["item"] == item.item], view)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _panel(above: Any, below: Any, item: Any, run: pd.DataFrame, view: str) -> None:
    step, scale = (run["step"] + 1, "log") if view == "log" else (run["step"], "linear")
    above.plot(step, run["train_accuracy"], color="#1f4e9c", lw=1.4, label="training")
    above.plot(step, run["val_accuracy"], color="#d9601a", lw=1.4, label="validation")
    above.axhline(item.chance_accuracy, color="gray", ls=":", lw=1)
    above.axhline(0.9, color="gray", ls="--", lw=0.7)
    above.set(ylim=(-0.03, 1.03), xscale=scale, xlim=(1 if view == "log" else 0, item.steps * 1.05))
    above.grid(True, which="both", axis="x", alpha=0.25)
    above.set_title(f"{item.item}\n{_facts(item)}", fontsize=9)
    above.tick_params(labelbottom=False)
    above.legend(loc="center left", fontsize=7, framealpha=0.6)
    for name, color in (("train_loss", "#1f4e9c"), ("val_loss", "#d9601a")):
        below.plot(step, run[name].clip(lower=1e-8), color=color, lw=1)
    below.set(yscale="log", xlabel="step + 1" if view == "log" else "step")
    below.set_ylabel("loss", fontsize=8)
    norm = below.twinx()
    norm.plot(step, run["param_norm"], color="gray", lw=1.2)
    norm.set_ylabel("parameter norm (gray)", fontsize=8, color="gray")
    norm.set_ylim(bottom=0)
    below.grid(True, which="both", axis="x", alpha=0.25)


# How far they agree


def score(folder: Path, readers: Sequence[Path]) -> dict[str, Any]:
    """Agreement of readers with each other and with the classifier, with intervals from a bootstrap over items."""
    says = {path.stem: read_answers(path) for path in readers}
    table = pd.DataFrame({"classifier": classified(folder), **says})
    answered = table.dropna()
    names = list(says)
    pairs = list(combinations(names, 2))
    same_view = [pair for pair in pairs if view_of(pair[0]) == view_of(pair[1])]
    pairs = [pair for pair in pairs if pair not in same_view] or pairs
    among = _with_interval(answered, lambda t: _mean([kappa(t[a], t[b]) for a, b in pairs]))
    against = _with_interval(answered, lambda t: _against(t, names))
    return {
        "items": len(answered),
        "readers": len(names),
        "unanswered": int(len(table) - len(answered)),
        "kappa_among_readers": among,
        "kappa_in_the_same_view": _mean([kappa(answered[a], answered[b]) for a, b in same_view]),
        "kappa_classifier_with_readers": against,
        "difference": _with_interval(
            answered,
            lambda t: _against(t, names) - _mean([kappa(t[a], t[b]) for a, b in pairs]),
        ),
        "agreement_among_readers": _mean([float((answered[a] == answered[b]).mean()) for a, b in pairs]),
        "agreement_with_classifier": _mean([float((answered["classifier"] == answered[n]).mean()) for n in names]),
        "by_class": by_class(answered, names),
        "disagreements": disagreements(answered, names),
    }


def view_of(reader: str) -> str:
    """From the name of its file."""
    return next((view for view in VIEWS if reader.endswith(f"_{view}")), VIEWS[0])


def _against(table: pd.DataFrame, names: Sequence[str]) -> float:
    """Mean kappa of the classifier with the readers of each view, and of these: however many saw the same."""
    views = sorted({view_of(name) for name in names})
    return _mean([_mean([kappa(table["classifier"], table[n]) for n in names if view_of(n) == v]) for v in views])


def read_answers(path: Path) -> pd.Series:
    """By item; an empty answer is none. Raises ValueError that names what is no phase."""
    form = pd.read_csv(path, dtype=str, skipinitialspace=True).set_index("item")["phase"].str.strip().str.lower()
    form.index = form.index.astype(int)
    unknown = sorted(set(form.dropna()) - set(PHASE_ORDER))
    if unknown:
        raise ValueError(f"{path}: {', '.join(unknown)}: not a phase; known are {', '.join(PHASE_ORDER)}")
    if form.index.has_duplicates:
        raise ValueError(f"{path}: an item is answered twice")
    return form


def classified(folder: Path) -> pd.Series:
    """Pass 1 of the classifier as it is, by item."""
    items, traces = pd.read_csv(folder / "items.csv"), pd.read_parquet(folder / "traces.parquet")
    runs = items.drop(columns="run_id").rename(columns={"item": "run_id"}).assign(task=items["item"].astype(str))
    labels = label_runs(traces.rename(columns={"item": "run_id"}), runs)
    return labels.set_index("run_id")["phase"].astype(object)


def kappa(one: pd.Series, other: pd.Series) -> float:
    """Cohen's: agreement beyond what their own frequencies of answers would give; 1 where there is nothing to tell."""
    agree = float((one == other).mean())
    shares, other_shares = one.value_counts(normalize=True), other.value_counts(normalize=True)
    by_luck = float(shares.mul(other_shares, fill_value=0).sum())
    return 1.0 if by_luck == 1 else (agree - by_luck) / (1 - by_luck)


def by_class(table: pd.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    """For each phase: of the items that the classifier calls so, the share of the readers' answers that agree; of the
    items that most readers call so, the share that the classifier calls so. With Wilson's intervals over items."""
    majority = table[list(names)].apply(most, axis=1)
    found = {}
    for phase in PHASE_ORDER:
        said, meant = table["classifier"] == phase, majority == phase
        if said.any() or meant.any():
            found[phase] = {
                "classifier_says": int(said.sum()),
                "readers_agree": proportion((majority == phase)[said]),
                "most_readers_say": int(meant.sum()),
                "classifier_agrees": proportion((table["classifier"] == phase)[meant]),
            }
    return found


def most(answers: pd.Series) -> str:
    """What more than half of the readers say, else ""."""
    counts = answers.value_counts()
    return str(counts.index[0]) if counts.iloc[0] > len(answers) / 2 else ""


def disagreements(table: pd.DataFrame, names: Sequence[str]) -> list[tuple[str, str, int]]:
    """Classifier against the readers' majority: the commonest."""
    majority = table[list(names)].apply(most, axis=1)
    differ = (majority != table["classifier"]) & (majority != "")
    pairs = (table["classifier"] + "|" + majority)[differ].value_counts()
    return [(*str(pair).split("|"), int(n)) for pair, n in pairs.head(10).items()]


def _with_interval(table: pd.DataFrame, statistic: Any) -> dict[str, float]:
    draw_from = np.random.default_rng(SEED)
    repeats = [statistic(table.iloc[draw_from.integers(0, len(table), len(table))]) for _ in range(REPEATS)]
    low, high = np.nanquantile(repeats, [0.025, 0.975])
    return {"value": float(statistic(table)), "low": float(low), "high": float(high)}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


if __name__ == "__main__":
    main()
