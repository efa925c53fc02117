"""Findings as critical.parquet: one row for each quantity, at each value of the axis, by each budget.

A quantity that belongs to the whole sweep has no value of the axis; one that belongs to a train size has `train_size`.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from results.axes import label_of
from results.critical.findings import ACCURACY, LOSS, Findings
from results.critical.settings import CRITICAL_VERSION, CriticalSettings
from results.critical.sizes import SIZE, Threshold
from results.descent.sentences import decisive_p

Row = dict[str, Any]

DESCENTS = {ACCURACY: "descent_accuracy", LOSS: "descent_loss"}


def critical_table(found: Sequence[Findings], settings: CriticalSettings | None = None) -> pd.DataFrame:
    """Rows of schema.critical_schema; columns that no row has are missing."""
    settings = settings or CriticalSettings()
    stamp = {"critical_version": CRITICAL_VERSION, "settings": json.dumps(asdict(settings))}
    return pd.DataFrame([row | stamp for findings in found for row in _rows(findings)])


def _rows(found: Findings) -> Iterator[Row]:
    question = found.question
    budget = int(found.labels["steps"].max())
    shared = {
        "axis": question.axis,
        "facet": question.facet,
        **_keyed("facet", found.facet_value if question.facet else None),
        "outcome": question.outcome,
        "classifier_version": str(found.labels["classifier_version"].iloc[0]),
    }
    whole = {"budget_share": 1.0, "budget_steps": budget}
    for rows in (_size_rows, _memory_rows, _star_rows, _zone_rows, _ratio_rows, _descent_rows, _prediction_rows):
        for row in rows(found):
            yield {**shared, **whole, **row}


def _keyed(name: str, value: Any) -> Row:
    """A value of an axis as a number if it is one, and as it is written."""
    if value is None:
        return {}
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {f"{name}_value": float(value) if is_number else None, f"{name}_label": label_of(value)}


def _threshold(threshold: Threshold) -> Row:
    names = (
        "relation", "value", "low", "high", "exact_low", "exact_high", "bracket_low", "bracket_high", "smallest",
        "largest", "design_effect", "n_runs", "n_seeds", "n_sizes",
    )  # fmt: skip
    return {name: getattr(threshold, name) for name in names}


def _size_rows(found: Findings) -> Iterator[Row]:
    for size in found.sizes:
        yield {
            "quantity": f"D{round(100 * size.share):02d}",
            **_keyed("axis", size.axis_value),
            "budget_share": size.budget_share,
            "budget_steps": size.budget_steps,
            **_threshold(size.threshold),
            "verdict": size.verdict or None,
        }


def _memory_rows(found: Findings) -> Iterator[Row]:
    for memory in found.memory:
        yield {
            "quantity": "D_mem",
            "outcome": "fitted random labels",
            **_keyed("axis", memory.axis_value),
            "budget_share": memory.budget_share,
            "budget_steps": memory.budget_steps,
            **_threshold(memory.threshold),
            "facts": memory.facts,
            "verdict": memory.verdict or None,
        }
    for count in found.counts:
        yield {
            "quantity": "D_mem_huang",
            "outcome": "random labels answered right",
            **_keyed("axis", count.axis_value),
            "relation": ">" if math.isnan(count.size) else "=",
            "value": count.size,
            "low": count.low,
            "high": count.high,
            "facts": count.facts,
            "n_seeds": count.n_seeds,
            "why": f"{count.right:,.0f} of {count.table:,} pairs answered right",
        }


def _star_rows(found: Findings) -> Iterator[Row]:
    star = found.star
    if star is None:
        return
    shared = {"relation": star.relation, "n_seeds": star.n_seeds, "why": star.why}
    for name, value, low, high in (
        ("star_axis", star.axis_value, star.axis_low, star.axis_high),
        ("star_size", star.size, star.size_low, star.size_high),
    ):
        yield {"quantity": name, "value": value, "low": low, "high": high, **shared}


def _zone_rows(found: Findings) -> Iterator[Row]:
    for score in found.scores:
        yield {
            "quantity": "zone_score",
            "detail": f"{score.predictor}, {score.left_out} left out",
            "value": score.value,
            "low": score.low,
            "high": score.high,
            "n_runs": score.n_runs,
            "n_seeds": score.n_seeds,
            "why": f"{score.told:.0%} of the scored runs foretold; {score.n_left_out} labels have no zone",
        }


def _ratio_rows(found: Findings) -> Iterator[Row]:
    for ratio in found.ratios:
        yield {
            "quantity": "modelwise_ratio",
            SIZE: ratio.size,
            "relation": ratio.relation,
            "value": ratio.value,
            "low": ratio.low,
            "high": ratio.high,
            "n_seeds": ratio.n_seeds,
            "verdict": ratio.verdict,
            "why": f"half of validation from {_place(ratio.val_at)}, of training from {_place(ratio.train_at)}",
        }


def _place(value: float) -> str:
    return "nowhere" if math.isnan(value) else f"{value:.3g}"


def _descent_rows(found: Findings) -> Iterator[Row]:
    for table, names in ((found.modelwise, DESCENTS), (found.epochwise, {})):
        for row in table.to_dict("records"):
            yield {
                "quantity": names.get(row["value"], row["value"]),
                **(_keyed("axis", row[found.question.axis]) if found.question.axis in row else {}),
                SIZE: int(row[SIZE]),
                "value": row["depth"],
                "low": row["depth_low"],
                "high": row["depth_high"],
                "p": decisive_p(row),
                "verdict": row["verdict"],
                "peak_at": row["peak_at"],
                "dip_at": row["dip_at"],
                "detectable": row["detectable"],
                "n_runs": row["n_runs"],
                "n_seeds": row["n_seeds"],
                "why": row["why"],
            }


def _prediction_rows(found: Findings) -> Iterator[Row]:
    for prediction in found.predictions:
        star = prediction.star
        yield {
            "quantity": "prediction",
            SIZE: prediction.size,
            "relation": star.relation,
            "value": star.size,
            "low": star.size_low,
            "high": star.size_high,
            "n_seeds": star.n_seeds,
            "detail": f"expected {prediction.expected}, found {prediction.found}",
            "verdict": prediction.agreement,
            "why": f"star without the runs at {prediction.size:,}: {star.why}",
        }
