"""What a pack has committed: headers, and the form in which they lie on disk.

A header names every file that belongs to the pack's state after one segment, each with its sha256. It is sealed itself
(results.sealed). Paths in it are relative to the sweep's folder, which may be moved.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from results.places import Place
from results.sealed import seal, unseal
from results.versions import require_fields, require_kind


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """How a run ended."""

    run_id: str
    outcome: str
    """ended: spent its budget; stopped: met its stop rule; diverged."""
    stopped_at: int | None
    """Step at which the run ended before its budget; None if it spent it."""
    wall_s: float
    n_parameters: int


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file that a header vouches for."""

    path: str
    sha256: str
    rows: int | None = None
    """Of a table."""
    staged: str | None = None
    """Where a published file waits until the header that commits it is there."""
    runs: tuple[str, ...] = ()
    """The runs whose whole traces, or measures, snapshots, weights, a published file holds."""

    @property
    def table(self) -> str:
        """Of a published file: the folder that it belongs to."""
        return self.path.split("/", 1)[0]


@dataclass(frozen=True, kw_only=True)
class Header:
    """A pack's state after `segment`, and everything that it has committed so far."""

    plan_id: str
    pack_id: str
    segment: int
    attempt: int
    """The pack's own attempt that wrote this; see PackStore.resume."""
    launch: int
    """The launch that this attempt belonged to."""
    run_steps: int
    lane_steps: int
    """run_steps and those of idle lanes."""
    segments: tuple[StoredFile, ...]
    published: tuple[StoredFile, ...]
    checkpoint: StoredFile | None
    """None when the pack has nothing left to train."""
    outcomes: tuple[RunOutcome, ...]
    running: Mapping[str, int] = field(default_factory=dict)
    """Runs with rows that have not ended: run_id -> the first segment with rows of it."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Runs that have ended and are not published yet: run_id -> the first segment with rows of it."""
    weights: tuple[StoredFile, ...] = ()
    """Live files with the weights of runs that wait."""
    further: tuple[StoredFile, ...] = ()
    """Live files with the rows of the tables beside the traces, of the segments that have some."""
    wall_s: float = 0.0
    """Seconds that the committed segments took, over all attempts."""
    fingerprints: Mapping[str, Any] = field(default_factory=dict)
    """attempt -> versions, device, threads and so on, of each attempt that committed."""
    unequal: tuple[str, ...] = ()
    """Rows that were written again in the same environment with other bytes: `segment-00003`; see results.repeats."""

    @property
    def payload(self) -> tuple[StoredFile, ...]:
        """The live files that a resume goes on from: segments, further tables, weights that wait, checkpoint."""
        return (*self.segments, *self.further, *self.weights, *filter(None, [self.checkpoint]))

    def order(self) -> tuple[int, int]:
        """The greatest is the newest: a later attempt went on from where it saw the earlier ones end."""
        return self.attempt, self.segment


def encode_header(header: Header) -> bytes:
    body = {
        **vars(header),
        "segments": [vars(entry) for entry in header.segments],
        "published": [vars(entry) for entry in header.published],
        "weights": [vars(entry) for entry in header.weights],
        "further": [vars(entry) for entry in header.further],
        "checkpoint": header.checkpoint and vars(header.checkpoint),
        "outcomes": [vars(run) for run in header.outcomes],
    }
    return seal(body)


def read_header(path: Place) -> Header:
    """Raises DamagedError if one bit differs from what was written, VersionError if another version wrote it."""
    body = unseal(path, "the header")
    require_kind(("pack_id", "segments", "outcomes"), body, path, "the header")
    require_fields(Header, body, path)
    return _header_of(body)


def _header_of(body: dict[str, Any]) -> Header:
    body["segments"] = tuple(_file_of(entry) for entry in body["segments"])
    body["published"] = tuple(_file_of(entry) for entry in body["published"])
    body["weights"] = tuple(_file_of(entry) for entry in body.get("weights", ()))
    body["further"] = tuple(_file_of(entry) for entry in body.get("further", ()))
    body["checkpoint"] = body["checkpoint"] and _file_of(body["checkpoint"])
    body["outcomes"] = tuple(RunOutcome(**entry) for entry in body["outcomes"])
    body["unequal"] = tuple(body.get("unequal", ()))
    return Header(**body)


def _file_of(entry: dict[str, Any]) -> StoredFile:
    return StoredFile(**{**entry, "runs": tuple(entry["runs"])})
