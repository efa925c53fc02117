"""Which columns of a table are metrics, labels, or hyperparameters."""

from results.classify.batch import METRICS

LABEL_COLUMNS = (
    "phase", "confidence", "liu_phase", "huang_dynamic", "t_train", "t_train_lo", "t_train_hi", "t_val", "t_val_lo",
    "t_val_hi", "delay", "t_onset", "onset_train_accuracy", "peak_val_accuracy", "final_train_accuracy",
    "final_val_accuracy", "n_surges", "norm_change", "ungrokking_kind", "pass", "neighbours", "warning", "why",
    "classifier_version", "thresholds",
)  # fmt: skip
"""What label_runs says of a run, after run_id and before the config columns. `warning` and `neighbours` are words
separated by commas, empty for none; `thresholds` is the settings as JSON."""

RUN_COLUMNS = ("pack_id", "outcome", "stopped_at", "wall_s")
"""How a run went: in the runs table, not in the labels."""

VARIES_AMONG_NEIGHBOURS = (
    "train_size", "train_fraction", "val_size", "seed", "data_seed", "init_seed", "chance_accuracy", "n_parameters",
)  # fmt: skip
"""Runs that agree on every other config column are neighbours: equal in everything but training size and seed."""

NOT_CONFIG = frozenset({"run_id", "step", "sweep", *METRICS, *LABEL_COLUMNS, *RUN_COLUMNS})
