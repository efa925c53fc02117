"""The star, the zones and their score, model-wise grokking, and what is foretold of double descent."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from critical_helpers import SIZES, WIDTHS, labels_of, random_labels_of, traces_of

from results.critical.findings import Question, check_question, find
from results.critical.half_width import half_width, shift
from results.critical.intervals import jackknife_error
from results.critical.memory import thresholds
from results.critical.modelwise import modelwise_ratios, stays_above
from results.critical.prediction import expect, find_star
from results.critical.report import report
from results.critical.settings import CriticalSettings
from results.critical.smooth import smooth_traces
from results.critical.star import Star, crossing
from results.critical.table import critical_table
from results.critical.zones import balanced_accuracy, fit_curves, score_zones, zone_of
from results.critical_figure import critical_figure
from results.descent import DescentSettings, descents
from results.schema import conform, critical_schema
from results.zone_figure import zone_map

SETTINGS = CriticalSettings()


def critical_size(width: int) -> float:
    """550 at width 8, about 440 at 32."""
    return 550 * (width / 8) ** -0.16


def memory_size(width: int) -> float:
    """350 at width 8, 640 at 16."""
    return 350 * (width / 8) ** 0.87


def t_val(width: int, size: int, seed: int) -> float:
    lucky = 1.03 if seed % 2 else 0.97
    return 3000 if size > lucky * critical_size(width) else math.inf


def accuracy(width: int, size: int, seed: int) -> float:
    return 1.0 if size < memory_size(width) * (1.02 if seed % 2 else 0.98) else 0.8


FINE = tuple(range(200, 1000, 40))


def sweeps(sizes: tuple[int, ...] = FINE, n_seeds: int = 8):
    """Labels by zone: above memory the runs are progression, which generalizes by the critical size too."""
    labels = labels_of(t_val, sizes=sizes, n_seeds=n_seeds)
    is_beyond = labels["train_size"] > labels["width"].map(memory_size)
    labels["phase"] = np.where(is_beyond, "progression", labels["phase"])
    return labels, random_labels_of(accuracy, sizes=sizes, n_seeds=n_seeds)


def star_of(labels, random) -> Star:
    return find_star(labels, random, "width", outcome="generalized", settings=SETTINGS)


def test_the_star_is_where_the_curves_cross() -> None:
    truth = 8 * (550 / 350) ** (1 / (0.87 + 0.16))
    star = star_of(*sweeps())
    assert star.relation == "="
    assert star.axis_value == pytest.approx(truth, rel=0.05)
    assert star.size == pytest.approx(critical_size(truth), rel=0.03)
    assert star.axis_low < truth < star.axis_high
    assert star.size_low < critical_size(truth) < star.size_high
    assert star.axis_high < 16
    assert star.n_seeds == 8


def test_no_star_where_the_curves_do_not_cross_inside() -> None:
    labels, random = sweeps()
    wide = labels["width"] >= 16
    star = star_of(labels[wide], random.where((random.labels["width"] >= 16).to_numpy()))
    assert (star.relation, star.why) == ("none", "memory is the larger one wherever that is known")
    assert math.isnan(star.size)
    narrow = star_of(labels[~wide], random)
    assert (narrow.relation, narrow.why) == ("none", "memory is the smaller one wherever that is known")


def test_a_star_between_bounds_has_no_place() -> None:
    """Train sizes end below memory at width 16: the crossing lies between 8 and 16, and not better than that."""
    labels, random = sweeps(sizes=tuple(range(200, 600, 40)))
    star = star_of(labels, random)
    assert star.relation == "between"
    assert (star.axis_low, star.axis_high) == (8, 16)
    assert math.isnan(star.size)
    assert 450 < star.size_low < 560


def test_two_seeds_give_a_star_without_an_interval() -> None:
    star = star_of(*sweeps(n_seeds=2))
    assert star.relation == "="
    assert math.isnan(star.axis_low)


def test_of_several_crossings_the_last_counts() -> None:
    labels, random = sweeps()
    d50 = list(fit_curves(labels, "width", {}, SETTINGS, "generalized").middle)
    d_mem = list(thresholds(random, "width").values())
    assert crossing(list(WIDTHS), d50, d_mem).relation == "="
    assert crossing(list(WIDTHS), d50[::-1], d_mem[::-1]).why == "memory falls below along the axis"
    twice = crossing([4, 8, 16, 64, 128, 256, 512, 1024], d50 * 2, d_mem * 2)
    assert 128 < twice.axis_value < 512


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=12)
    without = np.array([[np.delete(values, i).mean()] for i in range(12)])
    assert jackknife_error(without)[0] == pytest.approx(values.std(ddof=1) / math.sqrt(12))


# Zones


def test_points_fall_into_their_zones() -> None:
    labels, random = sweeps()
    curves = fit_curves(labels, "width", thresholds(random, "width"), SETTINGS, "generalized")
    points = {(4, 600): "progression", (8, 900): "progression", (16, 300): "ungrokking", (32, 900): "grokking"}
    assert {point: zone_of(curves, *point, band=True) for point in points} == points
    assert zone_of(curves, 32, critical_size(32), band=True) == "semi-grokking"
    assert zone_of(curves, 32, critical_size(32) + 5, band=False) == "grokking"
    assert zone_of(curves, 22, 620, band=True) == "grokking"  # between widths
    assert zone_of(curves, 22, 900, band=True) == ""  # where memory is only known to lie above 640
    assert zone_of(curves, 64, 300, band=True) == ""  # beyond them nothing is known


def test_without_memory_no_zone_is_told() -> None:
    labels, _ = sweeps()
    curves = fit_curves(labels, "width", {}, SETTINGS, "generalized")
    assert zone_of(curves, 32, 900, band=True) == ""


def scores_of(labels, random):
    scores = score_zones(
        labels,
        axis="width",
        memory_without=lambda seed: thresholds(random if seed is None else random.without(seed), "width"),
        settings=SETTINGS,
    )
    return {(score.left_out, score.predictor): score for score in scores}


def test_labels_that_follow_the_zones_are_foretold_by_them() -> None:
    labels, random = sweeps()
    scores = scores_of(labels, random)
    zones, width, size = (scores["seed", name] for name in ("zones", "width alone", "size alone"))
    assert zones.value > 0.95
    assert zones.told > 0.99
    assert width.value < 0.75
    assert size.value < 0.75
    assert zones.low > max(width.high, size.high)
    assert scores["train_size", "zones"].value > 0.9
    assert 0 < scores["width", "zones"].told < 0.7  # at the outermost widths they say nothing


def test_labels_that_follow_width_are_foretold_by_width() -> None:
    labels, random = sweeps()
    by_width = labels["width"].map({4: "confusion", 8: "memorization", 16: "memorization", 32: "grokking"})
    scores = scores_of(labels.assign(phase=by_width), random)
    assert scores["seed", "width alone"].value == 1
    assert scores["seed", "cell"].value == 1
    assert scores["seed", "zones"].value < 0.8


def test_labels_without_a_zone_are_counted_and_not_scored() -> None:
    labels, random = sweeps()
    labels.loc[labels["seed"] < 2, "phase"] = "undecided"
    score = scores_of(labels, random)["seed", "zones"]
    assert score.n_left_out == len(labels) / 4
    assert score.n_runs == len(labels) * 3 / 4


def test_balanced_accuracy_weighs_kinds_equally() -> None:
    truth = np.array(["a"] * 9 + ["b"], dtype=object)
    assert balanced_accuracy(truth, np.array(["a"] * 10, dtype=object)) == 0.5
    assert balanced_accuracy(truth, np.array([""] * 10, dtype=object)) == 0


# Predictions


@pytest.mark.parametrize(
    ("size", "expected"), [(300, "double_descent"), (420, "undetermined"), (600, "none"), (500, "undetermined")]
)
def test_a_train_size_is_compared_with_the_interval_of_the_star(size: int, expected: str) -> None:
    nothing = {"axis_value": 12.0, "axis_low": 10.0, "axis_high": 14.0, "n_seeds": 8, "why": ""}
    assert expect(size, Star(relation="=", size=450, size_low=400, size_high=500, **nothing)) == expected
    assert expect(size, Star(relation="none", size=450, size_low=400, size_high=500, **nothing)) == "undetermined"
    if size == 600:
        open_star = Star(relation="=", size=450, size_low=400, size_high=math.nan, **nothing)
        assert expect(size, open_star) == "undetermined"


def test_each_size_is_foretold_without_its_own_runs() -> None:
    sizes = FINE[::2]
    labels, random = sweeps(sizes=sizes, n_seeds=5)
    found = find(labels, traces_of(labels), random=random)[0]
    by_size = {prediction.size: prediction for prediction in found.predictions}
    assert set(by_size) == set(sizes)
    assert by_size[200].expected == "double_descent"
    assert by_size[920].expected == "none"
    whole = found.star.size
    assert any(prediction.star.size != whole for prediction in found.predictions)


# Model-wise grokking and descents


def curves_of(train_at: float, val_at: float, n_seeds: int = 8) -> pd.DataFrame:
    widths = (2, 4, 8, 16, 32, 64)
    labels = labels_of(lambda *_: math.inf, widths=widths, sizes=(300,), n_seeds=n_seeds)
    for name, at in (("train", train_at), ("val", val_at)):
        shift = 0.1 * np.sin(5.0 * labels["seed"] + len(name))
        labels[f"final_{name}_accuracy"] = 1 / (1 + np.exp(-4 * (np.log(labels["width"] / at) + shift)))
    return labels


def test_model_wise_grokking_is_a_ratio_of_widths() -> None:
    late = modelwise_ratios(curves_of(4, 16), "width")[0]
    assert late.value == pytest.approx(4, rel=0.1)
    assert late.low < 4 < late.high
    assert (late.verdict, late.size) == ("modelwise_grokking", 300)
    assert modelwise_ratios(curves_of(8, 9), "width")[0].verdict == "none"
    assert modelwise_ratios(curves_of(4, 16, n_seeds=4), "width")[0].verdict == "undetermined"


def test_validation_that_never_gets_there_bounds_the_ratio() -> None:
    ratio = modelwise_ratios(curves_of(4, 1000), "width")[0]
    assert (ratio.relation, ratio.verdict) == (">", "undetermined")
    assert ratio.value == pytest.approx(64 / 4, rel=0.1)


def test_a_shift_of_the_width_needed_is_measured_on_pairs_of_seeds() -> None:
    """What a seed adds to both sides cancels; of one side alone it is the interval."""
    needed = half_width(curves_of(4, 10))
    assert needed.value == pytest.approx(10, rel=0.1)
    assert needed.low < needed.value < needed.high
    found = shift(curves_of(4, 10), curves_of(4, 20))
    assert found.value == pytest.approx(2, rel=0.05)
    assert found.high / found.low < needed.high / needed.low
    assert math.isnan(half_width(curves_of(4, 1000)).value), "never above half"
    assert math.isnan(shift(curves_of(4, 10), curves_of(4, 1000)).value)
    few = half_width(curves_of(4, 10, n_seeds=2))
    assert few.value == pytest.approx(10, rel=0.1)
    assert math.isnan(few.low)
    bound = half_width(curves_of(1, 1))
    assert bound.value == 2, "above half at the smallest width already"
    assert math.isnan(bound.low)


def test_a_curve_that_descends_counts_from_where_it_stays() -> None:
    places = np.array([1.0, 2, 4, 8, 16])
    assert stays_above(places, np.array([[0, 0.8, 0.2, 0.4, 1.0]]), 0.5) == pytest.approx(8 * 2 ** (0.1 / 0.6))
    assert stays_above(places, np.array([[1.0, 0.8, 0.6, 0.7, 1.0]]), 0.5) == 1
    assert math.isnan(stays_above(places, np.array([[1.0, 1, 1, 1, 0.2]]), 0.5))


def test_smoothing_keeps_a_slow_curve_and_removes_a_spike() -> None:
    step = np.unique(np.geomspace(1, 8000, 400).astype(int))
    slow = 1 / (1 + np.exp(-2 * (np.log(step) - 5)))
    spiky = slow.copy()
    spiky[200] = 10
    traces = pd.DataFrame({"run_id": ["a"] * len(step) + ["b"] * len(step), "step": [*step, *step]})
    found = smooth_traces(traces.assign(x=[*slow, *spiky]), ["x"], 8000)
    a, b = (found[found["run_id"] == name] for name in "ab")
    assert a["step"].iloc[[0, -1]].tolist() == [1, 8000]
    assert len(a) == 23  # of 24, the first two coincide once rounded
    expected = 1 / (1 + np.exp(-2 * (np.log(a["step"]) - 5)))
    assert np.abs(a["x"] - expected).max() < 0.02
    assert np.abs(b["x"].to_numpy() - a["x"].to_numpy()).max() < 1.0


def test_a_run_has_no_smooth_values_beyond_its_end_and_gaps_do_not_count() -> None:
    step = np.arange(0, 101)
    values = np.where(step == 50, np.nan, 1.0)
    found = smooth_traces(pd.DataFrame({"run_id": "a", "step": step, "x": values}), ["x"], 8000)
    assert found["step"].max() <= 100
    assert found["x"].tolist() == pytest.approx([1.0] * len(found))


def test_intervals_of_seeds_that_are_all_or_nothing_stay_wide() -> None:
    """Eight seeds that happen to agree do not prove that all would; seeds that scatter little do."""
    means = np.array([0, 1, 0, 1.0])
    agreeing = pd.DataFrame(
        {"seed": np.repeat(range(8), 4), "width": [1, 2, 4, 8] * 8, "final_val_accuracy": np.tile(means, 8)}
    )
    row = descents(agreeing, axis="width", settings=DescentSettings(n_resamples=99)).iloc[0]
    assert row["depth"] == 1
    assert row["depth_high"] - row["depth_low"] > 0.5
    scatter = 0.45 + 0.1 * agreeing["final_val_accuracy"] + 0.01 * np.sin(7.0 * agreeing["seed"] * agreeing["width"])
    row = descents(agreeing.assign(final_val_accuracy=scatter), axis="width").iloc[0]
    assert row["depth_high"] - row["depth_low"] < 0.06


# The whole


def test_findings_fill_the_table_and_the_figures() -> None:
    labels, random = sweeps(sizes=SIZES)
    found = find(labels, traces_of(labels), random=random)
    table = critical_table(found)
    written = conform(table, critical_schema()).to_pandas()
    assert set(written["quantity"]) == {
        "D05", "D50", "D95", "D_mem", "star_axis", "star_size", "zone_score", "modelwise_ratio", "descent_accuracy",
        "descent_loss", "epochwise_accuracy", "epochwise_loss", "prediction",
    }  # fmt: skip
    assert not written.duplicated(["quantity", "detail", "axis_value", "train_size", "budget_share"]).any()
    d50 = written[(written["quantity"] == "D50") & (written["budget_share"] == 1)]
    assert d50["axis_value"].tolist() == [4, 8, 16, 32]
    assert set(written["classifier_version"]) == {"test"}
    text = report(found[0])
    assert "D50 at T/4, T/2" in text
    assert "star:" in text
    words = {text.get_text() for axes in zone_map(found[0], title="map").axes for text in axes.texts}
    assert {"progression", "ungrokking", "grokking"} <= words
    assert len(critical_figure(found[0], title="sizes").axes) == 4


def test_dots_of_neighbouring_columns_stay_apart() -> None:
    labels, _ = sweeps(sizes=SIZES)
    close = labels.assign(width=labels["width"].map({4: 1, 8: 8, 16: 9, 32: 64}))
    (found,) = find(close, traces_of(close))
    dots = zone_map(found).axes[0].collections[-1].get_offsets()
    columns = [np.sort(dots[close["width"] == width][:, 0]) for width in (1, 8, 9, 64)]
    assert all(left[-1] < right[0] for left, right in pairwise(columns))


def test_a_facet_keeps_runs_apart() -> None:
    labels = pd.concat(
        [labels_of(t_val, weight_decay=1.0), labels_of(lambda *_: math.inf, weight_decay=0.1)], ignore_index=True
    )
    labels["run_id"] = [f"run{i}" for i in range(len(labels))]
    axes = ["width", "train_size", "weight_decay"]
    with pytest.raises(ValueError, match=r"also differ in weight_decay \(2 values\): say with --facet"):
        check_question(labels, Question(), axes)
    check_question(labels, Question(facet="weight_decay"), axes)
    small, large = find(labels, traces_of(labels), Question(facet="weight_decay"))
    assert (small.facet_value, large.facet_value) == (0.1, 1)
    d50 = [[s.threshold.relation for s in f.sizes if s.share == 0.5 and s.budget_share == 1] for f in (small, large)]
    assert d50 == [[">"] * 4, ["="] * 4]
    table = critical_table([small, large])
    assert set(table["facet_value"]) == {0.1, 1.0}


def test_what_cannot_be_answered_says_what_is_there() -> None:
    labels = labels_of(t_val, sizes=(300,))
    with pytest.raises(ValueError, match=r"two train sizes or more; this sweep has width \(4 values\), train_size \(1"):
        check_question(labels, Question(), ["width", "train_size"])
    with pytest.raises(ValueError, match="no column 'depht'"):
        check_question(labels, Question(axis="depht"), ["width"])
    with pytest.raises(ValueError, match="train_size cannot be axis"):
        check_question(labels_of(t_val), Question(axis="train_size"), ["width"])
    words = labels_of(t_val).assign(width=lambda frame: frame["width"].map(lambda width: f"w{width}"))
    found = find(words, traces_of(words))[0]
    assert found.curves is None
    assert "no axis of positive numbers" in report(found)
