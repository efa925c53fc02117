"""Sweeps as jobs of a cluster: what is sent, which job is next, what is shown, and how a job ended. A fake stands in
for Ray's Job API; tests/test_submit.py uses a real one."""

import io
import json
import os
import shlex
import shutil
import signal
import traceback
import zipfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import TINY_SPEC, Grokctl

from orchestrator.errors import UserError
from orchestrator.jobs import client as api
from orchestrator.jobs import entry, follow, upload, verbs
from orchestrator.jobs.client import dashboard_url
from orchestrator.jobs.records import Job, exit_code, find, live_job, lost, next_id
from orchestrator.jobs.upload import make_upload
from orchestrator.signals import HANDLED
from orchestrator.sources import digest_of, package_folders, sources_digest
from orchestrator.spec import load_text

STEM = "grokctl-tiny-0123abcd"
RUNNING = Job(id=f"{STEM}-1", state="running", sweep="tiny", out="/shared/tiny", started_ms=1)
DONE = replace(RUNNING, state="done", driver_exit_code=0, ended_ms=2)


@dataclass
class FakeCluster:
    """Jobs that end after they were looked at so many times."""

    known: list[Job] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    tails: list[list[str]] = field(default_factory=list)
    """What each connection brings before it is lost."""
    looks: int = 1
    end: Mapping[str, object] = field(default_factory=lambda: {"state": "done", "driver_exit_code": 0})
    url: str = "http://127.0.0.1:8265"
    stopped: list[str] = field(default_factory=list)
    submitted: dict[str, bytes] = field(default_factory=dict)
    taken_by_others: list[Job] = field(default_factory=list)
    """Jobs that appear in the instant in which one is submitted."""

    def jobs(self) -> list[Job]:
        return list(self.known)

    def job(self, job_id: str) -> Job:
        (job,) = (job for job in self.known if job.id == job_id)
        self.looks -= 1
        if self.looks >= 0 or not job.is_live:
            return job
        return replace(job, **self.end)

    def submit(self, job_id: str, data: bytes, metadata: Mapping[str, str]) -> bool:
        self.known += self.taken_by_others
        self.taken_by_others = []
        if any(job.id == job_id for job in self.known):
            return False
        about = {"sweep": metadata["grokctl_sweep"], "out": metadata["grokctl_out"]}
        options = tuple(shlex.split(metadata["grokctl_options"]))
        self.known.append(Job(id=job_id, state="waiting", started_ms=1, options=options, **about))
        self.submitted[job_id] = data
        return True

    def log(self, job_id: str) -> str:
        return self.logs.get(job_id, "")

    async def tail(self, job_id: str) -> AsyncIterator[str]:
        for text in self.tails.pop(0) if self.tails else []:
            yield text
        raise RuntimeError("WebSocket connection closed unexpectedly")

    def stop(self, job_id: str) -> None:
        self.stopped.append(job_id)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "POLL_S", 0.001)
    monkeypatch.setattr(follow, "LAST_WORDS_S", 0.01)


# What is sent


def unpacked(data: bytes, folder: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        packed.extractall(folder)
    return folder


def test_what_is_sent_are_the_packages_and_the_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    copies = [Path(shutil.copytree(folder, tmp_path / "from" / folder.name)) for folder in package_folders()]
    (copies[1] / "a-users.csv").write_text("results/ invites it")
    monkeypatch.setattr(upload, "package_folders", lambda: copies)
    data = make_upload("tiny.yaml", TINY_SPEC, ["launch", "tiny.yaml"])
    folder = unpacked(data, tmp_path / "to")
    top = sorted(path.name.partition("-")[0] for path in folder.iterdir())
    assert top == ["grokctl", "job.json", "job.sh", "orchestrator", "results", "tiny.yaml", "trainers"]
    suffixes = {
        path.suffix for name in ("trainers", "results", "orchestrator") for path in (folder / name).rglob("*.*")
    }
    assert suffixes == {".py", ".in"}
    assert digest_of(folder / name for name in ("trainers", "results", "orchestrator")) == sources_digest()
    assert (folder / "tiny.yaml").read_text() == TINY_SPEC
    assert json.loads((folder / "job.json").read_text())["arguments"] == ["launch", "tiny.yaml"]
    assert len(data) < 1e6


def test_the_same_content_is_the_same_upload():
    assert make_upload("tiny.yaml", TINY_SPEC, ["launch"]) == make_upload("tiny.yaml", TINY_SPEC, ["launch"])


def test_too_much_is_not_sent(monkeypatch: pytest.MonkeyPatch):
    text = TINY_SPEC + "# " + os.urandom(40_000).hex()
    size = len(make_upload("tiny.yaml", text, []))
    monkeypatch.setattr(upload, "MAX_UPLOAD_BYTES", size)
    make_upload("tiny.yaml", text, [])
    monkeypatch.setattr(upload, "MAX_UPLOAD_BYTES", size - 1)
    with pytest.raises(
        UserError, match=r"packages and spec come to 0\.\d MiB, and at most 0\.\d+ MiB are sent"
    ) as caught:
        make_upload("tiny.yaml", text, [])
    assert caught.value.exit_code == 65
    assert "The largest file is tiny.yaml" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "first", [ConnectionError("closed"), RuntimeError("Request failed with status code 500: please try again later.")]
)
def test_a_head_that_is_busy_is_asked_again(first: Exception, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(api, "PAUSES_S", (0.0,))
    answers: list[Any] = [first, []]

    def list_jobs() -> list[Any]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    ray = SimpleNamespace(list_jobs=list_jobs)
    assert api.RayJobs("http://x", ray).jobs() == []
    answers += [first, first]
    with pytest.raises(UserError) as caught:
        api.RayJobs("http://x", ray).jobs()
    assert caught.value.exit_code == 69


def test_a_header_that_cannot_be_sent_does_not_show_the_token():
    def list_jobs() -> None:
        raise ValueError("Invalid return character(s) in header value: 'Bearer canary'")

    with pytest.raises(UserError, match="refuses the token") as caught:
        api.RayJobs("http://x", SimpleNamespace(list_jobs=list_jobs)).jobs()
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_relative_data_is_not_sent_and_said_so(tmp_path: Path):
    (tmp_path / "d.npz").touch()
    spec = SimpleNamespace(path=tmp_path / "s.yaml", text="task: {kind: data, file: d.npz}", spec=None)
    with pytest.raises(UserError, match="names its data relative to its own folder") as caught:
        verbs.prepare(spec, "/shared/s", {}, [])  # type: ignore[arg-type]
    assert caught.value.exit_code == 65


@pytest.mark.parametrize("out", [None, "sweeps/tiny", "gs://bucket/tiny", "~/tiny"])
def test_results_need_a_folder_that_all_nodes_share(out: str | None):
    with pytest.raises(UserError, match="--out") as caught:
        verbs.shared_folder(out)
    assert caught.value.exit_code == 2
    assert verbs.shared_folder("/shared//tiny/") == "/shared/tiny"
    assert verbs.shared_folder("s3://bucket/tiny") == "s3://bucket/tiny"


NO_DASHBOARDS = ["auto", "ray://head:10001", "", "http://", "http://user:secret@head:8265", "two words", "head:99999"]


@pytest.mark.parametrize("address", [*NO_DASHBOARDS, "h\x00", "\u00e9", "head:8265?q=1", 64 * "x"])
def test_an_address_that_is_no_dashboards(address: str):
    with pytest.raises(UserError, match="--address takes a dashboard's address"):
        dashboard_url(address)


@pytest.mark.parametrize(
    ("address", "url"),
    [("head:8265", "http://head:8265"), ("https://head/ray/", "https://head/ray"), ("[::1]:8265", "http://[::1]:8265")],
)
def test_the_address_of_a_dashboard(address: str, url: str):
    assert dashboard_url(address) == url


# Which job is next


def test_a_live_job_is_attached_to_and_an_ended_one_is_followed_by_the_next():
    assert live_job([RUNNING], STEM, "/shared/tiny") == RUNNING
    assert live_job([DONE], STEM, "/shared/tiny") is None
    assert live_job([RUNNING], STEM, "/elsewhere") is None
    assert next_id([], STEM) == f"{STEM}-1"
    assert next_id([DONE, replace(DONE, id=f"{STEM}-11")], STEM) == f"{STEM}-12"
    assert next_id([replace(DONE, id="grokctl-other-0-7")], STEM) == f"{STEM}-1"


def test_a_folder_at_which_another_specs_job_works_is_refused():
    with pytest.raises(UserError, match=f"job {RUNNING.id}, of another spec, is at work on /shared/tiny") as caught:
        live_job([RUNNING], "grokctl-tiny-ffffffff", "/shared/tiny")
    assert caught.value.exit_code == 75


def submit(cluster: FakeCluster, said: list[str], text: str = TINY_SPEC) -> Job:
    return verbs.submit(cluster, load_text(text, "/tiny.yaml"), "/shared/tiny", b"upload", said.append)


def test_submitting_again_attaches_until_the_job_has_ended():
    cluster, said = FakeCluster(), []
    first = submit(cluster, said)
    assert submit(cluster, said) == first
    assert len(cluster.submitted) == 1
    cluster.known = [replace(first, state="failed", driver_exit_code=1)]
    second = submit(cluster, said)
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.stem == second.stem
    other = submit(FakeCluster(), said, TINY_SPEC.replace("steps: 40", "steps: 41"))
    assert other.stem != first.stem
    assert "is at work on /shared/tiny already" in said[1]


def test_of_two_submissions_at_once_one_attaches_to_the_other():
    cluster, said = FakeCluster(), []
    theirs = submit(FakeCluster(), [])
    cluster.taken_by_others = [theirs]
    assert submit(cluster, said) == theirs
    assert cluster.submitted == {}


def test_a_job_is_found_by_id_attemptless_id_and_name():
    jobs = [DONE, replace(DONE, id=f"{STEM}-2")]
    assert [find(jobs, name, "http://x").attempt for name in (f"{STEM}-1", STEM, "tiny")] == [1, 2, 2]
    with pytest.raises(UserError, match="no job nope on http://x") as caught:
        find(jobs, "nope", "http://x")
    assert caught.value.exit_code == 66
    with pytest.raises(UserError, match="several jobs"):
        find([*jobs, replace(DONE, id="grokctl-tiny-ffffffff-1")], "tiny", "http://x")


def test_jobs_of_others_are_not_ours():
    ours = {"grokctl_out": "/shared/tiny", "grokctl_sweep": "tiny", "grokctl_options": "'--only=a > b' --replan"}
    details = SimpleNamespace(
        submission_id=RUNNING.id, metadata=ours, status="RUNNING", start_time=1, end_time=None, driver_exit_code=None,
        message=None,
    )  # fmt: skip
    assert Job.from_ray(details) == replace(RUNNING, options=("--only=a > b", "--replan"))
    for change in ({"submission_id": "raysubmit_x"}, {"submission_id": None}, {"metadata": None}):
        assert Job.from_ray(SimpleNamespace(**{**vars(details), **change})) is None


# How a job ended


@pytest.mark.parametrize("code", [0, 1, 2, 65, 66, 69, 70, 73, 74, 75, 77, 78, 129, 130, 143])
def test_the_launchs_exit_code_is_the_jobs(code: int):
    assert exit_code(replace(DONE, driver_exit_code=code)) == code
    stopped = replace(DONE, state="stopped", driver_exit_code=None)
    assert exit_code(stopped, f"some line\n{entry.LAST_LINE.format(code)}\n") == code


def test_a_job_that_could_not_say_its_code():
    assert exit_code(replace(DONE, state="stopped", driver_exit_code=None), "killed before it could say") == 143
    assert exit_code(replace(DONE, state="failed", driver_exit_code=-signal.SIGTERM)) == 143
    assert exit_code(replace(DONE, state="failed", driver_exit_code=127)) == 78
    killed = replace(DONE, state="failed", driver_exit_code=-signal.SIGKILL)
    assert (exit_code(killed), lost(killed)) == (69, "its driver was killed (SIGKILL)")
    never = replace(DONE, state="failed", driver_exit_code=None, message="Traceback\n  nodes died\n")
    assert (exit_code(never), lost(never)) == (69, "nodes died")


# What is shown

LOG = "2026-01-01 00:00:00,000\tINFO job_manager.py:581 -- Runtime env is setting up.\n" + (
    "Running entrypoint for job x: exec sh job.sh\none\ntwo\nthree\n[grokctl job: exit code 0]\n"
)


@pytest.mark.parametrize(
    "tails",
    [[], [[LOG]], [[LOG[:120]], [LOG]], [[LOG[:135], LOG[135:139]], [LOG[:140]]], [list(LOG)]],
    ids=["no connection", "at once", "lost and again", "lost twice", "in pieces"],
)
def test_each_line_is_shown_once_whatever_becomes_of_the_connection(tails: list[list[str]]):
    cluster, said = FakeCluster(known=[RUNNING], logs={RUNNING.id: LOG}, tails=tails, looks=30), []
    code = verbs.follow_to_the_end(cluster, RUNNING, ["grokctl"], said.append)
    assert said == ["one", "two", "three", f"{RUNNING.id}: exit code 0"]
    assert code == 0


def test_a_job_that_was_lost_says_why_and_what_to_do():
    end = {"state": "failed", "driver_exit_code": -9}
    cluster, said = FakeCluster(known=[RUNNING], end=end), []
    assert verbs.follow_to_the_end(cluster, RUNNING, ["grokctl"], said.append) == 69
    assert said == [
        f"{RUNNING.id}: exit code 69; its driver was killed (SIGKILL); the same command goes on from the last commits"
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_go_of_the_job_and_says_how_to_find_it(number: signal.Signals):
    class Interrupted(FakeCluster):
        def job(self, job_id: str) -> Job:
            os.kill(os.getpid(), number)
            return RUNNING

    cluster, said = Interrupted(known=[RUNNING]), []
    code = verbs.follow_to_the_end(cluster, RUNNING, ["grokctl", "submit", "a b.yaml"], said.append)
    assert code == 128 + number
    assert cluster.stopped == []
    assert said == [
        f"{RUNNING.id} goes on without you",
        "  follow it: grokctl submit 'a b.yaml'",
        f"  look:      grokctl status {RUNNING.id} --address http://127.0.0.1:8265",
        f"  stop it:   grokctl stop {RUNNING.id} --address http://127.0.0.1:8265",
    ]


def test_after_a_first_signal_more_of_them_change_nothing(
    grokctl: Grokctl, tiny_spec: Path, monkeypatch: pytest.MonkeyPatch
):
    """Python still takes itself apart, and Ray with it, for which a second Ctrl-C showed a traceback."""

    class Interrupted(FakeCluster):
        def log(self, job_id: str) -> str:
            raise AssertionError("it has not ended")

        async def tail(self, job_id: str) -> AsyncIterator[str]:
            os.kill(os.getpid(), signal.SIGINT)
            yield ""

    monkeypatch.setattr(api, "connect", lambda url: Interrupted(looks=10**6))
    before = {number: signal.getsignal(number) for number in HANDLED}
    try:
        result = grokctl("submit", tiny_spec, "--address", "http://127.0.0.1:8265", "--out", "/shared/tiny")
        assert {signal.getsignal(number) for number in HANDLED} == {signal.SIG_IGN}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert result.exit_code == 130, result.output
    assert "goes on without you" in result.stdout


def test_a_head_without_an_agent_is_an_error_with_the_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(api, "PAUSES_S", ())

    def list_jobs() -> None:
        raise RuntimeError("Request failed with status code 500: No available agent to submit job, try again later.")

    with pytest.raises(UserError, match="refuses") as caught:
        api.RayJobs("http://x", SimpleNamespace(list_jobs=list_jobs)).jobs()
    assert "--dashboard-agent-listen-port=0" in (caught.value.hint or "")


def test_a_cluster_that_stops_answering_is_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch):
    class Gone(FakeCluster):
        def job(self, job_id: str) -> Job:
            raise UserError("no Ray dashboard answers", exit_code=69)

    monkeypatch.setattr(follow, "PATIENCE_S", 0.05)
    with pytest.raises(UserError, match=f"job {RUNNING.id} may go on") as caught:
        verbs.follow_to_the_end(Gone(known=[RUNNING]), RUNNING, ["grokctl"], print)
    assert caught.value.exit_code == 69


def test_stop_asks_the_job_and_only_if_there_is_something_to_stop():
    cluster, said = FakeCluster(known=[RUNNING]), []
    verbs.stop(cluster, "tiny", said.append)
    assert cluster.stopped == [RUNNING.id]
    assert said[0].startswith(f"asked {RUNNING.id} to end at its next commits")
    cluster = FakeCluster(known=[replace(DONE, state="stopped", driver_exit_code=None)], logs={DONE.id: LOG})
    verbs.stop(cluster, "tiny", said.append)
    assert cluster.stopped == []
    assert said[-1] == f"nothing to stop: {DONE.id} has ended (stopped, exit code 0)"


def test_status_tells_jobs_with_exit_codes_and_the_last_line_of_one():
    lost_job = replace(DONE, id=f"{STEM}-2", state="failed", driver_exit_code=-9, started_ms=5)
    cluster = FakeCluster(known=[DONE, lost_job], logs={DONE.id: LOG})
    records = verbs.status(cluster, None)
    assert [(record["id"], record["exit_code"]) for record in records] == [(lost_job.id, 69), (DONE.id, 0)]
    header, newest, oldest, note = verbs.status_text(records, cluster.url).splitlines()
    assert header.split() == ["job", "state", "since", "exit", "code", "sweep's", "folder"]
    assert newest.split()[0] == lost_job.id
    assert oldest.split()[-2:] == ["0", "/shared/tiny"]
    assert note == "its driver was killed (SIGKILL)"
    assert verbs.status_text(verbs.status(cluster, DONE.id), cluster.url).splitlines()[-1] == "three"
    assert verbs.status_text([], cluster.url) == "no jobs of grokctl on http://127.0.0.1:8265"


# What runs on the cluster


@pytest.fixture
def job_folder(tmp_path: Path) -> Path:
    return unpacked(make_upload("tiny.yaml", TINY_SPEC, ["check", "tiny.yaml"]), tmp_path / "job")


def test_a_job_runs_what_was_sent_and_says_its_exit_code_last(
    job_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(job_folder)
    assert entry.main() == 0
    assert capfd.readouterr().out.splitlines() == ["tiny.yaml: 4 runs, no problems", "[grokctl job: exit code 0]"]
    (job_folder / "tiny.yaml").write_text("name: [")
    assert entry.main() == 65
    assert capfd.readouterr().out.splitlines()[-1] == "[grokctl job: exit code 65]"


def test_a_job_does_not_mind_that_its_working_directory_is_made_anew(
    job_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As Ray does when another node of the cluster starts on the same machine."""
    shutil.copytree(job_folder, tmp_path / "anew")

    def launch() -> None:
        shutil.rmtree(job_folder)
        assert (Path.cwd() / "tiny.yaml").read_text() == TINY_SPEC
        (tmp_path / "anew").rename(job_folder)

    monkeypatch.setattr("orchestrator.cli.main", launch)
    monkeypatch.chdir(job_folder)
    assert entry.main() == 0
    assert Path.cwd() == job_folder


def test_a_job_that_imported_something_else_ends_at_once(
    job_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    about = json.loads((job_folder / "job.json").read_text())
    (job_folder / "job.json").write_text(json.dumps({**about, "sources": "0123456789abcdef"}))
    monkeypatch.chdir(job_folder)
    assert entry.main() == 78
    out, err = capfd.readouterr()
    assert out.splitlines() == ["[grokctl job: exit code 78]"]
    assert f"has sources {sources_digest()}, and what was sent has 0123456789abcdef" in err


def test_a_head_that_lacks_libraries_says_which(monkeypatch: pytest.MonkeyPatch):
    wanted = ["numpy>=2,<3", "torch>=99", "no-such-library>=1", 'pytest; extra == "test"', "polars; extra == 'test'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: wanted)
    torch, nothing = entry.lacking()
    assert torch.startswith("torch>=99 is needed, ")
    assert nothing == "no-such-library>=1 is not installed"


# The command line


def test_nothing_is_asked_of_a_cluster_before_the_spec_is_right(
    grokctl: Grokctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(api, "connect", lambda url: pytest.fail("asked"))
    spec = tmp_path / "bad.yaml"
    spec.write_text("name: tiny\nsteps: x\n")
    result = grokctl("submit", spec, "--address", "http://127.0.0.1:8265", "--out", "/shared/tiny")
    assert result.exit_code == 65
    assert f"{spec}:2:8: steps" in result.stderr


def test_submit_detaches_with_the_commands_that_come_next(
    grokctl: Grokctl, tiny_spec: Path, monkeypatch: pytest.MonkeyPatch
):
    cluster = FakeCluster()
    monkeypatch.setattr(api, "connect", lambda url: cluster)
    common = ("--address", "127.0.0.1:8265", "--out", "/shared/tiny", "--set", "steps=20", "--detach")
    limits = ("--only", "width > 4", "--max-hours", "1.5")
    result = grokctl("submit", tiny_spec, *common, *limits, "--take-over", "--replan")
    assert result.exit_code == 0, result.output
    ((job_id, data),) = cluster.submitted.items()
    assert f"{job_id}: submitted to http://127.0.0.1:8265 (" in result.stdout
    again = f"grokctl submit {tiny_spec} --address http://127.0.0.1:8265 --out /shared/tiny --set steps=20"
    assert f"follow it: {again} '--only=width > 4' --max-hours=1.5\n" in result.stdout
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        arguments = json.loads(packed.read("job.json"))["arguments"]
    assert arguments == [
        "launch", "tiny.yaml", "--address", "auto", "--out", "/shared/tiny", "--take-over", "--replan",
        "--only=width > 4", "--max-hours=1.5", "--set", "steps=20",
    ]  # fmt: skip
    # What was sent is what `launch` takes; that --local contradicts is found after all options were read.
    assert "exclude each other" in grokctl("launch", tiny_spec, *arguments[2:], "--local").stderr

    # A job at work goes on as it was submitted, and says so to who wants it otherwise.
    again = grokctl("submit", tiny_spec, *common, *limits)
    assert "is at work on /shared/tiny already" in again.stdout
    assert "note" not in again.stdout
    longer = grokctl("submit", tiny_spec, *common, "--max-hours", "3").stdout
    assert "note: it was submitted without --max-hours=3.0, and goes on without" in longer
    assert len(cluster.submitted) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("stop",),
        ("stop", "--address", "http://127.0.0.1:8265"),
        ("status", "--verify", "--address", "http://127.0.0.1:8265"),
        ("submit", "quickstart", "--manifest", "ray", "--detach"),
        ("submit", "quickstart", "--address", "ray://head:10001", "--out", "/shared/x"),
        ("submit", "quickstart", "--address", "http://127.0.0.1:8265"),
        ("submit", "quickstart", "--address", "http://127.0.0.1:8265", "--out", "/shared/x", "--only", "widht > 4"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], grokctl: Grokctl):
    result = grokctl(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
