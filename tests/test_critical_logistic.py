"""The place where a share of the seeds says yes: known curves, intervals that cover, ends that stay open."""

import math
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from results.critical.logistic import count, design_effect, exact_bracket, fit_place, is_bracketed

X = np.log([2000.0, 2400, 2800, 3200, 3600, 4000])


def runs(shares, n_seeds, x=X):
    """x, yes and seed, one entry a run; the first seeds say yes."""
    yes = np.concatenate([np.arange(n_seeds) < round(share * n_seeds) for share in shares])
    return np.repeat(x, n_seeds), yes, np.tile(np.arange(n_seeds), len(x))


def drawn(rng, n_seeds, x, place, *, within, between):
    """Each seed has a place of its own (deviation `between`); at each x noise of scale `within` is added."""
    own = place + between * rng.normal(size=n_seeds)
    yes = x[:, None] - own + rng.logistic(scale=within, size=(len(x), n_seeds)) > 0
    return np.repeat(x, n_seeds), yes.ravel(), np.tile(np.arange(n_seeds), len(x))


def covered(place, truth):
    return (place.is_low_open or place.low <= truth) and (place.is_high_open or truth <= place.high)


def test_separated_seeds_have_a_finite_place_between_the_sizes():
    x, yes, _ = runs([0, 0, 0, 1, 1, 1], 3)
    place = fit_place(x, yes, level=0.9)
    assert 2800 < math.exp(place.value) < 3200
    assert 2000 < math.exp(place.low) < math.exp(place.value) < math.exp(place.high) < 4000
    assert (place.is_low_open, place.is_high_open) == (False, False)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_it_recovers_a_known_curve(share):
    rng = np.random.default_rng(2)
    x = np.log(np.geomspace(1000, 9000, 12))
    truth = math.log(3000) + math.log(share / (1 - share)) / 6
    place = fit_place(*drawn(rng, 60, x, math.log(3000), within=1 / 6, between=0)[:2], share=share)
    assert place.value == pytest.approx(truth, abs=0.12)
    assert place.low < truth < place.high
    assert place.slope == pytest.approx(6, rel=0.3)


def test_more_seeds_narrow_the_interval():
    few, many = (fit_place(*runs([0, 0, 0.5, 1, 1, 1], n)[:2]) for n in (2, 20))
    assert many.high - many.low < 0.6 * (few.high - few.low)


@pytest.mark.parametrize("shares", [[0] * 6, [1] * 6, [1, 1, 1, 0, 0, 0]])
def test_no_place_without_values_on_both_sides(shares):
    x, yes, _ = runs(shares, 4)
    assert fit_place(x, yes) is None
    assert not is_bracketed(count(x, yes))


def test_an_end_that_the_runs_do_not_bound_is_open():
    x, yes, _ = runs([0, 0, 0, 0, 0, 1], 2)
    place = fit_place(x, yes, level=0.99)
    assert place.is_high_open
    assert place.high == X[-1]
    assert not place.is_low_open


def test_profile_holds_for_independent_runs_and_clusters_where_seeds_differ():
    """11 sizes, 8 seeds. 60 % of 150 is 90: the profile's coverage under seeds that are all or nothing is 67 %."""
    rng = np.random.default_rng(1)
    x, truth = np.log(np.linspace(2000, 4000, 11)), math.log(2900)
    held = {"independent": 0, "seeds, ignored": 0, "seeds": 0}
    for _ in range(150):
        sizes, yes, seeds = drawn(rng, 8, x, truth, within=1 / 15, between=0)
        held["independent"] += covered(fit_place(sizes, yes), truth)
        sizes, yes, seeds = drawn(rng, 8, x, truth, within=1 / 200, between=0.13)
        held["seeds, ignored"] += covered(fit_place(sizes, yes), truth)
        held["seeds"] += covered(fit_place(sizes, yes, seeds=seeds), truth)
    assert held["independent"] >= 135
    assert held["seeds"] >= 135
    assert held["seeds, ignored"] < 125


def test_the_design_effect_counts_what_runs_of_a_seed_share():
    """Each run copied m times is a design effect of m."""
    rng = np.random.default_rng(2)
    x = np.log(np.geomspace(1000, 9000, 40))
    sizes, yes, _ = drawn(rng, 30, x, math.log(3000), within=1 / 3, between=0)
    seeds = np.arange(len(sizes))
    fit = fit_place(sizes, yes)
    line = {"intercept": -fit.slope * fit.value, "slope": fit.slope, "share": 0.5}
    assert design_effect(sizes, yes, seeds, **line) == pytest.approx(1, abs=0.15)
    copies = [np.repeat(array, 4) for array in (sizes, yes, seeds)]
    assert design_effect(*copies, **line) == pytest.approx(4 * design_effect(sizes, yes, seeds, **line), rel=0.01)


def test_the_exact_bracket_needs_six_seeds_and_is_binomial():
    for n_seeds, low, high in ((5, -math.inf, math.inf), (6, X[2], X[3])):
        x, yes, _ = runs([0, 0, 0, 1, 1, 1], n_seeds)
        assert exact_bracket(count(x, yes)) == (low, high)
    x, yes, _ = runs([0, 0, 1 / 8, 7 / 8, 1, 1], 8)
    assert stats.binom.cdf(1, 8, 0.5) > 0.025
    assert exact_bracket(count(x, yes)) == (X[1], X[4])


def test_a_row_that_is_broken_ends_the_exact_bracket():
    x, yes, _ = runs([0, 1, 0, 0, 1, 1], 8)
    assert exact_bracket(count(x, yes)) == (X[0], X[4])


def test_the_exact_bracket_holds_for_seeds_that_are_all_or_nothing():
    """Nominal 95 %; 20 of 400 may miss."""
    rng = np.random.default_rng(3)
    x, truth = np.log(np.linspace(2000, 4000, 11)), math.log(2900)
    misses = 0
    for _ in range(400):
        sizes, yes, _ = drawn(rng, 11, x, truth, within=1e-6, between=0.13)
        low, high = exact_bracket(count(sizes, yes))
        misses += not low <= truth <= high
    assert misses <= 20


def test_the_order_of_runs_has_no_say():
    x, yes, seeds = runs([0, 0.25, 0.5, 0.25, 1, 1], 8)
    order = np.random.default_rng(4).permutation(len(x))
    one, other = fit_place(x, yes, seeds=seeds), fit_place(x[order], yes[order], seeds=seeds[order])
    assert asdict(one) == pytest.approx(asdict(other))
