"""A pack that runs out of memory goes on with half its lanes, once, and everybody can see that it did."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from launch_helpers import SPEC, freeze, launch_here, no_debris, traces

from orchestrator import worker
from orchestrator.plan import Plan, PlannedPack
from orchestrator.status import read_status, status_text
from orchestrator.worker import is_out_of_memory, run_pack
from results import open_sweep
from results.errors import DamagedError, FencedError
from results.store import SweepStore
from results.verify import verify
from trainers import lanes

FOUR = SPEC.replace("lanes: 2", "lanes: 4")
TOO_MUCH = 2**55
"""Bytes: more than an address space has."""


def scarce(monkeypatch: pytest.MonkeyPatch, width: int, fitting: int) -> None:
    """torch's allocator fails for packs of this width with more lanes than fit."""

    def empty(configs: Any, n_lanes: int, device: str) -> lanes.Lanes:
        if configs[0].width == width and n_lanes > fitting:
            torch.empty(TOO_MUCH, dtype=torch.uint8)
        return plenty(configs, n_lanes, device)

    plenty = lanes.empty
    monkeypatch.setattr(lanes, "empty", empty)


def lanes_of(folder: Path) -> dict[int, int]:
    """By width."""
    plan = Plan.from_json(SweepStore(folder).read_plan())
    return {pack.values("width")[0]: pack.settings.lanes for pack in plan.packs}


def check_halved(folder: Path, undisturbed: Path) -> None:
    """The sweep is whole, and the pack of width 4 became one with half its lanes."""
    assert lanes_of(undisturbed) == {4: 4, 6: 4}
    assert lanes_of(folder) == {4: 2, 6: 4}
    store, rows, expected = SweepStore(folder), traces(folder), traces(undisturbed)
    assert rows[["run_id", "step"]].equals(expected[["run_id", "step"]])
    untouched = rows["width"] == 6
    assert rows[untouched].equals(expected[untouched])
    (entry,) = store.read_plan()["amendments"]
    assert store.pack(entry["pack_id"]).newest_header().plan_id == entry["plan_id"]  # type: ignore[union-attr]
    assert not list((folder / "packs" / entry["replaced"]).glob("header-*"))
    assert verify(folder) == []
    assert no_debris(folder)
    assert sorted(path.name for path in folder.glob("plan.*")) == ["plan.0001.json", "plan.json"]
    status = read_status(folder)
    assert status.state == "finished"
    assert "out of memory with 4 lanes; 2 from here on" in status_text(status)
    assert status.to_json()["amendments"][0]["replaced"] == entry["replaced"]
    assert set(open_sweep(folder).runs()["outcome"]) == {"ended"}


@pytest.fixture
def undisturbed(tmp_path: Path) -> Path:
    folder = tmp_path / "undisturbed"
    assert launch_here(freeze(folder, FOUR), folder).exit_code == 0
    return folder


def test_the_pack_goes_on_with_half_its_lanes(tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch):
    scarce(monkeypatch, width=4, fitting=2)
    folder = tmp_path / "scarce"
    assert launch_here(freeze(folder, FOUR), folder).exit_code == 0
    check_halved(folder, undisturbed)
    monkeypatch.undo()
    before = sorted(folder.rglob("*"))
    assert launch_here(folder.with_suffix(".yaml"), folder).exit_code == 0
    assert sorted(folder.rglob("*")) == before


SITECUSTOMIZE = """
import sys
from importlib import util

class Scarce:
    def find_spec(self, name, path, target=None):
        if name != "trainers.lanes":
            return None
        sys.meta_path.remove(self)
        spec = util.find_spec(name)
        load = spec.loader.exec_module

        def load_and_patch(module):
            import torch

            load(module)
            plenty = module.empty

            def empty(configs, n_lanes, device):
                if configs[0].width == 4 and n_lanes > 2:
                    torch.empty({too_much}, dtype=torch.uint8)
                return plenty(configs, n_lanes, device)

            module.empty = empty

        spec.loader.exec_module = load_and_patch
        return spec

sys.meta_path.insert(0, Scarce())
"""


def test_the_same_through_ray(tmp_path: Path, undisturbed: Path):
    (tmp_path / "scarce").mkdir()
    (tmp_path / "scarce" / "sitecustomize.py").write_text(SITECUSTOMIZE.format(too_much=TOO_MUCH))
    folder = tmp_path / "ray"
    spec = freeze(folder, FOUR)
    paths = [str(tmp_path / "scarce"), str(Path(worker.__file__).parent.parent)]
    command = ["-P", "-c", "from orchestrator.cli import main; main()", "launch", str(spec), "--out", str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "out of memory with 4 lanes; 2 from here on" in done.stdout
    check_halved(folder, undisturbed)


def test_a_pack_is_halved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scarce(monkeypatch, width=4, fitting=1)
    folder = tmp_path / "sweep"
    spec = freeze(folder, FOUR)
    result = launch_here(spec, folder)
    assert (result.exit_code, result.runs_ended) == (1, 6)
    assert lanes_of(folder) == {4: 2, 6: 4}
    (error,) = result.failed_packs.values()
    assert error.startswith("out of memory: free some")
    assert launch_here(spec, folder).exit_code == 1
    assert len(SweepStore(folder).read_plan()["amendments"]) == 1
    monkeypatch.undo()
    assert launch_here(spec, folder).exit_code == 0
    assert verify(folder) == []


def begin(folder: Path) -> tuple[SweepStore, PlannedPack, int]:
    freeze(folder, FOUR)
    store = SweepStore(folder)
    pack = next(p for p in Plan.from_json(store.read_plan()).packs if p.values("width")[0] == 4)
    return store, pack, store.begin_attempt()


def test_what_has_committed_keeps_its_lanes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store, pack, attempt = begin(tmp_path / "sweep")
    assert run_pack(store.root, pack.pack_id, attempt, should_stop=lambda: True) == "drained"
    scarce(monkeypatch, width=4, fitting=2)
    with pytest.raises(RuntimeError, match="allocate memory"):
        run_pack(store.root, pack.pack_id, attempt, should_stop=lambda: False)
    assert store.read_plan()["amendments"] == []
    assert "launch again" in store.pack(pack.pack_id).failure().text  # type: ignore[union-attr]
    monkeypatch.undo()
    assert run_pack(store.root, pack.pack_id, attempt, should_stop=lambda: False) == "done"


def test_a_worker_that_was_overtaken_amends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store, pack, attempt = begin(tmp_path / "sweep")

    def overtaken(*args: Any, **kwargs: Any) -> None:
        store.begin_attempt()
        raise MemoryError

    monkeypatch.setattr(worker, "train_pack", overtaken)
    with pytest.raises(FencedError):
        run_pack(store.root, pack.pack_id, attempt, should_stop=lambda: False)
    assert store.read_plan()["amendments"] == []


def test_two_packs_at_the_same_time_get_two_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scarce(monkeypatch, width=4, fitting=2)
    scarce(monkeypatch, width=6, fitting=2)
    folder = tmp_path / "sweep"
    spec = freeze(folder, FOUR)
    assert launch_here(spec, folder).exit_code == 0
    assert lanes_of(folder) == {4: 2, 6: 2}
    record = SweepStore(folder).read_plan()
    assert len(set(record["plan_ids"])) == 3
    assert verify(folder) == []


@pytest.mark.parametrize("edit", [lambda text: text.replace("out of", "Out of"), lambda text: text[:-9]])
def test_a_damaged_amendment_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: Callable[[str], str]):
    scarce(monkeypatch, width=4, fitting=2)
    folder = tmp_path / "sweep"
    launch_here(freeze(folder, FOUR), folder)
    path = folder / "plan.0001.json"
    path.write_text(edit(path.read_text()))
    with pytest.raises(DamagedError, match=r"plan\.0001\.json"):
        SweepStore(folder).read_plan()
    assert [finding.path for finding in verify(folder)] == [path]


def test_an_amendment_of_another_plan_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scarce(monkeypatch, width=4, fitting=2)
    folder, other = tmp_path / "sweep", tmp_path / "other"
    launch_here(freeze(folder, FOUR), folder)
    freeze(other, FOUR.replace("seeds: 2", "seeds: [1, 2]"))
    (other / "plan.0001.json").write_bytes((folder / "plan.0001.json").read_bytes())
    with pytest.raises(DamagedError, match="does not amend"):
        SweepStore(other).read_plan()


def test_running_out_of_memory_is_told_from_other_errors():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(TOO_MUCH, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert not is_out_of_memory(OSError("no space left"))
