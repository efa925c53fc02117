"""The sbatch script on an allocation of two nodes that is not there: srun, scontrol and ray are small scripts that
write down how they were called, and srun runs its command here."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import TINY_SPEC
from launch_helpers import wait_until

from orchestrator.costs import FormulaCost
from orchestrator.manifests import manifest
from orchestrator.slots import Slots
from orchestrator.spec import load_text
from orchestrator.version import release

HERE = Slots(device="cpu", slots=1, cpus_per_pack=3, gpus_per_pack=0.0, has_compiler=False)
RAY = version("ray")
DEADLINE_S = 60.0
OUT = '/shared results/it\'s $HOME; "x"'

SRUN = r"""
echo "srun $*" >> "$LOG"
tasks=1
while [[ $1 == --* ]]; do
    case $1 in --ntasks=*) tasks=${1#*=} ;; esac
    shift
done
for ((task = 0; task < tasks; task++)); do "$@" & done
trap 'kill $(jobs -p) 2>/dev/null' TERM
code=0
wait || code=$?
for job in $(jobs -p); do wait "$job"; done
exit "$code"
"""
FAKE_RAY = r"""
case $1 in
--version) echo "ray, version ${RAY_HAS:-RAY_VERSION}" ;;
status)
    [[ -e $STARTED ]] || exit 1
    printf 'Total Usage:\n 0.0/%s.0 CPU\n 0B/1GiB memory\n' $((3 * $(wc -l < "$STARTED")))
    ;;
start)
    [[ $RAY_AUTH_MODE == token && ${#RAY_AUTH_TOKEN} -eq 64 ]] || exit 1
    [[ -z ${RAY_BREAKS:-} ]] || exit 1
    echo "ray $*" >> "$LOG"
    trap 'echo "ray stopped" >> "$LOG"; exit 0' TERM
    echo x >> "$STARTED"
    while :; do /bin/sleep 0.02 & wait $!; done
    ;;
esac
"""
FAKE_GROKCTL = r"""
case $1 in
--version) echo "grokctl RELEASE (commit 0123456789ab)" ;;
launch)
    printf '%s\0' "$@" > "$LAUNCHED.new"
    trap 'echo drained >> "$LOG"; exit 143' TERM
    mv "$LAUNCHED.new" "$LAUNCHED"
    while [[ -n ${LAUNCH_WAITS:-} ]]; do /bin/sleep 0.02 & wait $!; done
    exit "${LAUNCH_EXIT:-0}"
    ;;
esac
"""
COMMANDS = {
    "srun": SRUN,
    "scontrol": r"""echo "scontrol $*" >> "$LOG"; printf '%s\n' node1 node2""",
    "hostname": r"""echo "${ADDRESS:-10.0.0.1}" """,
    "sleep": "exec /bin/sleep 0.02",
    "ray": FAKE_RAY.replace("RAY_VERSION", RAY),
    "grokctl": FAKE_GROKCTL.replace("RELEASE", release()),
}


class Allocation:
    """A script to be run, and what is written down of it."""

    def __init__(self, folder: Path) -> None:
        programs = folder / "bin"
        programs.mkdir()
        for name, text in COMMANDS.items():
            (programs / name).write_text(f"#!/bin/bash\n{text}\n")
            (programs / name).chmod(0o755)
        self.log, self.launched = folder / "log", folder / "launched"
        self.script = folder / "job.sh"
        self.processes: list[subprocess.Popen[str]] = []
        self.environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LOG": str(self.log),
            "LAUNCHED": str(self.launched),
            "STARTED": str(folder / "started"),
            "SLURM_JOB_NODELIST": "node[1-2]",
            "SLURM_JOB_ID": "1234567",
        }
        loaded = load_text(TINY_SPEC, folder / "my specs" / "tiny.yaml")
        text = manifest("slurm", loaded, HERE, FormulaCost(device="cpu"), out=OUT, settings={"task": 'a "*" $b'})
        self.script.write_text(text)

    def start(self, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            ["bash", self.script],
            env=self.environment | environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def run(self, **environment: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(**environment)
        _, errors = process.communicate(timeout=DEADLINE_S)
        return subprocess.CompletedProcess(process.args, process.returncode, stderr=errors)

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def allocation(tmp_path: Path) -> Iterator[Allocation]:
    """Whatever a script leaves running ends with the test."""
    made = Allocation(tmp_path)
    yield made
    for process in made.processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(DEADLINE_S)
        assert process.stderr is not None
        process.stderr.close()


def test_bash_can_read_the_script(allocation: Allocation) -> None:
    checked = subprocess.run(["bash", "-n", allocation.script], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_directives_ask_for_what_the_plan_needs(allocation: Allocation) -> None:
    lines = allocation.script.read_text().splitlines()
    directives = dict(line.split(" ", 1)[1].split("=", 1) for line in lines if line.startswith("#SBATCH "))
    assert lines[0] == "#!/bin/bash"
    wanted = {"--nodes": "1", "--ntasks-per-node": "1", "--cpus-per-task": "3", "--time": "0:45:00"}
    assert {name: directives[name] for name in wanted} == wanted
    assert "--gpus-per-node" not in directives
    # Directives end where commands begin: sbatch reads none after that.
    first_command = next(n for n, line in enumerate(lines) if line and not line.startswith("#"))
    assert not any(line.startswith("#SBATCH") for line in lines[first_command:])


def test_gpus_are_asked_for(tmp_path: Path) -> None:
    here = Slots(device="cuda", slots=1, cpus_per_pack=2, gpus_per_pack=2.0, has_compiler=False)
    loaded = load_text(TINY_SPEC.replace("device: cpu", "device: cuda"), tmp_path / "tiny.yaml")
    text = manifest("slurm", loaded, here, FormulaCost(device="cuda"))
    assert "\n#SBATCH --gpus-per-node=2\n" in text
    assert "--num-gpus=2" in text


def test_ray_starts_on_both_nodes_and_the_launch_sees_it(allocation: Allocation, tmp_path: Path) -> None:
    result = allocation.run()
    assert (result.returncode, result.stderr) == (0, "")
    lines = allocation.lines()
    head, other = (line for line in lines if line.startswith("ray start"))
    port = 20000 + 1234567 % 10000
    assert f"--head --node-ip-address=10.0.0.1 --port={port} --dashboard-host=127.0.0.1" in head
    assert f"--address=10.0.0.1:{port}" in other
    for line in (head, other):
        assert "--block --num-cpus=3 --num-gpus=0" in line
    on_head, on_others = (line for line in lines if line.startswith("srun") and "ray start" in line)
    assert "--nodes=1 --ntasks=1 --nodelist=node1" in on_head
    assert "--nodes=1 --ntasks=1 --exclude=node1" in on_others
    assert allocation.launched.read_bytes().decode().split("\0")[:-1] == [
        "launch", f"{tmp_path}/my specs/tiny.yaml", "--address", "auto", "--out", OUT, "--max-hours", "0.25",
        "--set", 'task=a "*" $b',
    ]  # fmt: skip
    assert lines.count("ray stopped") == 2


def test_the_token_reaches_ray_through_the_environment_alone(allocation: Allocation) -> None:
    # The fake Ray refuses to start without a token of 64 digits.
    assert allocation.run().returncode == 0
    assert not any("token" in line.lower() for line in allocation.lines())


@pytest.mark.parametrize("code", [1, 65, 143])
def test_the_launch_decides_the_exit_code(code: int, allocation: Allocation) -> None:
    assert allocation.run(LAUNCH_EXIT=str(code)).returncode == code
    assert allocation.lines().count("ray stopped") == 2


def test_the_time_limit_drains_the_launch(allocation: Allocation) -> None:
    process = allocation.start(LAUNCH_WAITS="yes")
    wait_until(allocation.launched.exists, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 143
    lines = allocation.lines()
    assert lines[-3:] == ["drained", "ray stopped", "ray stopped"]


def test_a_ray_that_does_not_start_ends_the_job(allocation: Allocation) -> None:
    result = allocation.run(RAY_BREAKS="yes")
    assert result.returncode == 69
    assert "Ray ended while it was starting" in result.stderr
    assert not allocation.launched.exists()


def test_a_head_that_others_cannot_reach_is_refused(allocation: Allocation) -> None:
    result = allocation.run(ADDRESS="127.0.1.1")
    assert result.returncode == 69
    assert "loopback address only" in result.stderr


def test_another_version_of_ray_is_refused(allocation: Allocation) -> None:
    result = allocation.run(RAY_HAS="2.59.0")
    assert result.returncode == 78
    assert "not for ray, version 2.59.0" in result.stderr
    assert not allocation.launched.exists()
