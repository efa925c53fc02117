"""The folder of one pack, for reading: which files are in it and what its headers say. Changes nothing.

header-00003.a2.json        committed state after segment 3, written by the pack's attempt 2; the two newest stay
segment-00003.a2.parquet    rows of segment 3
measures-00003.a2.parquet   rows of another table from it, if it has some; also snapshots-...
weights-00003.a2.safetensors  final weights of runs that ended in it, until they are published
checkpoint-00003.a2.bin     state after it
publish-00003.a2.parquet    whole traces on their way to traces/; publish_measures-... and so on to theirs
attempt-2                   the number is taken; what its rows depend on besides the plan (see results.repeats)
done.json                   the last header once more: nothing is left to train (and should it rot, there is the other)
cleaned.json                segments were removed on request
failure.json  progress.json for `status`
log.jsonl                   see results.pack_log
"""

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from results.durable import TEMPORARY, sha256_of
from results.errors import DamagedError
from results.headers import Header, StoredFile, read_header
from results.places import Place, relative

if TYPE_CHECKING:
    import pyarrow as pa

LIVE = re.compile(
    r"(?P<kind>segment|measures|snapshots|weights|publish(_measures|_snapshots)?|checkpoint|header)"
    r"-(?P<segment>\d{5,})\.a(?P<attempt>\d+)\.(parquet|safetensors|bin|json)"
)
PUBLISHED = re.compile(r"(?P<table>traces|measures|snapshots|weights)/(?P<pack>[^/]+)-\d{5,}\.(parquet|safetensors)")
ATTEMPT = re.compile(r"attempt-(\d+)")


class PackFiles:
    """Names and contents of a pack's folder, which need not exist."""

    def __init__(self, root: Place, pack_id: str) -> None:
        self.root = root
        self.pack_id = pack_id
        self.folder = root / "packs" / pack_id
        self.done = self.folder / "done.json"
        self.cleaned = self.folder / "cleaned.json"
        self.failure = self.folder / "failure.json"
        self.progress = self.folder / "progress.json"

    def live(self, kind: str, segment: int, attempt: int, suffix: str) -> Place:
        return self.folder / f"{kind}-{segment:05d}.a{attempt}.{suffix}"

    def header_path(self, header: Header) -> Place:
        return self.live("header", header.segment, header.attempt, "json")

    def attempt_marker(self, attempt: int) -> Place:
        return self.folder / f"attempt-{attempt}"

    def relative(self, path: Place) -> str:
        """As headers name it: the sweep's folder may be moved."""
        return relative(path, self.root)

    def path(self, entry: StoredFile) -> Place:
        return self.root / entry.path

    def staged(self, entry: StoredFile) -> Place:
        assert entry.staged is not None
        return self.root / entry.staged

    def headers(self) -> tuple[list[Header], list[DamagedError]]:
        """Readable headers, newest last, and what the others suffer from. Of a pack that is done only the last one."""
        headers, damaged = [], []
        paths = self._header_paths()
        for path in paths:
            try:
                headers.append(self.header(path))
            except FileNotFoundError:
                if paths != self._header_paths():
                    return self.headers()  # the writer let go of it while we read, and what is newest is another one
            except DamagedError as error:
                damaged.append(error)
        return sorted(headers, key=Header.order), damaged

    def header(self, path: Place) -> Header:
        """Raises DamagedError if it isn't what was written, or another pack's, or of another commit of this pack."""
        header = read_header(path)
        if header.pack_id != self.pack_id:
            raise DamagedError(path, f"belongs to another pack ({header.pack_id})")
        if path == self.done and header.checkpoint is not None:
            raise DamagedError(path, "is not the pack's last header")
        if path not in (self.done, self.header_path(header)):
            raise DamagedError(path, f"belongs to another commit ({self.header_path(header).name})")
        for name in self._foreign(header):
            raise DamagedError(path, f"names a file that is not this pack's ({name!r})")
        return header

    def _foreign(self, header: Header) -> Iterator[str]:
        """Paths that this pack does not write. Files that a header names are read, published and removed, and whoever
        hands on a sweep can seal one that names `../../thesis.tex`."""
        live = [entry.path for entry in header.payload] + [entry.staged or "" for entry in header.published]
        above = f"{relative(self.folder, self.root)}/"
        yield from (name for name in live if not (name.startswith(above) and LIVE.fullmatch(name, len(above))))
        for entry in header.published:
            match = PUBLISHED.fullmatch(entry.path)
            if not match or match["pack"] != self.pack_id:
                yield entry.path

    def newest_attempt(self) -> int:
        return max((int(match[1]) for match in map(ATTEMPT.fullmatch, self._names()) if match), default=0)

    def lives(self, *kinds: str) -> Iterator[tuple[Place, tuple[int, int]]]:
        """Live files of these kinds, with attempt and segment."""
        for name in self._names():
            match = LIVE.fullmatch(name)
            if match and match["kind"] in kinds:
                yield self.folder / name, (int(match["attempt"]), int(match["segment"]))

    def debris(self, attempt: int, named: set[str]) -> Iterator[Place]:
        """What attempts before `attempt` left: files in the making, live files that are not `named`, older numbers."""
        newest = self.newest_attempt()
        for name in self._names():
            path = self.folder / name
            temporary, live, number = TEMPORARY.fullmatch(name), LIVE.fullmatch(name), ATTEMPT.fullmatch(name)
            if temporary:
                # Tags "p..." are those of failure.json and cleaned.json: nobody writes these while a pack is resumed.
                if temporary["tag"][0] == "p" or int(temporary["tag"][1:]) < attempt:
                    yield path
            elif live:
                if int(live["attempt"]) < attempt and self.relative(path) not in named:
                    yield path
            elif number and int(number[1]) < newest:
                yield path

    def further(self, header: Header, table: str, first: int) -> Iterator[StoredFile]:
        """Live files of a table beside the traces, of segment `first` and later ones."""
        for entry in header.further:
            match = LIVE.fullmatch(entry.path.rpartition("/")[2])
            if match and match["kind"] == table and int(match["segment"]) >= first:
                yield entry

    def check(self, entry: StoredFile) -> bytes:
        """The file's content; DamagedError if it isn't what was committed."""
        return checked_bytes(self.path(entry), entry.sha256)

    def rows(self, entry: StoredFile) -> "pa.Table":
        """A table that a header names; DamagedError if it isn't what was committed."""
        from results import tables

        return tables.decode(self.check(entry))

    def _header_paths(self) -> list[Place]:
        return [self.done] if self.done.exists() else [path for path, _ in self.lives("header")]

    def _names(self) -> list[str]:
        try:
            return sorted(path.name for path in self.folder.iterdir())
        except FileNotFoundError:
            return []


def checked_bytes(path: Place, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DamagedError(path, "a committed file is missing") from None
    if sha256_of(data) != sha256:
        raise DamagedError(path, "not what was committed: its sha256 differs")
    return data


def read_json(path: Place) -> dict[str, Any] | None:
    """None if there is no such file."""
    try:
        entry = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise DamagedError(path, "not JSON") from None
    if not isinstance(entry, dict):
        raise DamagedError(path, "not a JSON object")
    return entry
