"""The report for readers."""

from collections.abc import Iterator
from typing import Any

from children import MODERATELY

ENOUGH, ENOUGH_FOR_A_GOAL = 10, 30
"""Runs of a class from which its F1 is told in a table, and from which a goal asks for it: of 10 runs of real
progression one more or less is .05 of F1."""
CLEANLY = "grokctl, logged cleanly"
"""Who is scored on clean logs."""
KNOWS_FAMILY = "boosted trees that were fitted to other runs of this family"
"""Who is scored beside it: what they get wrong the log does not hold, or trees can't find."""
GOAL_F1, GOAL_ERRORS, GOAL_HELD_OUT, GOAL_STAY, GOAL_BIN = 0.95, 0.03, 0.9, 0.98, 0.1
GOAL_TRUTH = 0.9
POOLED = (
    ("held out together", "held out"),
    ("left out, one after the other", "left out one after the other"),
)


def page(report: dict[str, Any]) -> str:
    parts = [*_head(report), *_invariance(report["invariance"]), *_other_minds(report["other_minds"])]
    parts += [*_metamorphic(report["metamorphic"]), *_confidence(report["confidence"], report["other_packs"])]
    parts += [*_interventions(report["interventions"]), *_blind(report["blind"])]
    return "\n".join(parts) + "\n"


def _head(report: dict[str, Any]) -> Iterator[str]:
    yield from (
        "# Is the classifier right?",
        "",
        f"Written by `make proof` in {report['seconds']} s ({report['cpu_seconds']} s of CPU): classifier version "
        f"{report['classifier_version']}, {report['parents_a_family']} simulated runs a family, "
        f"{report['runs']['trained']} trained runs, {report['runs']['fresh for 8']} and "
        f"{report['runs']['fresh for 9']} of other experiments and seeds, on which versions 8 and 9 were tried "
        f"(`fresh for 8`, `fresh for 9`), and {report['runs']['fresh']} that nothing was made on (`fresh`). "
        "`undecided` claims nothing: it lowers coverage and recall and is no error.",
        "",
        _held_out(report),
        "",
        "| goal | measured | |",
        "|---|---|---|",
        *(f"| {goal} | {measured} | {'met' if is_met else 'not met'} |" for goal, measured, is_met in _goals(report)),
        "",
    )


def _held_out(report: dict[str, Any]) -> str:
    names = report["held_out"]
    if not names:
        return "The held-out families were left unseen."
    return (
        f"Held out: {', '.join(names)}. They were written from the definitions, without sight of the classifier. "
        "Their runs were never looked at, and their scores only when all rules and the calibration were done. "
        f"{', '.join(report['held_out_before'])} were held out before, until they had been scored or had shown what "
        "changed a rule or a truth (LOG.md); calibration is fitted to them, too."
    )


def _goals(report: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    for name, rows in report["invariance"].items():
        row = rows[MODERATELY]["same_budget"]
        phase, least = _least(row, ENOUGH_FOR_A_GOAL)
        low, high = rows[MODERATELY]["f1_interval"][phase]
        yield (
            f"{name}: errors under {GOAL_ERRORS:.0%} at moderate noise",
            f"{row['errors']:.1%}",
            row["errors"] < GOAL_ERRORS,
        )
        yield (
            f"{name}: F1 of each class of {ENOUGH_FOR_A_GOAL} runs {GOAL_F1} or more at moderate noise",
            f"{least:.3f} ({phase}, n = {row['n'][phase]}, 95 % interval {low:.2f} to {high:.2f})",
            least >= GOAL_F1,
        )
    for name, part in report["other_minds"].items():
        if part["held_out"]:
            macro = {who: score["macro_f1"] for who, score in part["scores"].items()}
            told = f"{macro['grokctl']:.3f} (trees that know it: {macro[KNOWS_FAMILY]:.3f})"
            goal = f"macro-F1 {GOAL_HELD_OUT} or more"
            yield f"{name}, held out, moderate noise: {goal}", told, macro["grokctl"] >= GOAL_HELD_OUT
            yield f"{name}, held out, clean log: {goal}", f"{macro[CLEANLY]:.3f}", macro[CLEANLY] >= GOAL_HELD_OUT
    for log, title in (("moderate", "moderate noise"), ("clean", "clean log")):
        if log in report["held_out_together"]:
            macro = report["held_out_together"][log]["macro_f1"]
            goal = f"held out, all families together, {title}: macro-F1 {GOAL_HELD_OUT} or more"
            yield goal, f"{macro:.3f}", macro >= GOAL_HELD_OUT
    stay = min(row[c]["stay"] for row in report["metamorphic"].values() for c in row if c != "runs")
    yield f"metamorphic: {GOAL_STAY:.0%} of the labels stay", f"{stay:.1%} at least", stay >= GOAL_STAY
    for pooled, title in (*POOLED, ("all together", "all, by the scales shipped")):
        if pooled in report["confidence"]:
            worst = report["confidence"][pooled]["worst_bin"]
            goal = f"confidence, {title}: no bin of 30 or more off by more than {GOAL_BIN}"
            yield goal, f"{worst:.3f}", worst <= GOAL_BIN
    for phase, part in by_truth(report["interventions"]).items():
        told = f"{part['right']} of {part['runs']} runs of {part['tasks']} tasks"
        goal = f"intervention, {phase}: 30 runs or more of 3 tasks, {GOAL_TRUTH:.0%} of them called so"
        yield goal, told, part["enough"] and part["right"] >= GOAL_TRUTH * part["runs"]
    for name, reading in (report["blind"] or {}).items():
        least = reading["difference"]["high"]
        against, among = (reading[f"kappa_{who}"] for who in ("classifier_with_readers", "among_readers"))
        told = f"kappa {against['value']:.2f} against {among['value']:.2f}"
        yield f"{name}: readers agree with the classifier as with each other", told, least >= 0


def by_truth(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Interventions of one truth, put together."""
    found: dict[str, dict[str, Any]] = {}
    for part in report.values():
        into = found.setdefault(part["truth"], {"runs": 0, "right": 0, "tasks": 0})
        into["runs"] += part["runs"]
        into["right"] += part["called"].get(part["truth"], 0)
        into["tasks"] = max(into["tasks"], part["tasks"])
    return {phase: into | {"enough": into["runs"] >= 30 and into["tasks"] >= 3} for phase, into in found.items()}


def _least(score: dict[str, Any], least: int = ENOUGH) -> tuple[str, float]:
    """The class of the lowest F1 among those with at least so many runs, if there are any."""
    enough = {phase: f1 for phase, f1 in score["f1"].items() if score["n"][phase] >= least} or score["f1"]
    phase = min(enough, key=enough.__getitem__)
    return phase, enough[phase]


def _invariance(report: dict[str, Any]) -> Iterator[str]:
    yield from (
        "## Invariance",
        "",
        "The label of a disturbed log against the rules' own label of the same run, clean and dense: at the same "
        "budget, and ten times as long (trained runs: the whole run, as logged; they carry the noise of their own "
        "finite sets already, and get none of that on top, but whole numbers of examples). Goal, at moderate noise, "
        f"where three times as many runs are simulated and each is read three times: F1 of each class {GOAL_F1} or "
        f"more, errors under {GOAL_ERRORS:.0%}.",
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
        "at three budgets, `undecided` is right too. Goal on held-out families, of which three times as many runs are "
        f"simulated: macro-F1 {GOAL_HELD_OUT} or more, of all of them together and of each. The decision tree was "
        "fitted to the families that rules were made on; the boosted trees to four fifths of the very family and asked "
        "about the other fifth, with all evidence, the rule that held and its distances: what they get wrong the log "
        "does not hold, or trees can't find. "
        "`resampled` are the trained runs, stretched in time, their noise shuffled, their truth read off the smoothed "
        "curves; rules and calibration have seen the runs.",
        "",
        "| family | who | macro-F1 | errors | coverage |",
        "|---|---|---|---|---|",
    )
    for name, part in report.items():
        for who, score in part["scores"].items():
            held = " (held out)" if part["held_out"] else ""
            seen = ", which saw these runs in another log" if who == "decision tree" and part["tree_saw_it"] else ""
            yield f"| {name}{held} | {who}{seen} | {_scores(score)} |"
    yield from ("", "| family | F1 of each class (runs) | mistakes |", "|---|---|---|")
    for name, part in report.items():
        score = part["scores"]["grokctl"]
        classes = ", ".join(f"{phase} {f1:.2f} ({score['n'][phase]})" for phase, f1 in score["f1"].items())
        yield f"| {name} | {classes} | {_mistakes(part['mistakes'])} |"
    yield ""


def _scores(score: dict[str, Any]) -> str:
    return f"{score['macro_f1']:.3f} | {score['errors']:.1%} | {score['coverage']:.1%}"


def _metamorphic(report: dict[str, Any]) -> Iterator[str]:
    yield from ("## Metamorphic", "", f"Labels that stay; goal {GOAL_STAY:.0%}.", "")
    changes = [name for name in next(iter(report.values())) if name != "runs"]
    yield f"| runs | n | {' | '.join(changes)} |"
    yield "|---|---|" + "---|" * len(changes)
    for name, row in report.items():
        cells = [f"{row[c]['stay']:.1%} {_mistakes(row[c]['mistakes'])}".strip() for c in changes]
        yield f"| {name} | {row['runs']} | {' | '.join(cells)} |"
    yield ""


def _confidence(report: dict[str, Any], other_packs: dict[str, Any]) -> Iterator[str]:
    yield from (
        "## Confidence",
        "",
        "A prediction that can fail: the clean log of three times the budget has the same label. Each run in six "
        "logs, from clean to strongly disturbed. Families not held out are judged by scales fitted without them, the "
        "held-out ones by the classifier's own, and in the row of all together so is every family. Goal: no bin of 30 "
        f"or more labels off by more than {GOAL_BIN}. (Brier score beside that of always promising the mean; 95 % "
        "intervals of what held, as if every label were of a run of its own.)",
        "",
        "| family | labels | stay | Brier | of the mean | worst bin | promised -> held (runs) |",
        "|---|---|---|---|---|---|---|",
    )
    pooled = [*(name for name, _ in POOLED), "all together"]
    rows = {**report["families"], **{name: report[name] for name in pooled if name in report}}
    rows["trained again in another pack"] = other_packs
    for name, row in rows.items():
        bins = ", ".join(_bin(b) for b in row["bins"])
        held = " (held out)" if row.get("held_out") else ""
        yield (
            f"| {name}{held} | {row['runs']} | {row['stay']:.1%} | {row['brier']:.3f} | "
            f"{row['brier_of_the_mean']:.3f} | {_number(row['worst_bin'])} | {bins} |"
        )
    changed = _mistakes(other_packs["mistakes"])
    yield from (
        "",
        f"In another pack the same run differs in its last bits. Labels that changed: {changed or 'none'}.",
        "",
    )
    yield from (
        "What is read rightly: the share of labels that the clean, dense log of the same budget has too, by the "
        "distance of the least certain quantity from its threshold in standard errors of the trace's own noise (95 %).",
        "",
    )
    found = {each for row in report["families"].values() for each in row["read"]}
    bins = sorted(found, key=lambda each: float(each.strip("[").split(",")[0]))
    yield f"| family | {' | '.join(bins)} |"
    yield "|---|" + "---|" * len(bins)
    for name, row in report["families"].items():
        yield f"| {name} | {' | '.join(_share(row['read'].get(each)) for each in bins)} |"
    yield from ("", "Scales as fitted here; results/classify/calibration.py has them rounded:", "")
    for title, shares in report["fitted"].items():
        told = shares if isinstance(shares, list | tuple) else [shares]
        yield f"- {title}: {', '.join(f'{share:.3f}' for share in told)}"
    yield ""


def _number(x: float) -> str:
    return f"{x:.3f}" if x == x else "too few"


def _bin(b: dict[str, Any]) -> str:
    low, high = b["held_interval"]
    return f"{b['promised']:.2f} -> {b['held']:.2f} ({low:.2f} to {high:.2f}, {b['n']})"


def _interventions(report: dict[str, Any]) -> Iterator[str]:
    yield from (
        "## Truth by intervention",
        "",
        "Runs trained so that their phase is known beforehand ([specs](../../../specs), `intervention_*`): no rule to "
        "find; next to no data, or nearly all; all, and then few; no decay, and little. What can be seen in no "
        "trace, that more data would have helped, is asked of both passes. Where an intervention failed that counts as "
        "a mistake too.",
        "",
        "| what was done: truth | runs | tasks | called so (95 %) | called otherwise |",
        "|---|---|---|---|---|",
    )
    for title, part in report.items():
        right = part["right"]
        others = ", ".join(f"{phase} {n}" for phase, n in part["called"].items() if phase != part["truth"])
        yield (
            f"| {title} | {part['runs']} | {part['tasks']} | {right['share']:.0%} ({right['low']:.0%} to "
            f"{right['high']:.0%}) | {others} |"
        )
    yield ""


DRAWN = {
    "blind": "evenly over what the classifier (version 4) says of them and warns of: what is disputable is there",
    "blind_experiments": "evenly over fifteen experiments of new seeds, whatever the classifier says",
    "blind_fresh": "likewise, of other experiments and seeds, when the rules were done but for the half that "
    "progression asks for, which changes none of these labels",
}


def _blind(report: dict[str, Any] | None) -> Iterator[str]:
    yield from ("## Blind reading", "")
    if report is None:
        yield "Not done. The runs are in `blind/`; `python tests/proof/blind.py draw` makes the sheets."
        return
    for name, reading in report.items():
        yield from _reading(name, reading)


def _reading(name: str, report: dict[str, Any]) -> Iterator[str]:
    kappas = {
        "readers of different views among each other": report["kappa_among_readers"],
        "the classifier with readers": report["kappa_classifier_with_readers"],
        "difference": report["difference"],
    }
    yield from (
        f"{report['readers']} readers named {report['items']} trained runs by their plots and the definitions in "
        f"[{name}/DEFINITIONS.md]({name}/DEFINITIONS.md), knowing neither labels nor tasks. Runs were drawn "
        f"{DRAWN[name]}. Readers see pictures over log step, pictures over the step itself, or rows of numbers "
        "(`blind.py draw --view`): in the same view they agree nearly always, also where they misread it "
        f"(kappa {report['kappa_in_the_same_view']:.2f}). Cohen's kappa, mean of pairs, 95 % of a bootstrap:",
        "",
        *(f"- {who}: {k['value']:.2f} ({k['low']:.2f} to {k['high']:.2f})" for who, k in kappas.items()),
        f"- the same answer: {report['agreement_among_readers']:.0%} among readers, "
        f"{report['agreement_with_classifier']:.0%} with the classifier",
        "",
        "| phase | classifier says | most readers agree | most readers say | classifier agrees |",
        "|---|---|---|---|---|",
    )
    for phase, row in report["by_class"].items():
        yield (
            f"| {phase} | {row['classifier_says']} | {_share(row['readers_agree'])} | {row['most_readers_say']} | "
            f"{_share(row['classifier_agrees'])} |"
        )
    told = "; ".join(f"{ours} where most readers say {theirs} {n}" for ours, theirs, n in report["disagreements"])
    yield from ("", f"Commonest differences: {told or 'none'}.", "")


def _share(share: dict[str, float] | None) -> str:
    return "" if share is None else f"{share['share']:.0%} ({share['low']:.0%} to {share['high']:.0%})"


def _mistakes(mistakes: list[Any]) -> str:
    return "; ".join(f"{a} as {b} {n}" for a, b, n in mistakes)
