"""A cluster that loses anything: `python tests/campaigns/cluster.py [--kills 80] [--keep DIR] [--list]`.

- One sweep of 216 runs on a cluster of two nodes that loses a worker process, a node, the driver and the head.
- Sweeps of 48 runs that lose workers, raylets, nodes (at once, or with notice), drivers and heads at random times, have
  nodes that fall asleep and wake up when others have taken over, and control planes that drop messages.

After each fault packs that were done must be untouched, and each launch must end with an honest exit code. At the end
of each sweep its traces must be those of an undisturbed one, bit for bit, each row once, with nothing left over.
With --keep it can be interrupted, and goes on when it is started again. Exits with 1 if anything was violated.
MATRIX names the tests of each kind of loss; `make test` runs all but those of tests/campaigns/cluster_rows.py.
"""

import argparse
import contextlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS.parent), str(TESTS)]

from cluster_helpers import LOSSY, PATIENCE_S, LocalCluster, finished_files, violations  # noqa: E402
from launch_helpers import commits, launch_here  # noqa: E402

from orchestrator.costs import FormulaCost  # noqa: E402
from orchestrator.plan import make_plan  # noqa: E402
from orchestrator.slots import Slots  # noqa: E402
from orchestrator.spec import load_text  # noqa: E402
from orchestrator.status import read_status  # noqa: E402
from results.store import SweepStore  # noqa: E402

MATRIX = {
    "kill -9 of a worker; of the driver; of the head; a node at once": [
        "test_cluster_faults.py::"
        "test_a_sweep_that_loses_a_worker_a_node_the_driver_and_the_head_ends_with_the_same_bits",
        "test_launch_ray.py::test_killed_with_9_on_ray_and_launched_again_the_traces_are_those_of_a_local_launch",
    ],
    "kill -9 of a raylet; drain with notice; a partitioned node that wakes up": [
        "campaigns/cluster_rows.py::"
        "test_what_a_killed_raylet_a_sleeping_node_and_a_drained_one_leave_goes_on_elsewhere",
        "test_faults.py::test_a_process_that_is_stopped_and_goes_on_late_publishes_nothing",
        "test_trials.py::test_a_node_that_is_taken_away_with_notice_counts_for_nothing",
    ],
    "a control plane that drops messages": [
        "campaigns/cluster_rows.py::test_a_control_plane_that_drops_messages_changes_no_bits"
    ],
    "out of memory": [
        "campaigns/cluster_rows.py::test_a_pack_that_a_node_has_no_memory_for_goes_on_elsewhere_with_half_its_lanes",
        "test_out_of_memory.py::test_the_same_through_ray",
        "test_trials.py::test_a_worker_that_ray_killed_for_memory_goes_on_with_half_the_lanes_once",
    ],
    "a poison pack": [
        "test_cluster_scheduling.py::"
        "test_packs_wait_for_nodes_with_gpus_share_them_and_one_that_kills_its_workers_is_given_up",
        "test_trials.py::test_a_pack_that_dies_without_a_commit_is_given_up_and_status_says_why",
    ],
}
"""What a cluster loses, and the tests in which it does."""
SPEC = """\
name: disturbed
task: {{kind: toy_addition, modulus: 6}}
model: {{kind: toy, width: 5, depth: 1}}
loss: mse
steps: {steps}
train_size: 15
evaluation: {{growth: 2, gaps: 15}}
grid:
  learning_rate: [1e-3, 1e-2, 1e-1]
  width: [4, 6]
seeds: {seeds}
resources: {{device: cpu, lanes: 4, engine: eager}}
"""
SLOTS = Slots(device="cpu", slots=12, cpus_per_pack=1, gpus_per_pack=0.0, has_compiler=False)
KINDS = (
    ("worker",) * 5
    + ("driver",) * 4
    + ("raylet",) * 3
    + ("node",) * 3
    + ("drain",) * 3
    + ("sleep",) * 3
    + ("head",) * 2
)
LOSSY_SHARE = 0.1
MOST_A_SWEEP = 12
MOST_AT_ONCE = 4
LAUNCH_S = 900.0
"""A launch that lasts longer hangs."""
LOST = 69


def freeze(folder: Path, *, steps: int, seeds: int, segment_s: float) -> None:
    """A sweep that is planned and not begun, and the same, trained undisturbed."""
    spec = folder.with_suffix(".yaml")
    spec.write_text(SPEC.format(steps=steps, seeds=seeds))
    loaded = load_text(spec.read_text(), spec)
    plan = make_plan(loaded, SLOTS, FormulaCost(device="cpu"), segment_s=segment_s)
    SweepStore.create(folder, spec_text=spec.read_text(), plan=plan.to_json())
    undisturbed = undisturbed_of(folder)
    shutil.copytree(folder, undisturbed)
    assert launch_here(spec, undisturbed).exit_code == 0


def undisturbed_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-undisturbed")


class Disturbed:
    """One sweep on clusters that lose their parts, launched again until it is done."""

    def __init__(
        self, frozen: Path, folder: Path, rng: random.Random, say: Callable[[str], None], *, lossy_share: float
    ) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(frozen, folder)
        self.frozen, self.folder, self.rng, self.say = frozen, folder, rng, say
        self.bad: list[str] = []
        self.kills: Counter[str] = Counter()
        self.launches = 0
        self._cluster: LocalCluster | None = None
        self._old: list[LocalCluster] = []
        self._finished: dict[str, tuple[int, int, str]] = {}
        self._lossy, self._lossy_share = False, lossy_share

    def run(self, plan: Iterator[list[str]]) -> None:
        """Loses what `plan` names, some at once and one lot after the other, and comes to an end."""
        try:
            with self.folder.with_suffix(".log").open("w") as log:
                while not self._launch(plan, log):
                    pass
            self.bad += violations(self.folder, undisturbed_of(self.frozen))
            self._look()
        finally:
            for cluster in [*self._old, *([self._cluster] if self._cluster else [])]:
                cluster.close()
            if self._cluster and self._cluster.processes():
                self.bad.append("processes are left")

    def cluster(self) -> LocalCluster:
        if self._cluster is None:
            self._lossy = self.rng.random() < self._lossy_share
            lossy = {"RAY_testing_rpc_failure": LOSSY} if self._lossy else {}
            self._cluster = LocalCluster(2, **lossy)
        return self._cluster

    def _launch(self, plan: Iterator[list[str]], log: TextIO) -> bool:
        """One launch; whether the sweep is done."""
        self.launches += 1
        expected, deadline = 0, time.monotonic() + LAUNCH_S
        with self.cluster().launch(self.frozen.with_suffix(".yaml"), self.folder, stdout=log) as driver:
            while expected == 0 and self._wait_for_work(driver, deadline):
                kinds = next(plan, [])
                if not kinds:
                    break
                for kind in kinds:
                    expected = self._lose(kind, driver) or expected
                self._look()
            code = self._end_of(driver, deadline)
        self._retire()
        return self._judge(code, expected)

    def _wait_for_work(self, driver: "subprocess.Popen[str]", deadline: float) -> bool:
        """Until something was committed since, and a moment more; whether the launch still lives."""
        before, moment = commits(self.folder), self.rng.uniform(0.0, 2.0)
        while driver.poll() is None and commits(self.folder) == before and time.monotonic() < deadline:
            threading.Event().wait(0.2)
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(moment)
        return driver.poll() is None

    def _end_of(self, driver: "subprocess.Popen[str]", deadline: float) -> int:
        try:
            return driver.wait(max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.bad.append("a launch hangs")
            driver.kill()
            return driver.wait()

    def _judge(self, code: int, expected: int) -> bool:
        status = read_status(self.folder)
        died = all("its worker died" in pack.error for pack in status.failed)
        # So many deaths in a row make a pack look like poison, which is the truth as far as a launch can know it.
        is_done = code == 0 and status.state == "finished"
        is_honest = is_done or (code == expected != 0) or (code == 1 and expected == 0 and status.failed and died)
        if not is_honest:
            self.bad.append(f"exit code {code}, expected {expected}; {dict(status.packs)}")
        if len(self.bad) > 3:
            raise SystemExit(f"too much is wrong with {self.folder}: {self.bad}")
        return is_done

    def _look(self) -> None:
        """Packs that were done before are untouched."""
        now = finished_files(self.folder)
        changed = [name for name, identity in self._finished.items() if now.get(name) != identity]
        if changed:
            self.bad.append(f"{len(changed)} files of finished packs changed, {changed[0]} among them")
        self._finished = now

    # What is lost

    def _lose(self, kind: str, driver: "subprocess.Popen[str]") -> int:
        """The exit code that the launch should end with; 0 if it goes on."""
        cluster = self._cluster
        expected = 0
        if cluster is None:
            return 0  # it has just been lost as a whole
        if kind == "worker":
            if not cluster.kill_worker(self.rng):
                return 0
        elif kind == "driver":
            if driver.poll() is not None:
                return 0
            driver.kill()
            expected = driver.wait()
        elif kind == "head":
            cluster.lose_head()
            self._cluster, expected = None, LOST if driver.poll() is None else 0
            self._old.append(cluster)
        else:
            self._lose_a_node(kind, cluster, driver)
        name = f"{kind} (lossy)" if self._lossy else kind
        self.kills[name] += 1
        self.say(f"lost: {name}, after {commits(self.folder)} commits")
        return expected

    def _retire(self) -> None:
        """Of a cluster without a head the nodes go on for a while, beside the next cluster, or not."""
        if self.rng.random() < 0.5:
            while self._old:
                self._old.pop().close()

    def _lose_a_node(self, kind: str, cluster: LocalCluster, driver: "subprocess.Popen[str]") -> None:
        node = self.rng.choice(cluster.nodes)
        if kind == "sleep":
            cluster.freeze(node)
            cluster.add_node()
            with contextlib.suppress(subprocess.TimeoutExpired):
                driver.wait(PATIENCE_S + self.rng.uniform(4.0, 14.0))
            before = {path: path.stat() for path in (self.folder / "traces").glob("*")}
            cluster.thaw()
            threading.Event().wait(1.0)
            if any(path.stat().st_mtime_ns != stat.st_mtime_ns for path, stat in before.items()):
                self.bad.append("a node that woke up changed what was published")
            cluster.lose_node(node)
            return
        cluster.add_node()
        if kind == "raylet":
            cluster.kill_raylet(node)
            threading.Event().wait(1.0)
            cluster.lose_node(node)
        elif kind == "drain":
            cluster.drain_node(node)
        else:
            cluster.lose_node(node)


def all_at_once(base: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """A worker process, a node, the driver and the head, in one sweep of 216 runs."""
    frozen = base / "many"
    if not undisturbed_of(frozen).exists():
        freeze(frozen, steps=400, seeds=36, segment_s=0.3)
    began = time.monotonic()
    sweep = Disturbed(frozen, base / "all-at-once", random.Random(1), say, lossy_share=0.0)
    sweep.run(iter([["worker"], ["node"], ["driver"], ["head"]]))
    return report_of("216 runs", sweep, began)


def random_kills(base: Path, number: int, say: Callable[[str], None], left: int) -> dict[str, Any]:
    frozen = base / "few"
    if not undisturbed_of(frozen).exists():
        freeze(frozen, steps=1200, seeds=8, segment_s=0.3)
    rng, began = random.Random(number), time.monotonic()
    sweep = Disturbed(frozen, base / f"random-{number}", rng, say, lossy_share=LOSSY_SHARE)
    sweep.run(lots(rng, min(left, MOST_A_SWEEP)))
    return report_of(f"random {number}", sweep, began)


def lots(rng: random.Random, kills: int) -> Iterator[list[str]]:
    """So many kills, some of them at once; a head last, because nothing is left after it."""
    while kills > 0:
        lot = [rng.choice(KINDS) for _ in range(min(kills, rng.randint(1, MOST_AT_ONCE)))]
        kills -= len(lot)
        yield sorted(lot, key=lambda kind: kind == "head")


def report_of(name: str, sweep: Disturbed, began: float) -> dict[str, Any]:
    found = {
        "sweep": name,
        "kills": dict(sweep.kills),
        "launches": sweep.launches,
        "seconds": round(time.monotonic() - began),
        "violations": sweep.bad,
    }
    if not sweep.bad:
        shutil.rmtree(sweep.folder)
    return found


def campaign(base: Path, kills: int) -> int:
    records = base / "records.jsonl"
    done = [json.loads(line) for line in records.read_text().splitlines()] if records.exists() else []

    def say(text: str) -> None:
        print(f"  {time.strftime('%H:%M:%S')} {text}", flush=True)

    def note(record: dict[str, Any]) -> None:
        done.append(record)
        with records.open("a") as file:
            file.write(json.dumps(record) + "\n")
        lost = ", ".join(f"{count} {kind}" for kind, count in record["kills"].items())
        say(f"{record['sweep']}: lost {lost}; {record['launches']} launches; violations: {record['violations'] or 0}")

    if not any(record["sweep"] == "216 runs" for record in done):
        note(all_at_once(base, say))
    while (left := kills - total(done)) > 0:
        note(random_kills(base, len(done), say, left))
    kinds = sum((Counter(record["kills"]) for record in done), Counter[str]())
    bad = [problem for record in done for problem in record["violations"]]
    print(f"{total(done)} random kills in {len(done) - 1} sweeps, and all at once in one of 216 runs: {dict(kinds)}")
    print(f"{sum(record['seconds'] for record in done)} s; {len(bad)} violations")
    return 1 if bad else 0


def total(done: list[dict[str, Any]]) -> int:
    """Random kills so far."""
    return sum(sum(record["kills"].values()) for record in done if record["sweep"] != "216 runs")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=80)
    parser.add_argument("--keep", type=Path, help="where sweeps and the record lie; goes on with what is there")
    parser.add_argument("--list", action="store_true", help="print the tests of each kind of loss and run nothing")
    options = parser.parse_args()
    if options.list:
        for fault, cases in MATRIX.items():
            print("\n    ".join([fault, *cases]))
        return 0
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        return campaign(options.keep.resolve(), options.kills)
    with tempfile.TemporaryDirectory(prefix="grokctl-cluster-") as folder:
        return campaign(Path(folder), options.kills)


if __name__ == "__main__":
    sys.exit(main())
