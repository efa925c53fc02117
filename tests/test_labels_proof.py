"""The proof itself: its scores are right, its families mean what they say, its report belongs to this classifier."""

import json
from pathlib import Path

import blind
import interventions
import numpy as np
import pandas as pd
import pytest
from calibrate import fit_product, fit_scales
from children import CLEAN, MODERATE, NUISANCES, Log, children, eval_steps
from families import FAMILIES, HELD_OUT, HELD_OUT_BEFORE, rise
from page import page
from parent import Parent, definition
from run import (
    CALIBRATED_ON,
    DEVELOPED_ON,
    MODERATE_TIMES,
    QUICK,
    TRAINED_TOGETHER,
    WHICH,
    flat_rows_appended,
    long_parts,
    loss_rescaled,
    main,
    twice_as_dense,
)
from scores import brier, confusions, f1_by_class, f1_intervals, proportion, reliability, summary, wilson, worst_bin
from trained import BUDGET_SHARE, STRETCH, in_other_packs, parents, read_trained, resampled

from results.classify import CLASSIFIER_VERSION, label_runs
from results.classify.calibration import DISTANCES, OUTLOOK, PRODUCTS, READING, STRANGERS, TRENDS

PROOF = Path(__file__).resolve().parent.parent / "docs" / "evidence" / "proof"
REPORT = json.loads((PROOF / "report.json").read_text())
BUDGET = 50_000


def parent(train, val, *, together=False, chance=0.0):
    def curves(steps):
        a, v = (np.broadcast_to(x(steps) if callable(x) else x, len(steps)) for x in (train, val))
        return a, v, np.full(len(steps), np.nan)

    return Parent(family="x", curves=curves, budget=BUDGET, chance=chance, n_train=1000, n_val=1000, together=together)


def up(middle, high=1.0):
    return lambda steps: high * rise(steps, middle, 0.05)


@pytest.mark.parametrize(
    ("train", "val", "phase"),
    [
        (up(300), up(700), "comprehension"),
        (0.5, up(700), "comprehension"),
        (up(300), up(9000), "grokking"),
        (up(300), up(9000, 0.5), "semi-grokking"),
        (up(300), up(300, 0.5), "memorization"),
        (up(300), 0.0, "memorization"),
        (0.5, 0.0, "confusion"),
        (up(300), lambda s: rise(s, 1000, 0.05) - 0.9 * rise(s, 9000, 0.05), "ungrokking"),
        (lambda s: rise(s, 100, 0.05) - 0.5 * rise(s, 9000, 0.05), lambda s: rise(s, 700, 0.05) - rise(s, 9000, 0.05),
         "confusion"),
    ],
)  # fmt: skip
def test_definitions(train, val, phase):
    assert definition(parent(train, val), BUDGET) == phase


def test_progression_is_a_matter_of_the_mechanism():
    curves = (lambda s: 0.5 * rise(s, 100, 0.05) + 0.5 * rise(s, 9000, 0.05), up(9000))
    assert definition(parent(*curves, together=True), BUDGET) == "progression"
    assert definition(parent(*curves), BUDGET) != "progression"


def test_whole_families_are_held_out():
    assert sorted((*DEVELOPED_ON, *HELD_OUT_BEFORE, *HELD_OUT)) == sorted(FAMILIES)
    assert set(CALIBRATED_ON) == {*DEVELOPED_ON, *HELD_OUT_BEFORE}
    assert REPORT["held_out"] == list(HELD_OUT)


@pytest.mark.parametrize("name", FAMILIES)
def test_families_draw_accuracies_and_the_same_ones_again(name):
    for one, again in zip(*(list(FAMILIES[name](np.random.default_rng(3), 6)) for _ in range(2)), strict=True):
        steps = np.linspace(0, 10 * one.budget, 50)
        train, val, _ = one.curves(steps)
        assert np.concatenate([train, val]).min() >= -1e-9
        assert np.concatenate([train, val]).max() <= 1 + 1e-9
        np.testing.assert_array_equal(train, again.curves(steps)[0])


def test_davies_patterns_give_his_curves_in_the_limit():
    """All three patterns fully learnt: type 3 is preferred, so everything is as right as it is general."""
    for made in FAMILIES["davies_patterns"](np.random.default_rng(0), 40):
        train, val, _ = made.curves(np.array([1e9]))
        assert val[0] <= train[0] + 1e-9


# Children


def test_a_log_has_about_as_many_rows_as_asked_for():
    for n in (40, 120, 330):
        steps = eval_steps(BUDGET, n)
        assert 0.75 * n <= len(steps) <= 1.25 * n
        assert (steps[0], steps[-1]) == (0, BUDGET)
        assert (np.diff(steps) > 0).all()


def test_children_are_disturbed_as_the_log_says():
    run = parent(up(300), up(9000))
    clean, _ = children([run], Log(), 0)
    counted, _ = children([run], Log(sampled=True), 0)
    holed, _ = children([run], Log(holes=0.5), 0)
    spiked, _ = children([run], Log(spikes=0.1), 0)
    np.testing.assert_allclose(counted["val_accuracy"] * 1000, (counted["val_accuracy"] * 1000).round(), atol=1e-9)
    assert (clean["val_accuracy"] - counted["val_accuracy"]).abs().max() > 0
    assert 0.4 < len(holed) / len(clean) < 0.6
    assert holed["step"].iloc[[0, -1]].tolist() == [0, BUDGET]
    fallen = spiked["train_accuracy"].to_numpy() < 0.8 * clean["train_accuracy"].to_numpy()
    assert 0.04 < fallen.mean() < 0.2
    assert {log.n_rows for log in NUISANCES.values()} >= {40, MODERATE.n_rows}


def test_a_disturbed_accuracy_of_a_trained_run_is_still_a_count():
    trained = parents()[:3]
    disturbed, _ = children(trained, MODERATE, 0)
    clean, _ = children(trained, CLEAN, 0)
    for (_, noisy), (_, quiet), run in zip(disturbed.groupby("run_id"), clean.groupby("run_id"), trained, strict=True):
        counts = noisy["val_accuracy"].to_numpy() * run.n_val
        np.testing.assert_allclose(counts, counts.round(), atol=1e-6)
        np.testing.assert_array_equal(run.curves(quiet["step"].to_numpy())[1], quiet["val_accuracy"])


# Trained runs resampled


def test_resampled_runs_are_stretched_runs_whose_noise_has_changed_places():
    _, runs = read_trained()
    shortest, longest = runs["steps"].min() * BUDGET_SHARE[0] / STRETCH, runs["steps"].max() * BUDGET_SHARE[1] * STRETCH
    drawn, again = (list(resampled(np.random.default_rng(2), 12)) for _ in range(2))
    budgets = [run.budget for run in drawn]
    assert min(budgets) >= 0.99 * shortest
    assert max(budgets) <= 1.01 * longest
    assert len(set(budgets)) > 6
    steps = np.linspace(0, 3000, 40)
    for run, same in zip(drawn, again, strict=True):
        np.testing.assert_array_equal(run.curves(steps)[0], same.curves(steps)[0])
        assert np.abs(run.curves(steps)[0] - run.smooth(steps)[0]).max() < 0.5
    moved = [np.abs(run.curves(steps)[1] - run.smooth(steps)[1]).max() for run in drawn]
    assert max(moved) > 0


# Scores


def test_intervals_by_hand():
    assert wilson(0, 30) == pytest.approx((0, 0.1135), abs=1e-3)
    assert wilson(15, 30) == pytest.approx((0.3315, 0.6685), abs=1e-3)
    assert proportion(pd.Series([], dtype=bool)) is None
    assert proportion(pd.Series([True, False]))["share"] == 0.5
    truth, said = ["a"] * 40 + ["b"] * 40, ["a"] * 30 + ["b"] * 50
    once = f1_intervals(truth, said, range(80))
    thrice = f1_intervals(truth * 3, said * 3, [*range(80)] * 3)
    for phase, f1 in f1_by_class(truth, said).items():
        assert once[phase][0] < f1 < once[phase][1]
        np.testing.assert_allclose(thrice[phase], once[phase], atol=0.03)  # the same runs again are no more runs


def test_scores_by_hand():
    truth, said = ["a", "a", "a", "b"], ["a", "undecided", "b", "b"]
    assert f1_by_class(truth, said) == {"a": 2 / 4, "b": 2 / 3}
    found = summary(truth, said)
    assert (found["coverage"], found["errors"], found["runs"]) == (0.75, 0.25, 4)
    assert found["macro_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    lenient = summary(truth, said, [False, True, False, False])
    assert lenient["f1"]["a"] == pytest.approx(2 / 3)
    assert confusions(truth, said) == [("a", "b", 1)]


def test_reliability_by_hand():
    promised, held = [0.9] * 40 + [0.2] * 10, [True] * 30 + [False] * 20
    bins = reliability(promised, held)
    assert [(b["low"], b["n"], b["held"]) for b in bins] == [(0.2, 10, 0.0), (0.9, 40, 0.75)]
    assert worst_bin(bins) == pytest.approx(0.15)
    assert brier([1, 0.5], [True, False]) == 0.125


def simulated_pool(draw, reads, stays, n=20_000):
    """Half of the runs have a trend. `reads` and `stays` are the shares at a distance of 0 and where a trend ends at a
    threshold; both rise to 1 far away."""
    distance, trend = draw.uniform(0, 7, n), np.where(draw.uniform(size=n) < 0.5, np.nan, draw.uniform(0, 3, n))
    right = draw.uniform(size=n) < np.interp(np.log1p(distance), [0, np.log(8)], [reads, 1])
    kept = np.isnan(trend) | (draw.uniform(size=n) < np.interp(trend, [0, 3], [stays, 1]))
    return pd.DataFrame({"distance": distance, "side": 1.0, "trend": trend, "right": right, "stays": right & kept})


def test_scales_find_the_shares_that_runs_were_drawn_with():
    found = fit_product([simulated_pool(np.random.default_rng(0), 0.6, 0.5)])
    expected = np.interp(np.log1p(DISTANCES[:-1]), [0, np.log(8)], [0.6, 1])
    np.testing.assert_allclose(found.reading[:-1], expected, atol=0.03)
    np.testing.assert_allclose(found.outlook[2:], np.interp(TRENDS[2:], [0, 3], [0.5, 1]), atol=0.03)


def test_scales_never_fall():
    pool = simulated_pool(np.random.default_rng(1), 0.6, 0.5)
    upside_down = fit_product([pool.assign(right=~pool["right"], stays=~pool["stays"])])
    assert (np.diff(upside_down.reading) >= -1e-9).all()
    assert (np.diff(upside_down.outlook) >= -1e-9).all()


def test_families_that_differ_make_the_confidence_of_others_tell_less():
    draw = np.random.default_rng(2)
    alike = {name: simulated_pool(draw, 0.7, 0.7) for name in "abc"}
    apart = {name: simulated_pool(draw, 0.7, stays) for name, stays in zip("abc", (0.2, 0.7, 1.0), strict=True)}
    np.testing.assert_allclose(fit_scales(alike).strangers, PRODUCTS, atol=0.03)
    assert np.ptp(fit_scales(apart).strangers) < np.ptp(PRODUCTS) - 0.1


# The classifier


@pytest.mark.parametrize(
    ("change", "least"), [(twice_as_dense, 0.98), (flat_rows_appended, 0.98), (loss_rescaled, 1.0)]
)
def test_labels_of_trained_runs_stay(change, least):
    traces, runs = read_trained()
    before = label_runs(traces, runs)["phase"]
    after = label_runs(*change(traces, runs))["phase"]
    assert (before == after)[before != "undecided"].mean() >= least


def test_labels_of_noised_and_thinned_simulations_are_right():
    made = list(FAMILIES["sigmoids"](np.random.default_rng(7), 100))
    labels = label_runs(*children(made, MODERATE, 0))
    found = summary([p.truth(p.budget) for p in made], labels["phase"].tolist())
    assert found["errors"] <= 0.06
    assert found["coverage"] >= 0.9


# Interventions


def test_what_was_done_to_a_run_says_what_it_is():
    def done(sweep, **config):
        row = {"sweep": f"intervention_{sweep}", "task": "a + b", "modulus": 23, "seed": 1} | config
        known = {(f"intervention_{name}", "a + b", 23, 1) for name in ("data", "slow_decay")}
        return interventions.truth(pd.Series(row), known)

    assert done("no_rule", width=2) == "confusion"
    assert done("no_rule", width=32) == "memorization"
    assert done("data", train_size=480) == "comprehension"
    assert done("data", train_size=60) == "ungrokking"
    assert done("data", train_size=60, seed=2) == "memorization"
    assert done("data", train_size=200) == ""
    assert done("most_data", train_size=800) == "comprehension"
    assert done("collapse", train_size=60) == "ungrokking"
    assert done("decay", weight_decay=0.0) == ""
    assert done("slow_decay", weight_decay=0.3) == "grokking"
    assert done("slow_decay", weight_decay=0.3, seed=2) == ""


def test_what_tables_of_an_older_sweep_lack_is_taken_from_its_plan(tmp_path):
    known = {name: 1 for name in interventions.CONFIG if name != "train_size_before"}
    runs = pd.DataFrame([known | {"run_id": run_id} for run_id in ("with", "without", "unknown")])
    planned = pd.DataFrame({"run_id": ["without", "with"], "train_size_before": ["", "529 until 1000"]})
    complete = interventions.complete(runs, planned, tmp_path)
    assert list(complete.columns) == interventions.CONFIG
    assert complete["train_size_before"].fillna("none").tolist() == ["529 until 1000", "none", "none"]
    before_schedules = interventions.complete(runs, planned[["run_id"]], tmp_path)
    assert before_schedules["train_size_before"].isna().all()
    with pytest.raises(SystemExit, match="no column val_size"):
        interventions.complete(runs.drop(columns="val_size"), planned, tmp_path)


def test_runs_without_a_rule_never_count_as_generalizing():
    traces, runs = interventions.read()
    labels = label_runs(traces, runs).set_index("run_id")
    none = runs.loc[runs["sweep"] == "intervention_no_rule", "run_id"]
    assert len(none) == 66
    assert set(labels.loc[none, "phase"]) == {"memorization", "confusion"}


def test_runs_of_other_packs_are_the_same_runs():
    traces, runs = in_other_packs()
    assert len(runs) == traces["run_id"].nunique() >= 30
    assert set(runs["run_id"]) <= set(read_trained()[1]["run_id"])


# Blind reading


def test_kappa_by_hand():
    one, other = pd.Series(list("aabb")), pd.Series(list("abbb"))
    assert blind.kappa(one, one) == 1
    assert blind.kappa(one, other) == pytest.approx((0.75 - 0.5) / 0.5)
    assert blind.kappa(pd.Series(list("ab")), pd.Series(list("ba"))) == -1
    assert blind.kappa(pd.Series(list("aa")), pd.Series(list("aa"))) == 1


def test_readers_are_scored_against_each_other_and_the_classifier(tmp_path):
    said = blind.classified(PROOF / "blind")
    wrong = said.copy()
    wrong.iloc[:20] = np.where(said.iloc[:20] == "grokking", "confusion", "grokking")
    for name, answers in (("one", said), ("two", said), ("three", wrong)):
        form = pd.DataFrame({"item": said.index, "phase": answers.to_numpy(), "confidence": 2, "remark": ""})
        form.to_csv(tmp_path / f"reader_{name}.csv", index=False)
    found = blind.score(PROOF / "blind", sorted(tmp_path.glob("*.csv")))
    assert (found["items"], found["readers"], found["unanswered"]) == (len(said), 3, 0)
    assert found["agreement_with_classifier"] == pytest.approx(1 - 20 / len(said) / 3)
    assert found["agreement_among_readers"] == pytest.approx(1 - 20 / len(said) * 2 / 3)
    assert found["difference"]["low"] > 0
    assert found["disagreements"] == []
    assert found["by_class"]["grokking"]["readers_agree"]["share"] == 1


def test_a_reader_who_writes_no_phase_is_told_which(tmp_path):
    path = tmp_path / "reader_x.csv"
    path.write_text("item,phase,confidence,remark\n1,groking,3,\n2,,1,\n3,Grokking ,3,\n")
    with pytest.raises(ValueError, match="groking: not a phase; known are comprehension"):
        blind.read_answers(path)
    path.write_text(path.read_text().replace("groking", "grokking"))
    assert blind.read_answers(path).to_dict() == {1: "grokking", 2: pytest.approx(np.nan, nan_ok=True), 3: "grokking"}


def test_small_strata_are_taken_whole():
    strata = pd.Series(["a"] * 50 + ["b"] * 3 + ["c"] * 20)
    taken = strata.iloc[blind.evenly(strata, 23, np.random.default_rng(0))].value_counts()
    assert taken.to_dict() == {"a": 10, "c": 10, "b": 3}


def test_the_material_of_the_blind_reading_holds_no_labels_and_no_tasks():
    items = pd.read_csv(PROOF / "blind" / "items.csv")
    assert len(items) == 200
    assert not {"phase", "task"} & set(items)
    assert (items["val_size"] >= blind.LEAST_VAL).all()
    assert set(pd.read_parquet(PROOF / "blind" / "traces.parquet")["item"]) == set(items["item"])


# The report


def test_the_report_is_that_of_this_classifier():
    assert REPORT["classifier_version"] == CLASSIFIER_VERSION, "run: make proof"


def test_a_report_without_the_held_out_families_can_be_read_and_stands_elsewhere(monkeypatch, capsys):
    unseen = json.loads(json.dumps(REPORT))
    unseen |= {"held_out": [], "held_out_together": {}}
    unseen["other_minds"] = {k: v for k, v in unseen["other_minds"].items() if not v["held_out"]}
    unseen["confidence"].pop("held out together")
    text = page(unseen)
    assert "left unseen" in text
    assert "held out" not in text.replace("The held-out families were left unseen", "").split("## Invariance")[0]
    monkeypatch.setattr("sys.argv", ["run.py", "--developed-only"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "needs an --out of its own" in capsys.readouterr().err


def test_a_small_report_is_made_without_the_held_out_families():
    report = long_parts(DEVELOPED_ON, 4, n_trained=6)
    report |= {part: REPORT[part] for part in QUICK} | {"seconds": 1, "cpu_seconds": 1}
    assert report["held_out"] == []
    assert set(report["invariance"]) == {*DEVELOPED_ON, *WHICH, TRAINED_TOGETHER}
    assert report["invariance"]["sigmoids"]["moderate, all together"]["same_budget"]["runs"] <= 4 * MODERATE_TIMES
    assert "left unseen" in page(report)


def test_the_calibration_is_the_fitted_one():
    fitted = REPORT["confidence"]["fitted"]
    np.testing.assert_allclose(READING, fitted["reading"], atol=0.02)
    np.testing.assert_allclose(OUTLOOK, fitted["outlook"], atol=0.02)
    np.testing.assert_allclose(STRANGERS, fitted["strangers"], atol=0.02)


def test_the_report_covers_every_part():
    text = (PROOF / "report.md").read_text()
    parts = ("Invariance", "Other minds", "Metamorphic", "Confidence", "Truth by intervention", "Blind reading")
    for words in (*(f"## {part}" for part in parts), "(held out)", "decision tree", "in another pack"):
        assert words in text
