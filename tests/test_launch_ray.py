"""launch on a local Ray: the same bits as without, from any folder, and nothing left when the driver dies.

Each of these starts a Ray, which takes ten seconds.
"""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from launch_helpers import (
    DEADLINE_S,
    SPEC,
    assert_same_traces,
    commits,
    freeze,
    launch_here,
    no_debris,
    wait_until,
)

from orchestrator.status import read_status

MARK = "GROKCTL_TEST_MARK"


class Driver:
    """`grokctl launch` in a session of its own; every process that it starts inherits a mark."""

    def __init__(self, spec: Path, folder: Path, cwd: Path) -> None:
        self.mark = uuid.uuid4().hex
        self.log = folder.with_suffix(".log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                # -P: like the installed command, this imports nothing from the current folder.
                [
                    sys.executable,
                    "-P",
                    "-c",
                    "from orchestrator.cli import main; main()",
                    "launch",
                    spec,
                    "--out",
                    folder,
                ],
                cwd=cwd,
                env={**os.environ, MARK: self.mark},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def is_alive(self) -> bool:
        return self.process.poll() is None

    @property
    def exitcode(self) -> str:
        return f"{self.process.poll()}: {self.log.read_text()}"

    def wait(self) -> int:
        return self.process.wait(DEADLINE_S)

    def processes(self) -> list[int]:
        """Whatever still runs of it."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if f"{MARK}={self.mark}".encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue  # it ended while we looked
        return found


@contextmanager
def driving(spec: Path, folder: Path, cwd: Path) -> Iterator[Driver]:
    driver = Driver(spec, folder, cwd)
    try:
        yield driver
    finally:
        for pid in driver.processes():
            os.kill(pid, signal.SIGKILL)
        driver.process.wait()


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder in which our packages' names mean something else."""
    folder = tmp_path / "it's; hostile"
    folder.mkdir()
    (folder / "trainers.py").write_text("raise SystemExit('not ours')")
    (folder / "results").mkdir()
    (folder / "results" / "__init__.py").write_text("raise SystemExit('not ours')")
    return folder


def test_killed_with_9_on_ray_and_launched_again_the_traces_are_those_of_a_local_launch(tmp_path: Path, hostile: Path):
    local, folder = tmp_path / "local", tmp_path / "ray"
    # Long enough that the workers, which outlive the driver by a second, cannot get to the end.
    text = SPEC.replace("steps: 60", "steps: 2000")
    launch_here(freeze(local, text, segment_s=0.3), local)
    spec = freeze(folder, text, segment_s=0.3)
    with driving(spec, folder, hostile) as driver:
        wait_until(lambda: commits(folder) >= 3, driver)  # type: ignore[arg-type]
        driver.process.kill()
        driver.wait()
        wait_until(lambda: not driver.processes())
    assert 3 <= commits(folder) < commits(local)
    assert read_status(folder).state == "unfinished"
    with driving(spec, folder, hostile) as driver:
        assert driver.wait() == 0, driver.log.read_text()
        wait_until(lambda: not driver.processes())
    assert_same_traces(folder, local)
    assert no_debris(folder)
    assert sorted(path.name for path in hostile.iterdir()) == ["results", "trainers.py"]


def test_ctrl_c_on_ray_drains_to_a_commit(tmp_path: Path):
    folder = tmp_path / "ray"
    total_steps = 12 * 40000
    spec = freeze(folder, SPEC.replace("steps: 60", "steps: 40000"), segment_s=0.1)
    with driving(spec, folder, tmp_path) as driver:
        wait_until(lambda: commits(folder) >= 1, driver)  # type: ignore[arg-type]
        os.killpg(driver.process.pid, signal.SIGINT)  # a terminal sends it to all of them
        assert driver.wait() == 130, driver.log.read_text()
        wait_until(lambda: not driver.processes())
    status = read_status(folder)
    assert status.state == "unfinished"
    assert 0 < status.run_steps < total_steps
    log = driver.log.read_text()
    assert "SIGINT: stopping at the next commit" in log
    assert "Traceback" not in log
    assert not {"raylet", "WARNING", "pid="} & set(log.replace("(", " ").split())


def test_ctrl_c_twice_on_ray_stops_at_once(tmp_path: Path):
    folder = tmp_path / "ray"
    spec = freeze(folder, SPEC.replace("steps: 60", "steps: 400000"), segment_s=1e9)
    with driving(spec, folder, tmp_path) as driver:
        wait_until(lambda: read_status(folder).packs["running"] > 0, driver)  # type: ignore[arg-type]
        os.killpg(driver.process.pid, signal.SIGINT)
        wait_until(lambda: (folder / "stop").exists(), driver)  # type: ignore[arg-type]
        os.killpg(driver.process.pid, signal.SIGINT)
        assert driver.wait() == 130, driver.log.read_text()
        wait_until(lambda: not driver.processes())
    assert commits(folder) == 0
    log = driver.log.read_text()
    assert "stopped at once" in log
    assert not {"Traceback", "ERROR", "ray.init"} & set(log.split())
