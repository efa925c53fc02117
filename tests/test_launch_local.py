"""launch in this process: from a spec to tables and a diagram, and what it refuses to touch."""

import io
import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pandas as pd
import pytest
from launch_helpers import (
    SLOTS,
    SPEC,
    assert_same_traces,
    commits,
    files_of,
    freeze,
    launch_here,
    launching,
    listening,
    wait_until,
)
from rich.console import Console

import orchestrator
from orchestrator import launcher, worker
from orchestrator.errors import UserError
from orchestrator.plan import Plan
from orchestrator.plan_summary import format_duration
from orchestrator.spec import load_text
from orchestrator.status import read_status, status_text
from orchestrator.tables import ended, label_ended
from results import pack_files
from results.classify import ClassifierSettings
from results.errors import ConflictError, LockedError
from results.headers import read_header
from results.schema import LABEL_TYPES, METRIC_TYPES
from results.store import SweepStore
from results.sweep import open_sweep
from trainers.loop import train_pack


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep. Only to be read."""
    folder = tmp_path_factory.mktemp("finished") / "sweep"
    launch_here(freeze(folder), folder)
    return folder


def test_a_launch_ends_with_tables_and_a_diagram(finished: Path):
    sweep = open_sweep(finished)
    runs, labels = sweep.runs(), sweep.labels()
    assert len(runs) == len(labels) == 12
    assert set(runs["run_id"]) == set(labels["run_id"]) == set(sweep.traces()["run_id"])
    assert runs["outcome"].isin(["ended", "diverged"]).all()
    assert runs["chance_accuracy"].notna().all()
    assert (finished / "figures" / "phase_diagram.png").stat().st_size > 1000
    assert (finished / "figures" / "phase_diagram.svg").exists()


def test_launching_a_finished_sweep_again_writes_nothing_and_tells_the_phases(
    finished: Path, monkeypatch: pytest.MonkeyPatch
):
    before, output, read = files_of(finished), io.StringIO(), []
    monkeypatch.setattr(pack_files, "read_header", lambda path: (read.append(path), read_header(path))[1])
    result = launch_here(finished.with_suffix(".yaml"), finished, console=Console(file=output, width=100))
    assert files_of(finished) == before
    assert sorted(read) == sorted(finished.glob("packs/*/done.json")), "each once: there may be a thousand"
    assert result.exit_code == 0
    assert sum(result.phases.values()) == 12
    said = output.getvalue()
    assert "nothing to do" in said
    assert all(phase in said for phase in result.phases)


def test_labelling_reads_the_hyperparameters_of_each_run_once(finished: Path, tmp_path: Path):
    sweep = open_sweep(finished)
    assert list(ended(sweep)[0]) == ["run_id", "step", *METRIC_TYPES]
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / "runs.parquet").unlink()  # as while the first launch is at work
    labels, again = (label_ended(it, ClassifierSettings()) for it in (sweep, open_sweep(copy)))
    known = ["run_id", *LABEL_TYPES, "train_fraction", "val_size", "chance_accuracy", "n_parameters"]
    pd.testing.assert_frame_equal(again[known], labels[known], check_exact=True)


def test_the_default_folder_is_sweeps_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    spec = SPEC.replace("[1e-3, 1e-2, 1e-1]", "[1e-3]").replace("[4, 6]", "[4]")
    (tmp_path / "my.yaml").write_text(spec)
    result = orchestrator.launch("my.yaml", local=True, console=Console(quiet=True))
    assert result.folder == tmp_path / "sweeps" / "small"
    assert result.runs_ended == 2
    again = orchestrator.launch(load_text(spec).spec, local=True, console=Console(quiet=True))
    assert again.runs_ended == 2


def test_another_spec_is_refused_with_what_differs(finished: Path, tmp_path: Path):
    before = files_of(finished)
    other = tmp_path / "other.yaml"
    other.write_text(SPEC.replace("steps: 60", "steps: 61"))
    with pytest.raises(UserError, match="steps: 60 -> 61") as caught:
        launch_here(other, finished)
    assert caught.value.exit_code == 73
    assert "--out" in (caught.value.hint or "")
    with pytest.raises(UserError, match="learning_rate"):
        launch_here(finished.with_suffix(".yaml"), finished, overrides={"weight_decay": "0.5", "learning_rate": "[1]"})
    assert files_of(finished) == before


def test_a_longer_budget_is_refused_with_the_remedy(finished: Path):
    before = files_of(finished)
    with pytest.raises(UserError, match="steps: 60 -> 600") as caught:
        launch_here(finished.with_suffix(".yaml"), finished, overrides={"steps": "600"})
    assert caught.value.exit_code == 73
    assert "optimizer's state" in (caught.value.hint or "")
    assert "--out DIR" in (caught.value.hint or "")
    with pytest.raises(UserError) as caught:
        launch_here(finished.with_suffix(".yaml"), finished, overrides={"steps": "600", "weight_decay": "0.5"})
    assert "Undo the edit" in (caught.value.hint or "")
    assert files_of(finished) == before


def test_comments_order_and_layout_of_a_spec_are_no_change(finished: Path, tmp_path: Path):
    lines = SPEC.splitlines()
    grid = lines.index("grid:")
    shuffled = [*lines[grid : grid + 3], "# another comment", *reversed(lines[:grid]), *lines[grid + 3 :]]
    other = tmp_path / "other.yaml"
    other.write_text("\n".join(shuffled).replace("[4, 6]", "\n    - 6\n    - 4").replace("1e-3", "0.001") + "\n\n")
    before = files_of(finished)
    assert launch_here(other, finished).runs_ended == 12
    assert files_of(finished) == before


def test_a_foreign_folder_is_left_alone(tmp_path: Path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    (tmp_path / "spec.yaml").write_text(SPEC)
    with pytest.raises(ConflictError, match=r"thesis\.tex"):
        launch_here(tmp_path / "spec.yaml", foreign)
    assert [path.name for path in foreign.iterdir()] == ["thesis.tex"]


def test_a_second_launch_is_refused_while_the_first_lives(tmp_path: Path):
    folder = tmp_path / "sweep"
    spec = freeze(folder, SPEC.replace("steps: 60", "steps: 40000"), segment_s=1e9)
    with launching(spec, folder) as process:
        wait_until(lambda: bool(SweepStore(folder).holder()), process)  # it locks, then says who it is
        with pytest.raises(LockedError, match=str(process.pid)):
            launch_here(spec, folder)
        assert read_status(folder).state == "running"
    assert SweepStore(folder).holder() is None


def test_a_poison_pack_fails_alone_and_is_tried_again_by_the_next_launch(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
):
    def poison(configs: Any, *args: Any, **kwargs: Any) -> Any:
        if configs[0].width == 4:
            raise ZeroDivisionError("poison")
        return train_pack(configs, *args, **kwargs)

    folder = tmp_path / "sweep"
    spec = freeze(folder)
    monkeypatch.setattr(worker, "train_pack", poison)
    result = launch_here(spec, folder)
    assert result.exit_code == 1
    assert list(result.failed_packs.values()) == ["ZeroDivisionError: poison"]
    assert result.runs_ended == 6
    outcomes = open_sweep(folder).runs().groupby("width")["outcome"].unique()
    assert list(outcomes[4]) == ["failed"]
    status = read_status(folder)
    assert (status.state, status.runs["failed"], status.packs["failed"]) == ("failed", 6, 1)
    assert "ZeroDivisionError: poison" in status_text(status)
    monkeypatch.undo()
    assert launch_here(spec, folder).exit_code == 0
    assert_same_traces(folder, finished)
    assert read_status(folder).state == "finished"


def test_only_trains_packs_with_a_matching_run(tmp_path: Path):
    folder = tmp_path / "sweep"
    spec = freeze(folder)
    result = launch_here(spec, folder, only="width == 6 and train_fraction > 0.1")
    assert result.runs_ended == 6
    assert set(open_sweep(folder).traces()["width"]) == {6}
    before = files_of(folder)
    assert launch_here(spec, folder, only="width == 6").runs_ended == 6
    assert files_of(folder) == before
    with pytest.raises(UserError, match="--only"):
        launch_here(spec, folder, only="__import__('os')")


def test_a_time_limit_drains_and_the_next_launch_goes_on(tmp_path: Path, finished: Path):
    folder = tmp_path / "sweep"
    spec = freeze(folder)
    result = launch_here(spec, folder, max_hours=0.0)
    assert result.exit_code == 0
    assert commits(folder) < commits(finished)
    assert not (folder / "stop").exists()
    assert launch_here(spec, folder).runs_ended == 12
    assert_same_traces(folder, finished)


def test_a_stop_that_is_asked_for_while_a_launch_starts_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "sweep"
    spec = freeze(folder)
    SweepStore(folder).request_stop()  # of a launch that was killed
    monkeypatch.setattr(launcher, "find_slots", lambda resources: (SweepStore(folder).request_stop(), SLOTS)[1])
    result = launch_here(spec, folder)
    assert (result.exit_code, commits(folder)) == (0, 0)
    assert not (folder / "stop").exists()
    monkeypatch.undo()
    SweepStore(folder).request_stop()
    assert launch_here(spec, folder).runs_ended == 12


def test_a_launch_in_this_process_announces_one_pack_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder, (console, said) = tmp_path / "sweep", listening()
    spec = freeze(folder, SPEC.replace("steps: 60", "steps: 600000"))
    monkeypatch.setattr(launcher, "find_slots", lambda resources: (SweepStore(folder).request_stop(), SLOTS)[1])
    launch_here(spec, folder, console=console)
    first, second = (pack.estimated_s for pack in Plan.from_json(SweepStore(folder).read_plan()).packs)
    assert first + second > 1.5 * first > 100
    (announced,) = [line for line in said if "12 runs in 2 packs" in line]
    assert f"one pack at a time on cpu; about {format_duration(first + second)} for the whole sweep" in announced


def test_tables_that_a_kill_kept_from_being_written_are_written_by_the_next_launch(tmp_path: Path):
    folder = tmp_path / "sweep"
    spec = freeze(folder)
    launch_here(spec, folder)
    (folder / "labels.parquet").unlink()
    attempts = SweepStore(folder).latest_attempt()
    launch_here(spec, folder)
    assert len(pd.read_parquet(folder / "labels.parquet")) == 12
    assert SweepStore(folder).latest_attempt() == attempts


@pytest.mark.parametrize(("error", "labelled"), [(ValueError("no picture"), True), (OSError(28, "no space"), False)])
def test_what_cannot_be_drawn_is_labelled_and_what_the_disk_refused_is_left_to_the_next_launch(
    error: Exception, labelled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "sweep"
    spec = freeze(folder)
    with monkeypatch.context() as patch:
        patch.setattr("results.diagram.phase_diagram", Mock(side_effect=error))
        with pytest.raises(type(error)):
            launch_here(spec, folder)
    assert (folder / "labels.parquet").exists() == labelled
    launch_here(spec, folder)
    assert len(pd.read_parquet(folder / "labels.parquet")) == 12
    assert (folder / "figures" / "phase_diagram.png").exists() != labelled


def test_local_and_address_exclude_each_other(tmp_path: Path):
    with pytest.raises(UserError, match="exclude") as caught:
        launch_here(tmp_path / "spec.yaml", tmp_path, address="localhost:6379")
    assert caught.value.exit_code == 2


def test_status_counts_every_run_and_pack_once(finished: Path, tmp_path: Path):
    done = read_status(finished)
    assert done.state == "finished"
    assert sum(done.runs.values()) == 12
    assert done.run_steps <= done.run_steps_planned == 720
    assert json.loads(json.dumps(done.to_json()))["packs"]["done"] == 2
    waiting = tmp_path / "waiting"
    freeze(waiting)
    status = read_status(waiting)
    assert (status.state, status.runs["waiting"], status.packs["waiting"]) == ("unfinished", 12, 2)
    assert "12 waiting" in status_text(status)
