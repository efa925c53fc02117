"""Jobs on a real cluster of two nodes, made by `ray start` with a token. One test, because starting Ray takes ten
seconds, and so does each job that trains."""

import contextlib
import os
import re
from pathlib import Path

import pytest
from backends import CREDENTIALS, s3_server
from cli_processes import run, running
from conftest import TINY_SPEC, Grokctl
from launch_helpers import SPEC, commits, freeze, wait_until
from loopback_s3 import Fault, Handler, Server
from ray_cluster import guarded_cluster
from store_helpers import contents

from orchestrator.jobs import upload
from results import open_sweep
from results.objects import ObjectPath
from results.store import SweepStore

BUCKET = ObjectPath("bucket", "sweeps/tiny")


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder in which our packages' names mean something else."""
    folder = tmp_path / "it's; hostile"
    (folder / "results").mkdir(parents=True)
    for name in ("trainers.py", "results/__init__.py"):
        (folder / name).write_text("raise SystemExit('not ours')")
    (folder / "tiny.yaml").write_text(TINY_SPEC)
    return folder


def writers(s3: Server) -> dict[str, str]:
    """From now on: the title of the process that wrote each object."""
    found: dict[str, str] = {}

    def note(handler: Handler) -> bool:
        found[handler.key] = title_at_port(handler.client_address[1])
        return True

    s3.faults.append(Fault(hits=lambda method, key: method == "PUT", act=note, times=10**9))
    return found


def title_at_port(port: int) -> str:
    """Of the process that connects from there; empty if it has ended."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[1] == f"0100007F:{port:04X}"}
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(link) in sockets:
                return text_of(link.parent.parent / "cmdline")
    return ""


def raylets(folder: Path) -> set[int]:
    """The parents of the processes that train."""
    store = SweepStore(folder)
    at_work = [progress for pack_id in store.pack_ids() if (progress := store.pack(pack_id).read_progress())]
    return {int(re.search(r"PPid:\t(\d+)", Path(f"/proc/{it['pid']}/status").read_text())[1]) for it in at_work}


def test_sweeps_as_jobs_of_a_cluster_with_a_token(
    tmp_path: Path, hostile: Path, grokctl: Grokctl, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # leads Ray's own client astray
    tiny, long = hostile / "tiny.yaml", tmp_path / "long"
    said = []

    def here(*arguments: object, code: int) -> str:
        result = grokctl(*arguments, *at)
        said.append(result.output)
        assert result.exit_code == code, result.output
        return result.output

    with s3_server() as s3, guarded_cluster(**CREDENTIALS, AWS_ENDPOINT_URL=s3.url) as head:
        at = ("--address", head.url)

        # Without the token nothing happens, and two lines say why.
        assert "asks for a token, and there is none here" in here("submit", tiny, "--out", BUCKET, code=77)
        refused = grokctl("launch", tiny, "--out", BUCKET, "--address", head.address)
        assert (refused.exit_code, head.address in refused.stderr) == (77, True), refused.output
        monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
        assert here("status", code=77).startswith(
            f"error: the Ray cluster at {head.url} refuses the token\nSet RAY_AUTH"
        )
        monkeypatch.setenv("RAY_AUTH_TOKEN", head.token)

        # From a hostile folder, to the end, in a bucket. Workers write what they have trained, the launch the rest.
        wrote = writers(s3)
        done = run("submit", "tiny.yaml", *at, "--out", BUCKET, cwd=hostile)
        said.append(done.stdout + done.stderr)
        assert done.returncode == 0, said[-1]
        first = re.match(r"(grokctl-tiny-[0-9a-f]{8})-1: submitted to http://127", done.stdout)
        assert first, said[-1]
        assert f"\n{first[1]}-1: exit code 0\n" in done.stdout
        assert "tiny: 4 of 4 runs" in done.stdout
        assert not {"INFO", "WARNING", "entrypoint", "raylet"} & set(re.findall(r"\w+", said[-1]))
        assert len(open_sweep(str(BUCKET)).labels()) == 4
        trained = {key: title for key, title in wrote.items() if "/traces/" in key or "/segment-" in key}
        assert len(trained) >= 4, "a segment and a published file of each pack"
        assert all(title.startswith("ray::ResourceTrainable") for title in trained.values()), trained
        assert "orchestrator.jobs.entry" in wrote[f"{BUCKET.key}/labels.parquet"]
        assert sorted(path.name for path in hostile.iterdir()) == ["results", "tiny.yaml", "trainers.py"]

        # Again: the next attempt, into a folder of somebody else. The exit code is the launch's.
        assert f"{first[1]}-2: exit code 73" in here("submit", tiny, "--out", hostile, code=73)

        # A job that was sent by other code than it imports ends before it trains.
        with monkeypatch.context() as patch:
            patch.setattr(upload, "digest_of", lambda folders: "0123456789abcdef")
            assert "what was sent has 0123456789abcdef" in here("submit", tiny, "--out", tmp_path / "no", code=78)
        assert not (tmp_path / "no").exists()

        # A long one, on both nodes: let go of, found again, stopped at its commits.
        spec = freeze(long, SPEC.replace("steps: 60", "steps: 400000"), segment_s=0.1)
        assert "  follow it: grokctl submit" in here("submit", spec, "--out", long, "--detach", code=0)
        with running("submit", spec, *at, "--out", long) as follower:
            wait_until(lambda: commits(long) > 0 and len(raylets(long)) == 2, follower)
            assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if head.token in text_of(path)]
            assert "asked grokctl-small-" in here("stop", "small", code=0)
            out, err = follower.communicate()
        said.append(out + err)
        assert follower.returncode == 143, said[-1]
        assert "is at work on" in out.splitlines()[0]
        assert "SIGTERM: stopping at the next commit" in out
        assert "stopped as asked" in out
        assert re.search(r"^grokctl-small-[0-9a-f]{8}-1 +stopped .* 143 ", here("status", code=0), re.MULTILINE)

        # The token is in nothing that we wrote, sent or said, and in nothing that Ray wrote of it.
        here("status", "--json", code=0)
        assert head.token not in "".join(said)
        files = [path for folder in (tmp_path, head.folder) for path in folder.rglob("*") if path.is_file()]
        written = {**{str(path): path.read_bytes() for path in files}, **contents(BUCKET)}
        assert len(written) > 70
        assert not [name for name, data in written.items() if head.token.encode() in data]
        secret = CREDENTIALS["AWS_SECRET_ACCESS_KEY"].encode()
        assert not [name for name, data in written.items() if secret in data]


def text_of(path: Path) -> str:
    """Empty if the process has ended."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
