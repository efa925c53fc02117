"""What the name of a column means. Loggers agree on no names, but nearly all of them are made of the same few words."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

SPLITS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training", "trn", "tr", "fit"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "evaluation", "heldout", "holdout"), "val"),
    **dict.fromkeys(("test", "testing", "te"), "val"),
}
SECOND_CHOICE = frozenset({"test", "testing", "te"})
"""Where there are a validation and a test set, validation is meant."""
KINDS: Mapping[str, str] = {
    **dict.fromkeys(("acc", "accuracy", "accuracies", "top1", "acc1"), "accuracy"),
    **dict.fromkeys(("loss", "losses", "nll", "ce", "xent", "crossentropy"), "loss"),
}
ERRORS = frozenset({"error", "errors", "err", "errorrate"})
"""An error of classification is 1 - accuracy..."""
OTHER_ERRORS = frozenset(
    {"squared", "square", "absolute", "abs", "relative", "standard", "std", "bar", "bars", "reconstruction"}
)
"""...but with one of these words it is something else."""
TOP = frozenset({"top1", "acc1"})
"""Beside the word error they say which one."""
NORMS = frozenset({"param", "params", "parameter", "parameters", "weight", "weights", "l2", "model"})
STEPS = ("step", "steps", "globalstep", "iteration", "iterations", "iter", "iters", "it", "update", "updates")
EPOCHS = ("epoch", "epochs")
RUNS = ("runid", "run", "runname", "name", "experiment", "experimentname", "exp", "trial", "trialid", "id", "model")
TIMES = frozenset(
    {"walltime", "runtime", "timestamp", "time", "relativetime", "relativetimewall", "relativetimeprocess"}
)
CONFIG: Mapping[str, str] = {
    **dict.fromkeys(("lr", "learningrate"), "learning_rate"),
    **dict.fromkeys(("wd", "weightdecay"), "weight_decay"),
    **dict.fromkeys(("trainsize", "ntrain", "numtrain", "trainsetsize", "trainpoints", "ntrainsamples"), "train_size"),
    **dict.fromkeys(("valsize", "nval", "numval", "testsize", "ntest", "numtest"), "val_size"),
    **dict.fromkeys(("trainfraction", "trainfrac", "fractrain", "fraction"), "train_fraction"),
    **dict.fromkeys(("seed", "randomseed"), "seed"),
    **dict.fromkeys(("maxsteps", "totalsteps", "nsteps", "numsteps", "budget", "maxiters"), "steps"),
    **dict.fromkeys(("nclasses", "numclasses", "classes"), "classes"),
    **dict.fromkeys(("p", "modulus", "mod"), "modulus"),
    **dict.fromkeys(("chance", "chanceaccuracy"), "chance_accuracy"),
    **dict.fromkeys(("outcome",), "outcome"),
    **dict.fromkeys(("labelnoise",), "label_noise"),
    **dict.fromkeys(("stoppedat",), "stopped_at"),
}
"""Hyperparameters under the names that the tables of grokctl have for them, by name without separators."""


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """Of a column that is a metric."""

    split: str
    """train, val, or "" where the name does not say."""
    kind: str
    """accuracy, error, loss or norm."""
    rest: tuple[str, ...]
    """The other words of the name."""
    is_second_choice: bool

    @property
    def rank(self) -> tuple[bool, bool, int]:
        """Of two columns for the same metric the one of lower rank is meant."""
        return self.is_second_choice, self.kind == "error", len(self.rest)


def words(name: str) -> list[str]:
    """`trainAcc`, `train/acc` and `Train Acc` are all ["train", "acc"]."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    joined = re.sub(r"\b(held|hold|cross)[\s_-]+(out|entropy)\b", r"\1\2", parted, flags=re.IGNORECASE)
    return [word.lower() for word in re.split(r"[^A-Za-z0-9]+", joined) if word]


def plain(name: str) -> str:
    """Without separators and capitals."""
    return "".join(words(name))


def meaning_of(name: str) -> Meaning | None:
    """None for what is no metric of a trace."""
    parts = words(name)
    kind = "error" if says_error(name) else next((KINDS[word] for word in parts if word in KINDS), None)
    if kind is None and "norm" in parts and (len(parts) == 1 or NORMS & set(parts)):
        return Meaning(split="", kind="norm", rest=(), is_second_choice=False)
    if kind is None:
        return None
    split_word = next((word for word in parts if word in SPLITS), "")
    rest = [word for word in parts if word not in KINDS and word not in ERRORS and word != split_word]
    return Meaning(
        split=SPLITS.get(split_word, ""),
        kind=kind,
        rest=tuple(rest),
        is_second_choice=split_word in SECOND_CHOICE,
    )


def says_error(name: str) -> bool:
    """Whether it is the share of wrong answers. `val_acc_err` is not: that is how uncertain an accuracy is."""
    parts = set(words(name))
    return bool(parts & ERRORS) and not parts & (set(KINDS) - TOP | OTHER_ERRORS)


def says_percent(name: str) -> bool:
    return "%" in name or bool({"percent", "percentage", "pct"} & set(words(name)))


def is_step(name: str) -> bool:
    return plain(name) in (*STEPS, *EPOCHS) or words(name)[-2:] == ["global", "step"]


def is_epoch(name: str) -> bool:
    return plain(name) in EPOCHS


def crossing_split(name: str) -> str | None:
    """train or val if it is the name of a crossing time: `t_train`, `steps_to_90_val`, `train_steps`, `step(test)`."""
    parts = words(name)
    splits = {SPLITS[word] for word in parts if word in SPLITS}
    timely = {"t", "step", "steps", "iter", "iters", "iteration", "iterations", "epoch", "epochs", "time", "crossing"}
    return splits.pop() if len(splits) == 1 and timely & set(parts) and not set(parts) & set(KINDS) - {"acc"} else None
