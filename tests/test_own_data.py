"""Data of one's own beyond classes in .npz: Parquet, and targets that are real numbers.

To accept changed messages: `python tests/test_own_data.py`.
"""

import difflib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import Grokctl
from test_tasks_features import WITHOUT_VAL, configs_of, spec, write
from trainers_helpers import final_vector, trace, train

from orchestrator.columns import config_columns
from orchestrator.errors import SpecError
from orchestrator.expand import expand
from orchestrator.spec import load_spec
from results import open_sweep
from trainers import tasks
from trainers.config import RunConfig
from trainers.engine import network
from trainers.models import layout
from trainers.tasks import shapes

REGRESSION = "loss: mse\n"


def table(**changes: Any) -> dict[str, Any]:
    """40 rows of two features and a class; None takes a column away."""
    rng = np.random.default_rng(0)
    x1, x2 = rng.standard_normal((2, 40))
    columns: dict[str, Any] = {"x1": x1, "x2": x2, "targets": (x1 > x2).astype(int)}
    return {name: value for name, value in (columns | changes).items() if value is not None}


def parquet(folder: Path, task: str = "", text: str = "", **changes: Any) -> Path:
    """A spec of that table's Parquet file."""
    pq.write_table(pa.table(table(**changes)), folder / "mine.parquet")
    path = spec(folder, text)
    path.write_text(path.read_text().replace("mine.npz", f"mine.parquet{task}"))
    return path


def config_of(path: Path) -> RunConfig:
    return expand(load_spec(path).spec).config(0)


# Parquet


def test_parquet_is_the_same_task_as_the_arrays(tmp_path: Path) -> None:
    """The identity is of the numbers, whatever file they come in."""
    config = config_of(parquet(tmp_path))
    assert (config.input_size, config.n_classes, config.n_outputs) == (2, 2, 0)
    data, columns = tasks.build(config), table()
    assert np.array_equal(data.inputs_NT, np.stack([columns["x1"], columns["x2"]], 1).astype(np.float32))
    assert np.array_equal(data.labels_N, columns["targets"])
    features = np.stack([columns["x1"], columns["x2"]], 1)
    write(tmp_path / "mine.npz", **WITHOUT_VAL, features=features, targets=columns["targets"])
    assert configs_of(tmp_path)[0].run_id == config.run_id


def test_columns_are_chosen_by_name(tmp_path: Path) -> None:
    both, usual = np.stack([table()["x2"], table()["x1"]], 1), config_of(parquet(tmp_path))
    listed = config_of(parquet(tmp_path, features=both.tolist()))  # a column `features` wins over all others
    named = config_of(
        parquet(tmp_path, ", feature_columns: [x2, x1], target_columns: [label]", label=table()["targets"])
    )
    assert listed.run_id == named.run_id != usual.run_id
    assert np.array_equal(tasks.build(named).inputs_NT, both.astype(np.float32))
    assert named.feature_columns == "x2,x1"


def test_a_column_says_which_examples_are_for_validation(tmp_path: Path) -> None:
    words = ["val" if row % 4 == 0 else "train" for row in range(40)]
    data = tasks.build(config_of(parquet(tmp_path, split=words)))
    assert (data.inputs_NT.shape, len(data.val_V), data.is_val_given) == ((40, 2), 10, True)
    assert np.array_equal(data.inputs_NT[data.val_V, 0], table()["x1"][::4].astype(np.float32))


HOLE = [None, *range(39)]
BAD_FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "no targets": ("", {"targets": None}),
    "no such column": (", feature_columns: [x1, x3]", {}),
    "a column as both": (", feature_columns: [x1, targets]", {}),
    "no features": ("", {"x1": None, "x2": None}),
    "no rows": ("", {"x1": [], "x2": [], "targets": []}),
    "text": ("", {"x1": ["a"] * 40}),
    "categories": ("", {"x1": pd.Series(["a", "b"] * 20, dtype="category")}),
    "a missing value": ("", {"x1": pa.array(HOLE)}),
    "missing classes": ("", {"targets": pa.array([*range(38), None, None])}),
    "not finite": ("", {"x2": np.where(np.arange(40) == 7, np.nan, 0.0)}),
    "ragged": ("", {"features": [[1.0]] * 3 + [[1.0, 2.0]] * 37}),
    "a hole in a list": ("", {"features": [[1.0, None]] * 40}),
    "negative classes": ("", {"targets": np.arange(40) - 1}),
    "many classes": ("", {"targets": np.arange(40) + 250}),
    "classes in two columns": (", target_columns: [x1, targets]", {}),
    "a strange part": ("", {"split": ["train"] * 39 + ["test"]}),
    "nothing to validate on": ("", {"split": ["train"] * 40}),
    "real numbers": ("", {"targets": np.zeros(40)}),
    "real numbers that are not finite": ("", {"targets": np.full(40, np.inf)}),
    "a comma": (', feature_columns: ["x,1"]', {}),
    "a column twice": (", feature_columns: [x1, x1]", {}),
}
GOLDEN = Path(__file__).parent / "data" / "messages_data.txt"


def messages(folder: Path) -> str:
    """What is said of each, without the folder that the files lie in."""
    said = []
    for kind, (task, changes) in BAD_FILES.items():
        with pytest.raises(SpecError) as refused:
            load_spec(parquet(folder, task, **changes))
        said.append(f"== {kind}\n{str(refused.value).replace(f'{folder}/', '')}\n")
    return "\n".join(said)


def test_messages_about_data_are_the_golden_ones(tmp_path: Path) -> None:
    changed = difflib.unified_diff(GOLDEN.read_text().splitlines(), messages(tmp_path).splitlines(), lineterm="", n=1)
    lines = "\n".join(changed)
    assert not lines, f"{lines}\nAccept with: python tests/test_own_data.py"


def test_what_is_no_parquet_is_said(tmp_path: Path) -> None:
    path = parquet(tmp_path)
    (tmp_path / "mine.parquet").write_bytes(b"PAR1" + b"x" * 50)
    with pytest.raises(SpecError, match=r"mine\.parquet cannot be read as Parquet \("):
        load_spec(path)
    path.write_text(path.read_text().replace("mine.parquet", "mine.csv"))
    (tmp_path / "mine.csv").write_text("x1,targets\n1,0\n")
    with pytest.raises(SpecError, match=r"Files that can be read end in \.npz or \.parquet"):
        load_spec(path)
    path.write_text(path.read_text().replace("mine.csv", "mine.npz, feature_columns: [x1]"))
    write(tmp_path / "mine.npz")
    with pytest.raises(SpecError, match=r"columns are of a \.parquet file"):
        load_spec(path)


# Several files

FILES = """\
grid:
  width: [4, 8]
  task: [{file: mine.npz}, {file: other.npz}, {file: mine.parquet, target_columns: [x2]}]
"""


def test_a_sweep_over_files_is_labelled_and_drawn_by_what_they_hold(tmp_path: Path, grokctl: Grokctl) -> None:
    """No table has a column for the place of a file, and so nobody can draw along it."""
    write(tmp_path / "mine.npz")
    write(tmp_path / "other.npz", features=np.random.default_rng(7).standard_normal((40, 6)))
    pq.write_table(pa.table({"x1": np.arange(40.0), "x2": np.arange(40) % 3}), tmp_path / "mine.parquet")
    folder = tmp_path / "sweep"
    launched = grokctl("launch", spec(tmp_path, FILES + "steps: 20\n"), "--local", "--out", folder)
    assert launched.exit_code == 0, launched.output
    sweep = open_sweep(folder)
    labels = sweep.labels()
    assert (len(labels), labels["data_sha256"].nunique()) == (6, 3)
    assert sweep.plan["axes"].keys() == {"width", "task", "data_sha256"}
    assert "data_sha256" in (folder / "figures" / "phase_diagram.svg").read_text()
    with pytest.raises(SpecError, match=r"'file' is not an axis .* Axes: width, task, data_sha256, seed"):
        load_spec(spec(tmp_path, FILES + "diagram: {x: width, y: file}\n"))


# Real-valued targets


def curve(folder: Path, n_outputs: int = 2) -> Path:
    """A file of 40 + 20 examples whose targets are waves of the first feature."""
    x, v = np.random.default_rng(1).uniform(-2, 2, (2, 40, 6))
    waves = np.arange(1, n_outputs + 1)
    arrays = {"features": x, "targets": np.sin(waves * x[:, :1])}
    return write(folder / "mine.npz", **arrays, val_features=v[:20], val_targets=np.sin(waves * v[:20, :1]))


def test_a_regression_is_onto_the_targets_themselves(tmp_path: Path) -> None:
    curve(tmp_path)
    (config,) = configs_of(tmp_path, REGRESSION)
    assert (config.n_outputs, config.n_classes, shapes.n_outputs(config)) == (2, 10, 2)
    data, stored = tasks.build(config), np.load(tmp_path / "mine.npz")
    assert data.target_vectors_CK is not None
    assert np.array_equal(data.target_vectors_CK[data.labels_N[:40]], stored["targets"].astype(np.float32))
    last = trace(train([config.model_copy(update={"learning_rate": 0.0})], lanes=1), 0)[-1]
    # The loss of a network that does not move is the mean squared error of its outputs over examples and outputs.
    vector = torch.from_numpy(layout.initial_vector(config))
    outputs = network(config, "eager")((vector,), torch.tensor(data.inputs_NT), None)
    error = (outputs - torch.tensor(data.target_vectors_CK)).square().mean(1)
    assert last[1] == pytest.approx(float(error[data.train_D].mean()), rel=1e-5)
    assert last[2] == pytest.approx(float(error[40:].mean()), rel=1e-5)


def test_one_number_an_example_is_one_output(tmp_path: Path) -> None:
    write(tmp_path / "mine.npz", targets=np.linspace(0, 1, 40), val_targets=np.linspace(0, 1, 20))
    assert configs_of(tmp_path, REGRESSION)[0].n_outputs == 1
    parquet(tmp_path, targets=np.linspace(0, 1, 40))
    path = spec(tmp_path, REGRESSION)
    path.write_text(path.read_text().replace("mine.npz", "mine.parquet, target_columns: [targets, x1]"))
    assert config_of(path).n_outputs == 2


def test_a_number_is_right_within_what_the_spec_says(tmp_path: Path) -> None:
    curve(tmp_path)
    path = spec(tmp_path, REGRESSION + "grid: {right_within: [0.01, 1.0, 100.0]}\n")
    configs = expand(load_spec(path).spec).configs(range(3))
    accuracies = [trace(train([config], lanes=1), 0)[0][3:5] for config in configs]
    assert accuracies[2].tolist() == [1, 1]
    assert accuracies[0].tolist() == [0, 0]
    assert 0 < accuracies[1][0] < 1
    assert config_columns(configs, ["chance_accuracy"]) == {"chance_accuracy": [0.0, 0.0, 0.0]}


@pytest.mark.parametrize("text", ["", "right_within: 0.1"])
def test_a_regression_in_a_pack_equals_the_run_alone(tmp_path: Path, text: str) -> None:
    curve(tmp_path)
    path = spec(tmp_path, f"{REGRESSION}steps: 30\nseeds: 2\n")
    path.write_text(path.read_text().replace("mine.npz", f"mine.npz, {text}" if text else "mine.npz"))
    configs = expand(load_spec(path).spec).configs(range(2))
    pack = train(configs)
    for run in (0, 1):
        alone = train([configs[run]], lanes=1)
        np.testing.assert_allclose(trace(pack, run), trace(alone, 0), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(final_vector(pack, run), final_vector(alone, 0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "write `loss: mse`; cross_entropy is for classes"),
        ("loss: hinge\n", "write `loss: mse`; hinge is for classes"),
        ("loss: {kind: mse, targets: one_hot}\n", "stands for classes"),
        (REGRESSION + "label_noise: 0.1\n", "draws labels anew"),
        (REGRESSION + "outliers: 2\n", "draws labels anew"),
        (REGRESSION + "stop: {val_accuracy: 0.9}\n", "nothing measures an accuracy here"),
        (REGRESSION + "metrics: [full_accuracy]\n", "no run of this sweep has the metric 'full_accuracy'"),
    ],
)
def test_what_a_regression_cannot_have_is_said(tmp_path: Path, text: str, said: str) -> None:
    curve(tmp_path)
    with pytest.raises(SpecError) as refused:
        load_spec(spec(tmp_path, text))
    assert said in str(refused.value)


def test_classes_are_not_right_within(tmp_path: Path) -> None:
    write(tmp_path / "mine.npz")
    path = spec(tmp_path)
    path.write_text(path.read_text().replace("mine.npz", "mine.npz, right_within: 0.1"))
    with pytest.raises(SpecError, match="the targets here are classes"):
        load_spec(path)


def test_runs_with_losses_alone_have_no_accuracy_and_no_phase(tmp_path: Path, grokctl: Grokctl) -> None:
    """Null, not NaN and not 0: it was not measured. What is drawn and explained of such a sweep says so."""
    curve(tmp_path)
    path = spec(tmp_path, REGRESSION + "steps: 20\ngrid: {width: [4, 8], weight_decay: [0.0, 1.0]}\n")
    folder = tmp_path / "sweep"
    launched = grokctl("launch", path, "--local", "--out", folder)
    assert launched.exit_code == 0, launched.output
    traces = pq.read_table(folder / "traces")
    assert traces["val_accuracy"].null_count == traces["train_accuracy"].null_count == len(traces)
    assert traces["chance_accuracy"].null_count == len(traces)
    assert not np.isnan(traces["val_loss"].to_numpy()).any()
    labels = open_sweep(folder).labels()
    assert set(labels["phase"]) == {"undecided"}
    assert set(labels["warning"]) == {"no_accuracy"}
    assert "phases are read off accuracies" in labels["why"].iloc[0]
    run_id = labels["run_id"].iloc[0]
    for verb in (("explain", folder, run_id), ("label", folder), ("diagram", folder), ("status", folder, "--verify")):
        result = grokctl(*verb)
        assert result.exit_code == 0, result.output
    assert "No row has both" in grokctl("explain", folder, run_id).stdout


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        GOLDEN.write_text(messages(Path(name)))
