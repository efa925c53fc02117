"""What the keys of a spec may not say together. Each check reads a few hyperparameters, and is made once for each
combination of their values that occurs among the runs.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from orchestrator import model_checks, sequence_checks
from orchestrator.code_file import names_in
from orchestrator.errors import Fault, KeyPath
from orchestrator.model_checks import Check, Combo
from orchestrator.observation_checks import is_built_in, observation_faults
from orchestrator.parquet_data import own_data
from orchestrator.run_table import RunTable, n_examples
from orchestrator.spec_model import PLACES, SweepSpec
from orchestrator.wording import nearest
from trainers.config import DEFAULTS, RunConfig
from trainers.expressions import ExpressionError
from trainers.members import parse_members
from trainers.tasks import TABLE_FIELDS, sparse_parity
from trainers.tasks.shapes import HELD_OUT, OF_NUMBERS, OWN_INPUTS, SEQUENCES, n_classes
from trainers.train_sizes import phases

MOST_DRAWN = 10_000_000
"""Examples that a run may draw for itself."""
MAX_SHOWN = 5
"""Faults that one check reports."""


def check(table: RunTable, spec: SweepSpec, broken: Collection[str] = ()) -> list[Fault]:
    """All faults; checks that read a `broken` hyperparameter, one that is wrong by itself, are left out."""
    paths = {**PLACES, **spec.axis_paths()}
    faults = []
    for names, function in CHECKS.items():
        if not set(names) & set(broken):
            combos, _ = table.combinations(names)
            found = [(paths[n], combo[n], m) for combo in combos for n, m in function(combo)]
            faults += _shortened([Fault(_at_value(path, value, spec), m) for path, value, m in found])
    faults += [f for name in _UNREAD if name not in broken for f in _unread(table, name, paths)]
    if not broken:
        faults += observation_faults(table, spec)
    return faults + _diagram_faults([*table.axis_names, *broken], spec)


def _at_value(path: KeyPath, value: Any, spec: SweepSpec) -> KeyPath:
    """The entry of an axis that has this value, if it stands there as such."""
    values = {"grid": spec.grid, "zip": spec.zip}.get(str(path[0]), {}).get(str(path[-1]), ())
    return (*path, values.index(value)) if value in values else path


def _shortened(faults: list[Fault]) -> list[Fault]:
    if len(faults) <= MAX_SHOWN:
        return faults
    last = faults[MAX_SHOWN - 1]
    rest = len(faults) - MAX_SHOWN
    return [*faults[: MAX_SHOWN - 1], Fault(last.path, f"{last.message} (and {rest} more like this)")]


def _train_size(combo: Combo) -> Iterator[tuple[str, str]]:
    table = n_examples(combo)
    if combo["task_kind"] in (*HELD_OUT, "data"):
        where, what = combo["folder"] or combo["file"], "images" if combo["folder"] else "examples"
        if combo["train_size"] > table:
            has = f"{where} has" if where else "there are"
            yield "train_size", f"{combo['train_size']:,} is too many: {has} {table:,} {what} to train on"
    elif combo["task_kind"] not in SEQUENCES and combo["train_size"] >= table:
        what = _table_name(combo)
        count = f"{combo['train_size']:,} is too many"
        yield "train_size", f"{count}: {what} has {table:,} examples, and one at least is for validation"


def _table_name(combo: Combo) -> str:
    operands = f"{combo['modulus']} symbols ({combo['task_kind']})"
    if combo["task_kind"] == "permutations":
        operands = f"the permutations of {combo['symbols']}"
    task = f"{combo['members']!r}, a member" if combo["members"] else combo["task"]
    return f"the table of {task} with {operands}"


def _task(combo: Combo) -> Iterator[tuple[str, str]]:
    if combo["task_kind"] in OF_NUMBERS and combo["model"] not in ("mlp", "code"):
        yield "model", f"a task of {combo['task_kind']} is learned by the mlp; write `model: {{kind: mlp}}`"
    if combo["task_kind"] == "teacher_student" and (combo["loss"] != "mse" or combo["targets"] == "one_hot"):
        yield "loss", "teacher_student is a regression onto what the teacher says; write `loss: mse`"
    if combo["task_kind"] == "toy_addition":
        if combo["model"] not in ("toy", "code"):
            yield "model", "toy_addition is learned by the toy; write `model: {kind: toy}`"
        if combo["task"] != "a + b":
            yield "task", f"toy_addition is a + b; {combo['task']} needs `kind: modular`"


def _earlier_sizes(combo: Combo) -> Iterator[tuple[str, str]]:
    """Blamed on train_size, where a schedule usually stands."""
    *earlier, last = phases(combo["train_size"], combo["train_size_before"])
    if last.start >= combo["steps"]:
        late = f"the last training set begins after {last.start:,} steps"
        yield "train_size", f"{late}, and a run has {combo['steps']:,}: nothing would be trained on it"
    table = n_examples(combo)
    for phase in earlier:
        if phase.size > table:
            where = combo["folder"] or combo["file"] or _table_name(combo)
            yield "train_size", f"{phase.size:,} are too many: {where} has {table:,} examples; write `size: all`"


def _marginal(combo: Combo) -> Iterator[tuple[str, str]]:
    if combo["task_kind"] not in ("random_labels", "mixture") or combo["marginal_of"] is None:
        return
    try:
        defined = n_examples({"task": combo["marginal_of"], "modulus": combo["modulus"]})
    except ExpressionError as error:
        yield "marginal_of", f"{combo['marginal_of']}: {error.message}"
    else:
        if not defined:
            yield "marginal_of", f"{combo['marginal_of']} has no result mod {combo['modulus']}"


def _parity(combo: Combo) -> Iterator[tuple[str, str]]:
    if combo["task_kind"] != "sparse_parity":
        return
    if combo["parity"] > combo["bits"]:
        yield "parity", f"is of {combo['parity']} bits, and an input has {combo['bits']}"
    n_val = sparse_parity.VAL_SIZE if combo["val_size"] is None else combo["val_size"]
    most = min(2 ** combo["bits"], MOST_DRAWN)
    largest = max(phase.size for phase in phases(combo["train_size"], combo["train_size_before"]))
    if largest + n_val > most:
        sizes = f"{largest:,} examples to train on and {n_val:,} to validate on"
        yield "train_size", f"{sizes} are too many: {combo['bits']} bits make {most:,} that can be used"


def _left_over(combo: Combo) -> Iterator[tuple[str, str]]:
    """Data whose validation is what is not trained on."""
    if combo["task_kind"] == "data" and combo["file"] is not None:
        data = own_data.load(own_data.Source(combo["file"], combo["feature_columns"], combo["target_columns"]))
        if not data.has_validation and combo["train_size"] >= data.n_pool:
            yield (
                "train_size",
                f"{combo['train_size']:,} is too many: {combo['file']} has {data.n_pool:,} examples and none of its "
                "own for validation; leave one at least",
            )


def _members(combo: Combo) -> Iterator[tuple[str, str]]:
    if combo["task_kind"] != "mixture":
        return
    for member in parse_members(combo["members"]):
        kind = "modular" if member.has_rule else "random_labels"
        table = n_examples({"task_kind": kind, "task": member.task, "modulus": combo["modulus"]})
        if member.train_size is not None and member.train_size > table - member.has_rule:
            yield "members", f"{member.train_size:,} is too many for {member.name}: its table has {table:,} examples"
    if combo["outliers"]:
        yield "outliers", "does not go with a mixture; give it a member of random labels"


def _outliers(combo: Combo) -> Iterator[tuple[str, str]]:
    smallest = min(phase.size for phase in phases(combo["train_size"], combo["train_size_before"]))
    if combo["outliers"] > smallest:
        yield "outliers", f"{combo['outliers']:,} are more than the training set has: {smallest:,} examples"
    if combo["outliers"] and combo["label_noise"]:
        yield "label_noise", "does not go with outliers: say how many labels are wrong, or which share; not both"


def _earlier_noise(combo: Combo) -> Iterator[tuple[str, str]]:
    if combo["train_size_before"] and combo["label_noise"]:
        why = "what is validated on later would carry noise"
        yield "label_noise", f"does not go with a schedule of train sizes: {why}; leave out one of the two"


def _batch_size(combo: Combo) -> Iterator[tuple[str, str]]:
    size = combo["batch_size"]
    names = ("train_size", "train_size_before", "members")
    smallest = min(phase.size for phase in phases(*(combo[name] for name in names)))
    if size is not None and size > smallest:
        advice = "leave it out for full batches, or say `where: batch_size <= train_size`"
        yield "batch_size", f"{size:,} is above the train_size of {smallest:,}; {advice}"


def _warmup(combo: Combo) -> Iterator[tuple[str, str]]:
    if combo["warmup_steps"] > combo["steps"]:
        yield "warmup_steps", f"{combo['warmup_steps']:,} is above the {combo['steps']:,} steps of a run"


def _stop(combo: Combo) -> Iterator[tuple[str, str]]:
    patience = combo["stop_patience_steps"]
    if patience and combo["stop_val_accuracy"] is None:
        yield (
            "stop_patience_steps",
            "is patience without a rule; write `stop: {val_accuracy: ..., patience_steps: ...}`",
        )
    elif patience >= combo["steps"]:
        yield "stop_patience_steps", f"{patience:,} is not below the {combo['steps']:,} steps of a run: it never stops"


def _hinge(combo: Combo) -> Iterator[tuple[str, str]]:
    classes = n_classes(RunConfig.model_construct(**{**combo, "train_size": 1, "steps": 1}))
    if combo["loss"] == "hinge" and not combo["n_outputs"] and classes != 2:
        yield "loss", f"hinge is for two classes, and {combo['task_kind']} has {classes} here; write cross_entropy"


def _real_targets(combo: Combo) -> Iterator[tuple[str, str]]:
    """Regressions onto targets of the user's; teacher_student has checks of its own."""
    if not combo["n_outputs"]:
        if combo["right_within"] is not None:
            yield "right_within", "says when a real number is right, and the targets here are classes; leave it out"
        return
    if combo["loss"] != "mse":
        yield (
            "loss",
            f"the targets are real numbers, a regression: write `loss: mse`; {combo['loss']} is for classes, which are "
            "stored as whole numbers",
        )
    if combo["targets"] is not None:
        yield "targets", "stands for classes, and the targets here are real numbers of their own; leave it out"
    for name in ("label_noise", "outliers"):
        if combo[name]:
            yield name, "draws labels anew, and the targets here are real numbers; leave it out"
    if combo["stop_val_accuracy"] is not None and combo["right_within"] is None:
        yield (
            "stop_val_accuracy",
            "nothing measures an accuracy here; say when a real number is right with `task: {right_within: ...}`",
        )


def _code(combo: Combo) -> Iterator[tuple[str, str]]:
    """What a sweep takes from the user's file; that it defines it is looked up without running it."""
    wanted = ["task"] * (combo["task_kind"] == "code") + ["init", "apply"] * (combo["model"] == "code")
    if combo["code"] is None:
        for name in [name for name in ("task_kind", "model") if combo[name] == "code"]:
            yield name, "`kind: code` is taken from a Python file of yours; name it at the top: `code: mine.py`"
        return
    if combo["code_sha256"] is None:
        yield "code", "has no sha256, which load_spec finds; give it in CodeBlock(file=..., sha256=...)"
        return
    own = [name for name in combo["metrics"].split(",") if name and not is_built_in(name)]
    defined = names_in(combo["code"])
    for name in wanted:
        if defined is not None and name not in defined:
            yield "code", f"{combo['code']} defines no function {name}(), which `kind: code` takes from it"
    if not wanted and not own:
        yield (
            "code",
            "nothing is taken from this file: no task and no model is of `kind: code`, and no metric is its own",
        )


def _own_task(combo: Combo) -> Iterator[tuple[str, str]]:
    if combo["task_kind"] != "code":
        return
    if combo["n_tokens"] and combo["input_size"] != DEFAULTS["input_size"]:
        yield "input_size", "an example is n_tokens tokens or input_size numbers, not both; leave one of them out"
    if not combo["n_tokens"] and combo["model"] not in ("mlp", "code"):
        yield (
            "model",
            "examples that are numbers are learned by the mlp or a model of yours; for tokens say how many with "
            "`task: {n_tokens: ...}`",
        )
    if combo["n_outputs"] and combo["n_classes"] != DEFAULTS["n_classes"]:
        yield "n_classes", "targets are classes or n_outputs real numbers, not both; leave one of them out"


def _own_model(combo: Combo) -> Iterator[tuple[str, str]]:
    """What grokctl does inside its own networks, and cannot in the user's."""
    if combo["model"] != "code":
        return
    for name in OF_OWN_NETWORKS:
        if combo[name] != DEFAULTS[name]:
            yield name, f"nothing reads {name} here: only the built-in models do that; leave it out"


OF_OWN_NETWORKS = (
    "dropout", "embedding_penalty", "embedding_learning_rate", "embedding_weight_decay", "last_layer_learning_rate",
    "readout", "split_mlp", "vocabulary", "tied_embeddings", "combine",
)  # fmt: skip


def _last_layer(combo: Combo) -> Iterator[tuple[str, str]]:
    if combo["last_layer_learning_rate"] is not None and combo["tied_embeddings"]:
        why = "with tied embeddings the last layer is the embedding"
        yield "last_layer_learning_rate", f"{why}; write embedding_learning_rate"


CHECKS: dict[tuple[str, ...], Check] = {
    **model_checks.CHECKS,
    **sequence_checks.CHECKS,
    ("loss", "task_kind", "modulus", "symbols", "n_classes", "n_outputs", "tokens", "trigrams"): _hinge,
    ("last_layer_learning_rate", "tied_embeddings"): _last_layer,
    ("code", "code_sha256", "task_kind", "model", "metrics"): _code,
    ("task_kind", "model", "n_tokens", "input_size", "n_outputs", "n_classes"): _own_task,
    ("model", *OF_OWN_NETWORKS): _own_model,
    ("train_size", *TABLE_FIELDS): _train_size,
    ("task_kind", "task", "model", "loss", "targets"): _task,
    ("train_size", "train_size_before", "steps", *TABLE_FIELDS): _earlier_sizes,
    ("train_size_before", "label_noise"): _earlier_noise,
    ("outliers", "label_noise", "train_size", "train_size_before"): _outliers,
    ("task_kind", "marginal_of", "modulus"): _marginal,
    ("batch_size", "train_size", "train_size_before", "members"): _batch_size,
    ("task_kind", "members", "modulus", "outliers"): _members,
    ("task_kind", "bits", "parity", "val_size", "train_size", "train_size_before"): _parity,
    ("task_kind", "file", "feature_columns", "target_columns", "train_size"): _left_over,
    ("task_kind", "n_outputs", "loss", "targets", "label_noise", "outliers", "stop_val_accuracy", "right_within"): (
        _real_targets
    ),
    ("warmup_steps", "steps"): _warmup,
    ("stop_val_accuracy", "stop_patience_steps", "steps"): _stop,
}

_UNREAD = {
    "modulus": ("task_kind", {"modular", "toy_addition", "random_labels", "mixture", "code"}),
    "members": ("task_kind", {"mixture"}),
    "folder": ("task_kind", {"images"}),
    "file": ("task_kind", {"data"}),
    "bits": ("task_kind", {"sparse_parity"}),
    "parity": ("task_kind", {"sparse_parity"}),
    "val_size": ("task_kind", {*HELD_OUT, *OWN_INPUTS, "data"}),
    "tolerance": ("task_kind", {"teacher_student"}),
    "right_within": ("task_kind", {"data", "code"}),
    "n_examples": ("task_kind", {"code"}),
    "n_tokens": ("task_kind", {"code"}),
    "feature_columns": ("task_kind", {"data"}),
    "target_columns": ("task_kind", {"data"}),
    "symbols": ("task_kind", {"permutations"}),
    "subsets": ("task_kind", {"modular", "permutations", "toy_addition", "random_labels"}),
    "symmetric": ("task_kind", {"random_labels", "mixture"}),
    "marginal_of": ("task_kind", {"random_labels", "mixture"}),
    "target_dim": ("loss", {"mse"}),
    "targets": ("loss", {"mse"}),
    **model_checks.UNREAD,
    **sequence_checks.UNREAD,
    "embedding_penalty": ("model", {"transformer", "toy", "code"}),
    "momentum": ("optimizer", {"sgd"}),
    "beta1": ("optimizer", {"adamw", "adam"}),
    "beta2": ("optimizer", {"adamw", "adam"}),
    "eps": ("optimizer", {"adamw", "adam"}),
}
"""Hyperparameters that only some kinds read, and which."""


def _unread(table: RunTable, name: str, paths: Mapping[str, KeyPath]) -> Iterator[Fault]:
    """A value that changes nothing is a mistake, not a wish."""
    selector, readers = _UNREAD[name]
    kinds = table.coded[selector].values
    if not readers & set(kinds) and table.coded[name].values != (DEFAULTS[name],):
        kind = " or ".join(sorted(readers - {"code"} or readers))
        yield Fault(paths[name], f"nothing reads {name} here: it belongs to {selector} {kind}, this is {kinds[0]}")


def _diagram_faults(axes: Sequence[str], spec: SweepSpec) -> list[Fault]:
    if spec.diagram is None:
        return []
    known = list(dict.fromkeys([*axes, "seed"])) + (["train_fraction"] if "train_size" in axes else [])
    named = {key: name for key, name in spec.diagram.model_dump().items() if name is not None}
    faults = []
    for position, (key, name) in enumerate(named.items()):
        if name not in known:
            message = f"{name!r} is not an axis of this sweep{_meant(name, known)} Axes: {', '.join(known)}"
            faults.append(Fault(("diagram", key), message))
        elif name in list(named.values())[:position]:
            faults.append(Fault(("diagram", key), f"{name!r} is drawn twice; x, y and facet are different axes"))
    return faults


def _meant(name: str, known: Sequence[str]) -> str:
    if name == "betas" and "beta1" in known:
        return "; draw beta1 or beta2."
    close = nearest(name, known)
    return f"; did you mean {close!r}?" if close else "."
