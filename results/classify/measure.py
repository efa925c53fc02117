"""What is read off a batch of traces.

Accuracy is noisy, steps are logged log-spaced, evenly, densely or not, and a network may leave a level again. So
nothing is read off a single row: a level is crossed when it is held, a final value is a median, and an onset is looked
for backwards from a rise that is certain.

Shapes: R runs, S rows. Rows are counted from 0; -1 is "none".
"""

from dataclasses import dataclass

import numpy as np

from results.classify.batch import Batch, BoolArray, FloatArray, IntArray
from results.classify.evidence import Evidence
from results.classify.facts import Facts
from results.classify.noise import half_step, level_near, median_error, noise_at, time_error
from results.classify.settings import ClassifierSettings

EPSILON = 1e-7
"""0.9 stored as float32 is 0.89999998, and it is 9 of 10."""
HORIZON_SLACK = 1e-9
HALF_WAY = 0.5
"""Share of the steps that the pace at the end is compared with what came since."""
LEAST_STRETCH, LEAST_GAIN = 0.01, 1e-4
"""Where knobs or a flat curve leave nothing to divide by: a share of the steps, an accuracy."""
HIGH = 0.9
"""A fall starts from at least this share of the maximum."""
NEAR = 1.15
"""The same for validation accuracy at a step of its rise, which a wide window would blur."""
AROUND = 1.5
"""What training accuracy was at a step is a mean from this many times earlier to this many times later."""
MEAN_ROWS = 3
"""Rows that such a mean is of, at the least."""
ODDS_FLOOR = 0.05
"""Added to both sides of odds, so that those of 0 and 1 are finite."""


def measure(batch: Batch, facts: Facts, settings: ClassifierSettings) -> Evidence:
    """`facts` are those of the batch's runs."""
    train_RS = to_counts(batch.train_RS, facts.n_train)
    val_RS = to_counts(batch.val_RS, facts.n_val)
    dwell = dwell_windows(batch.step_S, facts.stopped, settings)
    train_smooth_RS, val_smooth_RS = median_of_three(train_RS), median_of_three(val_RS)
    train = train_crossing(train_smooth_RS, facts, dwell, settings)
    val_row = first(sustained(val_smooth_RS, settings.validation_level, dwell, settings))
    peak = sustained_maximum(val_smooth_RS, dwell, settings)
    rise = transition(train_RS, val_smooth_RS, batch.step_S, peak, facts, dwell, settings)
    horizon_RS = batch.step_S <= np.minimum(settings.liu_horizon_steps, facts.budget)[:, None] + HORIZON_SLACK
    step = batch.step_S
    end = np.full(len(train_RS), len(step) - 1)
    train_end, val_end = noise_at(train_RS, end), noise_at(val_RS, end)
    n_tail, n_earlier = (rows.stop - rows.start for rows in (tail_rows(step, settings), earlier_rows(step, settings)))
    final_train, final_val = (np.median(x_RS[:, tail_rows(step, settings)], axis=1) for x_RS in (train_RS, val_RS))
    t_train = between_rows(step, train_smooth_RS, train.row, train.level)
    late = t_train + settings.delta_steps
    late_row = np.minimum(np.searchsorted(step, np.nan_to_num(late)), len(step) - 1)
    heading = heads_for(val_RS, step, median_error(val_end, n_tail, n_earlier), settings)
    heading_train = heads_for(train_RS, step, median_error(train_end, n_tail, n_earlier), settings)
    return Evidence(
        t_train=t_train,
        t_train_lo=at_row_before(step, train.row),
        t_train_hi=at(step, train.row),
        t_val=between_rows(step, val_smooth_RS, val_row, settings.validation_level),
        t_val_lo=at_row_before(step, val_row),
        t_val_hi=at(step, val_row),
        theta_train=train.level,
        cut_short=((train.row >= dwell.n_complete) | (val_row >= dwell.n_complete)).astype(float),
        t_train_first=at(step, first((train_RS >= settings.theta - EPSILON) & horizon_RS)),
        t_val_first=at(step, first((val_RS >= settings.validation_level - EPSILON) & horizon_RS)),
        t_onset=at(step, rise.onset),
        val_when_late=mean_between(val_smooth_RS, step, late / NEAR, late * NEAR),
        onset_train_accuracy=at(train_smooth_RS, rise.onset),
        held_before=rise.held_before,
        held_early=rise.held_early,
        train_gain=at(train_smooth_RS, rise.end) - at(train_smooth_RS, rise.onset),
        norm_change=at(batch.norm_RS, rise.end) / positive(at(batch.norm_RS, rise.onset)) - 1,
        peak_val_accuracy=peak,
        final_train_accuracy=final_train,
        final_val_accuracy=final_val,
        rise_train=rising(train_RS, train_smooth_RS, facts.n_train, step, settings.rise, settings),
        rise_val=rising(val_RS, val_smooth_RS, facts.n_val, step, settings.rise, settings),
        creep_val=rising(val_RS, val_smooth_RS, facts.n_val, step, settings.creep, settings),
        leads_to=heading.leads_to,
        speeding=heading.speeding,
        leads_train_to=heading_train.leads_to,
        speeding_train=heading_train.speeding,
        n_surges=count_surges(val_smooth_RS, step, settings),
        n_falls=count_falls(val_RS, peak, facts, settings),
        error_train=train_end,
        error_val=noise_at(val_RS, np.where(val_row >= 0, val_row, end)),
        error_final_val=median_error(val_end, n_tail),
        error_rise_train=median_error(train_end, n_tail, n_earlier),
        error_rise_val=median_error(val_end, n_tail, n_earlier),
        error_leads_to=heading.error_leads_to,
        error_speeding=heading.error_speeding,
        error_leads_train_to=heading_train.error_leads_to,
        error_speeding_train=heading_train.error_speeding,
        error_t_train=time_error(train_RS, train_smooth_RS, step, train.row),
        error_t_val=time_error(val_RS, val_smooth_RS, step, val_row),
        error_when_late=median_error(noise_at(val_RS, late_row), MEAN_ROWS),
        error_onset=np.hypot(noise_at(train_RS, np.maximum(rise.onset, 0)), half_step(train_smooth_RS, rise.onset)),
        error_held=median_error(noise_at(train_RS, np.maximum(rise.onset, 0)), MEAN_ROWS, MEAN_ROWS),
        late_gain=final_val - level_near(val_RS, step, HALF_WAY),
        error_late_gain=median_error(val_end, n_tail, MEAN_ROWS),
        late_gain_train=final_train - level_near(train_RS, step, HALF_WAY),
        error_late_gain_train=median_error(train_end, n_tail, MEAN_ROWS),
    )


# Levels held


@dataclass(frozen=True, kw_only=True, eq=False)
class Dwell:
    """The rows over which a crossing at each row must hold."""

    end_S: IntArray
    """The window of row i is i..end_S[i]-1."""
    majority_end_S: IntArray
    """The same of the longer window, of which a majority counts."""
    allowed_RS: BoolArray
    """Whether there are enough rows left to tell."""
    n_complete: int
    """The first rows, whose windows have all their rows."""


def dwell_windows(step_S: FloatArray, stopped: BoolArray, settings: ClassifierSettings) -> Dwell:
    """At least dwell_rows rows, and all rows up to dwell_factor times the step. The last rows of a trace have too short
    a window: a crossing there is not established, unless a stop rule ended the run, which it would do just then."""
    n_rows = len(step_S)
    rows = np.arange(n_rows)

    def end(factor: float, least: int) -> IntArray:
        until_S = np.searchsorted(step_S, factor * step_S, side="right")
        return np.minimum(np.maximum(rows + least, until_S), n_rows)

    n_complete = max(n_rows - settings.dwell_rows + 1, 0)
    allowed_RS = (rows < n_complete)[None, :] | stopped[:, None]
    return Dwell(
        end_S=end(settings.dwell_factor, settings.dwell_rows),
        majority_end_S=end(
            max(settings.majority_factor, settings.dwell_factor), max(settings.majority_rows, settings.dwell_rows)
        ),
        allowed_RS=allowed_RS,
        n_complete=n_complete,
    )


def sustained(x_RS: FloatArray, level: FloatArray | float, dwell: Dwell, settings: ClassifierSettings) -> BoolArray:
    """Rows at or above the level from which it is held: dwell_share of the window stays above level - slack, and
    dwell_majority of a longer window is at the level itself. (Without the latter a restless plateau just below the
    level crosses it sooner or later, for of three rows two are above it by luck: LOG.md.)"""
    level_R1 = np.broadcast_to(level, len(x_RS))[:, None] - EPSILON
    at_level_RS = x_RS >= level_R1
    near = _share_holds(x_RS >= level_R1 - settings.slack, settings.dwell_share, dwell.end_S)
    most = _share_holds(at_level_RS, settings.dwell_majority, dwell.majority_end_S)
    return np.asarray(at_level_RS & near & most & dwell.allowed_RS)


def _share_holds(mask_RS: BoolArray, share: float, end_S: IntArray) -> BoolArray:
    """Whether the mask is true in at least this share of each row's window, which ends before row end_S."""
    n_true_RS = np.zeros((mask_RS.shape[0], mask_RS.shape[1] + 1), np.int32)
    np.cumsum(mask_RS, axis=1, out=n_true_RS[:, 1:])
    n_rows_S = end_S - np.arange(mask_RS.shape[1])
    return np.asarray(n_true_RS[:, end_S] - n_true_RS[:, :-1] >= share * n_rows_S - EPSILON)


def sustained_maximum(x_RS: FloatArray, dwell: Dwell, settings: ClassifierSettings) -> FloatArray:
    """The largest value of x from which a level is held. If a level is held so is every lower one, hence bisection."""
    ordered_RS = np.sort(x_RS, axis=1)
    runs = np.arange(len(x_RS))
    low, high = np.zeros(len(x_RS), np.int64), np.full(len(x_RS), x_RS.shape[1] - 1)
    while (low < high).any():
        middle = (low + high + 1) // 2
        held = sustained(x_RS, ordered_RS[runs, middle], dwell, settings).any(axis=1)
        low, high = np.where(held, middle, low), np.where(held, high, middle - 1)
    return np.asarray(ordered_RS[runs, low])


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossing:
    row: IntArray
    level: FloatArray


def train_crossing(train_RS: FloatArray, facts: Facts, dwell: Dwell, settings: ClassifierSettings) -> Crossing:
    """Of theta; or, if noisy labels keep training accuracy below it for good, of theta times what a network without
    the noise would reach. (Unless that is next to chance: where nearly all labels are noise there is nothing else.)"""
    row = first(sustained(train_RS, settings.theta, dwell, settings))
    level = np.full(len(train_RS), settings.theta)
    if (facts.ceiling < 1).any():
        noisy_row = first(sustained(train_RS, settings.theta * facts.ceiling, dwell, settings))
        told_from_chance = settings.theta * facts.ceiling > facts.chance + settings.above_chance * (1 - facts.chance)
        use = (row < 0) & (noisy_row >= 0) & told_from_chance
        row, level = np.where(use, noisy_row, row), np.where(use, settings.theta * facts.ceiling, level)
    return Crossing(row=row, level=level)


# The rise of validation accuracy


@dataclass(frozen=True, kw_only=True, eq=False)
class Transition:
    """Rows; all -1 where validation accuracy never leaves the chance band for good."""

    onset: IntArray
    """The last row at chance before the rise."""
    end: IntArray
    """The row at which progression_rise of the rise is done."""
    held_before: FloatArray
    """Mean training accuracy since progression_stall times earlier than validation left chance..."""
    held_early: FloatArray
    """...and what it was then. NaN where the trace begins later."""


def transition(
    train_RS: FloatArray,
    val_smooth_RS: FloatArray,
    step_S: FloatArray,
    peak: FloatArray,
    facts: Facts,
    dwell: Dwell,
    settings: ClassifierSettings,
) -> Transition:
    """The onset is searched backwards from where half of the rise is held, so that an early bump (Davies et al. 2022,
    division) is never taken for it; over medians of three rows, so that a row that collapses by itself is none."""
    band = chance_band(facts, settings)
    half = np.maximum(facts.chance + 0.5 * (peak - facts.chance), band)
    half_row = np.where(peak > band, first(sustained(val_smooth_RS, half, dwell, settings)), -1)
    onset = last_before((val_smooth_RS <= band[:, None] + EPSILON), half_row)
    onset = np.where(half_row >= 0, np.maximum(onset, 0), -1)
    val_onset = at(val_smooth_RS, onset)
    done = np.nan_to_num(val_onset + settings.progression_rise * (peak - val_onset), nan=np.inf)
    end = np.maximum(first(sustained(val_smooth_RS, done, dwell, settings)), onset)
    left = between_rows(step_S, val_smooth_RS, np.where(onset >= 0, np.maximum(onset + 1, 1), -1), band)
    early = left / settings.progression_stall
    return Transition(
        onset=onset,
        end=end,
        held_before=mean_between(train_RS, step_S, early, left),
        held_early=mean_between(train_RS, step_S, early / AROUND, early * AROUND),
    )


def mean_between(x_RS: FloatArray, step_S: FloatArray, start: FloatArray, stop: FloatArray) -> FloatArray:
    """Mean of x over log steps, not over rows, on the lines between rows. NaN where less than half of the stretch is in
    the trace. (Over steps it would be that of the last of them, when training rises already: LOG.md.)"""
    time_S = np.log1p(step_S)
    gap_S = np.maximum(np.diff(time_S), 1e-9)
    area_RS = np.zeros_like(x_RS)
    np.cumsum((x_RS[:, 1:] + x_RS[:, :-1]) / 2 * gap_S, axis=1, out=area_RS[:, 1:])
    runs = np.arange(len(x_RS))

    def area_until(time: FloatArray) -> FloatArray:
        row = np.clip(np.searchsorted(time_S, time, side="right") - 1, 0, len(gap_S) - 1)
        along, x = time - time_S[row], x_RS[runs, row]
        slope = (x_RS[runs, row + 1] - x) / gap_S[row]
        return np.asarray(area_RS[runs, row] + along * (x + along * slope / 2))

    wanted_low, wanted_high = np.log1p(np.nan_to_num(start)), np.log1p(np.nan_to_num(stop))
    low, high = (np.clip(time, time_S[0], time_S[-1]) for time in (wanted_low, wanted_high))
    is_seen = (high - low >= (wanted_high - wanted_low) / 2) & (high > low)
    return np.where(is_seen, (area_until(high) - area_until(low)) / positive(high - low), np.nan)


def chance_band(facts: Facts, settings: ClassifierSettings) -> FloatArray:
    """Up to here validation accuracy counts as chance. A census (all of the table that training left over) has no
    sampling error."""
    relative = settings.chance_band * (1 - facts.chance)
    few = np.where(facts.chance > 0, settings.chance_multiple * facts.chance, np.inf)
    return facts.chance + np.maximum(np.minimum(relative, few), np.where(facts.is_census, 0, luck(facts, settings)))


def above_chance_level(facts: Facts, settings: ClassifierSettings) -> FloatArray:
    """What a final validation accuracy must exceed to say that something generalized. Luck counts for a census too:
    ten held-out facts, guessed by a network that learnt nothing of them, are ten draws."""
    relative = facts.chance + settings.above_chance * (1 - facts.chance)
    lucky = facts.chance + luck(facts, settings)
    return np.maximum(np.maximum(relative, chance_band(facts, settings)), lucky)


def memorized_level(facts: Facts, settings: ClassifierSettings) -> FloatArray:
    """What training must have held before the onset to say that a part was memorized: progression_floor where the size
    of the training set is unknown."""
    enough = settings.progression_examples / positive(facts.n_train)
    share = np.fmin(np.maximum(enough, settings.progression_least), settings.progression_floor)
    return np.asarray(facts.chance + share * (1 - facts.chance))


def stalled_level(held_before: FloatArray, facts: Facts, settings: ClassifierSettings) -> FloatArray:
    """What training must have had progression_stall times earlier than the onset to say that it had stalled."""
    return np.asarray(facts.chance + settings.progression_held * (held_before - facts.chance))


def declined_level(facts: Facts, settings: ClassifierSettings) -> FloatArray:
    """What validation accuracy must end below to have declined: by more than one example."""
    return settings.validation_level - np.maximum(settings.slack, one_example(facts.n_val))


def late_gain_level(facts: Facts, settings: ClassifierSettings) -> FloatArray:
    """What validation accuracy must gain late to be semi-grokking."""
    return np.maximum(settings.semi_gain * (1 - facts.chance), settings.semi_examples * one_example(facts.n_val))


def one_example(n_examples: FloatArray) -> FloatArray:
    """In accuracy; 0 where their number is unknown."""
    return np.where(n_examples > 0, 1 / np.maximum(n_examples, 1), 0.0)


def luck(facts: Facts, settings: ClassifierSettings) -> FloatArray:
    """chance_sigmas standard deviations of the share of right guesses among the validation examples; 0 if their number
    is unknown."""
    deviation = np.sqrt(facts.chance * (1 - facts.chance) / np.where(facts.n_val > 0, facts.n_val, np.inf))
    return np.asarray(settings.chance_sigmas * deviation)


def count_surges(smooth_RS: FloatArray, step_S: FloatArray, settings: ClassifierSettings) -> FloatArray:
    """Rises to new heights, of at least `surge`, with a factor surge_factor of steps between them. A rise slower than
    that all along is one."""
    highest_RS = np.maximum.accumulate(smooth_RS, axis=1)
    back_S = np.maximum(np.searchsorted(step_S, step_S / settings.surge_factor, side="right") - 1, 0)
    surging_RS = highest_RS - highest_RS[:, back_S] >= settings.surge - EPSILON
    starts = np.count_nonzero(surging_RS[:, 1:] & ~surging_RS[:, :-1], axis=1)
    slow = highest_RS[:, -1] - highest_RS[:, 0] >= settings.surge - EPSILON
    return np.asarray(np.maximum(starts, slow), float)


def count_falls(val_RS: FloatArray, peak: FloatArray, facts: Facts, settings: ClassifierSettings) -> FloatArray:
    """How often validation fell from near its maximum to below half of it, where the maximum is above chance."""
    height = (peak - facts.chance)[:, None]
    over_RS = val_RS - facts.chance[:, None]
    side_RS = np.where(over_RS >= HIGH * height, 1, np.where(over_RS < settings.collapse * height, -1, 0))
    known_RS = np.maximum.accumulate(np.where(side_RS != 0, np.arange(val_RS.shape[1]), 0), axis=1)
    side_RS = np.take_along_axis(side_RS, known_RS, axis=1)
    falls = np.count_nonzero((side_RS[:, :-1] > 0) & (side_RS[:, 1:] < 0), axis=1)
    return np.where(peak > above_chance_level(facts, settings), falls, 0).astype(float)


# The end of the trace


def tail_rows(step_S: FloatArray, settings: ClassifierSettings) -> slice:
    """The last share `tail` of the steps, three rows at least."""
    first_row = int(np.searchsorted(step_S, (1 - settings.tail) * step_S[-1], side="right"))
    return slice(max(min(first_row, len(step_S) - 3), 0), len(step_S))


def earlier_rows(step_S: FloatArray, settings: ClassifierSettings) -> slice:
    """The rows that the tail is compared with, three at least."""
    stop = int(np.searchsorted(step_S, settings.earlier_to * step_S[-1], side="right"))
    start = int(np.searchsorted(step_S, settings.earlier_from * step_S[-1]))
    stop = max(stop, min(3, len(step_S)))
    return slice(max(min(start, stop - 3), 0), stop)


def rising(
    x_RS: FloatArray,
    smooth_RS: FloatArray,
    n_examples: FloatArray,
    step_S: FloatArray,
    least: float,
    settings: ClassifierSettings,
) -> FloatArray:
    """Above 0 means still rising, by `least` or more: the gain of the last rows over earlier ones exceeds what could
    be noise, and they stand higher than all that came before (a restless run comes back to where it was).

    One example more is never a rise (0.1 of ten)."""
    earlier = earlier_rows(step_S, settings)
    earlier_RS = x_RS[:, earlier]
    before, highest = np.median(earlier_RS, axis=1), smooth_RS[:, : earlier.stop].max(axis=1)
    spread = np.median(np.abs(earlier_RS - before[:, None]), axis=1)
    now = latest(x_RS, step_S, settings)
    noise = np.maximum(np.maximum(least, settings.rise_mads * spread), one_example(n_examples))
    return np.asarray(np.minimum(now - before - noise, now - highest) - EPSILON)


def latest(x_RS: FloatArray, step_S: FloatArray, settings: ClassifierSettings) -> FloatArray:
    """The tail's median or that of the last three rows, whichever is more: a run cut in mid-rise can have most of its
    tail still below."""
    return np.maximum(np.median(x_RS[:, tail_rows(step_S, settings)], axis=1), np.median(x_RS[:, -3:], axis=1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Heading:
    leads_to: FloatArray
    speeding: FloatArray
    error_leads_to: FloatArray
    error_speeding: FloatArray


def heads_for(x_RS: FloatArray, step_S: FloatArray, error: FloatArray, settings: ClassifierSettings) -> Heading:
    """Where accuracy goes from its end: as far per factor of steps as from the earlier rows to the tail, and how much
    faster per step than from half of the steps to the earlier rows. `error` is that of the gain."""
    middle = (settings.earlier_from + settings.earlier_to) / 2
    end = max(1 - settings.tail / 2, middle + LEAST_STRETCH)
    now, before = latest(x_RS, step_S, settings), np.median(x_RS[:, earlier_rows(step_S, settings)], axis=1)
    gain, earlier_gain = now - before, before - level_near(x_RS, step_S, HALF_WAY)
    ahead = np.log(max(settings.finish_within / end, 1)) / np.log(end / middle)
    pace, earlier_pace = gain / (end - middle), earlier_gain / max(middle - HALF_WAY, LEAST_STRETCH)
    relative = np.hypot(error / np.maximum(gain, LEAST_GAIN), error / np.maximum(earlier_gain, LEAST_GAIN))
    return Heading(
        leads_to=now + ahead * gain,
        speeding=np.maximum(pace, 0) / np.maximum(earlier_pace, LEAST_GAIN),
        error_leads_to=ahead * error,
        error_speeding=relative / np.log(2),
    )


# Rows and values


def to_counts(x_RS: FloatArray, n_examples: FloatArray) -> FloatArray:
    """Accuracies that are a count over n_examples, but for rounding in storage, become exactly that."""
    n_R1 = np.where(n_examples > 0, n_examples, np.nan)[:, None]
    count_RS = np.round(x_RS * n_R1)
    close_RS = np.abs(count_RS - x_RS * n_R1) < 0.01
    return np.where(close_RS, count_RS / n_R1, x_RS)


def median_of_three(x_RS: FloatArray) -> FloatArray:
    """Running median over three rows; the first and the last row stay as they are."""
    before_RS, x_inner_RS, after_RS = x_RS[:, :-2], x_RS[:, 1:-1], x_RS[:, 2:]
    low_RS, high_RS = np.minimum(before_RS, x_inner_RS), np.maximum(before_RS, x_inner_RS)
    smooth_RS = x_RS.copy()
    smooth_RS[:, 1:-1] = np.maximum(low_RS, np.minimum(high_RS, after_RS))
    return smooth_RS


def first(mask_RS: BoolArray) -> IntArray:
    """The first true row of each run, -1 if there is none."""
    row = mask_RS.argmax(axis=1)
    return np.where(mask_RS[np.arange(len(mask_RS)), row], row, -1)


def last_before(mask_RS: BoolArray, row: IntArray) -> IntArray:
    """The last true row before `row`, -1 if there is none."""
    n_rows = mask_RS.shape[1]
    reverse = first((mask_RS & (np.arange(n_rows) < row[:, None]))[:, ::-1])
    return np.where(reverse >= 0, n_rows - 1 - reverse, -1)


def at(values: FloatArray, row: IntArray) -> FloatArray:
    """values_S or values_RS at one row a run; NaN where the row is -1."""
    picked = values[row] if values.ndim == 1 else values[np.arange(len(row)), row]
    return np.where(row >= 0, picked, np.nan)


def between_rows(step_S: FloatArray, x_RS: FloatArray, row: IntArray, level: FloatArray | float) -> FloatArray:
    """Step at which the straight line of log odds from the row before a row to the row meets the level; the first row's
    own step. (The row itself would be late by half a gap, and so would, somewhat, a line of accuracies, which bend
    towards 1; delays are differences of such steps: LOG.md.)"""
    after = np.maximum(row, 1)
    x_before, x_after, x_level = log_odds(at(x_RS, after - 1)), log_odds(at(x_RS, after)), log_odds(level)
    way = np.where(x_after > x_before, (x_level - x_before) / positive(x_after - x_before), 1.0)
    way = np.where(x_before >= x_level, 0.0, np.clip(way, 0, 1))
    met = step_S[after - 1] + way * (step_S[after] - step_S[after - 1])
    return np.where(row > 0, met, at(step_S, row))


def log_odds(accuracy: FloatArray | float) -> FloatArray:
    share = np.clip(accuracy, 0, 1)
    return np.asarray(np.log((share + ODDS_FLOOR) / (1 - share + ODDS_FLOOR)))


def at_row_before(step_S: FloatArray, row: IntArray) -> FloatArray:
    """Step of the row before; training starts at step 0."""
    return np.where(row > 0, at(step_S, np.maximum(row - 1, 0)), np.where(row == 0, 0.0, np.nan))


def positive(x: FloatArray) -> FloatArray:
    return np.where(x > 0, x, np.nan)
