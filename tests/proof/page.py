"""The report for readers."""

from collections.abc import Iterator
from typing import Any

ENOUGH = 10
"""Runs of a class from which its F1 is told."""
MODERATE = "moderate, all together"
GOAL_F1, GOAL_ERRORS, GOAL_HELD_OUT, GOAL_STAY, GOAL_BIN = 0.95, 0.03, 0.9, 0.98, 0.1


def page(report: dict[str, Any]) -> str:
    parts = [*_head(report), *_invariance(report["invariance"]), *_other_minds(report["other_minds"])]
    parts += [*_metamorphic(report["metamorphic"]), *_confidence(report["confidence"])]
    return "\n".join(parts) + "\n"


def _head(report: dict[str, Any]) -> Iterator[str]:
    yield from (
        "# Is the classifier right?",
        "",
        f"Written by `make proof` in {report['seconds']} s: classifier version {report['classifier_version']}, "
        f"{report['parents_a_family']} simulated runs a family, {report['trained_runs']} trained runs. "
        "`undecided` claims nothing: it lowers coverage and recall and is no error.",
        "",
        f"Held out: {', '.join(report['held_out'])}. Rules and calibration were made on the other families. One look "
        "at the held-out ones came before the last change of a rule (the onset is read by its later end), which was "
        "judged on the others: macro-F1 was .803 and .922 then.",
        "",
        "| goal | measured | |",
        "|---|---|---|",
        *(f"| {goal} | {measured} | {'met' if is_met else 'not met'} |" for goal, measured, is_met in _goals(report)),
        "",
    )


def _goals(report: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    for name, rows in report["invariance"].items():
        row = rows[MODERATE]["same_budget"]
        phase, least = _least(row)
        yield (
            f"{name}: errors under {GOAL_ERRORS:.0%} at moderate noise",
            f"{row['errors']:.1%}",
            row["errors"] < GOAL_ERRORS,
        )
        yield (
            f"{name}: F1 of each class {GOAL_F1} or more at moderate noise",
            f"{least:.3f} ({phase})",
            least >= GOAL_F1,
        )
    for name, part in report["other_minds"].items():
        if part["held_out"]:
            macro = part["scores"]["grokctl"]["macro_f1"]
            yield f"{name}, held out: macro-F1 {GOAL_HELD_OUT} or more", f"{macro:.3f}", macro >= GOAL_HELD_OUT
    stay = min(row[c]["stay"] for row in report["metamorphic"].values() for c in row if c != "runs")
    yield f"metamorphic: {GOAL_STAY:.0%} of the labels stay", f"{stay:.1%} at least", stay >= GOAL_STAY
    worst = report["confidence"]["held out together"]["worst_bin"]
    yield f"confidence, held out: no bin of 30 or more off by more than {GOAL_BIN}", f"{worst:.3f}", worst <= GOAL_BIN


def _least(score: dict[str, Any]) -> tuple[str, float]:
    """The class of the lowest F1 among those with enough runs."""
    enough = {phase: f1 for phase, f1 in score["f1"].items() if score["n"][phase] >= ENOUGH}
    phase = min(enough, key=enough.__getitem__)
    return phase, enough[phase]


def _invariance(report: dict[str, Any]) -> Iterator[str]:
    yield from (
        "## Invariance",
        "",
        "The label of a disturbed log against the rules' own label of the same run, clean and dense: at the same "
        "budget, and ten times as long (trained runs: the whole run, as logged; they carry the noise of their own "
        "finite sets already, and get none of that on top). Goal, at moderate noise: F1 of each "
        f"class {GOAL_F1} or more, errors under {GOAL_ERRORS:.0%}.",
        "",
    )
    for name, rows in report.items():
        yield from (
            f"### {name}",
            "",
            f"| log | coverage | errors | macro-F1 | least F1 of a class ({ENOUGH} or more runs) | errors against the "
            "longer run | mistakes |",
            "|---|---|---|---|---|---|---|",
        )
        for nuisance, row in rows.items():
            same, long = row["same_budget"], row["longer"]
            phase, least = _least(same)
            yield (
                f"| {nuisance} | {same['coverage']:.1%} | {same['errors']:.1%} | {same['macro_f1']:.3f} | "
                f"{least:.3f} ({phase}, n = {same['n'][phase]}) | {long['errors']:.1%} | "
                f"{_mistakes(row['mistakes'])} |"
            )
        yield ""


def _other_minds(report: dict[str, Any]) -> Iterator[str]:
    yield from (
        "## Other minds",
        "",
        "Simulations whose truth follows from their mechanism, logged with moderate noise. Where the truth is another "
        f"at three budgets, `undecided` is right too. Goal on held-out families: macro-F1 {GOAL_HELD_OUT} or more. The "
        "tree was fitted to the families that are not held out.",
        "",
        "| family | who | macro-F1 | errors | coverage |",
        "|---|---|---|---|---|",
    )
    for name, part in report.items():
        for who, score in part["scores"].items():
            held = " (held out)" if part["held_out"] else ""
            seen = ", which saw these runs in another log" if who == "decision tree" and part["tree_saw_it"] else ""
            numbers = f"{score['macro_f1']:.3f} | {score['errors']:.1%} | {score['coverage']:.1%}"
            yield f"| {name}{held} | {who}{seen} | {numbers} |"
    yield from ("", "| family | F1 of each class (runs) | mistakes |", "|---|---|---|")
    for name, part in report.items():
        score = part["scores"]["grokctl"]
        classes = ", ".join(f"{phase} {f1:.2f} ({score['n'][phase]})" for phase, f1 in score["f1"].items())
        yield f"| {name} | {classes} | {_mistakes(part['mistakes'])} |"
    yield ""


def _metamorphic(report: dict[str, Any]) -> Iterator[str]:
    yield from ("## Metamorphic", "", f"Labels that stay; goal {GOAL_STAY:.0%}.", "")
    changes = [name for name in next(iter(report.values())) if name != "runs"]
    yield f"| runs | n | {' | '.join(changes)} |"
    yield "|---|---|" + "---|" * len(changes)
    for name, row in report.items():
        cells = [f"{row[c]['stay']:.1%} {_mistakes(row[c]['mistakes'])}".strip() for c in changes]
        yield f"| {name} | {row['runs']} | {' | '.join(cells)} |"
    yield ""


def _confidence(report: dict[str, Any]) -> Iterator[str]:
    yield from (
        "## Confidence",
        "",
        "A prediction that can fail: the clean log of three times the budget has the same label. Each run in five "
        "logs, from clean to strongly disturbed. Families not held out are judged by a calibration fitted without "
        f"them, the others by the classifier's own. Goal: no bin of 30 or more runs off by more than {GOAL_BIN}. "
        "(Brier score beside that of always promising the mean.)",
        "",
        "| family | labels | stay | Brier | of the mean | worst bin | promised -> held (runs) |",
        "|---|---|---|---|---|---|---|",
    )
    rows = {**report["families"], **{k: report[k] for k in ("held out together", "all together") if k in report}}
    for name, row in rows.items():
        bins = ", ".join(f"{b['promised']:.2f} -> {b['held']:.2f} ({b['n']})" for b in row["bins"])
        held = " (held out)" if row.get("held_out") else ""
        yield (
            f"| {name}{held} | {row['runs']} | {row['stay']:.1%} | {row['brier']:.3f} | "
            f"{row['brier_of_the_mean']:.3f} | {row['worst_bin']:.3f} | {bins} |"
        )
    yield ""
    for title, shares in report["fitted"].items():
        knots = ", ".join(f"{m:g}: {share:.3f}" for m, share in zip(report["margins"], shares, strict=True))
        yield f"- fitted shares by margin, {title.replace('_', ' ')} (results/classify/calibration.py): {knots}"


def _mistakes(mistakes: list[Any]) -> str:
    return "; ".join(f"{a} as {b} {n}" for a, b, n in mistakes)
