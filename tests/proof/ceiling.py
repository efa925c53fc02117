"""What F1 can be at all: a reader who knows the family, and what is left far from thresholds.

    python tests/proof/ceiling.py FAMILY... [--runs N]     into docs/evidence/proof/ceiling.json

The goal of `make proof` (F1 of each class .95 at moderate noise) asks for the label of the clean, dense run from a log
that no longer holds it. How much of it does it hold? Two measurements on the same logs that the goal is set for:

    family reader   boosted trees over all evidence and the rules' own label, fitted to other runs of the very family
                    (five folds, a run's three logs in one), with the truth at hand. They know which delays and heights
                    the family has, which nobody knows of a network; what they get wrong, the log does not hold, or
                    trees can't find.
    far             the rules, scored where the least certain quantity lies two standard errors of the log's own noise
                    from its threshold or more, and a delay nine in ten on one side. If the rules err elsewhere only,
                    what is missing is a matter of noise and not of rules.
"""

import argparse
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from baselines import evidence_and_verdict, read_by_family
from children import CLEAN, MODERATE, children
from families import HELD_OUT
from parent import Parent
from run import DEVELOPED_ON, MODERATE_DRAWS, phases, rounded, settled, simulate
from scores import f1_by_class, f1_intervals
from trained import EVIDENCE, parents

from results.classify import CLASSIFIER_VERSION, ClassifierSettings
from results.classify.table import read_runs, sort_runs

N_RUNS = 1200
ENOUGH_ERRORS, ENOUGH_SHARE = 2.0, 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="+", choices=[*DEVELOPED_ON, "trained"], help=f"not {', '.join(HELD_OUT)}")
    parser.add_argument("--runs", type=int, default=N_RUNS, help="simulated runs a family")
    options = parser.parse_args()
    path = EVIDENCE / "ceiling.json"
    report = json.loads(path.read_text()) if path.exists() else {}
    for name in options.families:
        family = parents() if name == "trained" else simulate(name, options.runs)
        report[name] = rounded(ceiling(family)) | {"classifier_version": CLASSIFIER_VERSION}
        path.write_text(json.dumps(report, indent=1) + "\n")
        print(name, json.dumps(report[name], indent=1))


def ceiling(family: Sequence[Parent]) -> dict[str, Any]:
    readings = [_read(family, draw) for draw in MODERATE_DRAWS]
    table = pd.concat([reading for reading, _ in readings], ignore_index=True)
    evidence = np.concatenate([numbers for _, numbers in readings])
    truth = np.array(phases(family, CLEAN) * len(readings), object)
    runs = np.tile(np.arange(len(family)), len(readings))
    reader = read_by_family(evidence, truth, runs)
    return {
        "runs": len(family),
        "rules": _scored(truth, table["phase"], runs),
        "family_reader": _scored(truth, reader, runs),
        "far": _scored(truth[table["far"]], table["phase"][table["far"]], runs[table["far"]]),
        "far_share": {
            str(phase): float(far.mean()) for phase, far in table["far"].groupby(truth) if phase != "undecided"
        },
    }


def _read(family: Sequence[Parent], draw: int) -> tuple[pd.DataFrame, np.ndarray]:
    traces, facts = children(family, MODERATE, draw)
    read = read_runs(sort_runs(traces, facts), ClassifierSettings())
    sure = read.verdict.sureness
    far = (sure.distance >= ENOUGH_ERRORS) & (sure.side >= ENOUGH_SHARE)
    return pd.DataFrame({"phase": read.verdict.phase, "far": far}), evidence_and_verdict(read)


def _scored(truth: Sequence[str], said: Sequence[str], runs: np.ndarray) -> dict[str, Any]:
    decided = np.array([phase != "undecided" for phase in truth])
    t, s = settled(list(truth), list(said))
    return {"f1": f1_by_class(t, s), "interval": f1_intervals(t, s, list(np.asarray(runs)[decided]))}


if __name__ == "__main__":
    main()
