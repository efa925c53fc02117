"""What the keys of a sequence task may not say together. Collected in `orchestrator.checks`."""

from collections.abc import Iterator

from orchestrator.model_checks import Check, Combo
from trainers.config import DEFAULTS, RunConfig
from trainers.tasks.sequences import VAL_SIZE
from trainers.tasks.sequences import table_size as n_sequences
from trainers.tasks.shapes import LABELLED_OFTEN, SEQUENCES, n_tokens
from trainers.train_sizes import phases

MOST_TOKENS = 100_000_000
"""That a run may draw for itself."""
LEAST_PER_EXAMPLE = 1_000
"""Sequences that there are for each that is drawn: so hardly one comes twice."""

SIZES = ("digits", "tokens", "length", "repeated", "copies")
SHAPE = (*SIZES, "trigrams")


def _placing(combo: Combo) -> Iterator[tuple[str, str]]:
    kind, length = combo["task_kind"], combo["length"]
    taken = combo["copies"] * combo["repeated"]
    if kind == "repeated_subsequence" and taken > length:
        copies = f"{combo['copies']} copies of {combo['repeated']} tokens"
        yield "length", f"{length} is too short: {copies} take {taken}"
    if kind == "skip_trigram" and combo["trigrams"] >= combo["tokens"]:
        why = f"{combo['trigrams']} of them begin a trigram, and one at least is for the rest"
        yield "tokens", f"{combo['tokens']} are too few: {why}"


def _sizes(combo: Combo) -> Iterator[tuple[str, str]]:
    kind = combo["task_kind"]
    if kind not in SEQUENCES:
        return
    n_val = VAL_SIZE if combo["val_size"] is None else combo["val_size"]
    largest = max(phase.size for phase in phases(combo["train_size"], combo["train_size_before"]))
    sizes = f"{largest:,} examples to train on and {n_val:,} to validate on"
    config = RunConfig.model_construct(**{**combo, "steps": 1})
    if (largest + n_val) * n_tokens(config) > MOST_TOKENS:
        yield "train_size", f"{sizes} are too many: a run may draw {MOST_TOKENS:,} tokens"
        return
    there = n_sequences(config)
    is_listed = kind == "digit_addition"  # without repetition
    if not combo["fresh"] and (largest + n_val) * (1 if is_listed else LEAST_PER_EXAMPLE) > there:
        advice = "lower val_size" if is_listed else "give it more tokens or a greater length"
        yield "train_size", f"{sizes} are too many: there are {there:,} {kind} sequences; {advice}"


def _training(combo: Combo) -> Iterator[tuple[str, str]]:
    kind = combo["task_kind"]
    if kind not in SEQUENCES:
        return
    for name in ("label_noise", "outliers"):
        if combo[name]:
            yield name, f"does not go with {kind}, whose labels are all right; leave {name} out"
    if combo["loss"] != "cross_entropy":
        yield "loss", f"{kind} foretells tokens; write `loss: cross_entropy`"
    if combo["fresh"] and combo["batch_size"] is not None:
        yield "batch_size", "with `fresh: true` each step draws train_size examples; leave batch_size out"
    if combo["fresh"] and combo["train_size_before"]:
        yield "train_size_before", "is about a training set, and with `fresh: true` there is none; leave it out"


def _network(combo: Combo) -> Iterator[tuple[str, str]]:
    kind = combo["task_kind"]
    if kind not in SEQUENCES:
        return
    if combo["model"] != "transformer":
        yield "model", f"{kind} is learned by the transformer; write `model: {{kind: transformer}}`"
    elif kind in LABELLED_OFTEN and combo["readout"] != "every":
        yield "readout", f"{kind} has a label at each of several positions; write `readout: every`"
    if combo["equals_token"] != DEFAULTS["equals_token"]:
        yield "equals_token", f"nothing reads equals_token here: {kind} has its own; leave it out"


CHECKS: dict[tuple[str, ...], Check] = {
    ("task_kind", "tokens", "length", "repeated", "copies", "trigrams"): _placing,
    ("task_kind", "fresh", "val_size", "train_size", "train_size_before", *SIZES): _sizes,
    ("task_kind", "fresh", "label_noise", "outliers", "loss", "batch_size", "train_size_before"): _training,
    ("task_kind", "model", "readout", "equals_token"): _network,
}

UNREAD = {
    "digits": ("task_kind", {"digit_addition"}),
    **dict.fromkeys(("tokens", "length"), ("task_kind", {"repeated_subsequence", "skip_trigram"})),
    **dict.fromkeys(("repeated", "copies"), ("task_kind", {"repeated_subsequence"})),
    "trigrams": ("task_kind", {"skip_trigram"}),
    "fresh": ("task_kind", set(SEQUENCES)),
}
"""Hyperparameters that only some of these tasks read, and which."""
