"""What happened to a sweep can be read off its files: logs, states, why something failed, and what to type next."""

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from cli_processes import run
from launch_helpers import SPEC, assert_same_traces, commits, end_of, freeze, launch_here, launching, wait_until
from torch._dynamo.exc import Unsupported
from torch._inductor.exc import CppCompileError, InductorError

from orchestrator import worker
from orchestrator.errors import UserError
from orchestrator.plan import Plan
from orchestrator.status import read_status, status_text
from orchestrator.worker import run_pack, try_pack
from results.pack_log import PackLog, last_event, read_log
from results.store import SweepStore
from results.verify import verify


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "sweep"
    assert launch_here(freeze(folder), folder).exit_code == 0
    return folder


def logs(folder: Path) -> dict[str, list[dict[str, Any]]]:
    store = SweepStore(folder)
    return {pack_id: list(read_log(store.pack(pack_id).files.folder)) for pack_id in store.pack_ids()}


def test_the_log_tells_of_every_commit_and_every_run(finished: Path):
    store = SweepStore(finished)
    for pack_id, lines in logs(finished).items():
        header = store.pack(pack_id).newest_header()
        assert header
        assert [line["event"] for line in lines] == ["begun", *["committed"] * (header.segment + 1), "done"]
        assert all((line["pack"], line["launch"], line["pid"]) == (pack_id, 1, os.getpid()) for line in lines)
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line["at"]) for line in lines)
        ended = {run_id: outcome for line in lines for run_id, outcome in line.get("ended", {}).items()}
        assert ended == {end.run_id: end.outcome for end in header.outcomes}
        assert sum(line.get("rows", 0) for line in lines) == sum(entry.rows or 0 for entry in header.segments)


def test_a_log_that_cannot_be_written_costs_nothing(tmp_path: Path):
    PackLog(tmp_path / "nowhere", pack="p").write("begun")
    (tmp_path / "log.jsonl").mkdir()
    PackLog(tmp_path, pack="p").write("begun")
    assert last_event(tmp_path) == ""


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path):
    log = PackLog(tmp_path, pack="p")
    log.write("begun")
    log.write("committed", segment=0)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"event": "comm')
    assert [line["event"] for line in read_log(tmp_path)] == ["begun", "committed"]
    assert last_event(tmp_path) == "committed"
    (tmp_path / "log.jsonl").write_bytes(b"\xff\xfe[1]\n3\n")
    assert (list(read_log(tmp_path)), last_event(tmp_path)) == ([], "")


def next_command(folder: Path) -> list[str]:
    """What status says to type, as a shell would take it."""
    found = re.search(r"`grokctl ([^`]*)`", read_status(folder).next_step)
    assert found, read_status(folder).next_step
    return shlex.split(found[1])


def test_the_next_command_of_a_stopped_sweep_finishes_it(tmp_path: Path, finished: Path):
    """Though it was asked for with --set, and its folder has a name that a shell would take apart."""
    folder = tmp_path / "my sweep's; $(id)"
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.replace("steps: 60", "steps: 30"))
    store = SweepStore(folder)
    freeze(folder)  # planned with steps: 60
    assert run_pack(folder, store.pack_ids()[0], store.begin_attempt(), should_stop=lambda: True) == "drained"
    assert read_status(folder).cut_off == ()
    again = run(*next_command(folder), "--local")
    assert again.returncode == 0, again.stderr
    assert_same_traces(folder, finished)
    assert next_command(folder)[0] == "diagram"
    assert run(*next_command(folder)).returncode == 0


def test_a_folder_goes_on_with_the_settings_that_it_was_launched_with(tmp_path: Path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    folder = tmp_path / "sweep"
    assert launch_here(spec, folder, overrides={"steps": "20"}, max_hours=0.0).exit_code == 0
    assert launch_here(folder, folder).runs_ended == 12
    assert launch_here(str(folder), None).runs_ended == 12
    with pytest.raises(UserError, match="steps: 20 -> 60"):
        launch_here(spec, folder)
    with pytest.raises(UserError, match="steps: 20 -> 60"):
        launch_here(folder, None, overrides={"steps": "60"})


def test_what_was_killed_is_told_from_what_was_stopped(tmp_path: Path):
    folder = tmp_path / "sweep"
    spec = freeze(folder)
    with launching(spec, folder) as process:
        wait_until(lambda: commits(folder) >= 1, process)
        process.kill()
        end_of(process)
    (pack_id,) = read_status(folder).cut_off
    assert "1 pack ended without a word" in status_text(read_status(folder))
    assert json.loads(json.dumps(read_status(folder).to_json()))["cut_off"] == [pack_id]
    launch_here(spec, folder)
    assert read_status(folder).cut_off == ()
    assert [line["event"] for line in logs(folder)[pack_id]].count("resumed") == 1


def test_a_failure_is_logged_and_its_last_line_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def poison(*args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError("poison")

    monkeypatch.setattr(worker, "train_pack", poison)
    folder = tmp_path / "sweep"
    assert launch_here(freeze(folder), folder).exit_code == 1
    for lines in logs(folder).values():
        assert [(line["event"], line.get("error")) for line in lines] == [
            ("begun", None),
            ("failed", "ZeroDivisionError: poison"),
        ]
    text = status_text(read_status(folder))
    assert "ZeroDivisionError: poison" in text
    assert next_command(folder)[0] == "launch"
    assert "failure.json" in text


def test_a_step_that_torch_cannot_compile_says_how_to_train_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise Unsupported("graph break\n\nSet TORCHDYNAMO_VERBOSE=1 for the internal stack trace")

    monkeypatch.setattr(worker, "train_pack", refuse)
    folder = tmp_path / "sweep"
    (error, *_) = launch_here(freeze(folder), folder).failed_packs.values()
    assert error.startswith("torch's compiler failed (Unsupported)")
    assert "engine: eager" in error


def test_a_stop_that_ends_the_compiler_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*args: Any, **kwargs: Any) -> Any:
        raise InductorError(CppCompileError(["g++"], "killed by SIGINT, it says nothing"), None)

    folder = tmp_path / "sweep"
    freeze(folder)
    store = SweepStore(folder)
    attempt, pack_id = store.begin_attempt(), store.pack_ids()[0]
    with monkeypatch.context() as patch:
        patch.setattr(worker, "train_pack", interrupted)
        assert try_pack(store.root, pack_id, attempt, lambda: True) == "drained"
    assert store.pack(pack_id).failure() is None
    assert [line["event"] for line in logs(folder)[pack_id]] == ["begun", "drained"]
    assert try_pack(store.root, pack_id, attempt, lambda: False) == "done"


FOUR = SPEC.replace("lanes: 2", "lanes: 4")


def lanes_of(folder: Path) -> list[int]:
    return [pack.settings.lanes for pack in Plan.from_json(SweepStore(folder).read_plan()).packs]


def killed_before_a_commit(folder: Path) -> None:
    """A launch whose process was killed with SIGKILL while its first pack trained."""
    spec = freeze(folder, FOUR, segment_s=1e9)
    store = SweepStore(folder)
    with launching(spec, folder) as process:
        wait_until(lambda: store.pack(store.pack_ids()[0]).read_progress() is not None, process)
        process.kill()
        end_of(process)
    assert commits(folder) == 0


def test_a_pack_whose_process_the_kernel_killed_for_memory_gets_half_the_lanes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The process is really killed; that the kernel did it, its counter is made to say."""
    folder = tmp_path / "sweep"
    killed_before_a_commit(folder)
    before = worker.kernel_kills()
    monkeypatch.setattr(worker, "kernel_kills", lambda: {**before, "oom_kills": before["oom_kills"] + 1})
    store = SweepStore(folder)
    killed, attempt = store.pack_ids()[0], store.begin_attempt()
    assert lanes_of(folder) == [4, 4]
    run_pack(folder, killed, attempt, should_stop=lambda: True)
    assert sorted(lanes_of(folder)) == [2, 4]
    (entry,) = store.read_plan()["amendments"]
    assert entry["reason"] == "killed by the kernel, which was out of memory with 4 lanes; 2 from here on"
    assert verify(folder) == []


def test_a_kill_that_was_not_the_kernels_leaves_the_lanes_alone(tmp_path: Path):
    folder = tmp_path / "sweep"
    killed_before_a_commit(folder)
    store = SweepStore(folder)
    attempt = store.begin_attempt()
    run_pack(folder, store.pack_ids()[0], attempt, should_stop=lambda: True)
    assert lanes_of(folder) == [4, 4]
