"""The same tests over a folder and over a bucket: where a sweep lies. What tests do there behind the store's back is in
store_helpers.

The bucket is served by tests/loopback_s3.py. `GROKCTL_TEST_S3=s3://bucket/prefix` has the tests run against another
server, the one that AWS_ENDPOINT_URL names.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from loopback_s3 import Server, serving

from results import objects
from results.objects import ObjectPath
from results.places import Place, place_of

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
