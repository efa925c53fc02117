"""The whole campaign against the store: `python tests/campaigns/crash.py [--only PART] [--kills N] [--flips N]`.

- kill -9 before every durable call of a launch, of four sweeps of two packs or one; of one that extends a sweep by runs
  that its spec has gained; of `status --repair` and the launch after it; and up to 21 times in a row;
- kill -9 at random times of real, synced launches, up to 20 times in a row, 200 in all;
- kill -9 before each eighth durable call of real launches that extend a sweep;
- one flipped bit in a segment, a published file, a checkpoint, a header or a plan, 1,000 times.

Prints a line each; exits with 1 if anything was violated. The tests run a share of it.
"""

import argparse
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS.parent), str(TESTS)]

import store_crash_harness as harness  # noqa: E402
from store_helpers import UnsyncedOs, create_sweep, launch, published, train  # noqa: E402

from results import durable  # noqa: E402
from results.verify import verify  # noqa: E402

SWEEPS = (
    [],
    ["let_runs_wait"],
    ["let_runs_wait", "measure_too"],
    ["run_out_of_memory"],
    ["gain_runs", "finished"],
    ["gain_runs", "halfway"],
    ["damaged_finished"],
    ["damaged_halfway"],
    ["row=20", "every=7"],
    ["halfway", "row=20", "every=7"],
    ["damaged_halfway", "row=20", "every=20"],
)
IN_A_ROW = 20


def enumerate_kills(base: Path, sweeps: Sequence[Sequence[str]] = SWEEPS) -> bool:
    is_good = True
    for number, sweep in enumerate(sweeps):
        lines = told(base / str(number), sweep)
        print(f"every durable call, {' + '.join(sweep) or 'plain'}: {'; '.join(lines)}", flush=True)
        is_good = is_good and len(lines) == 1 and lines[0].endswith("in a row")
        shutil.rmtree(base / str(number), ignore_errors=True)
    return is_good


def told(folder: Path, options: Sequence[str]) -> list[str]:
    """What the harness says, or dies of: in a process of its own, because it changes the made-up sweep in place."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, harness.__file__, str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    return [*done.stdout.splitlines(), *done.stderr.splitlines()[-1:]]


def launch_for(root: Path, seconds: float | None) -> bool:
    """A launch in a process of its own, killed after this time; whether it was."""
    pid = os.fork()
    if pid == 0:
        try:
            launch(root)
            os._exit(0)
        finally:
            os._exit(1)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or not os.waitstatus_to_exitcode(status), "a launch failed"
    return os.WIFSIGNALED(status)


def kill_at_random(base: Path, kills: int) -> bool:
    """With files and folders synced; the time of a whole launch is measured first."""
    rng, done, bad = random.Random(0), 0, 0
    base = base / "random"
    began = time.perf_counter()
    launch(base / "undisturbed")
    whole = time.perf_counter() - began
    expected, rows = published(base / "undisturbed"), Counter(harness.read_rows(base / "undisturbed"))
    longest = 0
    for number in itertools.count():
        if done >= kills:
            break
        root, in_a_row, most = base / str(number), 0, rng.randrange(1, IN_A_ROW + 1)
        while in_a_row < most and launch_for(root, rng.random() * whole):
            in_a_row += 1
            bad += bool(list(harness.broken_reads(root, rows)))
        launch_for(root, None)
        bad += published(root) != expected or verify(root) != []
        done, longest = done + in_a_row, max(longest, in_a_row)
        shutil.rmtree(root)
    print(f"random times: {done} kills, up to {longest} in a row; {bad} violations", flush=True)
    return not bad


def kill_real_extensions(base: Path, every: int) -> bool:
    """kill -9 before every `every`-th durable call of a real launch that extends a finished sweep by runs, training,
    labels and diagram included; a launch that nobody disturbs follows."""
    from launch_helpers import SPEC, freeze, launch_here, traces

    from results import open_sweep

    start, cases, bad = base / "real" / "start", 0, 0
    start.parent.mkdir()
    freeze(start)
    wider = base / "real" / "wider.yaml"
    wider.write_text(SPEC.replace("width: [4, 6]", "width: [4, 6, 8]"))

    def run(root: Path, kill_at: int = 0, spec: Path = wider) -> int | None:
        return harness.run_in_child(lambda it: launch_here(spec, it).exit_code, root, kill_at, harness.nothing)

    assert run(start, spec=start.with_suffix(".yaml")) == 0
    calm = Path(shutil.copytree(start, base / "real" / "calm"))
    assert run(calm) == 0
    expected, names = traces(calm), harness.file_names(calm)
    for n in itertools.count(1, every):
        root = Path(shutil.copytree(start, base / "real" / str(n)))
        if run(root, n) is not None:
            break
        bad += any(finding.kind == "damage" for finding in verify(root))
        bad += run(root) != 0 or verify(root) != [] or not traces(root).equals(expected)
        bad += harness.file_names(root) != names or len(open_sweep(root).labels()) != 18
        cases += 1
        shutil.rmtree(root)
    print(f"real launches that extend a sweep: {cases} kills; {bad} violations", flush=True)
    return not bad


def flippable(root: Path) -> Iterator[list[Path]]:
    """By kind, so that each gets its share of the flips."""
    yield sorted(root.glob("packs/*/segment-*"))
    yield [*sorted(root.glob("traces/*")), *sorted(root.glob("weights/*")), *sorted(root.glob("*.parquet"))]
    yield sorted(root.glob("packs/*/checkpoint-*"))
    yield [*sorted(root.glob("packs/*/header-*")), *sorted(root.glob("packs/*/done.json")), root / "tables.json"]
    yield [*sorted(root.glob("plan*.json")), root / "spec.yaml"]


def flip_bits(base: Path, flips: int) -> bool:
    """In a sweep of which one pack is done, one halfway."""
    durable.os = UnsyncedOs()
    base = base / "flips"
    root = base / "flipped"
    store = create_sweep(root)
    attempt, plan_id = store.begin_attempt(), store.read_plan()["plan_id"]
    train(store.pack("bbbb"), attempt, plan_id=plan_id)
    train(store.pack("aaaa"), attempt, segments=2, plan_id=plan_id)
    launch(base / "other")
    for name in ("runs.parquet", "labels.parquet", "tables.json"):
        shutil.copy(base / "other" / name, root)
    assert verify(root) == []
    kinds, rng, found = [paths for paths in flippable(root) if paths], random.Random(0), 0
    for _ in range(flips):
        path = rng.choice(rng.choice(kinds))
        data = path.read_bytes()
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        found += path in [finding.path for finding in verify(root) if finding.kind == "damage"]
        path.write_bytes(data)
    print(f"flipped bits: {found} of {flips} found, in {len(kinds)} kinds of files", flush=True)
    return found == flips


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["calls", "kills", "flips", "extensions"])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--every", type=int, default=8, help="which durable calls of real launches")
    options = parser.parse_args()
    parts = {
        "extensions": lambda base: kill_real_extensions(base, options.every),
        "kills": lambda base: kill_at_random(base, options.kills),
        "flips": lambda base: flip_bits(base, options.flips),
        "calls": enumerate_kills,
    }
    base = Path(tempfile.mkdtemp(prefix="grokctl-crash-"))
    try:
        return 0 if all([parts[name](base) for name in parts if options.only in (None, name)]) else 1
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    sys.exit(main())
