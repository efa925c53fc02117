"""Sweeps in a bucket: whatever is lost, refused or killed on the way, the traces come out as in a folder."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import store_helpers
from backends import CREDENTIALS, s3_server
from bucket_kills import Killed, every_other_change, kill_at
from conftest import Grokctl
from launch_helpers import _SERVER, SLOTS, SPEC, commits, end_of, launch_here, wait_until
from loopback_s3 import Server
from store_helpers import contents, create_sweep, fake_segments, launch, published

from orchestrator import worker
from orchestrator.costs import FormulaCost
from orchestrator.plan import make_plan
from orchestrator.spec import load_text
from results import objects, open_sweep
from results.errors import FencedError, LockedError
from results.objects import ObjectPath
from results.places import Place
from results.store import SweepStore
from results.verify import verify

ROOT = ObjectPath("bucket", "sweeps/s")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(objects, "FIRST_PAUSE_S", 0.0)
    with s3_server() as server:
        yield server


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("undisturbed") / "s"
    launch(root)
    return published(root)


def changes(s3: Server) -> list[tuple[str, str]]:
    return [(method, key) for method, key in s3.requests if method in ("PUT", "DELETE")]


def assert_whole(undisturbed: dict[str, bytes]) -> None:
    assert published(ROOT) == undisturbed
    assert verify(ROOT) == []


def test_a_sweep_in_a_bucket_has_the_bytes_of_one_in_a_folder(s3: Server, undisturbed: dict[str, bytes]) -> None:
    launch(ROOT)
    assert_whole(undisturbed)
    assert open_sweep(str(ROOT)).traces().groupby("run_id").size().min() > 1


def test_launching_a_finished_sweep_again_changes_nothing(s3: Server) -> None:
    launch(ROOT)
    before = contents(ROOT)
    s3.requests.clear()
    launch(ROOT)
    assert contents(ROOT) == before
    assert {key for _, key in changes(s3)} == {"sweeps/s/launch.lock"}


@pytest.mark.parametrize("harm", ["lose", "refuse"])
def test_no_answer_and_errors_at_any_change_do_no_harm(s3: Server, undisturbed: dict[str, bytes], harm: str) -> None:
    """All through a launch."""
    with every_other_change(s3, harm):
        launch(ROOT)
    assert_whole(undisturbed)


@pytest.mark.parametrize("is_after", [False, True])
def test_kills_between_any_two_changes_lose_nothing(s3: Server, undisturbed: dict[str, bytes], is_after: bool) -> None:
    launch(ROOT)
    n_changes = len(changes(s3))
    assert n_changes > 60
    for n in range(1 + is_after, n_changes, 4):
        s3.buckets["bucket"].clear()
        with pytest.MonkeyPatch.context() as patch:
            kill_at(n, patch, is_after=is_after)
            with pytest.raises(Killed):
                launch(ROOT)
        if (ROOT / "plan.json").exists():
            assert not [finding for finding in verify(ROOT) if finding.kind == "damage"], n
        launch(ROOT)
        assert_whole(undisturbed)


def test_a_launch_that_may_live_keeps_others_out(s3: Server) -> None:
    store = create_sweep(ROOT)
    (ROOT / "launch.lock").put(b'{"host": "elsewhere", "pid": 1, "attempt": 3}')
    assert store.holder() == {"host": "elsewhere", "pid": 1, "attempt": 3}
    with pytest.raises(LockedError, match=r"host elsewhere, pid 1, attempt 3.*--take-over"), store.lock():
        pass
    with store.lock(take_over=True) as note:
        assert note
        assert "can commit nothing" in note
        assert store.holder()["pid"] == os.getpid()
        with pytest.raises(LockedError), SweepStore(ROOT).lock():
            pass
    assert store.holder() is None


def test_a_commit_that_arrives_after_its_launch_was_taken_over_decides_nothing(
    s3: Server, undisturbed: dict[str, bytes]
) -> None:
    """The header was sent before the other launch took over, and is carried out when that one is through."""
    store = create_sweep(ROOT)
    old, pack = store.begin_attempt(), store.pack("aaaa")
    pack.resume(attempt=old)
    s3.do_before(lambda: launch(ROOT), method="PUT", key="header-00000")
    with pytest.raises(FencedError):
        pack.commit(**next(fake_segments("aaaa", 0, 0.0)), attempt=old, plan_id="plan", fingerprint={})
    assert published(ROOT) == undisturbed
    launch(ROOT)
    assert published(ROOT) == undisturbed


def test_looking_asks_once_for_a_pack_that_is_done(s3: Server) -> None:
    """A sweep may have a thousand of them, and a request takes 20 ms."""
    launch(ROOT)
    sweep = open_sweep(ROOT)
    s3.requests.clear()
    assert set(sweep.runs()["outcome"]) == {"ended", "stopped"}
    per_pack = [key.split("/")[3] for _, key in s3.requests if "/packs/" in key]
    assert sorted(per_pack) == sorted(sweep.store.pack_ids())
    with objects.one_look(ROOT):
        s3.requests.clear()
        store = sweep.store
        assert all(pack.is_done() for pack in store.packs().values())
        assert not (ROOT / "packs" / "none").is_dir()
        assert not any("/packs/" in key for _, key in s3.requests)
        assert not (ROOT / "stop").exists()
        store.request_stop()
        assert store.stop_requested(), "what was not there is asked for"


def test_a_commit_asks_for_what_it_publishes_and_not_for_what_was(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does tidying ask for each file of a pack that is done."""
    many = range(8)
    monkeypatch.setitem(store_helpers.SCHEDULES, "aaaa", [[(run, 0, 9, True)] for run in many])
    monkeypatch.setitem(store_helpers.RUN_IDS, "aaaa", [f"a{run}" for run in many])
    monkeypatch.setattr(store_helpers, "RATES", [1e-3] * len(many))
    pack = create_sweep(ROOT).pack("aaaa")
    pack.resume(attempt=0)
    asked = []
    for block in fake_segments("aaaa", 0, 0.0):
        s3.requests.clear()
        pack.commit(**block, attempt=0, plan_id="plan", fingerprint={})
        asked.append(sum(method == "HEAD" for method, _ in s3.requests))
    assert len(published(ROOT)) == 2 * len(many)
    assert asked[1:-1] == asked[:1] * (len(many) - 2)
    s3.requests.clear()
    assert pack.tidy() == []
    assert not any("/traces/" in key or "/weights/" in key for _, key in s3.requests)


def test_another_sweep_or_other_files_are_left_alone(s3: Server) -> None:
    from results.errors import ConflictError

    (ROOT / "thesis.tex").put(b"years of work")
    with pytest.raises(ConflictError, match=r"it holds 'thesis\.tex'"), SweepStore(ROOT).lock():
        pass
    assert contents(ROOT) == {"thesis.tex": b"years of work"}


# Trained, by the commands that users type


SMALL = SPEC.replace("seeds: 2", "seeds: 1")


def freeze(place: Place) -> None:
    """A sweep that was planned with short segments, and not begun."""
    plan = make_plan(load_text(SMALL), SLOTS, FormulaCost(device="cpu"), segment_s=0.1).to_json()
    SweepStore.create(place, spec_text=SMALL, plan=plan)


def launch_in_child(environment: dict[str, str], spec: Path, place: str) -> None:
    os.environ.update(environment)
    raise SystemExit(launch_here(spec, place).exit_code)


@pytest.fixture(scope="module")
def traces_in_folder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the same sweep publishes in a folder, undisturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "small.yaml").write_text(SMALL)
    freeze(folder / "s")
    launch_here(folder / "small.yaml", folder / "s")
    return contents(folder / "s" / "traces")


def assert_no_secrets(*texts: bytes) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        assert not any(CREDENTIALS[name].encode() in text for text in texts), name


def test_a_launch_into_a_bucket_survives_kills(
    s3: Server, tmp_path: Path, traces_in_folder: dict[str, bytes], grokctl: Grokctl
) -> None:
    spec = tmp_path / "small.yaml"
    spec.write_text(SMALL)
    freeze(ROOT)
    environment = {**CREDENTIALS, "AWS_ENDPOINT_URL": s3.url}
    for n_commits in (1, 4):
        child = _SERVER.Process(target=launch_in_child, args=(environment, spec, str(ROOT)))
        child.start()
        wait_until(lambda n=n_commits: commits(ROOT) >= n, child)
        child.kill()
        assert end_of(child) == -9
    answers = [grokctl("launch", spec, "--local", "--out", ROOT), grokctl("status", ROOT, "--verify")]
    assert [answer.exit_code for answer in answers] == [0, 0], answers[0].output + answers[1].output
    assert "as they were committed" in answers[1].output
    assert contents(ROOT / "traces") == traces_in_folder
    before = contents(ROOT)
    s3.requests.clear()
    answers += [grokctl("launch", spec, "--local", "--out", ROOT), grokctl("launch", ROOT, "--local")]
    assert not changes(s3)
    answers += [
        grokctl("label", ROOT, "--set", "classifier.theta=0.8"),
        grokctl("diagram", ROOT, "--x", "width", "--y", "learning_rate"),
        grokctl("query", ROOT, "SELECT count(*) FROM traces"),
        grokctl("archive", ROOT, "-o", tmp_path / "s.tar"),
    ]
    assert [answer.exit_code for answer in answers] == [0] * len(answers), [answer.output for answer in answers]
    assert "figures/phase_diagram_width_learning_rate.png" in contents(ROOT).keys() - before.keys()
    assert str(len(open_sweep(ROOT).traces())) in answers[-2].output
    left = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert_no_secrets(*contents(ROOT).values(), *left, *(answer.output.encode() for answer in answers))


@pytest.mark.parametrize(
    ("status", "code", "exit_code", "hint"),
    [(400, "ExpiredToken", 77, "Renew the AWS_... variables"), (503, "SlowDown", 69, "Is AWS_ENDPOINT_URL right")],
)
def test_a_store_that_goes_away_stops_training_and_a_launch_goes_on_later(
    s3: Server,
    tmp_path: Path,
    traces_in_folder: dict[str, bytes],
    grokctl: Grokctl,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    exit_code: int,
    hint: str,
) -> None:
    spec = tmp_path / "small.yaml"
    spec.write_text(SMALL)
    freeze(ROOT)
    trained: list[int] = []

    def counting(*args: object, **kwargs: object) -> Iterator[object]:
        for block in worker_train_pack(*args, **kwargs):
            trained.append(block.segment)
            yield block

    worker_train_pack = worker.train_pack
    monkeypatch.setattr(worker, "train_pack", counting)
    fault = s3.fail_with(status, code, times=10**9)
    fault.hits = lambda method, key, seen=[]: bool(seen) or ("segment-00001" in key and not seen.append(key))
    ended = grokctl("launch", spec, "--local", "--out", ROOT)
    assert ended.exit_code == exit_code, ended.output
    assert code in ended.output
    assert hint in ended.output
    assert "Traceback" not in ended.output
    assert_no_secrets(ended.output.encode())
    assert trained == [0, 1], "while the store is away nothing is trained that would have to wait in memory"
    fault.times = 0
    assert SweepStore(ROOT).pack(SweepStore(ROOT).pack_ids()[0]).newest_header().segment == 0
    assert grokctl("launch", spec, "--local", "--out", ROOT).exit_code == 0
    assert contents(ROOT / "traces") == traces_in_folder


@pytest.mark.parametrize("verb", ["status", "stop", "label", "diagram", "critical", "clean", "archive"])
def test_verbs_say_that_there_is_no_sweep_or_no_bucket(s3: Server, verb: str, grokctl: Grokctl) -> None:
    for place, words in [("s3://bucket/none", "is not the folder of a sweep"), ("s3://nowhere/x", "no bucket nowhere")]:
        answer = grokctl(verb, place)
        assert (answer.exit_code, words in answer.output) == (66, True), answer.output
    assert grokctl(verb, "s3://Bucket/x").exit_code == 2
    assert contents(ROOT.parent) == {}
