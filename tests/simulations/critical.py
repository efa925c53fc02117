"""Coverage of intervals, false positives and power, on simulated sweeps with known truth.

    python tests/simulations/critical.py [--repeats 400]      a Markdown table for each procedure; about 20 minutes

A share of it runs as tests (tests/test_critical_simulated.py). How a seed's runs depend on each other decides most of
it, so it is varied: `independent` (nothing in common), `mixed` (half of the variance is the seed's), `all seed` (a seed
is lucky everywhere or nowhere).
"""

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from results.critical.logistic import count, exact_bracket, fit_place
from results.critical.memory import RandomLabels
from results.critical.modelwise import modelwise_ratios
from results.critical.prediction import find_star
from results.critical.settings import CriticalSettings
from results.critical.smooth import N_POINTS
from results.descent import DescentSettings, descents
from results.descent.dips import find_dip

SEEDS = (3, 5, 8, 11)
Row = dict[str, Any]

# Critical sizes

DEPENDENCE = {"independent": (1 / 15, 0.0), "mixed": (1 / 25, 0.1), "all seed": (1 / 200, 0.13)}
"""Scale of the noise within a seed, and deviation between seeds, of the logarithm of the size that a seed needs."""
TRUE_SIZE = math.log(2900)


def needed(
    rng: np.random.Generator, n_seeds: int, n_sizes: int, dependence: str
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(n_sizes, n_seeds): log size that a seed needs, drawn anew at each size but for what is the seed's own."""
    within, between = DEPENDENCE[dependence]
    return between * rng.normal(size=n_seeds) + rng.logistic(scale=within, size=(n_sizes, n_seeds))


def true_quantile(dependence: str, share: float) -> float:
    drawn = needed(np.random.default_rng(9), 1_000_000, 1, dependence)
    return TRUE_SIZE + float(np.quantile(drawn, share))


def sizes_held(dependence: str, share: float, n_seeds: int, n_sizes: int, repeats: int, seed: int = 0) -> Row:
    """How often the truth lies in the profile interval, in the one widened by seeds, and in the exact one."""
    rng, x = np.random.default_rng(seed), np.log(np.linspace(2000, 4000, n_sizes))
    truth = true_quantile(dependence, share)
    xs, seeds = np.repeat(x, n_seeds), np.tile(np.arange(n_seeds), n_sizes)
    held: dict[str, list[bool]] = {"profile": [], "clustered": [], "exact": []}
    widths = []
    for _ in range(repeats):
        yes = (x[:, None] > TRUE_SIZE + needed(rng, n_seeds, n_sizes, dependence)).ravel()
        low, high = exact_bracket(count(xs, yes), share=share)
        held["exact"].append(low <= truth <= high)
        for name, clusters in (("profile", None), ("clustered", seeds)):
            place = fit_place(xs, yes, share=share, seeds=clusters)
            if place is not None:
                ends = (-math.inf if place.is_low_open else place.low, math.inf if place.is_high_open else place.high)
                held[name].append(ends[0] <= truth <= ends[1])
                if name == "clustered":
                    widths.append(place.high - place.low)
    return {
        "dependence": dependence,
        "sizes": n_sizes,
        "quantity": f"D{round(100 * share):02d}",
        "seeds": n_seeds,
        "fitted": len(held["clustered"]) / repeats,
        **{name: float(np.mean(hits)) for name, hits in held.items()},
        "width": f"x {math.exp(float(np.median(widths))):.2f}",
    }


# Star and model-wise grokking

WIDTHS = np.array([8.0, 12, 16, 24, 32, 48, 64])
GRID = np.geomspace(1500, 6000, 9)
STAR = (20.0, 3000.0)
"""True crossing: D50 falls as width to the -0.3, memory grows as width to the 1.5."""


def star_sweeps(rng: np.random.Generator, n_seeds: int, dependence: str) -> tuple[pd.DataFrame, RandomLabels]:
    """Labels and random labels whose D50 and D_mem cross at STAR; what is a seed's own is the same at all widths."""
    within, between = DEPENDENCE[dependence]
    own = between * rng.normal(size=(2, n_seeds))
    frames = []
    for kind, power in enumerate((-0.3, 1.5)):
        grid = pd.MultiIndex.from_product([WIDTHS, GRID, range(n_seeds)], names=["width", "train_size", "seed"])
        frame = grid.to_frame(index=False)
        line = math.log(STAR[1]) + power * np.log(frame["width"] / STAR[0])
        place = line + own[kind][frame["seed"]] + rng.logistic(scale=within, size=len(frame))
        frame["above"] = np.log(frame["train_size"]) > place
        frames.append(frame.assign(steps=1000, phase="memorization", warning=""))
    labels, random = frames
    labels["t_val"] = np.where(labels["above"], 900.0, np.nan)
    accuracy = np.where(random["above"], 0.5, 1.0)
    return labels, RandomLabels(labels=random, accuracy={1.0: accuracy}, settings=CriticalSettings())


def star_held(dependence: str, n_seeds: int, repeats: int, seed: int = 0) -> Row:
    """How often the joint interval holds both coordinates of the star."""
    rng = np.random.default_rng(seed)
    found, held, widths = 0, [], []
    for _ in range(repeats):
        labels, random = star_sweeps(rng, n_seeds, dependence)
        star = find_star(labels, random, "width", outcome="generalized", settings=CriticalSettings())
        found += star.relation == "="
        if star.relation == "=" and not math.isnan(star.axis_low):
            held.append(star.axis_low <= STAR[0] <= star.axis_high and star.size_low <= STAR[1] <= star.size_high)
            widths.append((star.axis_high / star.axis_low, star.size_high / star.size_low))
    spans = np.median(widths, axis=0) if widths else (math.nan, math.nan)
    return {
        "dependence": dependence,
        "seeds": n_seeds,
        "found": found / repeats,
        "with an interval": len(held) / repeats,
        "held": float(np.mean(held)) if held else math.nan,
        "span of width": f"x {spans[0]:.2f}",
        "span of size": f"x {spans[1]:.2f}",
    }


RATIO = 3.0


def ratio_held(deviation: float, n_seeds: int, repeats: int, seed: int = 0) -> Row:
    """Mean training accuracy is half at width 4, validation at 12; a seed's curves are shifted along log width."""
    rng, widths = np.random.default_rng(seed), np.geomspace(1, 64, 13)
    held, verdicts = [], []
    for _ in range(repeats):
        frames = []
        for one in range(n_seeds):
            shift = deviation * rng.normal(size=2)
            train, val = (
                np.clip(1 / (1 + np.exp(-4 * (np.log(widths / at) - s))) + 0.05 * rng.normal(size=len(widths)), 0, 1)
                for at, s in zip((4, 4 * RATIO), shift, strict=True)
            )
            columns = {"final_train_accuracy": train, "final_val_accuracy": val, "seed": one, "width": widths}
            frames.append(pd.DataFrame(columns))
        labels = pd.concat(frames).assign(train_size=100, chance_accuracy=0.0)
        ratio = modelwise_ratios(labels, "width")[0]
        held.append(ratio.low <= RATIO <= ratio.high)
        verdicts.append(ratio.verdict == "modelwise_grokking")
    return {
        "deviation": deviation,
        "seeds": n_seeds,
        "held": float(np.mean(held)),
        "model-wise grokking": float(np.mean(verdicts)),
    }


# Descents

DIPS = {
    "0.2": np.array([0.1, 0.3, 0.5, 0.7, 0.6, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.95, 0.97, 0.98]),
    "0.5": np.array([0.02, 0.1, 0.3, 0.6, 0.7, 0.4, 0.2, 0.2, 0.4, 0.7, 0.95]),
    "0.95": np.array([0.02, 0.1, 0.5, 0.98, 0.95, 0.4, 0.03, 0.05, 0.4, 0.9, 0.99]),
}
"""Means of accuracy over 11 to 15 widths, by the depth of their dip."""
RISES = {
    "flat": np.full(15, 0.5),
    "saturating": 1 / (1 + np.exp(-np.linspace(-6, 6, 15))),
    "a step": np.repeat([0.3, 0.7], [7, 8]),
}
NOISES = ("scatter .1", "scatter .25", "bounded", "all or nothing", "all or nothing, mixed", "all or nothing, all seed")


def accuracies(rng: np.random.Generator, means: Any, n_seeds: int, noise: str) -> Any:
    """(n_seeds, n_points) with the given means, but for what clipping moves."""
    shape = (n_seeds, len(means))
    if noise.startswith("scatter"):
        return np.clip(means + float(noise.split()[1]) * rng.normal(size=shape), 0, 1)
    if noise == "bounded":
        return rng.beta(np.clip(means, 1e-6, 1 - 1e-6), np.clip(1 - means, 1e-6, 1 - 1e-6), shape)
    own = {"all or nothing": 0.0, "all or nothing, mixed": 0.5, "all or nothing, all seed": 1.0}[noise]
    luck = math.sqrt(own) * rng.normal(size=(n_seeds, 1)) + math.sqrt(1 - own) * rng.normal(size=shape)
    return (stats.norm.cdf(luck) < means).astype(float)


def many_facets(rng: np.random.Generator, means: Any, n_seeds: int, noise: str, repeats: int) -> pd.DataFrame:
    """Labels in which each repeat is a train size."""
    values = np.stack([accuracies(rng, means, n_seeds, noise) for _ in range(repeats)])
    repeat, one, point = np.indices(values.shape)
    frame = {"train_size": repeat, "seed": one, "width": 2.0**point, "final_val_accuracy": values}
    return pd.DataFrame({name: array.ravel() for name, array in frame.items()})


def judged(means: Any, n_seeds: int, noise: str, repeats: int, seed: int, n_resamples: int) -> pd.DataFrame:
    labels = many_facets(np.random.default_rng(seed), means, n_seeds, noise, repeats)
    settings = DescentSettings(n_resamples=n_resamples)
    return descents(labels, axis="width", facet="train_size", settings=settings)


def true_depth(means: Any, noise: str) -> float:
    mean = accuracies(np.random.default_rng(9), means, 200_000, noise).mean(axis=0)
    dip = find_dip(mean)
    assert dip is not None
    return dip.depth


def depth_held(depth: str, noise: str, n_seeds: int, repeats: int, seed: int = 0, n_resamples: int = 199) -> Row:
    """Coverage of the interval of a dip's depth, and power of the test on a single facet."""
    found = judged(DIPS[depth], n_seeds, noise, repeats, seed, n_resamples)
    truth = true_depth(DIPS[depth], noise)
    with_dip = found[found["depth_low"].notna()]
    held = (with_dip["depth_low"] <= truth) & (truth <= with_dip["depth_high"])
    return {
        "dip": depth,
        "noise": noise,
        "seeds": n_seeds,
        "held": float(held.mean()),
        "width": float((with_dip["depth_high"] - with_dip["depth_low"]).median()),
        "power": float(is_found(found).mean()),
    }


def is_found(found: pd.DataFrame) -> "pd.Series[bool]":
    """Double descent, were each facet alone: Holm's correction is not simulated."""
    return (found["p"] <= 0.05) & (found["dip_p"] <= 0.05) & (found["effect"] >= 0.1)


def false_findings(rise: str, noise: str, n_seeds: int, repeats: int, seed: int = 0, n_resamples: int = 199) -> Row:
    """How often a curve that only rises is called a double descent, or a dip of either kind."""
    found = judged(RISES[rise], n_seeds, noise, repeats, seed, n_resamples)
    dip = (found["dip_p"] <= 0.05) & (found["dip"] >= 0.1)
    return {
        "truth": rise,
        "noise": noise,
        "seeds": n_seeds,
        "double descent": float(is_found(found).mean()),
        "any dip": float(dip.mean()),
    }


def in_time(has_dip: bool, n_seeds: int, repeats: int, seed: int = 0, n_resamples: int = 199) -> Row:
    """Curves over steps: every seed rises at a time of its own; with `has_dip` it falls by 0.5 and rises again."""
    rng, step = np.random.default_rng(seed), np.geomspace(1, 10_000, N_POINTS).round()
    place = np.log(step)
    at = np.log([50, 300, 2500])[:, None, None] + 0.3 * rng.normal(size=(3, repeats, n_seeds))
    rise, fall, again = 1 / (1 + np.exp(-(place - at[..., None]) / 0.25))
    values = (0.7 * rise - 0.5 * fall + 0.7 * again) if has_dip else 0.2 * rise + 0.3 * fall + 0.4 * again
    values = values + 0.02 * rng.normal(size=values.shape)
    repeat, one, point = np.indices(values.shape)
    frame = {"cell": repeat, "seed": one, "step": step[point], "val_accuracy": values}
    labels = pd.DataFrame({name: array.ravel() for name, array in frame.items()})
    settings = DescentSettings(n_resamples=n_resamples)
    found = descents(labels, axis="step", facet="cell", value="val_accuracy", settings=settings)
    return {"truth": "a dip of .5" if has_dip else "rises", "seeds": n_seeds, "found": float(is_found(found).mean())}


# All of it


def tables(repeats: int) -> Iterator[tuple[str, list[Row]]]:
    """Name and rows of each table."""
    shares = ((0.5, 4), (0.5, 11), (0.05, 11), (0.95, 11))
    yield (
        "Critical sizes: how often an interval of 95 % holds the truth",
        [sizes_held(d, share, n, k, repeats) for d in DEPENDENCE for share, k in shares for n in SEEDS],
    )
    yield (
        "The star: joint interval of 95 %",
        [star_held(d, n, repeats // 5) for d in ("independent", "all seed") for n in SEEDS],
    )
    yield "Model-wise ratio of 3", [ratio_held(deviation, n, repeats) for deviation in (0.1, 0.4) for n in SEEDS]
    yield (
        "Depth of a dip: interval of 95 %, and power",
        [depth_held(depth, noise, n, repeats) for depth in DIPS for noise in NOISES for n in SEEDS],
    )
    yield (
        "Curves that only rise: findings at 5 %",
        [false_findings(rise, noise, n, repeats) for rise in RISES for noise in NOISES for n in SEEDS],
    )
    yield "Over steps", [in_time(has_dip, n, repeats // 2) for has_dip in (False, True) for n in SEEDS]


def markdown(rows: list[Row]) -> str:
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return "\n".join([*lines, *("| " + " | ".join(map(written, row.values())) + " |" for row in rows)])


def written(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=400)
    options = parser.parse_args()
    for name, rows in tables(options.repeats):
        print(f"\n{name}\n\n{markdown(rows)}", flush=True)


if __name__ == "__main__":
    main()
