"""What may be imported for what: specs are checked without torch or Ray, results are read without torch."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TINY_SPEC

SPY = """
import sys
from orchestrator.cli import main
sys.argv[0] = "grokctl"
try:
    main()
except SystemExit as end:
    print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
    raise
"""
TRAINING = {"torch", "ray"}
HEAVY = TRAINING | {"numpy", "pandas", "pyarrow", "duckdb", "matplotlib", "yaml", "rich"}


def imported_by(*arguments: str | Path) -> set[str]:
    """Top-level modules in memory at the end of a command."""
    result = subprocess.run([sys.executable, "-c", SPY, *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stderr.splitlines()[-1].split())


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY_SPEC)
    return path


@pytest.mark.parametrize("arguments", [("--help",), ("launch", "--help"), ("specs",)])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert imported_by(*arguments) & HEAVY == set()


@pytest.mark.parametrize("arguments", [("check",), ("plan",), ("plan", "--json")])
def test_check_and_plan_import_neither_torch_nor_ray(arguments: tuple[str, ...], spec: Path) -> None:
    assert imported_by(*arguments, spec) & TRAINING == set()


def test_schema_imports_neither_torch_nor_ray() -> None:
    assert imported_by("schema") & TRAINING == set()


@pytest.mark.parametrize("verb", ["status", "label", "diagram", "stop", "clean"])
def test_results_are_handled_without_torch_or_ray(verb: str, own_sweep: Path) -> None:
    assert imported_by(verb, own_sweep) & TRAINING == set()


def test_a_finished_sweep_is_launched_again_without_what_trains_reads_and_draws(own_sweep: Path, spec: Path) -> None:
    loaded = imported_by("launch", spec, "--out", own_sweep)
    assert loaded & (TRAINING | {"scipy", "pandas", "duckdb", "matplotlib"}) == set()


def test_a_papers_figure_is_drawn_without_torch_or_ray(own_sweep: Path) -> None:
    assert imported_by("figure", "huang2024_fig2", own_sweep) & TRAINING == set()


def test_query_imports_neither_torch_nor_ray(finished_sweep: Path) -> None:
    assert imported_by("query", finished_sweep, "FROM labels") & TRAINING == set()


def test_local_launch_does_without_ray(spec: Path, tmp_path: Path) -> None:
    assert "ray" not in imported_by("launch", spec, "--local", "--out", tmp_path / "sweep")
