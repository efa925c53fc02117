"""A spec that gained runs extends its sweep: old packs stay as they are, to the inode. Anything else is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Grokctl
from launch_helpers import SPEC, commits, files_of, freeze, launch_here, launching, no_debris, traces, wait_until

from orchestrator.errors import SpecError, UserError
from orchestrator.status import read_status, status_text
from results import open_sweep
from results.store import SweepStore
from results.verify import verify

WIDER = SPEC.replace("width: [4, 6]", "width: [4, 6, 8]")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "sweep"
    assert launch_here(freeze(folder), folder).exit_code == 0
    return folder


@pytest.fixture
def sweep(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "sweep"))


def edited(folder: Path, text: str) -> Path:
    path = folder.with_suffix(".yaml")
    path.write_text(text)
    return path


def of_runs(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What old packs have written."""
    return {name: stat for name, stat in files_of(folder).items() if name.startswith(("traces/", "packs/"))}


@pytest.mark.parametrize(
    ("more", "runs"),
    [
        (WIDER, 18),
        (SPEC.replace("seeds: 2", "seeds: 3"), 18),
        (SPEC.replace("learning_rate: [1e-3", "learning_rate: [1e-4, 1e-3"), 16),
    ],
    ids=["values", "seeds", "values-in-front"],
)
def test_added_runs_are_trained_and_old_ones_left_alone(sweep: Path, more: str, runs: int) -> None:
    before, rows = of_runs(sweep), traces(sweep)
    result = launch_here(edited(sweep, more), sweep)
    assert (result.exit_code, result.runs, result.runs_ended) == (0, runs, runs)
    assert {name: stat for name, stat in of_runs(sweep).items() if name in before} == before
    after = traces(sweep)
    assert after[after["run_id"].isin(rows["run_id"])].reset_index(drop=True).equals(rows)
    assert len(open_sweep(sweep).labels()) == len(open_sweep(sweep).runs()) == runs
    assert verify(sweep) == []
    assert no_debris(sweep)
    assert "runs were added to the spec" in status_text(read_status(sweep))
    assert [path.name for path in sweep.glob("plan.*.json")] == ["plan.0001.json"]
    assert launch_here(edited(sweep, more), sweep).exit_code == 0
    assert [path.name for path in sweep.glob("plan.*.json")] == ["plan.0001.json"], "added once"


def test_the_plan_tells_of_the_new_axes(sweep: Path) -> None:
    launch_here(edited(sweep, WIDER), sweep, only="width == 4")
    record = SweepStore(sweep).read_plan()
    assert record["axes"]["width"]["values"] == [4, 6, 8]
    assert record["spec"]["grid"]["width"] == [4, 6, 8]
    runs = open_sweep(sweep).runs()
    assert runs.groupby("width").size().to_dict() == {4: 6, 6: 6, 8: 6}
    assert runs[runs["width"] == 8]["outcome"].isna().all()


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (SPEC.replace("steps: 60", "steps: 61"), "steps: 60 -> 61"),
        (SPEC.replace("width: [4, 6]", "width: [4, 8]"), "6 of 12 runs of the sweep are not in this spec"),
        (SPEC.replace("seeds: 2", "seeds: 1"), "6 of 12 runs of the sweep are not in this spec"),
        (WIDER.replace("loss: mse", "loss: cross_entropy"), "loss"),
        (SPEC.replace("grid:\n", "grid:\n  warmup_steps: [0, 5]\n"), "no column warmup_steps"),
    ],
    ids=["steps", "other-values", "fewer-seeds", "more-and-other", "new-column"],
)
def test_everything_else_is_refused_with_the_difference(sweep: Path, other: str, said: str) -> None:
    before = files_of(sweep)
    with pytest.raises(UserError) as caught:
        launch_here(edited(sweep, other), sweep)
    assert caught.value.exit_code == 73
    assert said in str(caught.value)
    assert files_of(sweep) == before


def test_a_kill_during_the_extension_changes_nothing_in_the_end(sweep: Path, tmp_path: Path, grokctl: Grokctl) -> None:
    calm = Path(shutil.copytree(sweep, tmp_path / "calm"))
    assert launch_here(edited(calm, WIDER), calm).exit_code == 0
    committed = commits(sweep)
    spec = edited(sweep, WIDER)
    with launching(spec, sweep) as process:
        wait_until(lambda: commits(sweep) > committed, process)
        process.kill()
        process.join()
    assert grokctl("query", sweep, "SELECT count(*) AS n FROM runs").stdout.split() == ["n", "18"]
    assert launch_here(spec, sweep).exit_code == 0
    assert traces(sweep).equals(traces(calm))
    assert verify(sweep) == []


ON_FILES = """\
name: files
task: {{kind: data, file: {data}/one.npz}}
model: {{kind: mlp}}
steps: 60
train_size: 15
evaluation: {{growth: 2, gaps: 15}}
grid:
  task: [{{file: {data}/one.npz}}, {{file: {data}/two.npz}}]
  width: [4, 6]
seeds: 2
resources: {{device: cpu, lanes: 2}}
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for seed, name in enumerate(("one", "two")):
        x = np.random.default_rng(seed).standard_normal((40, 3))
        np.savez(folder / f"{name}.npz", features=x, targets=x.argmax(1))
    return folder


def test_a_sweep_goes_on_where_its_data_lie_by_now(data: Path, tmp_path: Path) -> None:
    calm, folder, moved = tmp_path / "calm", tmp_path / "sweep", tmp_path / "moved"
    assert launch_here(freeze(calm, ON_FILES.format(data=data)), calm).exit_code == 0
    with launching(freeze(folder, ON_FILES.format(data=data)), folder) as process:
        wait_until(lambda: commits(folder) > 0, process)
        process.kill()
        process.join()
    assert commits(folder) < commits(calm)
    data.rename(moved)
    with pytest.raises(SpecError) as refused:
        launch_here(folder, folder)
    assert f"Launch the spec that finds them, with --out {folder}" in str(refused.value.hint)
    assert launch_here(edited(folder, ON_FILES.format(data=moved)), folder).exit_code == 0
    assert traces(folder).equals(traces(calm))
    assert verify(folder) == []
    assert f"the same data were found in {moved}/one.npz, {moved}/two.npz" in status_text(read_status(folder))
    assert set(open_sweep(folder).settings()["file"]) == {f"{moved}/one.npz", f"{moved}/two.npz"}
    wider = ON_FILES.format(data=moved).replace("width: [4, 6]", "width: [4, 6, 8]")
    assert launch_here(edited(folder, wider), folder).runs_ended == 12
    assert launch_here(folder, folder).runs_ended == 12
    assert sorted(path.name for path in folder.glob("plan.*.json")) == ["plan.0001.json", "plan.0002.json"]


def test_other_data_in_another_place_are_another_sweep(data: Path, tmp_path: Path) -> None:
    folder, other = tmp_path / "sweep", tmp_path / "other"
    freeze(folder, ON_FILES.format(data=data))
    shutil.copytree(data, other)
    np.savez(other / "two.npz", features=np.ones((40, 3)), targets=np.arange(40) % 3)
    before = files_of(folder)
    with pytest.raises(UserError) as caught:
        launch_here(edited(folder, ON_FILES.format(data=other)), folder)
    assert caught.value.exit_code == 73
    assert "task.file: " in str(caught.value)
    assert "4 of 8 runs of the sweep are not in this spec" in str(caught.value)
    assert files_of(folder) == before
