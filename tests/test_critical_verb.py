"""`grokctl critical` on tiny sweeps that were trained: what it prints, writes, and refuses."""

from pathlib import Path

import pytest
from conftest import Grokctl, invoke
from test_house import TRAINING, imported_by

from results import open_sweep
from results.critical.table import critical_table
from results.query import query
from results.schema import critical_schema

SPEC = """\
# Tiny.
name: {name}
task: {{kind: {kind}, modulus: 7}}
model: {{kind: transformer, depth: 1, heads: 1}}
optimizer: {{kind: adamw, learning_rate: 1e-2, weight_decay: {decay}, betas: [0.9, 0.98]}}
steps: 60
grid:
  width: {widths}
  train_size: [12, 24, 40]
seeds: 3
resources: {{device: cpu}}
diagram: {{x: width, y: train_size}}
"""


def train(folder: Path, name: str, *, kind: str = "modular", decay: float = 1.0, widths: str = "[2, 4]") -> Path:
    spec = folder / f"{name}.yaml"
    spec.write_text(SPEC.format(name=name, kind=kind, decay=decay, widths=widths))
    result = invoke("launch", spec, "--local", "--out", folder / name)
    assert result.exit_code == 0, result.output
    return folder / name


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sweeps")
    return {
        "rule": train(folder, "rule"),
        "more": train(folder, "more", widths="[8]"),
        "random": train(folder, "random", kind="random_labels"),
        "other": train(folder, "other", kind="random_labels", decay=0.1, widths="[2]"),
    }


def test_it_prints_a_table_and_writes_table_and_figures(sweeps: dict[str, Path], grokctl: Grokctl) -> None:
    result = grokctl("critical", sweeps["rule"], "--with", sweeps["random"])
    assert result.exit_code == 0, result.output
    for part in ("D05", "D50", "D95", "D_mem", "star: ", "zones, each seed foretold", "over steps", "18 runs, 3 seeds"):
        assert part in result.stdout
    assert "warning: the random labels are not symmetric" in result.stdout
    table = open_sweep(sweeps["rule"]).critical_table()
    assert table.schema.equals(critical_schema(), check_metadata=True)
    assert {"D50", "D_mem", "star_size", "zone_score"} <= set(table["quantity"].to_pylist())
    figures = {path.name for path in (sweeps["rule"] / "figures").iterdir()}
    assert {"zone_map.png", "critical_sizes.png", "descent_val_accuracy.png", "descent_val_loss.png"} <= figures


def test_asking_again_gives_the_same_bytes(sweeps: dict[str, Path], grokctl: Grokctl) -> None:
    written = [sweeps["rule"] / "critical.parquet", sweeps["rule"] / "figures" / "zone_map.png"]
    grokctl("critical", sweeps["rule"])
    before = [path.read_bytes() for path in written]
    grokctl("critical", sweeps["rule"])
    assert [path.read_bytes() for path in written] == before


def test_the_table_can_be_queried(sweeps: dict[str, Path], grokctl: Grokctl) -> None:
    sql = "SELECT count(*) AS n FROM critical WHERE quantity = 'D50'"
    assert query([sweeps["more"]], sql)["n"].tolist() == [0]
    grokctl("critical", sweeps["rule"])
    assert query([sweeps["rule"]], sql)["n"].tolist() == [2 * 3]
    two = "SELECT sweep, count(*) AS n FROM critical GROUP BY sweep"
    assert query([sweeps["rule"], sweeps["more"]], two)["sweep"].tolist() == ["rule"]


def test_more_runs_of_the_same_question_are_joined(sweeps: dict[str, Path], grokctl: Grokctl) -> None:
    result = grokctl("critical", sweeps["rule"], "--with", sweeps["more"], "--with", sweeps["rule"])
    assert result.exit_code == 0, result.output
    assert "27 runs, 3 seeds" in result.stdout
    found = open_sweep(sweeps["rule"]).critical(quantity="D50")
    assert sorted(set(found["axis_value"])) == [2, 4, 8]


def test_random_labels_under_another_training_are_refused(sweeps: dict[str, Path], grokctl: Grokctl) -> None:
    before = (sweeps["rule"] / "critical.parquet").read_bytes()
    result = grokctl("critical", sweeps["rule"], "--with", sweeps["other"])
    assert result.exit_code == 73
    assert "was trained otherwise: weight_decay: 1 and 0.1" in result.stderr
    assert (sweeps["rule"] / "critical.parquet").read_bytes() == before


def test_another_labelling_is_refused(sweeps: dict[str, Path], grokctl: Grokctl) -> None:
    grokctl("label", sweeps["more"], "--set", "classifier.theta=0.8")
    result = grokctl("critical", sweeps["rule"], "--with", sweeps["more"])
    grokctl("label", sweeps["more"])
    assert result.exit_code == 73
    assert "labelled otherwise (another thresholds)" in result.stderr
    assert "grokctl label DIR" in result.stderr


def test_two_sweeps_of_random_labels_are_one_too_many(sweeps: dict[str, Path], grokctl: Grokctl) -> None:
    result = grokctl("critical", sweeps["rule"], "--with", sweeps["random"], "--with", sweeps["random"])
    assert result.exit_code == 2
    assert "second sweep of random labels" in result.stderr


def test_a_sweep_without_train_sizes_says_what_it_has(finished_sweep: Path, grokctl: Grokctl) -> None:
    result = grokctl("critical", finished_sweep, "--facet", "learning_rate")
    assert result.exit_code == 2
    assert "two train sizes or more; this sweep has width (2 values), learning_rate (2 values)" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--axis", "widht"), "no column 'widht'"),
        (("--outcome", "grok"), "no outcome is called 'grok'"),
        (("--facet", "seed"), "seed cannot be axis or facet"),
    ],
)
def test_what_is_no_axis_or_outcome(
    sweeps: dict[str, Path], grokctl: Grokctl, arguments: tuple[str, str], message: str
) -> None:
    result = grokctl("critical", sweeps["rule"], *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_without_labels_it_says_how_to_get_them(own_sweep: Path, grokctl: Grokctl) -> None:
    (own_sweep / "labels.parquet").unlink()
    result = grokctl("critical", own_sweep)
    assert result.exit_code == 66
    assert "has no labels yet" in result.stderr


def test_it_needs_neither_torch_nor_ray(sweeps: dict[str, Path]) -> None:
    assert imported_by("critical", sweeps["rule"], "--with", sweeps["random"]) & TRAINING == set()


def test_an_empty_table_has_no_rows() -> None:
    assert critical_table([]).empty
