"""A table of labels in, a row for each facet out."""

from typing import Any

import pandas as pd

from results.axes import check_column
from results.descent.curves import Curve, Noise, curve_of, facets_of
from results.descent.depths import interval, places, wander
from results.descent.sentences import why
from results.descent.settings import DescentSettings
from results.descent.significance import POWER_80, DipTest, dip_test, holm, typical_error
from results.replicates import with_replicate_seeds

VERDICTS = ("double_descent", "dip_only", "none", "underpowered")


def descents(
    labels: pd.DataFrame,
    *,
    axis: str,
    facet: str | None = None,
    value: str = "final_val_accuracy",
    is_loss: bool | None = None,
    settings: DescentSettings | None = None,
) -> pd.DataFrame:
    """The verdict on each facet of `labels` (one row per run, with `seed`, `axis`, `facet` and `value`).

    Runs of a seed that share a point are averaged. Runs without a finite value are left out, and so are points that
    fewer than half of the seeds reach. `is_loss` defaults to whether the name of `value` says loss. The axis is
    numeric.

    Columns: the facet, `value`, `verdict` (one of VERDICTS); `effect`, `p`, `p_holm` (dip between two rises) and
    `dip`, `dip_p`, `dip_p_holm` (without the first rise); of the dip that the verdict tells of (for `dip_only` that
    without the first rise) `depth`, `depth_low`, `depth_high`, its places `start_at`, `peak_at`, `dip_at`, `end_at`
    on the axis and from `min_seeds` up the intervals `peak_at_low`, `peak_at_high`, `dip_at_low`, `dip_at_high`;
    `detectable` (the dip that would be found with 80 % power), `unit`, `n_seeds`, `n_points`, `n_runs`,
    `n_left_out`, `why`. Raises ValueError for missing columns and an axis that is not numeric.
    """
    settings, labels = settings or DescentSettings(), with_replicate_seeds(labels)
    names = [axis, "seed", value] if facet is None else [axis, "seed", value, facet]
    for name in names:
        check_column(labels, name)
    if not pd.api.types.is_numeric_dtype(labels[axis]) or pd.api.types.is_bool_dtype(labels[axis]):
        raise ValueError(f"a descent runs along a numeric axis; {axis} is not one")
    is_loss = "loss" in value if is_loss is None else is_loss
    curves = {key: curve_of(part, axis, value, is_loss) for key, part in facets_of(labels, facet)}
    noises = [curve.noise(settings.n_resamples, settings.seed) for curve in curves.values()]
    rises, dips = (
        [
            dip_test(curve, noise, settings, after_rise=after_rise)
            for curve, noise in zip(curves.values(), noises, strict=True)
        ]
        for after_rise in (True, False)
    )
    adjusted = zip(holm([test.p for test in rises]), holm([test.p for test in dips]), strict=True)
    rows = [
        _row(curve, noise, tests, p_holm, settings, axis)
        for curve, noise, tests, p_holm in zip(
            curves.values(), noises, zip(rises, dips, strict=True), adjusted, strict=True
        )
    ]
    table = pd.DataFrame(rows)
    table.insert(0, "value", value)
    if facet is not None:
        table.insert(0, facet, list(curves))
    return table


def _row(
    curve: Curve,
    noise: Noise,
    tests: tuple[DipTest, DipTest],
    p_holm: tuple[float, float],
    settings: DescentSettings,
    axis: str,
) -> dict[str, Any]:
    rise, dip = tests
    detectable = rise.critical + POWER_80 * typical_error(curve)
    verdict = _verdict(curve, tests, p_holm, detectable, settings)
    told = dip if verdict == "dip_only" else rise
    wandering = wander(curve, told.dip, noise)
    row = {
        "verdict": verdict,
        "effect": rise.depth,
        "p": rise.p,
        "p_holm": p_holm[0],
        "dip": dip.depth,
        "dip_p": dip.p,
        "dip_p_holm": p_holm[1],
        "depth": told.depth,
        **interval(curve, told.dip, wandering, settings.alpha),
        **places(curve, told.dip, wandering, settings),
        "detectable": detectable,
        "unit": curve.unit,
        "n_seeds": len(curve.values),
        "n_points": len(curve.axis),
        "n_runs": curve.n_runs,
        "n_left_out": curve.n_left_out,
    }
    return row | {"why": why(row, axis, settings)}


def _verdict(
    curve: Curve,
    tests: tuple[DipTest, DipTest],
    p_holm: tuple[float, float],
    detectable: float,
    settings: DescentSettings,
) -> str:
    """`double_descent` and `dip_only` need depth and significance. `none` has to be earned: enough seeds, no dip deep
    enough to count, and the power to have seen one."""
    if len(curve.values) < settings.min_seeds or len(curve.axis) < 4:
        return "underpowered"
    is_deep = [test.depth >= settings.threshold * curve.unit and test.depth > 0 for test in tests]
    is_double, is_dip = (deep and p <= settings.alpha for deep, p in zip(is_deep, p_holm, strict=True))
    if is_dip:
        return "double_descent" if is_double else "dip_only"
    return "underpowered" if any(is_deep) or detectable > settings.detectable * curve.unit else "none"
