"""Labels under two sets of thresholds: what changes and on which evidence, and how much hangs on each knob."""

from pathlib import Path

import pandas as pd
import pytest
from conftest import Grokctl
from label_traces import NEVER, sweep
from test_labels_neighbours import grid, sharp

from results import open_sweep
from results.classify import ClassifierSettings, label_runs
from results.classify.compare import changes, knobs_that_differ
from results.classify.sensitivity import sensitivity, sensitivity_note, sensitivity_text
from results.classify.settings import movable_knobs
from results.classify.table import sort_runs
from results.store import SweepStore

RUNS = [
    {"t_train": 300, "t_val": t_val, "train_size": 9, "seed": seed} for seed, t_val in enumerate((1400, 9000, NEVER))
]


def two_labellings(runs, **knobs):
    traces, table = sweep(runs)
    return label_runs(traces, table), label_runs(traces, table, ClassifierSettings(**knobs))


def test_a_change_names_the_evidence_that_differs():
    low = [{"t_train": 300, "t_val": 9000, "train_size": 9, "seed": 0}]
    traces, runs = sweep(low)
    traces["val_accuracy"] *= 0.95
    before, after = (label_runs(traces, runs, ClassifierSettings(theta_val=level)) for level in (0.9, 0.96))
    changed = changes(before, after)
    assert changed[["before", "after"]].values.tolist() == [["grokking", "semi-grokking"]]
    told = changed["differs"].item()
    assert told == f"Validation accuracy holds its level: never, before: step {before['t_val'][0]:,.0f}."
    assert changes(before, before).empty


def test_a_change_by_a_threshold_alone_says_that_the_evidence_is_the_same():
    before, after = two_labellings(RUNS, delta_steps=2000)
    changed = changes(before, after)
    assert changed[["run_id", "before", "after"]].values.tolist() == [["run0000", "grokking", "comprehension"]]
    assert changed["differs"].item().startswith("No more warned of") or "same" in changed["differs"].item()
    assert "fewer than 2,000" in changed["why"].item()
    assert knobs_that_differ(before, after) == ["delta_steps 1000 -> 2000"]


def test_a_change_of_the_neighbours_is_told():
    before, after = two_labellings(grid(sharp), pass2_share=0.0, pass2_level=0.999)
    assert changes(before, before).empty
    lost = changes(after.assign(phase="memorization", neighbours=""), before)
    told = lost.loc[lost["after"] == "ungrokking", "differs"]
    assert told.str.contains("critical size: 8, before: 0").all()
    assert len(told)


def test_another_version_is_told():
    before, after = two_labellings(RUNS)
    assert knobs_that_differ(before.assign(classifier_version="0"), after)[0].startswith("classifier version 0 -> ")
    assert knobs_that_differ(before, after) == knobs_that_differ(before.iloc[:0], after) == []


# Sensitivity


def test_sensitivity_counts_the_labels_that_flip():
    traces, runs = sweep([{"t_train": 300, "t_val": t, "train_size": 9, "seed": t} for t in (1100, 1400, 9000, NEVER)])
    labels = label_runs(traces, runs)
    table = sensitivity(sort_runs(traces, runs), ClassifierSettings())
    assert set(table["knob"]) == set(movable_knobs(ClassifierSettings()))
    row = table.set_index("knob").loc["delta_steps"]
    assert (row["low"], row["high"], row["n_runs"]) == (750, 1250, 4)
    between = [((low <= labels["delay"]) & (labels["delay"] < high)).sum() for low, high in ((750, 1000), (1000, 1250))]
    assert [row["flips_low"], row["flips_high"]] == [n / 4 for n in between]
    assert between == [1, 1]
    most = table[["flips_low", "flips_high"]].max(axis=1)
    assert most.is_monotonic_decreasing


def test_sensitivity_in_words():
    traces, runs = sweep(RUNS)
    table = sensitivity(sort_runs(traces, runs), ClassifierSettings())
    text, note = sensitivity_text(table), sensitivity_note(table)
    assert "Share of 3 labels" in text
    assert text.splitlines()[2].startswith("delta_steps ")
    assert "No label hangs on:" in text
    assert text.endswith("Not moved, for other knobs allow no move so far: earlier_to.")
    assert table.set_index("knob").loc["earlier_from", ["low", "high"]].isna().tolist() == [False, True]
    assert note == "labels that change if one threshold moves by ±25%: delta_steps 33%, every other at most 0%"
    still = table.assign(flips_low=0.0, flips_high=0.0)
    assert sensitivity_note(still) == "no label changes if one threshold moves by ±25%"


# The command


def test_sensitivity_is_kept_and_stands_on_the_diagram(grokctl: Grokctl, own_sweep: Path) -> None:
    result = grokctl("label", own_sweep, "--sensitivity")
    assert result.exit_code == 0, result.output
    assert "labels that change when one knob moves by 25%" in result.stdout
    kept = open_sweep(own_sweep).sensitivity()
    assert set(kept["knob"]) == set(movable_knobs(ClassifierSettings()))
    svg = (own_sweep / "figures" / "phase_diagram.svg").read_bytes()
    assert grokctl("label", own_sweep, "--set", "classifier.theta=0.901").exit_code == 0
    assert (own_sweep / "figures" / "phase_diagram.svg").read_bytes() != svg  # measured for other thresholds: not told


def test_sensitivity_into_a_file_leaves_the_sweep_alone(grokctl: Grokctl, own_sweep: Path, tmp_path: Path) -> None:
    assert grokctl("label", own_sweep, "--sensitivity", "-o", tmp_path / "s.csv").exit_code == 0
    assert "delta_steps" in set(pd.read_csv(tmp_path / "s.csv")["knob"])
    assert open_sweep(own_sweep).sensitivity().empty


def test_a_sensitivity_of_other_labels_is_not_shown(own_sweep: Path) -> None:
    from orchestrator.tables import remark_on

    sweep_ = open_sweep(own_sweep)
    labels = sweep_.labels()
    measured = pd.DataFrame(
        [{"knob": "theta", "flips_low": 0.5, "flips_high": 0.0, "n_runs": len(labels)} | _under(labels)]
    )
    SweepStore(own_sweep).write_sensitivity(measured)
    assert remark_on(sweep_, labels).endswith("theta 50%")
    assert remark_on(sweep_, labels.assign(thresholds="{}")) == ""
    assert remark_on(sweep_, labels.iloc[1:]) == ""


def _under(labels: pd.DataFrame) -> dict[str, str]:
    return {name: labels[name].iloc[0] for name in ("classifier_version", "thresholds")}


@pytest.mark.parametrize("options", [(), ("--sensitivity",)])
def test_compare_tells_thresholds_and_evidence(grokctl: Grokctl, own_sweep: Path, options) -> None:
    result = grokctl("label", own_sweep, "--set", "classifier.theta=0.05", "--compare", *options)
    assert "(theta 0.9 -> 0.05)" in result.stdout
    assert "before: never" in result.stdout
