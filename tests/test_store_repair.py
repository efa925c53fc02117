"""Damaged files move to quarantine/, and the next launch makes again what is needed, bit for bit; in a folder as in a
bucket."""

import itertools
import json
from pathlib import Path

import pytest
import store_helpers
from backends import home
from conftest import TINY_SPEC, Grokctl
from launch_helpers import assert_same_traces, launch_here
from store_crash_harness import flip
from store_crash_harness import halfway as begin
from store_helpers import (
    RUN_IDS,
    SCHEDULES,
    UnsyncedOs,
    contents,
    copied,
    delete,
    identities,
    launch,
    overwrite,
    published,
    write_tables,
)

from results import durable, open_sweep
from results.errors import DamagedError, LockedError, LostPlanError
from results.objects import ObjectPath
from results.places import Place
from results.repair import NEVER_MIND, NOT_NEEDED, RESTORED, repair
from results.store import SweepStore
from results.verify import verify

__all__ = ["home"]  # a fixture


@pytest.fixture
def unsynced(monkeypatch):
    monkeypatch.setattr(durable, "os", UnsyncedOs())


@pytest.fixture
def undisturbed(home, unsynced):
    launch(home / "undisturbed")
    return home / "undisturbed"


@pytest.fixture
def halfway(home, unsynced):
    """One pack done, one in the middle."""
    begin(home / "halfway")
    return home / "halfway"


TRACELESS = ("header", "done", "labels", "runs")
SHARE = 5
"""In a bucket every fifth case; all of them: tests/campaigns/bucket.py."""
HARMS = ("flip", "truncate", "delete")


def harmed(path: Place, harm: str) -> bytes:
    was = path.read_bytes()
    if harm == "delete":
        delete(path)
    elif harm == "flip":
        flip(path)
    else:
        overwrite(path, was[:-5])
    return was


def committed_files(root: Place) -> list[str]:
    """What a header, or the plan, vouches for."""
    kinds = (".parquet", ".bin", ".safetensors")
    records = ("header-", "done.json", "spec.yaml", "tables.json")
    names = sorted(contents(root))
    return [name for name in names if name.endswith(kinds) or name.rpartition("/")[2].startswith(records)]


def assert_mended(root: Place, name: str, harm: str, expected: dict[str, bytes]) -> None:
    """Harms a file of a sweep, has it repaired, and launches."""
    was = harmed(root / name, harm)
    is_found = any(finding.kind == "damage" for finding in verify(root))
    # What is gone without a trace: of two headers the other one counts, and a table is as if never written.
    assert is_found or (harm == "delete" and Path(name).name.startswith(TRACELESS)), name
    repairs = repair(root)
    assert [finding for finding in verify(root) if finding.kind == "damage"] == [], name
    if harm != "delete":
        (first,) = (it for it in repairs if it.path == root / name)
        moved = first.moved_to
        assert moved == root / "quarantine" / "0001" / name
        assert moved.read_bytes() != was
        assert json.loads(moved.with_name(f"{moved.name}.note.json").read_bytes())["problem"] == first.problem
    launch(root)
    assert published(root) == expected, name
    assert verify(root) == [], name


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("state", ["undisturbed", "halfway"])
def test_whatever_was_damaged_is_as_it_was_after_a_repair_and_a_launch(home, undisturbed, halfway, state, harm):
    expected = published(undisturbed)
    origin = home / state
    names = committed_files(origin)
    assert len(names) > 12
    share = names[HARMS.index(harm) :: SHARE] if isinstance(home, ObjectPath) else names
    for number, name in enumerate(share):
        assert_mended(copied(origin, home / f"copy-{number}"), name, harm, expected)


@pytest.fixture
def grown(undisturbed, monkeypatch):
    """A finished sweep, after it has gained the runs of a further pack."""
    monkeypatch.setitem(SCHEDULES, "eeee", SCHEDULES["bbbb"])
    monkeypatch.setitem(RUN_IDS, "eeee", ["e1", "e0"])
    monkeypatch.setitem(store_helpers.PUBLISH_RUNS, "eeee", 1)
    monkeypatch.setattr(store_helpers, "GROWN", ["eeee"])
    launch(undisturbed)
    return undisturbed


RECORDS = (
    "plan.json",
    "plan.0001.json",
    "tables.json",
    "packs/aaaa/header-00000.a1.json",
    "packs/aaaa/header-00001.a1.json",
    "packs/aaaa/header-00002.a1.json",
    "packs/aaaa/failure.json",
    "packs/bbbb/done.json",
    "packs/bbbb/attempt-1",
)
"""One of each kind, and two of one pack."""


def assert_told_apart(origin: Place, home: Place, expected: dict[str, bytes], share: int) -> int:
    """Puts each record of a sweep into the place of each other one; how many there were."""
    pairs = [(place, other) for place, other in itertools.permutations(RECORDS, 2) if "attempt" not in place]
    pairs = [(place, other) for place, other in pairs if (origin / place).exists() and (origin / other).exists()]
    for number, (place, other) in enumerate(pairs[::share]):
        root = copied(origin, home / f"record-{number}")
        overwrite(root / place, (origin / other).read_bytes())
        assert root / place in [finding.path for finding in verify(root)], (place, other)
        if place.startswith("plan"):
            with pytest.raises(LostPlanError, match=place):
                repair(root)
            assert not (root / "quarantine").is_dir()
            continue
        repair(root)
        assert [finding for finding in verify(root) if finding.kind == "damage"] == [], (place, other)
        assert (root / "quarantine" / "0001" / place).read_bytes() == (origin / other).read_bytes()
        launch(root)
        assert (published(root), verify(root)) == (expected, []), (place, other)
    return len(pairs)


def test_a_record_in_the_place_of_another_is_found_and_mended(home, halfway, undisturbed):
    """Each is whole, sealed and about something else, of the same pack perhaps."""
    write_tables(SweepStore(halfway))
    SweepStore(halfway).pack("aaaa").write_failure("boom", attempt=1)
    share = 7 if isinstance(home, ObjectPath) else 1
    assert assert_told_apart(halfway, home, published(undisturbed), share) == 36
    failure = halfway / "packs" / "aaaa" / "failure.json"
    overwrite(failure, b"{}")
    assert [(it.path, it.remedy) for it in repair(halfway)] == [(failure, NEVER_MIND)]


def test_amendments_and_tables_are_told_from_other_records(home, grown):
    share = 7 if isinstance(home, ObjectPath) else 1
    assert assert_told_apart(grown, home, published(grown), share) == 25


def test_a_plan_that_lacks_its_amendment_is_not_taken_for_whole(grown):
    """What the runs that were added have published is no stranger's."""
    before, expected = contents(grown), published(grown)
    delete(grown / "plan.0001.json")
    (finding,) = verify(grown)
    assert (finding.path, "knows nothing of pack eeee" in finding.problem) == (grown / "plan.json", True)
    with pytest.raises(LostPlanError, match=r"plan\.0001\.json or a later one is missing"):
        repair(grown)
    assert contents(grown).keys() == before.keys() - {"plan.0001.json"}
    assert launch(grown) == 0, "the spec that added them adds them again"
    assert (published(grown), verify(grown)) == (expected, [])


def test_a_published_table_is_put_together_without_training(undisturbed):
    names = [name for name in committed_files(undisturbed) if name.startswith("traces/")]
    before = published(undisturbed)
    for name in names:
        flip(undisturbed / name)
    rows = open_sweep(undisturbed)
    repair(undisturbed)
    assert len(rows.traces()) == 45, "readers find the rows all the same"
    assert launch(undisturbed) == 0
    assert published(undisturbed) == before


def test_lost_weights_train_their_pack_again_and_no_other(undisturbed):
    untouched = {name: it for name, it in identities(undisturbed).items() if "aaaa-" in name}
    flip(undisturbed / "weights" / "bbbb-00001.safetensors")
    before = published(undisturbed)
    repairs = repair(undisturbed)
    assert {it.moved_to.name.split(".")[0] for it in repairs} == {"done", "header-00001", "bbbb-00000", "bbbb-00001"}
    assert launch(undisturbed) == 2
    after = published(undisturbed)
    assert {name for name in after if after[name] != before[name]} == {"weights/bbbb-00001.safetensors"}
    assert untouched
    assert untouched.items() <= identities(undisturbed).items()


def test_what_clean_removed_cannot_be_put_together_and_is_trained_again(undisturbed):
    before = published(undisturbed)
    SweepStore(undisturbed).clean()
    flip(undisturbed / "traces" / "bbbb-00001.parquet")
    repair(undisturbed)
    assert [finding for finding in verify(undisturbed) if finding.kind == "damage"] == []
    assert launch(undisturbed) == 2
    assert published(undisturbed) == before
    assert verify(undisturbed) == []


def test_live_segments_of_a_finished_pack_are_needed_no_more(undisturbed):
    (path,) = (undisturbed / "packs" / "aaaa").glob("segment-00001*")
    flip(path)
    assert [(it.path, it.remedy) for it in repair(undisturbed)] == [(path, NOT_NEEDED)]
    assert verify(undisturbed) == []
    assert launch(undisturbed) == 0


def test_a_finished_pack_keeps_its_last_header_twice(undisturbed):
    done = SweepStore(undisturbed).pack("aaaa").files.done
    was = done.read_bytes()
    flip(done)
    assert [(it.path, it.remedy) for it in repair(undisturbed)] == [(done, RESTORED)]
    assert done.read_bytes() == was
    assert verify(undisturbed) == []


def test_a_last_header_that_cannot_be_read_makes_no_debris_of_its_pack(undisturbed):
    """A launch that came first would else have removed what the header is restored from, and count no run of it."""
    before, expected = contents(undisturbed), published(undisturbed)
    done = undisturbed / "packs" / "aaaa" / "done.json"
    flip(done)
    store = SweepStore(undisturbed)
    for use in (
        launch,
        lambda root: store.clean(),
        lambda root: open_sweep(root).runs(),
        lambda root: open_sweep(root).traces(),
    ):
        with pytest.raises(DamagedError, match=r"aaaa/done\.json"):
            use(undisturbed)
    assert contents(undisturbed).keys() - {"launch.lock"} == before.keys() - {"launch.lock"}
    repair(undisturbed)
    assert launch(undisturbed) == 0
    assert (done.read_bytes(), published(undisturbed)) == (before["packs/aaaa/done.json"], expected)


def test_a_last_header_that_was_restored_goes_with_all_that_its_pack_lost(undisturbed):
    """Restored from its twin first; then it turns out that nothing of the pack can be kept."""
    expected = published(undisturbed)
    harmed_files = ["packs/aaaa/done.json", "packs/aaaa/segment-00000.a1.parquet", "traces/aaaa-00001.parquet"]
    for name in harmed_files:
        flip(undisturbed / name)
    bytes_before = [(undisturbed / name).read_bytes() for name in harmed_files]
    repair(undisturbed)
    assert [finding for finding in verify(undisturbed) if finding.kind == "damage"] == []
    assert not SweepStore(undisturbed).pack("aaaa").is_done()
    assert launch(undisturbed) == 3
    assert (published(undisturbed), verify(undisturbed)) == (expected, [])
    kept = [*contents(undisturbed / "quarantine").values()]
    assert bytes_before[0] in kept
    assert bytes_before[2] in kept


def test_damaged_live_rows_beside_a_table_that_others_hold(home, unsynced, monkeypatch):
    """The table is put together from what is whole, and the live file is needed no more."""
    monkeypatch.setattr(store_helpers, "FURTHER", ["measures"])
    root = home / "s"
    launch(root)
    expected = published(root)
    for name in ("packs/aaaa/measures-00000.a1.parquet", "traces/aaaa-00002.parquet"):
        flip(root / name)
    repair(root)
    assert verify(root) == []
    assert launch(root) == 0
    assert published(root) == expected


def test_files_of_nobody_are_put_aside(undisturbed):
    stranger = undisturbed / "traces" / "zzzz-00000.parquet"
    overwrite(stranger, b"whose?")
    repair(undisturbed)
    assert (undisturbed / "quarantine" / "0001" / "traces" / stranger.name).read_bytes() == b"whose?"
    overwrite(stranger, b"again?")
    repair(undisturbed)
    assert (undisturbed / "quarantine" / "0002" / "traces" / stranger.name).read_bytes() == b"again?"


def test_a_damaged_plan_is_left_alone(undisturbed):
    flip(undisturbed / "plan.json")
    with pytest.raises(LostPlanError, match=r"plan\.json"):
        repair(undisturbed)
    assert not (undisturbed / "quarantine").is_dir()


def test_nothing_is_moved_under_the_hands_of_a_launch(undisturbed):
    flip(undisturbed / "traces" / "aaaa-00001.parquet")
    with SweepStore(undisturbed).lock(), pytest.raises(LockedError):
        repair(undisturbed)
    assert not (undisturbed / "quarantine").is_dir()


def test_debris_is_told_apart_from_damage(undisturbed):
    folder = undisturbed / "packs" / "aaaa"
    left = [folder / ".segment-00009.a1.parquet.a1.tmp", folder / "checkpoint-00009.a1.bin"]
    for path in left:
        overwrite(path, b"half")
    assert [(finding.path, finding.kind) for finding in verify(undisturbed)] == [(path, "debris") for path in left]
    launch(undisturbed)
    assert verify(undisturbed) == []


def test_the_verb_tells_what_to_do_next(finished_sweep: Path, own_sweep: Path, tmp_path: Path, grokctl: Grokctl):
    damaged = min((own_sweep / "traces").iterdir())
    flip(damaged)
    flip(own_sweep / "labels.parquet")
    told = grokctl("status", own_sweep, "--verify")
    assert told.exit_code == 65
    assert "--repair" in told.stdout
    mended = grokctl("status", own_sweep, "--repair")
    assert mended.exit_code == 0
    assert f"moved to {own_sweep}/quarantine/0001/labels.parquet" in mended.stdout
    assert mended.stdout.rstrip().endswith("makes them again")
    spec = tmp_path / "tiny.yaml"
    spec.write_text(TINY_SPEC)
    assert launch_here(spec, own_sweep).exit_code == 0
    assert_same_traces(own_sweep, finished_sweep)
    assert (own_sweep / "labels.parquet").read_bytes() == (finished_sweep / "labels.parquet").read_bytes()
    assert grokctl("status", own_sweep, "--repair").stdout.rstrip().endswith("as they were committed")


def test_the_verb_reports_another_record_and_a_lost_plan(own_sweep: Path, grokctl: Grokctl):
    """As damage, which is not the same as another version of grokctl."""
    done = min(own_sweep.glob("packs/*/done.json"))
    was = done.read_bytes()
    done.write_bytes((own_sweep / "tables.json").read_bytes())
    assert grokctl("launch", own_sweep, "--local").exit_code == 65, "its runs are not silently missing"
    told = grokctl("status", own_sweep, "--verify")
    assert (told.exit_code, f"{done}: another record in the place of the header" in told.output) == (65, True)
    assert grokctl("status", own_sweep, "--repair").exit_code == 0
    assert done.read_bytes() == was
    (own_sweep / "plan.json").write_bytes((own_sweep / "tables.json").read_bytes())
    for asked in ("--verify", "--repair"):
        told = grokctl("status", own_sweep, asked)
        assert (told.exit_code, "put back a copy" in told.stderr) == (65, True), told.output
