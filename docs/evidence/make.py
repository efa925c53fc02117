"""Write the evidence of a sweep: what was asked, on what it ran, how every run was labelled, thinned traces,
figures."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from findings import findings

from orchestrator.expand import expand
from orchestrator.papers import draw_figure
from orchestrator.spec import load_spec
from results import open_sweep
from results.descent import descents
from results.descent_figure import descent_figure
from results.diagram import phase_diagram, save
from results.store import SweepStore

ROWS_PER_RUN = 40
LABELS = (
    "run_id", "width", "heads", "train_size", "learning_rate", "weight_decay", "seed", "phase", "confidence",
    "liu_phase", "huang_dynamic", "t_train", "t_val", "delay", "t_onset", "peak_val_accuracy", "final_train_accuracy",
    "final_val_accuracy", "norm_change", "ungrokking_kind", "warning", "why",
)  # fmt: skip

CRITICAL_FIGURES = ("zone_map.png", "critical_sizes.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--descent", help="axis along which to look for a descent of accuracy")
    parser.add_argument("--facet", help="axis that parts the curves")
    parser.add_argument("--figure", action="append", default=[], help="a paper's figure to draw (grokctl figure)")
    parser.add_argument("--of", help="shipped spec whose runs these are, if the sweep was launched under another name")
    parser.add_argument(
        "--part", help="which part this is of a sweep that was trained in several: ends the folder's name"
    )
    options = parser.parse_args()
    sweep = open_sweep(options.sweep)
    labels, plan = sweep.labels(), dict(sweep.plan)
    name = options.of or plan["name"]
    require_runs_of(name, plan, is_part=options.part is not None)
    folder = Path(__file__).parent / (f"{name}_{options.part}" if options.part else name)
    folder.mkdir(exist_ok=True)
    names = [name for name in dict.fromkeys([*LABELS, *plan["axes"]]) if name in labels]
    labels[names].to_csv(folder / "labels.csv", index=False, float_format="%.6g")
    thinned(sweep.traces(include_running=False)).to_parquet(folder / "traces.parquet", index=False, compression="zstd")
    record = provenance(options.sweep, options.of or plan["name"], plan, labels)
    record["seen"] = findings(sweep, labels, name)
    if options.descent:
        record["descents"] = descend(labels, plan, options.descent, options.facet, folder)
    elif (options.sweep / "figures" / "phase_diagram.png").exists():
        (folder / "phase_diagram.png").write_bytes((options.sweep / "figures" / "phase_diagram.png").read_bytes())
    for name in options.figure:
        draw_figure(name, options.sweep, folder / f"{name}.png")
    sensitivity = sweep.sensitivity()
    if len(sensitivity):
        sensitivity.drop(columns="thresholds").to_csv(folder / "sensitivity.csv", index=False, float_format="%.4g")
    critical = sweep.critical()
    if len(critical):
        critical.drop(columns="settings").to_csv(folder / "critical.csv", index=False, float_format="%.6g")
        for name in CRITICAL_FIGURES:
            (folder / name).write_bytes((options.sweep / "figures" / name).read_bytes())
    (folder / "evidence.json").write_text(json.dumps(record, indent=1, default=str) + "\n")
    print(json.dumps(record, indent=1, default=str))


def require_runs_of(name: str, plan: dict[str, Any], *, is_part: bool) -> None:
    """A sweep of another name counts if its runs are those of the spec, or a part of them: ids are hashes of all that
    decides a run."""
    if name != plan["name"]:
        planned = {run_id for pack in plan["packs"] for run_id in pack["runs"]["run_id"]}
        asked = set(expand(load_spec(name).spec).run_ids())
        if not (planned <= asked if is_part else planned == asked):
            raise SystemExit(f"the runs of {plan['name']} are not those of {name}")


def thinned(traces: pd.DataFrame) -> pd.DataFrame:
    """First and last row of each run and others evenly between, without the config columns (labels.csv has them)."""
    further = [name for name in traces if name.startswith("val_accuracy_")]
    columns = ["run_id", "step", "train_loss", "val_loss", "train_accuracy", "val_accuracy", "param_norm", *further]
    runs = traces.sort_values(["run_id", "step"])[columns].groupby("run_id")
    parts = [run.iloc[np.unique(np.linspace(0, len(run) - 1, ROWS_PER_RUN).astype(int))] for _, run in runs]
    return pd.concat(parts).astype({"train_accuracy": "float32", "val_accuracy": "float32"})


def provenance(root: Path, name: str, plan: dict[str, Any], labels: pd.DataFrame) -> dict[str, Any]:
    store = SweepStore(root)
    packs = [store.pack(pack["pack_id"]) for pack in plan["packs"]]
    begun = next(headers[-1] for pack in packs if (headers := pack.headers()))
    return {
        "command": f"grokctl launch {name}",
        **({} if name == plan["name"] else {"launched_as": plan["name"]}),
        "grokctl_version": plan["grokctl_version"],
        "spec_sha256": plan["spec_sha256"],
        "plan_id": plan["plan_id"],
        "fingerprints": [*begun.fingerprints.values()],
        "runs": len(labels),
        "runs_planned": sum(len(pack["runs"]["run_id"]) for pack in plan["packs"]),
        "run_seconds": round(float(sum(outcome.wall_s for pack in packs for outcome in pack.outcomes()))),
        "classifier_version": labels["classifier_version"].iloc[0],
        "phases": labels["phase"].value_counts().to_dict(),
    }


def descend(labels: pd.DataFrame, plan: dict[str, Any], axis: str, facet: str, folder: Path) -> list[dict[str, Any]]:
    verdicts = descents(labels, axis=axis, facet=facet)
    steps = int(labels["steps"].max())
    # Many values that are not spaced evenly, over a decade or more: a log axis reads best.
    scales = {axis: "log", facet: "linear"}
    title = f"{plan['name']}: final validation accuracy over {axis}"
    figure = descent_figure(labels, verdicts, axis=axis, facet=facet, scales=scales, budget_steps=steps, title=title)
    save(figure, folder / "descent.png")
    diagram = phase_diagram(labels, x=axis, y=facet, scales=scales, budget_steps=steps, title=plan["name"])
    save(diagram, folder / "phase_diagram.png")
    return [{str(k): v for k, v in row.items()} for row in verdicts.to_dict("records")]


if __name__ == "__main__":
    main()
