"""Label the evidence of sweeps anew under the present classifier, where no label changes.

    python docs/evidence/relabel.py SWEEP...

A new version may change confidences alone: then labels.csv gets them, evidence.json the version, and figures stand.
Where a phase changed all of the evidence is to be made anew (docs/evidence/make.py), and the sweep is only named here.
The sweeps themselves stay as they are.
"""

import argparse
import json
from pathlib import Path

import pandas as pd
from make import LABELS

from results.classify import CLASSIFIER_VERSION, ClassifierSettings, label_runs

EVIDENCE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", type=Path, nargs="+")
    for root in parser.parse_args().sweeps:
        print(f"{root}: {relabel(root)}", flush=True)


def relabel(root: Path) -> str:
    """What became of it, in words."""
    plan = json.loads((root / "plan.json").read_text())
    amendments = [json.loads(path.read_text()) for path in root.glob("plan.*.json")]
    folder = evidence_of({record["plan_id"] for record in (plan, *amendments)})
    if folder is None:
        return "no evidence of this plan is kept"
    kept = pd.read_csv(folder / "labels.csv", keep_default_na=False).set_index("run_id")
    # Read as any tool would: published files are of ended runs only, and sweeps of earlier file versions open too.
    traces = pd.read_parquet(root / "traces")
    runs = pd.read_parquet(root / "runs.parquet") if (root / "runs.parquet").exists() else None
    if absent := set(kept.index) - set(traces["run_id"]):
        return f"{len(absent)} runs of {folder.name} are not in the sweep"
    traces = traces[traces["run_id"].isin(kept.index)]
    runs = None if runs is None else runs[runs["run_id"].isin(kept.index)]
    settings = ClassifierSettings.from_mapping(plan["classifier"])
    labels = label_runs(traces, runs, settings)
    now = labels.set_index("run_id").loc[kept.index]
    changed = [name for name in ("phase", "ungrokking_kind", "warning") if (now[name] != kept[name]).any()]
    if changed:
        n = int((now["phase"] != kept["phase"]).sum())
        return f"{n} phases change, also {', '.join(changed)}: make {folder.name} anew"
    names = [name for name in dict.fromkeys([*LABELS, *plan["axes"]]) if name in labels]
    labels[names].to_csv(folder / "labels.csv", index=False, float_format="%.6g")
    record = json.loads((folder / "evidence.json").read_text())
    before, record["classifier_version"] = record["classifier_version"], CLASSIFIER_VERSION
    (folder / "evidence.json").write_text(json.dumps(record, indent=1) + "\n")
    return f"{folder.name}: {len(kept)} labels stay, version {before} -> {CLASSIFIER_VERSION}"


def evidence_of(plan_ids: set[str]) -> Path | None:
    records = {path: json.loads(path.read_text()) for path in EVIDENCE.glob("*/evidence.json")}
    return next((path.parent for path, record in records.items() if record["plan_id"] in plan_ids), None)


if __name__ == "__main__":
    main()
