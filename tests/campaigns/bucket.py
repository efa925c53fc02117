"""The whole campaign against sweeps in a bucket: `python tests/campaigns/bucket.py [PART...]`.

- changes: kill before and after every change that a launch makes there; it must end with the bytes of one in a folder;
- calls: kill before every change of a launch, of one that extends a sweep by runs, and of `status --repair` and the
  launch after it; through a server that loses every other answer or says 503; up to 21 times in a row; and the mistakes
  built into the store that a bucket can show, which must be found;
- repairs: each file of a sweep cut, flipped or gone, and each record in the place of each other one;
- late: a change that a dead launch or repair had sent is carried out in the midst of the next one. Nothing may be lost
  for good: `status --verify` finds what it did, and `--repair` and a launch mend it.

Prints a line each; exits with 1 if anything was violated. A quarter of an hour of one core; the tests run a share. The
bucket is tests/loopback_s3.py, or with GROKCTL_TEST_S3=s3://bucket/prefix the server at AWS_ENDPOINT_URL.
"""

import argparse
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS.parent), str(TESTS)]

import crash  # noqa: E402
import pytest  # noqa: E402
import store_crash_harness as harness  # noqa: E402
from bucket_kills import Killed, Request, arrive_before, kill_at, misbehaving_bucket  # noqa: E402
from store_helpers import copied, drop, launch, published  # noqa: E402
from test_store_crash import IN_BUCKETS  # noqa: E402
from test_store_repair import HARMS, assert_mended, committed_files  # noqa: E402

from results.objects import ObjectPath  # noqa: E402
from results.places import Place  # noqa: E402
from results.repair import repair  # noqa: E402
from results.verify import verify  # noqa: E402

SWEEPS = (
    ["bucket"],
    ["lose"],
    ["refuse"],
    ["bucket", "let_runs_wait", "measure_too"],
    ["bucket", "run_out_of_memory"],
    ["bucket", "gain_runs", "finished"],
    ["bucket", "gain_runs", "halfway"],
    ["lose", "gain_runs", "halfway"],
    ["bucket", "damaged_finished"],
    ["lose", "damaged_finished", "every=2"],
    ["bucket", "damaged_halfway"],
    ["refuse", "damaged_halfway", "every=2"],
    ["bucket", "halfway", "row=20", "every=7"],
    ["bucket", "damaged_halfway", "row=20", "every=20"],
)
ARRIVALS = (1, 4, 9, 20, 40)
"""Before which change of the next launch a late one is carried out, in turn."""


def kill_around_changes(folder: Path) -> bool:
    launch(folder / "s")
    undisturbed = published(folder / "s")
    for is_after in (False, True):
        with misbehaving_bucket(None) as above:
            kills = kill_at_every_change(above, undisturbed, is_after=is_after)
        print(f"{kills} kills {'after' if is_after else 'before'} a change: every one went on to the same bytes")
    return True


def kill_at_every_change(above: ObjectPath, undisturbed: dict[str, bytes], *, is_after: bool) -> int:
    """How many kills a launch survived: one at each of its changes."""
    for n in range(1 + is_after, 10**6):
        root = above / str(n)
        if not died(launch, root, n, is_after=is_after):
            return n - 1 - is_after
        if (root / "plan.json").exists():
            assert not [finding for finding in verify(root) if finding.kind == "damage"], n
        launch(root)
        assert published(root) == undisturbed, n
        assert verify(root) == [], n
        drop(root)
    raise AssertionError("a launch ends")


def died(
    act: harness.Act, root: Place, n: int, *, is_after: bool = False, keep: Callable[[Request], None] = id
) -> bool:
    """False if it came to its end before its n-th change."""
    with pytest.MonkeyPatch.context() as patch:
        kill_at(n, patch, is_after=is_after, keep=keep)
        try:
            act(root)
        except Killed:
            return True
    return False


def kill_at_calls(folder: Path) -> bool:
    is_good = crash.enumerate_kills(folder, SWEEPS)
    for mutant in IN_BUCKETS:
        violation, *_ = crash.told(folder, ["bucket", mutant, *harness.NEEDED.get(mutant, [])])
        is_found = not violation.endswith("in a row")
        print(f"mutant {mutant}: {violation if is_found else 'NOT FOUND'}", flush=True)
        is_good = is_good and is_found
    return is_good


def repair_everything(folder: Path) -> bool:
    """The records are those of tests/test_store_repair.py, all of which that does in a folder."""
    launch(folder / "s")
    expected = published(folder / "s")
    for start in (harness.finished, harness.halfway):
        with misbehaving_bucket(None) as above:
            start(above / "start")
            names = committed_files(above / "start")
            for name in names:
                for harm in HARMS:
                    root = copied(above / "start", above / f"{names.index(name)}-{harm}")
                    assert_mended(root, name, harm, expected)
                    drop(root)
        print(f"{start.__name__}: {len(names)} files, each flipped, cut and gone, are as they were", flush=True)
    return True


def arrive_late(folder: Path) -> bool:
    launch(folder / "s")
    expected = published(folder / "s")
    is_good = True
    for start in (None, harness.damaged_finished, harness.damaged_halfway):
        with misbehaving_bucket(None) as above:
            if start:
                start(above / "start")
            case = harness.Case(start=above / "start" if start else None, is_damaged=bool(start))
            ends = Counter(late_ends(above, case, expected))
        told = ", ".join(f"{count} {end}" for end, count in ends.items())
        print(f"late, {start.__name__ if start else 'launch'}: {told}", flush=True)
        is_good = is_good and not ends["LOST"]
    return is_good


def late_ends(above: ObjectPath, case: harness.Case, expected: dict[str, bytes]) -> Iterator[str]:
    """What became of a sweep, for each change that arrived late: see how_it_ended."""
    for n in range(1, 10**6):
        root = case.begin(above / str(n))
        sent: list[Request] = []
        if not died(case.act, root, n, keep=sent.append):
            return
        with pytest.MonkeyPatch.context() as patch, suppress(FileNotFoundError):  # what went late was about to move
            arrive_before(ARRIVALS[n % len(ARRIVALS)], patch, sent[0])
            case.act(root)
        yield how_it_ended(root, expected)
        drop(root)


def how_it_ended(root: Place, expected: dict[str, bytes]) -> str:
    """`whole`, as if nothing had been; with `debris`; `mended` by a repair and a launch; LOST."""
    found = verify(root)
    if published(root) == expected and all(finding.kind == "debris" for finding in found):
        return "debris" if found else "whole"
    repair(root)
    launch(root)
    return "mended" if (published(root), verify(root)) == (expected, []) else "LOST"


PARTS = {
    "changes": kill_around_changes,
    "calls": kill_at_calls,
    "repairs": repair_everything,
    "late": arrive_late,
}


def run_part(name: str) -> bool:
    folder = Path(tempfile.mkdtemp(prefix="grokctl-bucket-"))
    try:
        return PARTS[name](folder)
    except AssertionError:
        traceback.print_exc()
        return False
    finally:
        shutil.rmtree(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[*PARTS, []], help=", ".join(PARTS))
    held = {name: run_part(name) for name in parser.parse_args().parts or PARTS}
    print(", ".join(f"{name} {'held' if good else 'VIOLATED'}" for name, good in held.items()))
    return 0 if all(held.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
