"""What each warning of a label means, in a sentence: what stands in the column `warning`, separated by commas."""

from collections.abc import Mapping
from types import MappingProxyType

WAS = "was_..."
"""Of a run that diverged; the phase before it stands in place of the dots."""
PROVISIONAL = "provisional"
FROM_LOSSES = "from_losses"

WARNINGS: Mapping[str, str] = MappingProxyType(
    {
        "no_trace": "The run has no row at all.",
        "no_accuracy": "No row has both accuracies, and phases are read off accuracies.",
        "too_few_rows": "Fewer than 3 rows have both accuracies.",
        "too_few_validation": "Fewer than {least_val} examples validate the run, and luck alone gets so few right.",
        "no_yes": "Validation accuracy holds {theta_val:g}, though training accuracy never holds its own level.",
        "forgot": "The run had generalized, or was half of the way there, and has lost both accuracies since.",
        "no_plateau": "Validation left chance before the training set was fitted: slow learning, in which both curves "
        "rise together.",
        "straddles_delta": "The logged rows lie too far apart to say for certain whether the delay reaches "
        "{delta_steps:,.0f} steps.",
        "fell_again": "Validation accuracy had held {theta_val:g} and ends more than {slack:g} below it, but so does "
        "training, or the difference is one example.",
        "partial": "A progression whose validation accuracy never holds {theta_val:g}.",
        "partial_from_start": "Validation accuracy ends above chance, where it was soon.",
        "partial_training": "No level is held, but a part of the training set is fitted.",
        "unstable": "Validation accuracy fell {unstable_falls} times or more from near its maximum to below "
        "{collapse:g} of it.",
        "noisy_labels": "Some training labels are wrong by design, so the level at which training counts as fitted was "
        "lowered.",
        "stopped_early": "The trace ends before {full_budget:.0%} of the budget.",
        "crossing_cut_short": "The trace ends before a level that was crossed had been held for as long as is asked.",
        "chance_unknown": "Nothing says what guessing would get right, so chance counts as 0.",
        PROVISIONAL: "Its training size lies below D50, but D50 has moved since half of the budget, so the label stays "
        "`memorization`.",
        FROM_LOSSES: "The table has losses only: scores made of them stand in for accuracies, and the confidence is "
        "limited by how often such labels agree with those of accuracies.",
        WAS: "The run diverged; until then it was in the phase named here.",
    }
)
"""In the order in which a label has them; {names} of knobs are filled in."""


def warning_text(name: str) -> str | None:
    """The entry of a warning as it stands in a label (`was_grokking`); None for what is none."""
    return WARNINGS.get(WAS if name.startswith("was_") else name)
