"""What surrounds Ray: code, token, scratch folder, trials. None of these tests starts a Ray."""

import fcntl
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from launch_helpers import SPEC, freeze, launch_here

from orchestrator import ray_auth, ray_cluster, scratch, sources, tune, worker
from orchestrator.errors import UserError
from orchestrator.machine import Node
from orchestrator.ray_cluster import Cluster, cluster
from orchestrator.scratch import scratch_folder
from orchestrator.signals import StopNow
from orchestrator.tune import require_same_sources, train_in_worker
from results.store import SweepStore


@pytest.fixture
def own_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(scratch, "PARENT", tmp_path)
    return tmp_path


@pytest.fixture
def ray_init(own_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What ray.init is called with; nothing is started."""
    calls: list[dict[str, Any]] = []

    def init(**options: Any) -> None:
        calls.append({**options, "cwd": Path.cwd(), "environ": dict(os.environ)})

    monkeypatch.setattr("ray.init", init)
    be_connected(monkeypatch)
    return calls


def be_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Ray says of itself; one node is dead."""
    node = {"NodeID": "a", "Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0, "memory": 8e9}}
    monkeypatch.setattr("ray.nodes", lambda: [node, {**node, "Alive": False}])
    context = SimpleNamespace(gcs_address="127.0.0.1:1", get_node_id=lambda: "a")
    monkeypatch.setattr("ray.get_runtime_context", lambda: context)


def test_a_local_ray_has_a_token_of_its_own_and_no_dashboard(ray_init: list[dict[str, Any]], tmp_path: Path):
    with cluster(None) as lent:
        assert lent.nodes == (Node(cpus=4, gpus=1, memory_bytes=8e9),)
    with cluster(None):
        pass
    tokens = [call["environ"]["RAY_AUTH_TOKEN"] for call in ray_init]
    assert len(tokens[0]) == 64
    assert tokens[0] != tokens[1]
    assert ray_init[0]["environ"]["RAY_AUTH_MODE"] == "token"
    assert ray_init[0]["environ"]["RAY_USAGE_STATS_ENABLED"] == "0"
    assert ray_init[0]["include_dashboard"] is False


def test_nothing_of_a_ray_stays_behind(ray_init: list[dict[str, Any]], tmp_path: Path):
    before, here = dict(os.environ), Path.cwd()
    with pytest.raises(ZeroDivisionError), cluster(None):
        raise ZeroDivisionError
    assert dict(os.environ) == before
    assert Path.cwd() == here
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def terminable() -> Iterator[list[int]]:
    """Where SIGTERM goes to."""
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    yield came
    signal.signal(signal.SIGTERM, before)


def exit_at_once(number: int, frame: object) -> None:
    """What Ray does upon SIGTERM."""
    raise SystemExit(number)


def test_a_sigterm_is_the_launchs_own_while_ray_is_there(
    own_tmp: Path, terminable: list[int], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ray.init", lambda **options: signal.signal(signal.SIGTERM, exit_at_once))
    be_connected(monkeypatch)
    with cluster(None):
        os.kill(os.getpid(), signal.SIGTERM)
    assert terminable == [signal.SIGTERM]


def test_a_sigterm_while_ray_starts_is_a_stop(own_tmp: Path, terminable: list[int], monkeypatch: pytest.MonkeyPatch):
    def init(**options: Any) -> None:
        signal.signal(signal.SIGTERM, exit_at_once)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(StopNow) as stop, cluster(None):
        pass
    assert stop.value.exit_code == 143


def test_workers_find_our_packages_and_not_those_of_the_current_folder(ray_init: list[dict[str, Any]]):
    here = Path.cwd()
    with cluster(None):
        assert Path.cwd() == here
    (call,) = ray_init
    assert call["cwd"] != here
    assert call["environ"]["PYTHONPATH"].split(os.pathsep)[0] == str(Path(ray_cluster.__file__).parent.parent)


def test_a_ray_that_does_not_start_is_tried_twice_and_is_an_error_with_a_way_out(
    own_tmp: Path, monkeypatch: pytest.MonkeyPatch
):
    tries: list[int] = []

    def init(**options: Any) -> None:
        tries.append(1)
        raise Exception("The current node timed out during startup.\nand more")

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(UserError, match="timed out during startup") as caught, cluster(None):
        pass
    assert len(tries) == 2
    assert caught.value.exit_code == 69
    assert "--local" in (caught.value.hint or "")


def test_a_cluster_that_does_not_answer_is_an_error_at_once(ray_init: list[dict[str, Any]]):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UserError, match=f"no Ray cluster answers at {address}") as caught, cluster(address):
        pass
    assert caught.value.exit_code == 69
    assert ray_init == [], "Ray would try for minutes"


@pytest.fixture
def listening() -> Iterator[str]:
    """An address at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool | None]:
    """What the cluster says when it is asked whether it wants a token, and whether it refuses ours."""
    answers: dict[str, bool | None] = {"asks": None, "refuses": False}
    monkeypatch.setattr(ray_auth, "cluster_asks", lambda address: answers["asks"])
    monkeypatch.setattr(ray_auth, "cluster_refuses", lambda address: answers["refuses"])
    return answers


@pytest.fixture
def no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home without a token."""
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    return home


def test_a_wrong_token_is_an_error_of_its_own(
    own_tmp: Path, listening: str, asking: dict[str, bool | None], monkeypatch: pytest.MonkeyPatch
):
    from ray.exceptions import AuthenticationError

    def init(**options: Any) -> None:
        try:
            raise AuthenticationError("RPC error: InvalidAuthToken: Authentication token is missing or incorrect")
        except AuthenticationError as error:
            raise ConnectionError("Failed to connect to Ray cluster") from error

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(UserError, match="refuses the token") as caught, cluster(listening):
        pass
    assert caught.value.exit_code == 77


def test_a_token_that_the_cluster_refuses_is_found_out_before_ray_tries_it(
    ray_init: list[dict[str, Any]], listening: str, asking: dict[str, bool | None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    asking.update(asks=True, refuses=True)
    with pytest.raises(UserError, match="refuses the token"), cluster(listening):
        pass
    assert ray_init == []


@pytest.mark.parametrize(
    ("asks", "environ", "mode"),
    [
        (None, {}, "disabled"),
        (None, {"RAY_AUTH_TOKEN": "x"}, "token"),
        (True, {"RAY_AUTH_TOKEN": "x", "RAY_AUTH_MODE": "disabled"}, "token"),
        (False, {"RAY_AUTH_TOKEN": "x", "RAY_AUTH_MODE": "token"}, "disabled"),
    ],
)
def test_a_cluster_is_met_as_it_asks(
    ray_init: list[dict[str, Any]],
    listening: str,
    asking: dict[str, bool | None],
    no_token: Path,
    monkeypatch: pytest.MonkeyPatch,
    asks: bool | None,
    environ: dict[str, str],
    mode: str,
):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    asking["asks"] = asks
    with cluster(listening):
        pass
    (call,) = ray_init
    assert call["environ"]["RAY_AUTH_MODE"] == mode
    assert {Path(folder).name for folder in call["runtime_env"]["py_modules"]} == set(sources.PACKAGES)
    assert "RAY_AUTH_TOKEN" not in call["runtime_env"]["env_vars"]


def test_in_a_job_workers_have_the_jobs_packages(
    ray_init: list[dict[str, Any]],
    listening: str,
    asking: dict[str, bool | None],
    no_token: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("GROKCTL_JOB", "grokctl-tiny-1")
    with cluster(listening):
        pass
    assert ray_init[0]["runtime_env"] == {}


def test_credentials_do_not_go_into_the_workers_runtime_environment(monkeypatch: pytest.MonkeyPatch):
    from ray.tune.execution import class_cache

    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "RAY_CHDIR_TO_TRIAL_DIR"):
        monkeypatch.setenv(name, "canary")
    tune._fit(SimpleNamespace(fit=list), [])
    handed_on = class_cache._ActorClassCache().get(type("Trainable", (), {}))._default_options["runtime_env"]
    assert set(handed_on["env_vars"]) == {"PL_DISABLE_FORK", "RAY_CHDIR_TO_TRIAL_DIR"}


def test_scratch_of_the_living_stays_and_of_the_dead_goes(own_tmp: Path):
    orphan, strange = own_tmp / "grokctl-orphan", own_tmp / "grokctl-strange"
    for folder in (orphan, strange):
        folder.mkdir()
    (orphan / "lock").touch()
    (orphan / "log").touch()
    with scratch_folder() as first, scratch_folder() as second:
        assert first != second
        assert first.stat().st_mode & 0o777 == 0o700
        assert not orphan.exists()
        assert first.exists()
        assert strange.exists(), "not made by us: it has no lock"
    assert sorted(own_tmp.iterdir()) == [strange]


def test_scratch_held_by_another_process_stays(own_tmp: Path):
    held = own_tmp / "grokctl-held"
    held.mkdir()
    with (held / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with scratch_folder():
            assert held.exists()


def test_other_code_in_a_worker_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    digest = sources.sources_digest()
    require_same_sources(digest)
    for name in sources.PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "module.py").write_text("x = 1")
    monkeypatch.setattr(
        "orchestrator.tune.sources_digest", lambda: sources.digest_of([tmp_path / n for n in sources.PACKAGES])
    )
    with pytest.raises(UserError, match="other code than the driver") as caught:
        require_same_sources(digest)
    assert caught.value.exit_code == 78


def test_the_digest_changes_with_every_byte_and_name(tmp_path: Path):
    digests = []
    for name, text in (("a.py", "x = 1"), ("a.py", "x = 2"), ("b.py", "x = 2"), ("b.txt", "not code")):
        for path in tmp_path.glob("*.py"):
            path.unlink()
        (tmp_path / name).write_text(text)
        digests.append(sources.digest_of([tmp_path]))
    assert len(set(digests)) == 4


def test_a_trial_trains_a_pack_and_a_recorded_failure_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "sweep"
    freeze(folder, segment_s=1e9)
    store = SweepStore(folder)
    first, second = store.pack_ids()
    attempt, digest = store.begin_attempt(), sources.sources_digest()
    assert train_in_worker(str(folder), first, attempt, "other code") == "failed"
    failure = store.pack(first).failure()
    assert failure is not None
    assert "other code than the driver" in failure.text
    assert train_in_worker(str(folder), first, attempt, digest) == "failed"  # for good, as far as this launch goes
    attempt = store.begin_attempt()
    assert train_in_worker(str(folder), first, attempt, digest) == "done"
    monkeypatch.setattr(worker, "train_pack", lambda *args, **kwargs: 1 / 0)
    assert train_in_worker(str(folder), second, attempt, digest) == "failed"
    store.request_stop()
    assert train_in_worker(str(folder), second, store.begin_attempt(), digest) == "drained"


def test_a_node_that_does_not_see_the_folder_says_so(tmp_path: Path):
    with pytest.raises(UserError, match="--out must lie where all nodes"):
        train_in_worker(str(tmp_path / "elsewhere"), "0123", 1, sources.sources_digest())


@pytest.mark.parametrize("resources", ["cpus_per_pack: 5", "gpus_per_pack: 2"])
def test_a_pack_that_fits_nowhere_is_an_error_and_does_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resources: str
):
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.replace("device: cpu", f"device: cpu, {resources}"))

    @contextmanager
    def small(address: str | None) -> Iterator[Cluster]:
        yield Cluster(nodes=(Node(cpus=4, gpus=1),), scratch=tmp_path)

    monkeypatch.setattr(ray_cluster, "cluster", small)
    with pytest.raises(UserError, match="Ray has 4 and 1") as caught:
        launch_here(spec, tmp_path / "sweep", local=False)
    assert caught.value.exit_code == 78
