"""The papers' experiments: what every shipped spec says of itself, its first steps, and the verbs figure, reproduce and
specs."""

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY_SPEC, Grokctl

from orchestrator import shipped
from orchestrator.costs import FormulaCost
from orchestrator.machine import slots_of
from orchestrator.plan import make_plan
from orchestrator.spec import load_spec
from results.figures import FIGURES, figures_of_spec, find_figure
from trainers.loop import train_pack
from trainers.trace import PackSettings

PAPERS = (
    "Davies", "Fan", "Huang", "Liu", "Merrill", "Murty", "Nanda", "Pope", "Power", "Varma",
)  # fmt: skip
SMALL = ("quickstart", "small")
WIDTH = 16
"""Of what is trained here: first steps show whether a spec trains at all, and wide ones take long."""


def is_small(name: str) -> bool:
    return name.endswith(SMALL)


@pytest.mark.parametrize("name", shipped.names())
def test_shipped_spec_says_figure_command_cost_and_expectation(name: str) -> None:
    said = shipped.opening(name)
    assert said.keys() >= {"Figure", "Command", "Cost", "Expected"}
    assert said.keys() <= {"Figure", "Command", "Cost", "Expected", "Run", "source", "inherited", "changed"}
    is_of_a_paper = not name.startswith("intervention_")
    assert not is_of_a_paper or re.match(rf"({'|'.join(PAPERS)})[\w\s.&]* 20\d\d, ", said["Figure"])
    assert f"grokctl launch {name}" in said["Command"]
    assert re.search(
        r"\b(seconds?|minutes?|hours?|days?|weeks?|months?|years?) on (one core|two cores)",
        shipped.in_short(said["Cost"]),
    )
    assert is_small(name) == ("in small" in said["Figure"])
    if is_of_a_paper and not is_small(name):
        assert re.search(r"One data-center GPU: .*extrapolated", said["Cost"]), (
            "a cost on a GPU, marked as extrapolated"
        )


@pytest.mark.parametrize("name", shipped.names())
def test_shipped_spec_trains_its_first_steps(name: str) -> None:
    loaded = load_spec(name)
    slots = slots_of(loaded.spec.resources, cpus=2, gpus=0)
    cheapest = make_plan(loaded, slots, FormulaCost(device=slots.device)).packs[-1]
    config = cheapest.config(0)
    config = config.model_copy(update={"steps": 1, "warmup_steps": 0, "width": min(config.width, WIDTH)})
    settings = PackSettings(lanes=1, engine="eager", threads=1, segment_steps=1, device="cpu")
    (block,) = train_pack([config], settings)
    assert list(block.columns["step"]) == [0, 1]
    assert np.isfinite(block.columns["train_loss"]).all()
    assert np.ptp(block.columns["train_loss"]) > 0, "nothing was learned"


def test_specs_of_figures_are_shipped() -> None:
    wanted = {spec for figure in FIGURES for spec in (figure.spec, figure.small) if spec is not None}
    assert wanted <= set(shipped.names())


def test_figures_have_names_of_their_own() -> None:
    names = [figure.name for figure in FIGURES]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+20\d\d_[a-z0-9_]+", name) for name in names)


def test_a_figure_is_found_by_its_specs_too() -> None:
    assert find_figure("double_descent_small") is find_figure("huang2024_fig6")
    assert [figure.name for figure in figures_of_spec("quickstart")] == ["liu2022_fig6b"]


def test_specs_lists_paper_figure_and_cost(grokctl: Grokctl) -> None:
    lines = grokctl("specs").stdout.splitlines()
    assert len(lines) == len(shipped.names())
    (line,) = [line for line in lines if line.startswith("quickstart ")]
    assert re.split(r"  +", line)[1:] == ["Liu et al. 2022, figure 6b, in small", "under 2 minutes on two cores"]


@pytest.fixture
def as_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped specs in which double_descent_small is a tiny sweep."""
    folder = tmp_path / "specs"
    folder.mkdir()
    for path in shipped.folder().glob("*.yaml"):
        (folder / path.name).write_text(path.read_text())
    small = TINY_SPEC.replace("name: tiny", "name: double_descent_small").replace("train_size: 30\n", "")
    small = small.replace("  learning_rate: [1e-3, 1e-2]", "  train_size: [20, 30]").replace(
        "y: learning_rate", "y: train_size"
    )
    (folder / "double_descent_small.yaml").write_text(small)
    monkeypatch.setattr(shipped, "folder", lambda: folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_reproduce_trains_labels_and_draws(as_shipped: Path, tmp_path: Path, grokctl: Grokctl) -> None:
    result = grokctl("reproduce", "huang2024_fig6", "--small", "--local")
    assert result.exit_code == 0, result.output
    folder = tmp_path / "sweeps" / "double_descent_small"
    assert (folder / "labels.parquet").exists()
    assert (folder / "figures" / "huang2024_fig6.png").read_bytes().startswith(b"\x89PNG")
    again = grokctl("reproduce", "double_descent_small", "--local", "--out", folder)
    assert again.exit_code == 0
    assert "nothing to do" in again.output


def test_figure_writes_where_it_is_told(finished_sweep: Path, tmp_path: Path, grokctl: Grokctl) -> None:
    result = grokctl("figure", "huang2024_fig2", finished_sweep, "-o", tmp_path / "drawn.svg")
    assert result.exit_code == 0, result.output
    assert "figure 2" in (tmp_path / "drawn.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("figure", "huang2024_fig66"), 66, "Did you mean huang2024_fig6"),
        (("figure", "liu2022_fig6a", "-o", "x.bmp"), 2, "not .bmp"),
    ],
)
def test_figure_says_what_is_wrong(
    arguments: tuple[str, ...], code: int, message: str, finished_sweep: Path, grokctl: Grokctl, tmp_path: Path
) -> None:
    verb, name, *rest = arguments
    result = grokctl(verb, name, finished_sweep, *(tmp_path / part if "." in part else part for part in rest))
    assert result.exit_code == code
    assert message in result.output


def test_a_sweep_that_lacks_the_axis_is_told_which(tmp_path: Path, grokctl: Grokctl) -> None:
    spec = tmp_path / "tiny.yaml"
    spec.write_text(TINY_SPEC.replace("width: [4, 8]", "width: [4]"))
    assert grokctl("launch", spec, "--local", "--out", tmp_path / "sweep").exit_code == 0
    result = grokctl("figure", "huang2024_fig6", tmp_path / "sweep")
    assert result.exit_code == 2
    assert "over width, which all runs of this sweep share; its axes: width, learning_rate" in result.output
    assert "double_descent" in result.output


def test_reproduce_without_a_small_spec_says_what_to_do(monkeypatch: pytest.MonkeyPatch, grokctl: Grokctl) -> None:
    from results.figures import catalogue

    full = find_figure("liu2022_fig6a")
    only_full = catalogue.PaperFigure(**{**full.__dict__, "small": None})
    monkeypatch.setattr(catalogue, "FIGURES", (only_full,))
    result = grokctl("reproduce", "liu2022_fig6a", "--small")
    assert result.exit_code == 66
    assert "leave out --small" in result.output
