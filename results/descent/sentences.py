"""A verdict in words."""

import math
from collections.abc import Mapping
from typing import Any

from results.axes import label_of
from results.descent.settings import DescentSettings


def why(row: dict[str, Any], axis: str, settings: DescentSettings) -> str:
    """One sentence for reports."""
    seeds = f"{row['n_seeds']} seeds"
    if row["verdict"] in ("double_descent", "dip_only"):
        is_double = row["verdict"] == "double_descent"
        kind = "between two rises" if is_double else "without a first rise in sight"
        interval = f"[{row['depth_low']:.2g}, {row['depth_high']:.2g}]"
        place = f"peak at {axis} {label_of(row['peak_at'])}, bottom at {label_of(row['dip_at'])}"
        return f"a dip of {row['depth']:.2g} {interval} {kind}: {place}; {p_text(row)} with {seeds}"
    if row["n_points"] < 4:
        return f"{row['n_points']} points along {axis}: a dip between two rises takes four"
    if row["n_seeds"] < settings.min_seeds:
        return f"{seeds}: no verdict below {settings.min_seeds}"
    if row["verdict"] == "none":
        return f"no dip beyond noise ({p_text(row)}); {seeds} would have shown one of {row['detectable']:.2g}"
    if row["dip"] >= settings.threshold * row["unit"]:
        return f"a dip of {row['dip']:.2g} that is not beyond noise ({p_text(row)}, {seeds})"
    return f"{seeds} would have shown only a dip of {row['detectable']:.2g} or more"


def decisive_p(row: Mapping[Any, Any]) -> float:
    """The p value that the verdict of a row rests on, after Holm's correction."""
    p: float = row["dip_p_holm"] if row["verdict"] == "dip_only" else max(row["p_holm"], row["dip_p_holm"])
    return p


def p_text(row: Mapping[Any, Any]) -> str:
    """The same in words."""
    p = decisive_p(row)
    if not math.isfinite(p):
        return "no p value"
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
