"""Findings in words: a table a screen wide, and a line for each thing that was asked."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from results.axes import label_of
from results.critical.findings import ACCURACY, LOSS, Findings
from results.critical.prediction import Prediction
from results.critical.sizes import SIZE, Threshold
from results.critical.star import Star

WIDTH = 20


def report(found: Findings) -> str:
    """Several lines, the last without a line break."""
    lines = [_opening(found), "", *_sizes(found), ""]
    for part in (_star_line, _zone_lines, _modelwise_lines, _prediction_lines, _epochwise_lines):
        lines += part(found)
    return "\n".join([*lines, *found.notes])


def _opening(found: Findings) -> str:
    labels, question = found.labels, found.question
    at = f", {question.facet} = {label_of(found.facet_value)}" if question.facet else ""
    who = "generalize" if question.outcome == "generalized" else f"are {question.outcome}"
    return (
        f"Train sizes from which 5, 50 and 95 % of the seeds {who}{at}: {len(labels):,} runs, "
        f"{labels['seed'].nunique()} seeds, budget T = {int(labels['steps'].max()):,} steps"
    )


def _sizes(found: Findings) -> Iterator[str]:
    axis = found.question.axis
    whole = {(size.axis_value, size.share): size for size in found.sizes if size.budget_share == 1}
    earlier = {(size.axis_value, size.budget_share): size for size in found.sizes if size.share == 0.5}
    memory = {entry.axis_value: entry.threshold for entry in found.memory if entry.budget_share == 1}
    shares = sorted({share for _, share in whole})
    heads = [f"D{round(100 * share):02d}" for share in shares]
    yield _row([axis, *heads, "D50 at T/4, T/2", *(["D_mem"] if memory else [])])
    for value in dict.fromkeys(value for value, _ in whole):
        before = [size_text(earlier[value, share].threshold) for share in (0.25, 0.5) if (value, share) in earlier]
        verdict = whole[value, 0.5].verdict
        moved = ", ".join(before) + (f": {verdict}" if verdict in ("stable", "apparent") else "")
        cells = [label_of(value), *(with_interval(whole[value, share].threshold) for share in shares), moved]
        yield _row([*cells, *([with_interval(memory[value])] if value in memory else [])])


def _row(cells: Sequence[str]) -> str:
    return " ".join([f"{cells[0]:>8} ", *(f"{cell:<{WIDTH}}" for cell in cells[1:])]).rstrip()


def size_text(threshold: Threshold) -> str:
    """`458`, `> 520`, `< 340`, or `?` where the share does not rise with size."""
    known = {"=": f"{threshold.value:,.0f}", ">": f"> {threshold.largest:,.0f}", "<": f"< {threshold.smallest:,.0f}"}
    return known.get(threshold.relation, "?")


def with_interval(threshold: Threshold) -> str:
    """`458 [400, ..]`: two dots for an end that the runs do not bound."""
    text = size_text(threshold)
    if threshold.relation != "=":
        return text
    return f"{text} {_interval(threshold.low, threshold.high)}"


def _interval(low: float, high: float, form: str = ",.0f") -> str:
    return "[" + ", ".join(".." if math.isnan(end) else f"{end:{form}}" for end in (low, high)) + "]"


def _star_line(found: Findings) -> list[str]:
    return [] if found.star is None else [f"star: {star_text(found.star, found.question.axis)}"]


def star_text(star: Star, axis: str) -> str:
    """Where the curves cross."""
    if star.relation == "none":
        return f"none; {star.why}"
    axis_interval = _interval(star.axis_low, star.axis_high, ".3g")
    size_interval = _interval(star.size_low, star.size_high)
    if star.relation == "between":
        return f"at {axis} {axis_interval}, train size {size_interval}: {star.why}"
    return (
        f"at {axis} {star.axis_value:.3g} {axis_interval}, train size {star.size:,.0f} {size_interval} "
        f"(joint interval, {star.n_seeds} seeds)"
    )


def _zone_lines(found: Findings) -> Iterator[str]:
    by_fold: dict[str, list[str]] = {}
    for score in found.scores:
        text = f"{score.predictor} {score.value:.2f} {_interval(score.low, score.high, '.2f')}"
        by_fold.setdefault(score.left_out, []).append(text)
    for left_out, texts in by_fold.items():
        yield f"zones, each {left_out} foretold from the others (balanced accuracy): {', '.join(texts)}"
    if found.scores:
        score = found.scores[0]
        yield f"  {score.n_runs:,} runs scored, {score.told:.0%} in a zone; {score.n_left_out} labels have no zone"


def _modelwise_lines(found: Findings) -> Iterator[str]:
    axis = found.question.axis
    for value, name in ((ACCURACY, "accuracy"), (LOSS, "loss")):
        table = found.modelwise
        for row in table[table["value"] == value].to_dict("records") if len(table) else ():
            yield f"over {axis}, {name} at {SIZE} {label_of(row[SIZE])}: {_verdict(row['verdict'])}; {row['why']}"
    for ratio in found.ratios:
        relation = "" if ratio.relation == "=" else f"{ratio.relation} "
        factor = f"{relation}{ratio.value:.2g} {_interval(ratio.low, ratio.high, '.2g')}"
        yield (
            f"model-wise grokking at {SIZE} {ratio.size:,}: {_verdict(ratio.verdict)}; validation needs {factor} times "
            f"the {axis} that training needs"
        )


def _verdict(name: str) -> str:
    return name.replace("_", " ")


def _prediction_lines(found: Findings) -> Iterator[str]:
    for prediction in found.predictions:
        yield f"foretold at {SIZE} {prediction.size:,} without its runs: {prediction_text(prediction)}"


def prediction_text(prediction: Prediction) -> str:
    """Expected, found, and whether they agree."""
    return f"{_verdict(prediction.expected)}; found: {_verdict(prediction.found)}; {prediction.agreement}"


def _epochwise_lines(found: Findings) -> Iterator[str]:
    for name in dict.fromkeys(found.epochwise["value"]) if len(found.epochwise) else ():
        verdicts: Any = Counter(found.epochwise[found.epochwise["value"] == name]["verdict"])
        counts = ", ".join(f"{_verdict(verdict)} {count}" for verdict, count in verdicts.most_common())
        metric = name.removeprefix("epochwise_")
        yield f"over steps, validation {metric} in {verdicts.total()} cells: {counts}"
