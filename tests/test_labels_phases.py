"""Which phase a whole trace shows: archetypes of all phases, and the cases where a naive reading goes wrong."""

import numpy as np
import pytest
from label_traces import BUDGET, CHANCE, eval_steps, flags, label, learns, rise

from results.classify.explain import PHASE_ORDER
from results.classify.measure import between_rows, mean_between


def two_stage(steps):
    """Part of the training set is memorized, then both accuracies rise together (Huang et al. 2024, figure 2a)."""
    return rise(steps, 100, high=0.5) + rise(steps, 8000, high=0.5), rise(steps, 8000)


def noisy(x, deviation=0.02):
    return np.clip(x + np.random.default_rng(0).normal(0, deviation, len(x)), 0, 1)


STEPS = eval_steps()
PARTLY, TOGETHER = two_stage(STEPS)
GONE = learns(2000)(STEPS) - rise(STEPS, 20_000, high=0.95)

ARCHETYPES = {
    "both at once": (learns(300), learns(300), "comprehension"),
    "validation shortly after": (learns(300), learns(900), "comprehension"),
    "validation before training": (learns(3000), learns(500), "comprehension"),
    "validation without training": (learns(500, high=0.8), learns(500), "comprehension"),
    "long after": (learns(300), learns(10_000), "grokking"),
    "long after, to 95 %": (learns(300), learns(10_000, high=0.95), "grokking"),
    "slow, both gradually": (learns(8000), learns(11_000), "grokking"),
    "long after, noisily": (noisy(learns(300)(STEPS)), noisy(learns(10_000)(STEPS)), "grokking"),
    "late to a moderate level": (learns(300), learns(10_000, high=0.6), "semi-grokking"),
    "late to a low level": (learns(300), learns(10_000, high=0.2), "semi-grokking"),
    "in two late steps": (
        learns(300),
        rise(STEPS, 3000, low=CHANCE, high=0.3) + rise(STEPS, 15_000, high=0.4),
        "semi-grokking",
    ),
    "part, then both": (PARTLY, TOGETHER, "progression"),
    "part, then both in part": (PARTLY * 0.8, TOGETHER * 0.6, "progression"),
    "fitted, at chance": (learns(300), CHANCE, "memorization"),
    "fitted, below chance": (learns(300), 0.0, "memorization"),
    "fitted, at chance, noisily": (noisy(learns(300)(STEPS)), noisy(CHANCE + 0 * STEPS), "memorization"),
    "partly right from the start": (learns(300), learns(200, high=0.4), "memorization"),
    "an early bump": (learns(300), CHANCE + 0.1 * np.exp(-((np.log1p(STEPS) - 4) ** 2)), "memorization"),
    "generalized, then lost": (learns(300), GONE, "ungrokking"),
    "risen past half, then lost": (learns(300), GONE * 0.7, "ungrokking"),
    "generalized, then lost both": (learns(300)(STEPS) - rise(STEPS, 20_000, high=0.8), GONE, "confusion"),
    "nothing learnt": (CHANCE, CHANCE, "confusion"),
    "half of the training set": (learns(300, high=0.5), CHANCE, "confusion"),
    "validation still rising": (learns(300), learns(60_000), "undecided"),
    "training still rising": (learns(60_000), CHANCE, "undecided"),
}


@pytest.mark.parametrize("name", ARCHETYPES)
def test_each_archetype_gets_its_phase(name):
    train, val, phase = ARCHETYPES[name]
    result = label(train, val)
    assert result.phase == phase, result.why
    assert (result.confidence == 0) == (phase == "undecided")


def test_archetypes_cover_every_phase_of_a_run_alone():
    assert {phase for *_, phase in ARCHETYPES.values()} == set(PHASE_ORDER) - {"diverged"}


def test_evidence_of_grokking():
    result = label(learns(300), learns(10_000), param_norm=rise(STEPS, 10_000, low=55, high=33))
    assert result.t_train_lo < result.t_train < 500
    assert result.t_val_lo < result.t_val
    assert 10_000 < result.t_val < 14_000
    assert result.delay == pytest.approx(result.t_val - result.t_train, abs=1e-6)
    assert result.t_train_lo < result.t_train < result.t_train_hi
    assert result.t_train < result.t_onset < 10_000
    assert result.onset_train_accuracy > 0.99
    assert result.peak_val_accuracy == pytest.approx(1, abs=1e-3)
    assert -0.5 < result.norm_change < -0.3
    assert (result.n_surges, result.liu_phase, result.huang_dynamic) == (1, "grokking", "grokking")
    assert "steps later" in result.why
    assert flags(result) == set()


def test_a_falling_norm_speaks_against_progression():
    grows = label(PARTLY, TOGETHER, param_norm=rise(STEPS, 8000, low=18, high=32))
    falls = label(PARTLY, TOGETHER, param_norm=rise(STEPS, 8000, low=32, high=18))
    assert (grows.phase, grows.huang_dynamic) == ("progression", "progression")
    assert falls.phase != "progression"


def a_tenth_then_both():
    """At width 8 with layer norm (specs/huang2024_fig5_progression.yaml): a tenth, from where both rise."""
    return rise(STEPS, 300, low=CHANCE, high=0.1) + rise(STEPS, 8000, high=0.87), rise(STEPS, 8000, high=0.9)


def test_with_many_classes_next_to_chance_is_nearer():
    """Training doubles in a first stage, which validation follows to g = .045 only: it has left chance all the same."""
    train, val = a_tenth_then_both()
    first = np.where(STEPS > 4000, 1, 0)
    train, val = np.minimum(train + 0.13 * first, 1), np.minimum(val + 0.045 * first, 1)
    result = label(train, val, train_size=3000)
    assert result.phase == "progression", result.why
    assert result.t_onset < 4100
    wide = label(train, val, train_size=3000, knobs={"chance_multiple": 10})
    assert wide.t_onset > 5000
    assert wide.phase != "progression"


def test_memory_is_counted_in_examples():
    few, many = (label(*a_tenth_then_both(), train_size=n) for n in (500, 3000))
    assert few.phase != "progression"
    assert many.phase == "progression"
    assert label(*a_tenth_then_both(), train_size=3000, knobs={"progression_least": 0.2}).phase != "progression"


def test_grokking_with_a_growing_norm_is_not_huangs():
    result = label(learns(300), learns(10_000), param_norm=rise(STEPS, 10_000, low=18, high=32))
    assert (result.phase, result.huang_dynamic) == ("grokking", "none")


def test_slow_learning_without_a_plateau_is_flagged_and_can_be_required():
    slow = (learns(8000), learns(11_000))
    assert "no_plateau" in flags(label(*slow))
    assert "slow, no plateau" in label(*slow).why
    assert label(*slow, knobs={"require_plateau": True}).phase == "comprehension"
    assert label(*slow, knobs={"require_ratio": 3}).phase == "comprehension"
    assert label(learns(300), learns(10_000), knobs={"require_plateau": True, "require_ratio": 3}).phase == "grokking"


def test_confusion_flags_what_is_held_and_what_was_lost():
    assert "partial_training" in flags(label(learns(300, high=0.5), CHANCE))
    assert "partial_training" not in flags(label(CHANCE, CHANCE))
    assert "forgot" in flags(label(learns(300)(STEPS) - rise(STEPS, 20_000, high=0.8), GONE))


def test_comprehension_flags_a_training_set_that_is_not_fitted():
    assert "no_yes" in flags(label(learns(500, high=0.8), learns(500)))
    assert "never held 0.9" in label(learns(500, high=0.8), learns(500)).why
    assert "no_yes" not in flags(label(learns(500), learns(500)))


def test_collapsed_is_a_kind_of_ungrokking():
    assert label(learns(300), GONE).ungrokking_kind == "collapsed"
    assert label(learns(300), learns(10_000)).ungrokking_kind == ""


# Chance


def test_chance_one_half():
    kinds = {"chance_accuracy": 0.5, "val_size": 10_000}
    assert label(learns(300, chance=0.5), 0.52, **kinds).phase == "memorization"
    assert label(learns(300, chance=0.5), learns(9000, chance=0.5), **kinds).phase == "grokking"
    assert label(learns(300, chance=0.5), learns(9000, chance=0.5, high=0.75), **kinds).phase == "semi-grokking"
    assert label(0.5, 0.5, **kinds).phase == "confusion"
    assert "partial_training" not in flags(label(0.52, 0.5, **kinds))


def test_unknown_chance_comes_from_the_knob_or_is_flagged():
    unknown = label(learns(300), 0.3, chance_accuracy=None)
    assert "chance_unknown" in flags(unknown)
    known = label(learns(300), 0.3, chance_accuracy=None, knobs={"chance": 0.3})
    assert (known.phase, flags(known)) == ("memorization", set())


def test_three_of_ten_are_luck_and_five_are_not():
    sizes = {"chance_accuracy": 1 / 11, "train_size": 45, "val_size": 10, "train_fraction": 45 / 55}
    late = (STEPS > 9000) * 1.0
    assert label(learns(300), 0.1 + 0.2 * late, **sizes).phase == "memorization"
    assert label(learns(300), 0.1 + 0.4 * late, **sizes).phase == "semi-grokking"


def test_the_chance_band_of_a_small_sample_is_wider_than_that_of_a_census():
    val = rise(STEPS, 2000, low=0.0, high=0.15) + rise(STEPS, 20_000, high=0.8)
    sizes = {"train_size": 100, "val_size": 100, "chance_accuracy": 0.1}
    sample, census = (label(learns(300), val, train_fraction=f, **sizes) for f in (0.01, 0.5))
    assert census.t_onset < 4000 < sample.t_onset
    assert sample.phase == census.phase == "grokking"


# Counts


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nine_of_ten_reaches_nine_tenths(dtype):
    val = np.where(STEPS > 5000, 0.9, 0.1).astype(dtype)
    result = label(learns(300), val, val_size=10, train_size=45)
    assert (result.phase, result.peak_val_accuracy, result.liu_phase) == ("grokking", 0.9, "grokking")
    assert label(learns(300), val).phase == "grokking"


def test_rounded_accuracies_are_read_as_counts():
    val = np.where(STEPS > 5000, 0.67, 0.0)
    assert label(learns(300), val, val_size=3, knobs={"theta_val": 2 / 3}).phase == "grokking"
    assert label(learns(300), val - 0.01, knobs={"theta_val": 2 / 3}).phase == "semi-grokking"


def test_one_hundred_validation_examples():
    noise = np.random.default_rng(1).binomial(100, 0.1, len(STEPS)) / 100
    sizes = {"chance_accuracy": 0.1, "val_size": 100, "train_size": 100}
    assert label(learns(300), noise, **sizes).phase == "memorization"
    grown = np.random.default_rng(1).binomial(100, rise(STEPS, 9000, low=0.1, high=0.97)) / 100
    assert label(learns(300), grown, **sizes).phase == "grokking"


def test_one_example_more_is_not_a_rise():
    val = np.where(STEPS > 0.95 * BUDGET, 0.2, 0.1)
    assert label(learns(300), val, val_size=10, chance_accuracy=0.1).phase == "memorization"
    assert label(learns(300), val, val_size=10_000, chance_accuracy=0.1).phase == "undecided"


# Nuisances


def test_label_noise_lowers_the_training_threshold_where_it_is_not_fitted():
    rule_only = learns(300, high=0.8)
    assert label(rule_only, learns(10_000)).phase == "comprehension"
    result = label(rule_only, learns(10_000), label_noise=0.2)
    assert result.phase == "grokking"
    assert "noisy_labels" in flags(result)
    assert "noisy_labels" not in flags(label(learns(300), learns(10_000), label_noise=0.2))


def test_slingshots_change_nothing():
    train, val = learns(300)(STEPS), learns(10_000)(STEPS)
    for row in range(150, len(STEPS) - 5, 20):
        train[row], val[row] = 0.4, val[row] * 0.3
    clean = label(learns(300), learns(10_000))
    result = label(train, val)
    assert (result.phase, result.t_train, result.t_val) == ("grokking", clean.t_train, clean.t_val)


def test_a_lone_spike_is_no_crossing():
    val = np.full(len(STEPS), CHANCE)
    val[[100, 200]] = 1.0
    result = label(learns(300), val)
    assert (result.phase, result.liu_phase) == ("memorization", "grokking")
    assert np.isnan(result.t_val)
    assert result.peak_val_accuracy == pytest.approx(CHANCE)


def test_an_early_bump_is_not_the_onset():
    bump = 0.3 * np.exp(-((np.log1p(STEPS) - 4.5) ** 2) * 4)
    result = label(learns(300), learns(10_000)(STEPS) + bump)
    assert result.phase == "grokking"
    assert result.t_onset > 4000


def test_a_row_that_collapses_in_mid_rise_is_not_the_onset():
    val = learns(3000, high=0.8)(STEPS)
    before = label(learns(300), val).t_onset
    val[np.searchsorted(STEPS, 2800)] = CHANCE
    assert label(learns(300), val).t_onset == before


def test_what_leaves_chance_early_and_rises_late_is_semi_grokking():
    first, second = rise(STEPS, 500, high=0.15, width=0.02), rise(STEPS, 10_000, high=0.6, width=0.02)
    result = label(learns(300), CHANCE + first + second)
    assert result.t_onset - result.t_train < 1000
    assert result.phase == "semi-grokking"
    assert "was at 0.159 1,000 steps later, and ends at 0.759" in result.why
    assert label(learns(300), CHANCE + 4 * first + second / 6).phase == "memorization"


def test_a_rise_in_two_plateaus_is_semi_grokking_if_the_second_is_high_enough():
    """Most of validation's rise comes with training's, as in power2022_fig4_outliers_small; readers see the rest."""
    first, second = rise(STEPS, 300, high=0.45, width=0.02), rise(STEPS, 5000, high=1, width=0.02)
    for gain, phase in ((0.11, "memorization"), (0.14, "semi-grokking")):
        found = label(learns(300), CHANCE + first + gain * (1 - CHANCE) * second)
        assert (found.phase, "partial_from_start" in flags(found)) == (phase, phase == "memorization")


def test_one_or_two_examples_more_are_no_late_rise():
    for more, phase in ((2, "memorization"), (3, "semi-grokking")):
        val = np.where(STEPS < 300, 1, np.where(STEPS < 8000, 5, 5 + more)) / 12
        assert label(learns(300), val, val_size=12, chance_accuracy=1 / 12).phase == phase


def test_surges_are_counted():
    in_three = sum(rise(STEPS, middle, high=1 / 3, width=0.02) for middle in (1000, 5000, 25_000))
    assert label(learns(300), in_three).n_surges == 3
    assert label(learns(300), learns(10_000)).n_surges == 1
    assert label(learns(300), STEPS / BUDGET * 0.5).n_surges == 1
    slow = np.log1p(STEPS) / np.log1p(BUDGET) * 0.5
    assert label(learns(300), slow).n_surges == 1
    assert label(learns(300), CHANCE).n_surges == 0


def test_oscillation_is_flagged():
    swing = 0.5 + 0.5 * np.sign(np.sin(STEPS / 3000))
    assert "unstable" in flags(label(learns(300), swing))
    assert "unstable" not in flags(label(learns(300), learns(10_000)))
    assert "unstable" not in flags(label(learns(300), noisy(CHANCE + 0 * STEPS)))


def test_a_restless_run_is_not_rising():
    swing = 0.5 + 0.2 * np.sin(STEPS / 4000 + 2.5)
    assert swing[STEPS >= 0.9 * BUDGET].mean() > swing[(STEPS > 0.7 * BUDGET) & (STEPS < 0.8 * BUDGET)].mean() + 0.05
    assert label(swing, CHANCE).phase == "confusion"


# Logs


@pytest.mark.parametrize(
    "steps",
    [
        np.linspace(0, BUDGET, 12).astype(int),
        np.arange(0, BUDGET + 1, 10),
        np.unique(np.random.default_rng(0).integers(0, BUDGET, 90)) * 1,
        np.unique(np.geomspace(1, BUDGET, 200).astype(int)),
    ],
    ids=["coarse", "dense", "irregular", "log"],
)
def test_any_log_shows_the_same_phase(steps):
    steps = np.append(steps[:-1], BUDGET)
    assert label(learns(300), learns(20_000), steps=steps).phase == "grokking"
    assert label(learns(300), CHANCE, steps=steps).phase == "memorization"
    assert label(CHANCE, CHANCE, steps=steps).phase == "confusion"


def test_a_delay_near_delta_is_no_surer_than_the_rows_allow():
    steps = np.arange(0, BUDGET + 1, 2000)
    result = label(learns(3000), learns(3770), steps=steps)
    least, most = result.t_val_lo - result.t_train_hi, result.t_val_hi - result.t_train_lo
    assert least < 1000 <= most
    assert "straddles_delta" in flags(result)
    assert result.confidence < 0.8
    dense = label(learns(3000), learns(3500), steps=np.arange(0, BUDGET + 1, 10))
    assert dense.phase == ("grokking" if dense.delay >= 1000 else "comprehension")
    assert dense.confidence > result.confidence
    clear = label(learns(300), learns(30_000), steps=steps)
    assert "straddles_delta" not in flags(clear)
    assert clear.confidence > 0.9


def test_the_delay_decides_at_exactly_delta():
    for late, phase in ((1999, "comprehension"), (2000, "grokking")):
        steps = np.arange(1, 10_001)
        result = label((steps >= 1000) * 1.0, (steps >= late) * 1.0, steps=steps, outcome=None)
        assert (result.delay, result.phase) == (late - 1000, phase)


@pytest.mark.parametrize("cut", [8000, 10_000, 12_000])
def test_a_run_cut_in_mid_rise_is_undecided_when_the_budget_ends_there(cut):
    steps = eval_steps(cut)
    assert label(learns(300), learns(10_000), steps=steps, budget=cut).phase == "undecided"


def test_a_rise_that_begins_at_the_very_end_is_seen():
    late = np.where(STEPS > 0.98 * BUDGET, 0.3, CHANCE)
    assert (late[STEPS > 0.9 * BUDGET] > CHANCE).mean() < 0.5
    assert label(learns(300), late).phase == "undecided"


def test_a_restless_plateau_below_the_level_does_not_cross_it():
    restless = 0.875 + np.where(np.arange(len(STEPS)) % 4 == 0, 0.03, 0.0)
    assert (label(restless, CHANCE).phase, label(restless + 0.03, CHANCE).phase) == ("confusion", "memorization")
    assert label(restless, CHANCE, knobs={"dwell_majority": 0}).phase == "memorization"


def test_a_coarse_log_does_not_shorten_or_stretch_the_delay_of_a_rise():
    """Delays are read between rows: the same whether there are many or few."""
    dense = np.arange(0, BUDGET + 1, 10)
    for gap in (100, 250, 500):
        steps = np.arange(0, BUDGET + 1, gap)
        for late, phase in ((700, "comprehension"), (1300, "grokking")):
            ramps = [np.interp(steps, (first, first + 2000), (CHANCE, 1)) for first in (1000, 1000 + late)]
            found = label(*ramps, steps=steps)
            assert found.phase == phase
            assert found.delay == pytest.approx(late, abs=0.25 * gap)
    partial = [np.interp(dense, (first, first + 2000), (CHANCE, top)) for first, top in ((1000, 1), (2000, 0.5))]
    assert label(*partial, steps=dense).phase == "memorization"
    late = np.interp(dense, (4000, 6000), (CHANCE, 0.5))
    assert label(partial[0], late, steps=dense).phase == "semi-grokking"


def test_a_plateau_just_below_the_level_does_not_cross_it_by_luck():
    """A few rows above the level are no plateau of .9; a third of the steps is."""
    plateau = np.minimum(learns(300)(STEPS), 0.88)
    first = int(np.searchsorted(STEPS, 10_000))
    lucky = plateau.copy()
    lucky[first : first + 4] = 0.91
    assert label(lucky, CHANCE).phase == "confusion"
    assert label(lucky, CHANCE, knobs={"majority_factor": 1.0}).phase == "memorization"
    held = np.where((STEPS >= 10_000) & (STEPS < 13_000), 0.91, plateau)
    assert label(held, CHANCE).phase == "memorization"


def test_one_or_two_validation_examples_tell_nothing():
    late = learns(9000, high=1.0)
    for n_val, phase in ((1, "undecided"), (2, "undecided"), (3, "grokking"), (None, "grokking")):
        result = label(learns(300), late, val_size=n_val)
        assert (result.phase, "too_few_validation" in flags(result)) == (phase, phase == "undecided")
    assert label(learns(300), late, val_size=1, knobs={"least_val": 1}).phase == "grokking"


def test_where_nearly_all_labels_are_noise_nothing_is_fitted_at_chance():
    """1 - rho + rho / K is chance itself then, and any network reaches .9 of it."""
    assert label(CHANCE, CHANCE, label_noise=0.999).phase == "confusion"
    assert label(learns(300, high=0.6), learns(300), label_noise=0.4).phase != "confusion"


def test_a_count_at_the_level_meets_it_by_as_much_as_the_next_count_misses_it():
    """9 of 10 are .9 exactly, and no closer to the threshold than 8 of 10 are, but for the middle between them."""
    sizes = {"train_size": 45, "val_size": 10, "chance_accuracy": 0.09}
    nine, known = (
        label(learns(300), learns(6000, high=0.9, chance=0.09), **sizes),
        label(learns(300), learns(6000, high=0.9, chance=0.09), **(sizes | {"val_size": 10_000})),
    )
    assert (nine.phase, known.phase) == ("grokking", "grokking")
    assert nine.confidence > known.confidence


def test_training_that_grows_until_validation_leaves_chance_has_not_stalled():
    """Both rise at step 9,000; training has .45 by then, either long before or only then."""
    second = 0.45 * rise(STEPS, 9000, width=0.05)
    flat = CHANCE + 0.45 * rise(STEPS, 100) + second
    growing = CHANCE + 0.45 * np.clip(np.log(STEPS / 500 + 1e-9) / np.log(18), 0, 1) + second
    late = CHANCE + 0.9 * rise(STEPS, 9000, width=0.05)
    assert label(flat, late).phase == "progression"
    assert label(growing, late).phase != "progression"
    assert label(growing, late, knobs={"progression_held": 0.4}).phase == "progression"


def test_training_that_rises_ahead_of_validation_has_stalled_before():
    """As in Huang et al.'s figure 5: at the onset it stands above its stall."""
    held = CHANCE + 0.3 * rise(STEPS, 100)
    ahead = held + 0.55 * rise(STEPS, 8000, width=0.05)
    late = CHANCE + 0.85 * rise(STEPS, 9000, width=0.05)
    found = label(ahead, late)
    assert found.onset_train_accuracy > 1.2 * (CHANCE + 0.3)
    assert found.phase == "progression"


def test_a_coarse_and_restless_log_shows_the_same_stall():
    """What training had at a third of the onset's step is a mean over steps around it, not the luck of one row."""
    for growth, n_gaps in ((1.3, 40), (1.15, 100), (1.02, 1000)):
        steps = eval_steps(growth=growth, n_gaps=n_gaps)
        late = CHANCE + 0.9 * rise(steps, 9000, width=0.1)
        for short, phase in ((0.8, "progression"), (0.4, "grokking")):
            memory = np.interp(np.log1p(steps), np.log1p([0, 100, 1500, 4500]), [0, 0.3 * short, 0.45 * short, 0.45])
            train = CHANCE + memory + 0.5 * rise(steps, 9000, width=0.1)
            for draw in range(3):
                noise = np.random.default_rng(draw).normal(0, 0.01, (2, len(steps)))
                assert label(train + noise[0], late + noise[1] * 0.2, steps=steps).phase == phase


def test_means_are_over_log_steps_and_not_over_rows():
    log_step = np.array([0, 0.1, 0.2, 0.3, 4, 8])
    step, x = np.expm1(log_step), np.minimum(log_step / 4, 1)[None]

    def mean(low, high, first=0):
        stretch = (np.expm1([low]), np.expm1([high]))
        return float(mean_between(x[:, first:], step[first:], *stretch)[0])

    assert mean(0, 8) == pytest.approx((2 + 4) / 8)
    assert mean(1, 3) == pytest.approx(0.5)
    assert np.isnan(mean(0, 5, first=4))  # the trace begins at 4
    assert mean(2, 8, first=4) == pytest.approx(1)


def test_a_crossing_in_one_gap_is_read_off_odds():
    """What gets from .1 to .99 between two rows does not do so at its end: .9 is nearer to .99 in odds, too."""
    step = np.array([0.0, 1000, 2000])
    (met,) = between_rows(step, np.array([[0.1, 0.1, 0.99]]), np.array([2]), 0.9)
    (half,) = between_rows(step, np.array([[0.0, 0.0, 1.0]]), np.array([2]), 0.5)
    assert 1500 < met < 1000 + 800 / 0.89
    assert half == pytest.approx(1500)


def test_rows_that_collapse_do_not_put_off_a_crossing():
    alone = learns(300)(STEPS)
    spiked = np.where(np.arange(len(STEPS)) % 9 == 0, 0.3, alone)
    assert label(spiked, CHANCE).t_train == pytest.approx(label(alone, CHANCE).t_train, rel=0.02)


def test_validation_that_ends_below_what_it_held_has_declined():
    def back_to(level):
        return np.where(STEPS > 0.6 * BUDGET, level, learns(300)(STEPS))

    for level, phase in ((0.7, "ungrokking"), (0.84, "ungrokking"), (0.86, "comprehension")):
        found = label(learns(100), back_to(level))
        assert (found.phase, found.ungrokking_kind) == (phase, "declined" if phase == "ungrokking" else "")
    assert "held 0.9 from step 374 and ends at 0.7" in label(learns(100), back_to(0.7)).why
    assert label(learns(100), back_to(0.4)).ungrokking_kind == "collapsed"


def test_both_that_rise_together_to_less_than_half_are_no_progression():
    """A narrow network that rises from .50 to .62, and validation with it to .15, has not progressed, readers agree."""
    for top, phase in ((0.45, "confusion"), (0.55, "progression")):
        found = label(PARTLY * 0.8, TOGETHER * top)
        assert (found.phase, "partial" in flags(found)) == (phase, phase == "progression")


def test_what_rises_too_slowly_to_arrive_is_confusion():
    """Both gain more than .05 in the last steps; at three times the steps one would have .53, the other 1."""
    since = np.log(np.maximum(STEPS, 0.5 * BUDGET) / (0.5 * BUDGET))
    for slope, phase in ((0.28, "confusion"), (0.8, "undecided")):
        assert label(0.05 + slope * since, CHANCE).phase == phase


def test_one_example_less_is_no_decline():
    for right, phase in ((10, "comprehension"), (9, "ungrokking")):
        val = np.where(STEPS > 0.6 * BUDGET, right, np.where(STEPS > 300, 11, 1)) / 12
        assert label(learns(100), val, val_size=12, chance_accuracy=1 / 12).phase == phase


def test_a_decline_of_both_accuracies_is_warned_of():
    steps_back = [np.where(STEPS > 0.6 * BUDGET, 0.8, learns(at)(STEPS)) for at in (100, 300)]
    found = label(*steps_back)
    assert (found.phase, "fell_again" in flags(found)) == ("comprehension", True)
    assert "fell_again" not in flags(label(learns(100), learns(300)))
