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
import os
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from baselines import evidence_and_verdict, evidence_table, huang_literally, last_row, read_by_family, tree
from calibrate import fit_scales
from children import CLEAN, MODERATE, MODERATELY, NUISANCES, children, longer
from families import FAMILIES, HELD_OUT, HELD_OUT_BEFORE
from interventions import interventions
from page import CLEANLY, KNOWS_FAMILY, page
from parent import Parent
from scores import brier, confusions, f1_intervals, proportion, reliability, summary, worst_bin
from trained import (
    DEVELOPED,
    EVIDENCE,
    FRESH,
    FRESH_FOR_8,
    FRESH_FOR_9,
    in_other_packs,
    parents,
    read_trained,
    resampled,
)

from results.classify import CLASSIFIER_VERSION, ClassifierSettings, label_runs
from results.classify.table import read_runs, sort_runs

N_PARENTS = 400
"""Of each simulated family."""
CALIBRATION_SHARE = 0.6
"""Of these, those of families held out before that the calibration is fitted to, each in six logs: it takes most of the
time."""
SEED = 20261122
CALIBRATED_ON = tuple(name for name in FAMILIES if name not in HELD_OUT)
DEVELOPED_ON = tuple(name for name in CALIBRATED_ON if name not in HELD_OUT_BEFORE)
MODERATE_DRAWS = (1, 2, 3)
"""Each run is disturbed moderately as many times: classes of few runs are not to be judged by one draw."""
MODERATE_TIMES = 3
"""So many times as many simulated runs are disturbed moderately where a goal is asked of them: of 400 with two circuits
11 are semi-grokking."""
DISTANCE_BINS = (0, 0.5, 1, 2, 4, 8, np.inf)
"""Standard errors, by which labels that were read rightly are counted."""
WHICH = {"trained": DEVELOPED, "fresh for 8": FRESH_FOR_8, "fresh for 9": FRESH_FOR_9, "fresh": FRESH}
RESAMPLED, TRAINED_TOGETHER = "resampled", "all trained runs"
READINGS = ("blind", "blind_experiments", "blind_fresh")
"""Folders: runs drawn evenly over labels and warnings, evenly over experiments, and so again, of others."""
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
    began = time.monotonic()
    if options.anew:
        report = stored(options.out)
    else:
        report = long_parts(CALIBRATED_ON if options.developed_only else tuple(FAMILIES), options.parents)
        report["seconds"], report["cpu_seconds"] = round(time.monotonic() - began), round(cpu_seconds())
    for part in options.anew or QUICK:
        report[part] = QUICK[part]()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "report.json").write_text(json.dumps(rounded(report), indent=1) + "\n")
    (options.out / "report.md").write_text(page(rounded(report)))
    print(page(rounded(report)))


def cpu_seconds() -> float:
    """Of this process and those that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def long_parts(names: Sequence[str], n: int, n_trained: int | None = None) -> Report:
    """What takes minutes: all that simulations and disturbed logs tell. Of `n_trained` trained runs; absent: all."""
    learnt = learnt_tree(n)
    # Those that take longest come first.
    held_out = [name for name in HELD_OUT if name in names]
    families = [*DEVELOPED_ON, *held_out, *WHICH, *(name for name in names if name in HELD_OUT_BEFORE), RESAMPLED]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as processes:
        found = processes.map(partial(of_family, n=n, n_trained=n_trained, learnt=learnt), families)
        reports = dict(zip(families, found, strict=True))
    parts: Report = {
        part: {name: report[part] for name, report in reports.items() if part in report}
        for part in ("invariance", "other_minds", "metamorphic", "pool", "read")
    }
    truth, readings = zip(*parts["read"].values(), strict=True)
    together = [[phase for family in draw for phase in family] for draw in zip(*readings, strict=True)]
    parts["invariance"][TRAINED_TOGETHER] = {MODERATELY: _moderate([p for t in truth for p in t], None, together)}
    labelled = [part.pop("labelled") for part in parts["other_minds"].values() if part["held_out"]]
    return {
        "classifier_version": CLASSIFIER_VERSION,
        "parents_a_family": n,
        "runs": {name: reports[name]["runs"] for name in WHICH},
        "held_out": held_out,
        "held_out_before": [name for name in HELD_OUT_BEFORE if name in names],
        **{part: parts[part] for part in ("invariance", "other_minds", "metamorphic")},
        "held_out_together": scored_together(labelled),
        "confidence": confidence(parts["pool"]),
    }


def of_family(name: str, *, n: int, n_trained: int | None, learnt: Any) -> Report:
    """All long parts that concern one family, in a process of its own."""
    if name == RESAMPLED:
        return {"other_minds": other_mind(name, list(resampled(np.random.default_rng(SEED), n)), learnt)}
    report: Report = {}
    if name in WHICH:
        family = many = parents(WHICH[name])[:n_trained]
    else:
        many = simulate(name, MODERATE_TIMES * n if name in (*DEVELOPED_ON, *HELD_OUT) else n)
        family = many[:n]
        report["other_minds"] = other_mind(name, many if name in HELD_OUT else family, learnt)
    if name in (*DEVELOPED_ON, *WHICH):
        read = read_moderately(name, many)
        report["invariance"] = invariance(name, family, *read)
    if name in DEVELOPED_ON:
        report["metamorphic"] = metamorphic(*children(family, MODERATE, 10 + DEVELOPED_ON.index(name)))
    elif name in WHICH:
        report["read"] = read
        report["metamorphic"] = metamorphic(*read_trained(WHICH[name]))
    judged = family[: round(CALIBRATION_SHARE * n)] if name in HELD_OUT_BEFORE else family
    return report | {"runs": len(family), "pool": stays_or_not(name, judged)}


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


def read_moderately(name: str, many: list[Parent]) -> tuple[list[str], list[list[str]]]:
    """What runs are, clean and dense, and what is said of them each time that they are disturbed moderately."""
    truth = trained_phases(WHICH[name])[: len(many)] if name in WHICH else phases(many, CLEAN)
    return truth, [phases(many, MODERATE, draw) for draw in MODERATE_DRAWS]


def invariance(name: str, family: list[Parent], truth_of_many: list[str], readings: list[list[str]]) -> Report:
    """Each nuisance alone and together; against the clean parent ten times as long (of trained runs: the whole dense
    run), and against the clean parent cut at the child's budget. For the log of which goals are set the same runs and
    more of the family were read before, several times."""
    same = {1.0: truth_of_many[: len(family)]}
    whole = same[1.0] if name in WHICH else phases(family, longer(CLEAN, 10))
    rows = {}
    for nuisance, log in NUISANCES.items():
        share = log.budget_share
        if share not in same:
            same[share] = phases(family, longer(CLEAN, share))
        if log is MODERATE:
            rows[nuisance] = _moderate(truth_of_many, whole, readings)
        else:
            rows[nuisance] = _row(same[share], whole, [phases(family, log)])
    return rows


def _moderate(truth: list[str], whole: list[str] | None, readings: list[list[str]]) -> Report:
    """Many runs, each read several times, with intervals."""
    said = [phase for reading in readings for phase in reading]
    runs = [i for _ in readings for i, phase in enumerate(truth) if phase != "undecided"]
    intervals = f1_intervals(*settled(truth * len(readings), said), runs)
    return _row(truth, whole or truth, readings) | {"f1_interval": intervals}


def _row(truth: list[str], whole: list[str], readings: Sequence[list[str]]) -> Report:
    """`whole` may be of the first runs only. Numbers of runs are not those of readings."""
    said = [phase for reading in readings for phase in reading]
    of_whole = [phase for reading in readings for phase in reading[: len(whole)]]
    same_budget = summary(*settled(truth * len(readings), said))
    same_budget |= {"n": {phase: n // len(readings) for phase, n in same_budget["n"].items()}}
    return {
        "longer": summary(*settled(whole * len(readings), of_whole)),
        "same_budget": same_budget | {"runs": same_budget["runs"] // len(readings)},
        "mistakes": confusions(truth * len(readings), said)[:4],
    }


@cache
def trained_phases(which: str) -> list[str]:
    return label_runs(*read_trained(which))["phase"].tolist()


def settled(truth: Sequence[str], said: Sequence[str]) -> tuple[list[str], list[str]]:
    """Without the runs whose parent itself is undecided: there is no truth to meet."""
    pairs = [(t, s) for t, s in zip(truth, said, strict=True) if t != "undecided"]
    return [t for t, _ in pairs], [s for _, s in pairs]


# Other minds


def learnt_tree(n: int) -> Any:
    """A decision tree, fitted to the families that rules were made on."""
    developed = [parent for name in DEVELOPED_ON for parent in simulate(name, n)]
    read = read_runs(sort_runs(*children(developed, MODERATE, 2)), ClassifierSettings())
    return tree(read, [parent.truth(parent.budget) for parent in developed])


def other_mind(name: str, family: list[Parent], learnt: Any) -> Report:
    """Truth by mechanism, at the budget; where it is another at three budgets, `undecided` is right too."""
    truth = [parent.truth(parent.budget) for parent in family]
    may = [parent.truth(3 * parent.budget) != now for parent, now in zip(family, truth, strict=True)]
    traces, runs = children(family, MODERATE, 3)
    labels, read = label_runs(traces, runs), read_runs(sort_runs(traces, runs), ClassifierSettings())
    sayings = {
        "grokctl": labels["phase"].tolist(),
        "decision tree": learnt.predict(evidence_table(read)).tolist(),
        "Liu literally": labels["liu_phase"].tolist(),
        "Huang literally": huang_literally(labels),
        "last row": last_row(traces),
    }
    report = {"held_out": name in HELD_OUT, "tree_saw_it": name in DEVELOPED_ON}
    scores = {who: summary(truth, said, may) for who, said in sayings.items()}
    if name in HELD_OUT:
        clean = phases(family, CLEAN, 3)
        known = read_by_family(evidence_and_verdict(read), np.array(truth, object), np.arange(len(family)))
        scores |= {CLEANLY: summary(truth, clean, may), KNOWS_FAMILY: summary(truth, list(known), may)}
        labelled = {"truth": truth, "may": may, "moderate": sayings["grokctl"], "clean": clean}
        report["labelled"] = pd.DataFrame(labelled)
    return report | {"scores": scores, "mistakes": confusions(truth, sayings["grokctl"])[:6]}


def scored_together(labelled: Sequence[pd.DataFrame]) -> Report:
    """Families as if they were one, by log: one score, of many runs of each class."""
    if not labelled:
        return {}
    of = {name: column.tolist() for name, column in pd.concat(labelled).items()}
    return {log: summary(of["truth"], of[log], of["may"]) for log in ("moderate", "clean")}


# Metamorphic


def metamorphic(traces: pd.DataFrame, runs: pd.DataFrame) -> Report:
    """The share of decided labels that stay. (`undecided` may be decided by more rows: no change of mind.)"""
    changes: dict[str, Callable[..., tuple[pd.DataFrame, pd.DataFrame]]] = {
        "twice as dense": twice_as_dense,
        "flat rows appended": flat_rows_appended,
        "loss rescaled": loss_rescaled,
    }
    before = label_runs(traces, runs)["phase"]
    decided = before != "undecided"
    report: Report = {"runs": int(decided.sum())}
    for change, make in changes.items():
        after = label_runs(*make(traces, runs))["phase"]
        stay, mistakes = float((after == before)[decided].mean()), confusions(before[decided], after[decided])[:3]
        report[change] = {"stay": stay, "mistakes": mistakes}
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


def stays_or_not(name: str, family: list[Parent]) -> pd.DataFrame:
    """The label of a child, logged in one of six ways, against that of the clean run three times as long."""
    logs = ["none", "noise .03", "120 rows", "40 rows", MODERATELY, "strong, all together"]
    third = 1 / 3 if name in WHICH else 1.0
    now = phases(family, longer(CLEAN, third))
    later = trained_phases(WHICH[name])[: len(family)] if name in WHICH else phases(family, longer(CLEAN, 3))
    parts = [_stays(family, longer(NUISANCES[log], third), now, later, 20 + i) for i, log in enumerate(logs)]
    return pd.concat(parts, ignore_index=True)


def confidence(pools: dict[str, pd.DataFrame]) -> Report:
    """By family what `stays_or_not` found. `fitted` are the scales of the developed families and the trained runs: the
    source of results.classify.calibration. Of those each family is judged by scales without it."""
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
