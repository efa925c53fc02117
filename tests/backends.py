"""The same tests over a folder and over a bucket: where a sweep lies, and what a test does behind the store's back.

The bucket is served by tests/loopback_s3.py. `GROKCTL_TEST_S3=s3://bucket/prefix` has the tests run against another
server, the one that AWS_ENDPOINT_URL names.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from loopback_s3 import Server, serving

from results import objects
from results.objects import ObjectPath
from results.places import Place, place_of, relative

SECRET = "canary+6yQ/Zx0mH1v2W3k4"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "CANARYKEYID42",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": "canary-session-token",
    "AWS_REGION": "eu-central-1",
    "AWS_METADATA_ENDPOINT": "http://127.0.0.1:1",
}


@contextmanager
def s3_server() -> Iterator[Server]:
    """A server to which this process, and those that it starts, talk while the block lasts."""
    with pytest.MonkeyPatch.context() as patch, serving("bucket") as server:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": server.url}.items():
            patch.setenv(name, value)
        objects._new_client.cache_clear()
        objects._patience.tries = None
        try:
            yield server
        finally:
            objects._new_client.cache_clear()
            objects._patience.tries = None


@contextmanager
def bucket() -> Iterator[ObjectPath]:
    """A prefix under which nothing lies."""
    given = os.environ.get("GROKCTL_TEST_S3")
    if given:
        where = place_of(f"{given}/{secrets.token_hex(8)}")
        assert isinstance(where, ObjectPath)
        yield where
    else:
        with s3_server():
            yield ObjectPath("bucket", "home")


@pytest.fixture(params=["folder", "bucket"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Where sweeps may lie."""
    if request.param == "folder":
        yield tmp_path
    else:
        with bucket() as where:
            yield where


def overwrite(path: Place, data: bytes) -> None:
    if isinstance(path, ObjectPath):
        path.put(data)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def delete(path: Place) -> None:
    if isinstance(path, ObjectPath):
        path.remove()
    else:
        path.unlink()


def places_below(root: Place) -> list[Place]:
    """All files, or objects."""
    if isinstance(root, ObjectPath):
        below = [place for child in root.iterdir() for place in places_below(child)]
        return below or ([root] if root.exists() else [])
    return [path for path in root.rglob("*") if path.is_file()]


def contents(root: Place) -> dict[str, bytes]:
    """Of all files, or objects, by their names below `root`."""
    return {relative(path, root): path.read_bytes() for path in places_below(root)}


def copied(source: Place, target: Place) -> Place:
    """A copy of everything below `source`, where nothing was before."""
    if isinstance(source, ObjectPath):
        for name, data in contents(source).items():
            overwrite(target / name, data)
    else:
        shutil.copytree(source, str(target))
    return target


def identities(root: Place) -> dict[str, object]:
    """By name, what would be another if the file, or object, were written again."""
    if isinstance(root, ObjectPath):
        return {relative(path, root): path.version() for path in places_below(root) if isinstance(path, ObjectPath)}
    stats = {relative(path, root): path.stat() for path in root.rglob("*")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}
