"""`make proof`: is the classifier right? Writes docs/evidence/proof/report.md and report.json, in minutes, from stored
traces and simulations; trains nothing.

    invariance   the label of a noised, thinned, cut child against that of its clean, dense, longer parent
    other minds  simulations whose truth follows from their mechanism; whole families held out; baselines
    metamorphic  changes of the log that must not change the label
    confidence   a prediction: the label stays when the run is logged cleanly and goes on three times as long, or is
                 trained again in another pack
    intervention runs that were trained so that their phase is known before anybody looks
    blind        what readers call a run who see only its plot, if their answers are there
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from baselines import evidence_table, huang_literally, last_row, tree
from calibrate import fit_scales
from children import CLEAN, MODERATE, NUISANCES, children, longer
from families import FAMILIES, HELD_OUT, HELD_OUT_BEFORE
from interventions import interventions
from parent import Parent
from scores import brier, confusions, f1_intervals, proportion, reliability, summary, worst_bin
from trained import DEVELOPED, EVIDENCE, FRESH, in_other_packs, parents, read_trained, resampled

from results.classify import CLASSIFIER_VERSION, ClassifierSettings, label_runs
from results.classify.table import read_runs, sort_runs

N_PARENTS = 400
"""Of each simulated family."""
SEED = 20261122
CALIBRATED_ON = tuple(name for name in FAMILIES if name not in HELD_OUT)
DEVELOPED_ON = tuple(name for name in CALIBRATED_ON if name not in HELD_OUT_BEFORE)
MODERATE_DRAWS = (1, 2, 3)
"""Each run is disturbed moderately as many times: classes of few runs are not to be judged by one draw."""
MODERATE_TIMES = 3
"""So many times as many simulated runs are disturbed moderately: of 400 with two circuits 11 are semi-grokking."""
DISTANCE_BINS = (0, 0.5, 1, 2, 4, 8, np.inf)
"""Standard errors, by which labels that were read rightly are counted."""
WHICH = {"trained": DEVELOPED, "fresh": FRESH}
READINGS = ("blind", "blind_experiments")
"""Folders: runs drawn evenly over labels and warnings, and evenly over experiments."""
Report = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parents", type=int, default=N_PARENTS, help="simulated runs a family")
    parser.add_argument("--out", type=Path, default=EVIDENCE, help="folder of the report")
    parser.add_argument("--developed-only", action="store_true", help="leave the held-out families unseen")
    parser.add_argument("--anew", nargs="+", choices=QUICK, help="write these parts anew, keep the stored others")
    options = parser.parse_args()
    if options.developed_only and (options.anew or options.out.resolve() == EVIDENCE):
        parser.error("--developed-only writes a report without the held-out families: it needs an --out of its own")
    began = time.process_time()
    if options.anew:
        report = stored(options.out)
    else:
        report = long_parts(CALIBRATED_ON if options.developed_only else tuple(FAMILIES), options.parents)
        report["cpu_seconds"] = round(time.process_time() - began)
    for part in options.anew or QUICK:
        report[part] = QUICK[part]()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "report.json").write_text(json.dumps(rounded(report), indent=1) + "\n")
    from page import page

    (options.out / "report.md").write_text(page(rounded(report)))
    print(page(rounded(report)))


def long_parts(names: Sequence[str], n: int, n_trained: int | None = None) -> Report:
    """What takes minutes: all that simulations and disturbed logs tell. Of `n_trained` trained runs; absent: all."""
    many = {name: simulate(name, MODERATE_TIMES * n) for name in DEVELOPED_ON}
    developed = {name: family[:n] for name, family in many.items()}
    simulated = {name: developed[name] if name in developed else simulate(name, n) for name in names}
    trained, fresh = parents()[:n_trained], parents(FRESH)[:n_trained]
    again = list(resampled(np.random.default_rng(SEED), n))
    return {
        "classifier_version": CLASSIFIER_VERSION,
        "parents_a_family": n,
        "trained_runs": len(trained),
        "fresh_runs": len(fresh),
        "held_out": [name for name in HELD_OUT if name in names],
        "held_out_before": [name for name in HELD_OUT_BEFORE if name in names],
        "invariance": invariance(developed, many, {"trained": trained, "fresh": fresh}),
        "other_minds": other_minds(simulated | {"resampled": again}),
        "metamorphic": metamorphic(developed),
        "confidence": confidence(simulated, trained, fresh),
    }


def stored(folder: Path) -> Report:
    """The report as it is. Raises SystemExit if another version of the classifier wrote it."""
    report: Report = json.loads((folder / "report.json").read_text())
    if report["classifier_version"] != CLASSIFIER_VERSION:
        raise SystemExit(f"the report is of classifier version {report['classifier_version']}: make all of it anew")
    return report


def simulate(name: str, n: int) -> list[Parent]:
    return list(FAMILIES[name](np.random.default_rng([SEED, list(FAMILIES).index(name)]), n))


def phases(parents: Sequence[Parent], log: Any, seed: int = 1) -> list[str]:
    return label_runs(*children(parents, log, seed))["phase"].tolist()


# Invariance


def invariance(
    simulated: dict[str, list[Parent]], many: dict[str, list[Parent]], trained: dict[str, list[Parent]]
) -> Report:
    """Each nuisance alone and together; against the clean parent ten times as long (of trained runs: the whole dense
    run), and against the clean parent cut at the child's budget. `many` are the same families and more runs of each,
    for the log of which goals are set."""
    report: Report = {}
    for name, family in {**simulated, **trained}.items():
        whole = trained_phases(WHICH[name])[: len(family)] if name in WHICH else phases(family, longer(CLEAN, 10))
        same: dict[float, list[str]] = {1.0: whole} if name in WHICH else {}
        rows = {}
        for nuisance, log in NUISANCES.items():
            share = log.budget_share
            if share not in same:
                same[share] = phases(family, longer(CLEAN, share))
            if log is MODERATE:
                rows[nuisance] = _moderate(many.get(name, family), same[share], whole)
            else:
                rows[nuisance] = _row(same[share], whole, [phases(family, log)])
        report[name] = rows
    return report


def _moderate(family: list[Parent], truth_of_first: list[str], whole: list[str]) -> Report:
    """Many runs, each read several times, with intervals."""
    more = family[len(truth_of_first) :]
    truth = truth_of_first + (phases(more, CLEAN) if more else [])
    readings = [phases(family, MODERATE, draw) for draw in MODERATE_DRAWS]
    said = [phase for reading in readings for phase in reading]
    runs = [i for _ in readings for i, phase in enumerate(truth) if phase != "undecided"]
    intervals = f1_intervals(*settled(truth * len(readings), said), runs)
    return _row(truth, whole, readings) | {"f1_interval": intervals}


def _row(truth: list[str], whole: list[str], readings: Sequence[list[str]]) -> Report:
    """`whole` may be of the first runs only."""
    said = [phase for reading in readings for phase in reading]
    of_whole = [phase for reading in readings for phase in reading[: len(whole)]]
    return {
        "longer": summary(*settled(whole * len(readings), of_whole)),
        "same_budget": summary(*settled(truth * len(readings), said)),
        "mistakes": confusions(truth * len(readings), said)[:4],
    }


def trained_phases(which: str) -> list[str]:
    return label_runs(*read_trained(which))["phase"].tolist()


def settled(truth: Sequence[str], said: Sequence[str]) -> tuple[list[str], list[str]]:
    """Without the runs whose parent itself is undecided: there is no truth to meet."""
    pairs = [(t, s) for t, s in zip(truth, said, strict=True) if t != "undecided"]
    return [t for t, _ in pairs], [s for _, s in pairs]


# Other minds


def other_minds(simulated: dict[str, list[Parent]]) -> Report:
    """Truth by mechanism, at the budget; where it is another at three budgets, `undecided` is right too."""
    developed = [parent for name in DEVELOPED_ON for parent in simulated[name]]
    learnt = tree(*children(developed, MODERATE, 2), [parent.truth(parent.budget) for parent in developed])
    report: Report = {}
    for name, family in simulated.items():
        truth = [parent.truth(parent.budget) for parent in family]
        may = [parent.truth(3 * parent.budget) != now for parent, now in zip(family, truth, strict=True)]
        traces, runs = children(family, MODERATE, 3)
        labels = label_runs(traces, runs)
        sayings = {
            "grokctl": labels["phase"].tolist(),
            "decision tree": learnt.predict(evidence_table(traces, runs)).tolist(),
            "Liu literally": labels["liu_phase"].tolist(),
            "Huang literally": huang_literally(labels),
            "last row": last_row(traces),
        }
        report[name] = {
            "scores": {who: summary(truth, said, may) for who, said in sayings.items()},
            "mistakes": confusions(truth, sayings["grokctl"])[:6],
            "held_out": name in HELD_OUT,
            "tree_saw_it": name in DEVELOPED_ON,
        }
        if name in HELD_OUT:
            report[name]["logged_cleanly"] = summary(truth, phases(family, CLEAN, 3), may)
    return report


# Metamorphic


def metamorphic(simulated: dict[str, list[Parent]]) -> Report:
    """The share of decided labels that stay. (`undecided` may be decided by more rows: no change of mind.)"""
    traces, runs = read_trained()
    sources = {"trained": (traces, runs)}
    for i, (name, family) in enumerate(simulated.items()):
        sources[name] = children(family, MODERATE, 10 + i)
    changes: dict[str, Callable[..., tuple[pd.DataFrame, pd.DataFrame]]] = {
        "twice as dense": twice_as_dense,
        "flat rows appended": flat_rows_appended,
        "loss rescaled": loss_rescaled,
    }
    report: Report = {}
    for name, (traces, runs) in sources.items():
        before = label_runs(traces, runs)["phase"]
        after = {change: label_runs(*make(traces, runs))["phase"] for change, make in changes.items()}
        report[name] = {
            change: {
                "stay": float((now == before)[before != "undecided"].mean()),
                "mistakes": confusions(before[before != "undecided"], now[before != "undecided"])[:3],
            }
            for change, now in after.items()
        } | {"runs": int((before != "undecided").sum())}
    return report


def twice_as_dense(traces: pd.DataFrame, runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row between each two, on the line between them."""
    ordered = traces.sort_values(["run_id", "step"], ignore_index=True)
    numbers = [name for name in ordered if name != "run_id"]
    between = ((ordered[numbers] + ordered[numbers].shift(-1)) / 2).assign(run_id=ordered["run_id"])
    between = between[ordered["run_id"].eq(ordered["run_id"].shift(-1))]
    return pd.concat([ordered, between], ignore_index=True), runs


def flat_rows_appended(traces: pd.DataFrame, runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The run goes on for half of its budget more, and nothing happens: its last rows' median, again and again."""
    ordered = traces.sort_values(["run_id", "step"], ignore_index=True)
    parts = [ordered]
    for _, run in ordered.groupby("run_id"):
        step = run["step"].to_numpy(float)
        gap = max(float(np.median(np.diff(step[-10:]))), 1.0)
        more = np.arange(step[-1] + gap, 1.5 * step[-1] + gap, gap)
        last = run.iloc[-5:][[name for name in run if name not in ("run_id", "step")]].median()
        parts.append(pd.DataFrame({"run_id": run["run_id"].iloc[0], "step": more, **last.to_dict()}))
    return pd.concat(parts, ignore_index=True), runs.assign(steps=1.5 * runs["steps"])


def loss_rescaled(traces: pd.DataFrame, runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Losses in another unit."""
    losses = {f"{split}_loss": 1000 * (1.01 - traces[f"{split}_accuracy"]) for split in ("train", "val")}
    return traces.assign(**losses), runs


# Confidence


def confidence(simulated: dict[str, list[Parent]], trained: list[Parent], fresh: list[Parent]) -> Report:
    """The label of a child, logged in one of six ways, against that of the clean run three times as long. `fitted` are
    the scales of the developed families and the trained runs: the source of results.classify.calibration. Of those
    each family is judged by scales without it."""
    logs = ["none", "noise .03", "120 rows", "40 rows", "moderate, all together", "strong, all together"]
    pools = {}
    for name, family in {**simulated, "trained": trained, "fresh": fresh}.items():
        third = 1 / 3 if name in WHICH else 1.0
        now = phases(family, longer(CLEAN, third))
        later = trained_phases(WHICH[name])[: len(family)] if name in WHICH else phases(family, longer(CLEAN, 3))
        parts = [_stays(family, longer(NUISANCES[log], third), now, later, 20 + i) for i, log in enumerate(logs)]
        pools[name] = pd.concat(parts, ignore_index=True)
    held_out = (*HELD_OUT, "fresh")
    developed = {name: pool for name, pool in pools.items() if name not in held_out}
    report: Report = {"fitted": asdict(fit_scales(developed)), "families": {}}
    for name, pool in pools.items():
        others = {other: developed[other] for other in developed if other != name}
        crossed = fit_scales(others).promised(pool) if name in developed else pool["confidence"]
        read = pool["right"].groupby(pd.cut(pool["distance"], DISTANCE_BINS, right=False), observed=True)
        report["families"][name] = _judged(crossed, pool["stays"]) | {
            "held_out": name in held_out,
            "read": {str(each): proportion(right) for each, right in read},
        }
        pools[name] = pool.assign(crossed=crossed)
    held = [name for name in pools if name in held_out]
    for title, names, promised in (
        ("held out together", held, "confidence"),
        ("left out, one after the other", list(developed), "crossed"),
        ("all together", list(pools), "confidence"),
    ):
        if names:
            pool = pd.concat([pools[name] for name in names])
            report[title] = _judged(pool[promised], pool["stays"])
    return report


def other_packs() -> Report:
    """Runs trained again in a pack of another size: does the label stay as often as is promised?"""
    traces, runs = read_trained()
    again, _ = in_other_packs()
    runs = runs[runs["run_id"].isin(again["run_id"].unique())]
    first = label_runs(traces[traces["run_id"].isin(runs["run_id"])], runs)
    second = label_runs(again, runs)
    decided = first["phase"] != "undecided"
    return _judged(first["confidence"][decided], (first["phase"] == second["phase"])[decided]) | {
        "mistakes": confusions(first["phase"][decided], second["phase"][decided])
    }


def blind_reading() -> Report | None:
    """By folder; None as long as nobody has read."""
    from blind import score

    answers = {name: sorted((EVIDENCE / name).glob("reader_*.csv")) for name in READINGS}
    return {name: score(EVIDENCE / name, paths) for name, paths in answers.items() if paths} or None


def _judged(promised: Any, stays: pd.Series) -> Report:
    bins = reliability(promised, stays)
    return {
        "runs": len(stays),
        "stay": float(stays.mean()),
        "brier": brier(promised, stays),
        "brier_of_the_mean": float(stays.mean() * (1 - stays.mean())),
        "worst_bin": worst_bin(bins),
        "bins": bins,
    }


def _stays(family: list[Parent], log: Any, now: list[str], later: list[str], seed: int) -> pd.DataFrame:
    """For each decided child what its confidence is made of, and whether the clean run and the longer one agree."""
    verdict = read_runs(sort_runs(*children(family, log, seed)), ClassifierSettings()).verdict
    sure = verdict.sureness
    pool = pd.DataFrame(
        {
            "distance": sure.distance,
            "side": sure.side,
            "trend": sure.trend,
            "confidence": verdict.confidence,
            "right": verdict.phase == np.array(now, object),
            "stays": verdict.phase == np.array(later, object),
        }
    )
    return pool[verdict.phase != "undecided"]


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return round(float(value), 4) if isinstance(value, float | np.floating) else value


QUICK = {"other_packs": other_packs, "interventions": interventions, "blind": blind_reading}
"""Parts that take seconds."""

if __name__ == "__main__":
    main()
