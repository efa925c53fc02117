"""kill -9 anywhere, then launch again: the same bytes, nothing twice, nothing left. See store_crash_harness."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import store_crash_harness as harness
from store_helpers import launch

from results import durable

SHARE = "every=8"
"""Of the kills; all of them: `python tests/campaigns/crash.py`."""


def told(folder, *options):
    """What the harness prints: a violation if it found one, then the number of kills."""
    command = [sys.executable, harness.__file__, str(folder), *options]
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def counts(line):
    """Cases, kills, the longest row of them."""
    found = re.fullmatch(r"(\d+) cases, (\d+) kills, up to (\d+) in a row", line)
    assert found, line
    return [int(number) for number in found.groups()]


@pytest.mark.parametrize(
    "sweep", [[], ["let_runs_wait"], ["let_runs_wait", "measure_too"], ["run_out_of_memory"]], ids="-".join
)
def test_kill_at_every_change_of_the_disk(tmp_path, sweep):
    (last,) = told(tmp_path, *sweep, SHARE)
    assert counts(last)[0] > 18


@pytest.mark.parametrize(
    "sweep",
    [
        ["gain_runs", "finished", "every=12"],
        ["gain_runs", "halfway", "every=16"],
        ["damaged_finished", "every=30"],
        ["damaged_halfway", "every=24"],
    ],
    ids="-".join,
)
def test_kill_while_a_sweep_is_extended_or_repaired(tmp_path, sweep):
    (last,) = told(tmp_path, *sweep)
    assert counts(last)[0] > 8


@pytest.mark.parametrize(
    "sweep",
    [
        ["bucket", "let_runs_wait", "measure_too", "every=16"],
        ["bucket", "gain_runs", "halfway", "every=12"],
        ["lose", "damaged_finished", "every=24"],
        ["refuse", "damaged_halfway", "every=24"],
        ["bucket", "halfway", "row=20", "every=50"],
    ],
    ids="-".join,
)
def test_kill_at_changes_of_a_bucket(tmp_path, sweep):
    """Of a launch, of one that extends, of a repair; some through a server that loses answers, or refuses."""
    (last,) = told(tmp_path, *sweep)
    assert counts(last)[1] > 4


IN_BUCKETS = ("header_before_payload", "publish_before_header", "forget_to_roll_forward", "delete_what_is_damaged")
"""Mistakes of order; names are taken exclusively there, and nothing is ever half written."""


@pytest.mark.parametrize("mutant", IN_BUCKETS[2:])
def test_a_mistake_is_caught_in_a_bucket(tmp_path, mutant):
    violation, _ = told(tmp_path, "bucket", mutant, *harness.NEEDED.get(mutant, []))
    assert violation


def test_twenty_kills_in_a_row_while_a_sweep_is_resumed(tmp_path):
    (last,) = told(tmp_path, "halfway", "every=37", "row=20")
    assert counts(last)[2] == 21


@pytest.mark.parametrize("mutant", harness.MUTANTS)
def test_a_mistake_is_caught(tmp_path, mutant):
    violation, _ = told(tmp_path, mutant, *harness.NEEDED.get(mutant, []))
    assert violation


def test_files_are_synced_before_they_count(tmp_path, monkeypatch):
    """Against power cuts: content before its name, names that a header relies on before the header."""
    unsynced_files, unsynced_folders, paths = set(), set(), {}

    class RecordingOs:
        def __getattr__(self, name):
            return getattr(os, name)

        def open(self, path, flags, *mode):
            descriptor = os.open(path, flags, *mode)
            paths[descriptor] = Path(path)
            if flags & os.O_CREAT:
                unsynced_files.add(Path(path))
            return descriptor

        def fsync(self, descriptor):
            os.fsync(descriptor)
            unsynced_files.discard(paths[descriptor])
            unsynced_folders.discard(paths[descriptor])

        def rename(self, source, target):
            assert source not in unsynced_files
            if "header" in target.name or target.name == "done.json":
                assert not unsynced_folders
            os.rename(source, target)
            unsynced_folders.add(target.parent)

        def link(self, source, target):
            assert source not in unsynced_files
            os.link(source, target)
            unsynced_folders.add(target.parent)

        def unlink(self, path):
            assert path.parent not in unsynced_folders or path.name.startswith(".")
            os.unlink(path)

    monkeypatch.setattr(durable, "os", RecordingOs())
    assert launch(tmp_path / "s") == harness.n_segments()
    assert not unsynced_folders
