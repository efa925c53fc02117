"""Double descent along an axis: exact effects, calibration on known truths, and the figure."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import isotonic_regression

from results.descent import DescentSettings, descents
from results.descent.dips import deepest_dips, find_dip
from results.descent.significance import holm
from results.descent_figure import descent_figure

FAST = DescentSettings(n_resamples=199)
WIDTHS = 2.0 ** np.arange(15)


def labels_of(values: np.ndarray, widths: np.ndarray = WIDTHS, **columns: object) -> pd.DataFrame:
    """Labels from `values` (n_seeds, n_points)."""
    seeds, points = np.indices(values.shape)
    frame = {"seed": seeds.ravel(), "width": widths[points.ravel()], "final_val_accuracy": values.ravel()}
    return pd.DataFrame(frame | {"phase": "grokking", "steps": 1000} | columns)


def many_facets(truths: np.ndarray, widths: np.ndarray = WIDTHS) -> pd.DataFrame:
    """Labels of `truths` (n_repeats, n_seeds, n_points), each repeat a facet."""
    return pd.concat([labels_of(values, widths, train_size=i) for i, values in enumerate(truths)], ignore_index=True)


def exhaustive(m: np.ndarray) -> float:
    """The definition, by four loops."""
    n = len(m)
    dips = [
        min(m[i] - m[h], m[i] - m[j], m[k] - m[j])
        for h in range(n)
        for i in range(h + 1, n)
        for j in range(i + 1, n)
        for k in range(j + 1, n)
    ]
    return float(max(dips))


@pytest.mark.parametrize(
    ("means", "depth", "places"),
    [
        ([0.0, 0.6, 0.2, 1.0], 0.4, (0, 1, 2, 3)),
        ([0.3, 0.6, 0.2, 1.0], 0.3, (0, 1, 2, 3)),  # limited by the first rise
        ([0.0, 0.6, 0.2, 0.3], 0.1, (0, 1, 2, 3)),  # by the second
        ([0.0, 0.9, 0.8, 0.9, 0.4, 0.95], 0.5, (0, 1, 4, 5)),  # the deeper of two
    ],
)
def test_effect_on_hand_examples(means: list[float], depth: float, places: tuple[int, ...]) -> None:
    dip = find_dip(np.array(means))
    assert dip is not None
    assert dip.depth == pytest.approx(depth)
    assert (dip.start, dip.peak, dip.bottom, dip.end) == places


@pytest.mark.parametrize(
    "means", [[0.1, 0.2, 0.2, 0.9], [0.9, 0.5, 0.3, 0.1], [0.9, 0.1, 0.8, 0.85], [0.5, 0.1, 0.7], [1.0]]
)
def test_no_dip_between_two_rises(means: list[float]) -> None:
    assert find_dip(np.array(means)) is None


def test_a_dip_without_a_first_rise() -> None:
    dip = find_dip(np.array([0.9, 0.1, 0.8]), after_rise=False)
    assert dip is not None
    assert (dip.depth, dip.start, dip.peak, dip.bottom, dip.end) == (pytest.approx(0.7), None, 0, 1, 2)


def test_effect_equals_the_definition_on_random_curves() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        means = rng.random(int(rng.integers(4, 9)))
        dip = find_dip(means)
        assert (dip.depth if dip else 0.0) == pytest.approx(max(exhaustive(means), 0.0))


@pytest.mark.parametrize("n_seeds", [2, 5, 14])
def test_the_p_value_counts_every_resample(n_seeds: int) -> None:
    """Though signs that were drawn again are not looked at again."""
    values = np.random.default_rng(n_seeds).normal(size=(n_seeds, 15))
    signs = np.random.default_rng(FAST.seed).choice([-1.0, 1.0], size=(FAST.n_resamples, n_seeds))
    means = values.mean(axis=0)
    noise = signs @ (values - means) / (n_seeds - 1)
    depths = deepest_dips(isotonic_regression(means).x + noise, after_rise=True)[0]
    row = descents(labels_of(values), axis="width", settings=FAST).iloc[0]
    assert row["p"] == (1 + (np.maximum(depths, 0) >= row["effect"] - 1e-12).sum()) / (1 + FAST.n_resamples)


def test_however_many_resamples_five_seeds_are_looked_at_in_their_32_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []

    def counted(curves: np.ndarray, *, after_rise: bool) -> tuple:
        looked_at.append(len(curves))
        return deepest_dips(curves, after_rise=after_rise)

    monkeypatch.setattr("results.descent.curves.deepest_dips", counted)
    labels = many_facets(np.random.default_rng(0).normal(size=(4, 5, 24)), 2.0 ** np.arange(24))
    descents(labels, axis="width", facet="train_size", settings=DescentSettings(n_resamples=9600))
    assert set(looked_at) == {32}


def test_holm_steps_down_and_ignores_nan() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    adjusted = holm([0.5, float("nan"), 0.2])
    assert adjusted[0] == pytest.approx(0.5)
    assert np.isnan(adjusted[1])
    assert adjusted[2] == pytest.approx(0.4)
    assert holm([]) == []


DIP = np.array([0.1, 0.3, 0.5, 0.7, 0.6, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.95, 0.97, 0.98])
"""A dip of .2 between two rises."""


def noisy(means: np.ndarray, n_repeats: int, n_seeds: int, deviation: float | np.ndarray, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(n_repeats, n_seeds, len(means)))
    return np.clip(means + noise * deviation, 0, 1)


SATURATING = 1 / (1 + np.exp(-np.linspace(-6, 6, 15)))
MONOTONE = {
    "flat": (np.full(15, 0.5), 0.1),
    "saturating": (SATURATING, 0.02 + 0.5 * SATURATING * (1 - SATURATING)),
    "fanning out": (np.full(15, 0.5), np.linspace(0.02, 0.25, 15)),
    "a step": (np.repeat([0.4, 0.6], [7, 8]), np.repeat([0.15, 0.05], [7, 8])),
}


@pytest.mark.parametrize("n_seeds", [5, 11])
@pytest.mark.parametrize("truth", MONOTONE)
def test_monotone_truth_is_seldom_called_a_descent(truth: str, n_seeds: int) -> None:
    """7 % of 120 is 8.4; 15 or more come with probability 2 % even then."""
    means, deviation = MONOTONE[truth]
    found = descents(
        many_facets(noisy(means, 120, n_seeds, deviation)), axis="width", facet="train_size", settings=FAST
    )
    assert (found["p"] <= 0.05).sum() < 15
    assert (found["dip_p"] <= 0.05).sum() < 15
    assert not found["verdict"].isin(["double_descent", "dip_only"]).any()  # Holm over 120 facets


def test_power_grows_with_the_seeds() -> None:
    """A dip of .2 with a standard deviation of .1; the figures show with -s."""
    power = {}
    for n_seeds in (3, 5, 8, 11):
        labels = many_facets(noisy(DIP, 60, n_seeds, 0.1))
        found = descents(labels, axis="width", facet="train_size", settings=FAST)
        power[n_seeds] = float(((found["p"] <= 0.05) & (found["dip_p"] <= 0.05) & (found["effect"] >= 0.1)).mean())
    print("power by number of seeds:", power)
    assert power[5] > 0.5
    assert power[8] > 0.8
    assert power[11] > 0.9


def test_a_clear_dip_gets_its_verdict_interval_and_places() -> None:
    row = descents(labels_of(noisy(DIP, 1, 11, 0.05)[0]), axis="width").iloc[0]
    assert row["verdict"] == "double_descent"
    assert row["depth_low"] < 0.2 < row["depth_high"]
    assert row["depth"] == row["effect"] == pytest.approx(0.2, abs=0.06)
    assert (row["peak_at"], row["dip_at"]) == (8, 32)
    assert row["dip_at_low"] <= 32 <= row["dip_at_high"]
    assert set(row[["dip_at_low", "dip_at_high", "peak_at_low", "peak_at_high"]]) <= set(WIDTHS)
    assert "peak at width 8, bottom at 32" in row["why"]


def test_the_interval_holds_the_truth() -> None:
    found = descents(many_facets(noisy(DIP, 100, 8, 0.1)), axis="width", facet="train_size", settings=FAST)
    held = (found["depth_low"] <= 0.2) & (found["depth_high"] >= 0.2)
    assert held.mean() > 0.9


def test_an_axis_that_starts_at_the_peak_shows_a_dip_only() -> None:
    row = descents(labels_of(noisy(DIP, 1, 8, 0.03)[0][:, 3:], WIDTHS[3:]), axis="width").iloc[0]
    assert row["verdict"] == "dip_only"
    assert row["depth"] == row["dip"] == pytest.approx(0.2, abs=0.06)
    assert np.isnan(row["start_at"])
    assert row["peak_at"] == 8


def test_verdicts_without_a_finding() -> None:
    rising = np.linspace(0.1, 0.9, 15)
    none = descents(labels_of(noisy(rising, 1, 8, 0.05)[0]), axis="width").iloc[0]
    few = descents(labels_of(noisy(DIP, 1, 4, 0.01)[0]), axis="width").iloc[0]
    noise = descents(labels_of(noisy(rising, 1, 6, 0.4)[0]), axis="width").iloc[0]
    short = descents(labels_of(noisy(DIP, 1, 8, 0.01)[0][:, :3], WIDTHS[:3]), axis="width").iloc[0]
    assert [row["verdict"] for row in (none, few, noise, short)] == ["none", *["underpowered"] * 3]
    assert "4 seeds: no verdict below 5" in few["why"]
    assert few["effect"] == pytest.approx(0.2, abs=0.05)
    assert "takes four" in short["why"]


def test_one_seed_and_no_value_are_no_errors() -> None:
    one = descents(labels_of(DIP[None, :]), axis="width").iloc[0]
    assert (one["verdict"], one["effect"]) == ("underpowered", pytest.approx(0.2))
    assert np.isnan(one["p"])
    nothing = descents(labels_of(np.full((6, 5), np.nan), WIDTHS[:5]), axis="width").iloc[0]
    assert (nothing["verdict"], nothing["n_runs"], nothing["n_left_out"]) == ("underpowered", 0, 30)


def test_the_order_of_rows_does_not_matter() -> None:
    labels = many_facets(noisy(DIP, 2, 5, 0.1))
    shuffled = labels.sample(frac=1, random_state=1)
    expected = descents(labels, axis="width", facet="train_size", settings=FAST)
    pd.testing.assert_frame_equal(expected, descents(shuffled, axis="width", facet="train_size", settings=FAST))


def test_missing_runs_are_left_out_and_counted() -> None:
    values = noisy(DIP, 1, 8, 0.03)[0]
    values[0, 2] = np.nan  # a diverged run
    values[:5, 9] = np.inf  # a width that most seeds miss
    row = descents(labels_of(values), axis="width").iloc[0]
    assert (row["n_seeds"], row["n_points"], row["n_runs"], row["n_left_out"]) == (8, 14, 8 * 14 - 1, 5 + 3 + 1)
    assert row["verdict"] == "double_descent"


def test_a_loss_is_turned_over_and_judged_on_its_own_scale() -> None:
    losses = 50 * (1 - noisy(DIP, 1, 8, 0.03)[0])
    labels = labels_of(losses).rename(columns={"final_val_accuracy": "final_val_loss"})
    row = descents(labels, axis="width", value="final_val_loss").iloc[0]
    assert row["verdict"] == "double_descent"
    assert row["unit"] == pytest.approx(np.ptp(losses.mean(axis=0)))
    assert row["effect"] == pytest.approx(10, abs=3)
    assert (row["peak_at"], row["dip_at"]) == (8, 32)


def test_axes_that_are_words_and_columns_that_are_missing_are_refused() -> None:
    labels = labels_of(DIP[None, :])
    with pytest.raises(ValueError, match="numeric axis; phase is not one"):
        descents(labels, axis="phase")
    with pytest.raises(ValueError, match=r"'wdth'.*Did you mean width"):
        descents(labels, axis="wdth")


def test_the_figure_shows_verdict_budget_and_places() -> None:
    labels = many_facets(np.stack([noisy(DIP, 1, 6, 0.02)[0], noisy(np.linspace(0.1, 0.9, 15), 1, 6, 0.05)[0]]))
    verdicts = descents(labels, axis="width", facet="train_size", settings=FAST)
    figure = descent_figure(labels, verdicts, axis="width", facet="train_size", scales={"width": "log"}, title="small")
    titles = "\n".join(axes.get_title(loc="left") for axes in figure.axes)
    written = "\n".join(text.get_text() for owner in (figure, *figure.axes) for text in owner.texts)
    assert "train_size = 0: double descent, p = " in titles
    assert "train_size = 1: none" in titles
    for part in ("small", "budget 1,000 steps", "6 seeds", "peak 8", "dip 32"):
        assert part in written
    with pytest.raises(ValueError, match="1 verdicts for 2 values of train_size"):
        descent_figure(labels, verdicts.iloc[:1], axis="width", facet="train_size")
