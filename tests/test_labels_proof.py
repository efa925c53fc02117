"""The proof itself: its scores are right, its families mean what they say, its report belongs to this classifier."""

import json
from pathlib import Path

import numpy as np
import pytest
from children import MODERATE, NUISANCES, Log, children, eval_steps
from families import FAMILIES, HELD_OUT, Parent, definition, rise
from run import DEVELOPED_ON, fit, flat_rows_appended, loss_rescaled, twice_as_dense
from scores import brier, confusions, f1_by_class, reliability, summary, worst_bin
from trained import read_trained

from results.classify import CLASSIFIER_VERSION, label_runs
from results.classify.calibration import HAPPENED, MARGINS, SHARES_HAPPENED, SHARES_NOT_YET, calibrated
from results.classify.pass1 import RULE_NAMES

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
    assert set(DEVELOPED_ON) | set(HELD_OUT) == set(FAMILIES)
    assert not set(DEVELOPED_ON) & set(HELD_OUT)
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


# Scores


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


def test_a_fit_finds_shares_that_never_fall():
    import pandas as pd

    draw = np.random.default_rng(0)
    margin = draw.uniform(size=20_000)
    pool = pd.DataFrame({"margin": margin, "straddles": False, "stays": draw.uniform(size=20_000) < 0.5 + 0.5 * margin})
    np.testing.assert_allclose(fit([pool]), np.interp(MARGINS, [0, 1], [0.5, 1]), atol=0.03)
    upside_down = fit([pool.assign(stays=~pool["stays"])])
    assert (np.diff(upside_down) >= -1e-9).all()


# The classifier


def test_confidence_never_falls_with_the_margin_and_is_less_sure_of_what_has_not_happened():
    grid = np.linspace(0, 1, 101)
    seen, unseen = calibrated(grid, np.full(101, True)), calibrated(grid, np.full(101, False))
    assert (np.diff(seen) >= 0).all()
    assert (np.diff(unseen) >= 0).all()
    assert (seen > unseen).all()
    assert set(HAPPENED) <= set(RULE_NAMES)


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


# The report


def test_the_report_is_that_of_this_classifier():
    assert REPORT["classifier_version"] == CLASSIFIER_VERSION, "run: make proof"


def test_the_calibration_is_the_fitted_one():
    for title, shares in (("happened", SHARES_HAPPENED), ("not_yet", SHARES_NOT_YET)):
        np.testing.assert_allclose(shares, REPORT["confidence"]["fitted"][title], atol=0.06)


def test_the_report_covers_every_part():
    text = (PROOF / "report.md").read_text()
    for words in ("## Invariance", "## Other minds", "## Metamorphic", "## Confidence", "(held out)", "decision tree"):
        assert words in text
