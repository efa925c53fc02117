"""A sweep as one file, for a paper's supplement: the question, the plan, the tables, the figures, and how to read them.

The same sweep gives the same bytes: members are sorted, and times, owners and modes are the same for all. What serves
only to go on training (checkpoints, segments, logs) and the weights stay behind. Nothing is believed: the sweep is
verified before, and the archive is read back after it was written, against the checksums that it carries.
"""

import hashlib
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import EXIT_BAD_DATA, EXIT_CONFLICT, EXIT_USAGE, UserError
from orchestrator.plan import Plan
from results import durable
from results.places import Place, below
from results.store import SweepStore
from results.table_sums import TABLES
from results.verify import verify

FOLDERS = ("traces", "measures", "snapshots", "figures")
SUMS = "SHA256SUMS"
SUFFIXES = (".tar", ".zip")


@dataclass(frozen=True, kw_only=True)
class Archived:
    """What was written."""

    path: Path
    files: int
    bytes: int


def write_archive(root: Place, out: Path | None = None) -> Archived:
    """Write the sweep in `root` to `out`, a .tar or .zip; by default NAME.tar in the current folder.

    Raises:
        UserError: another suffix, a file in the way, or files of the sweep that are not what was committed.
    """
    store = SweepStore(root)
    plan = Plan.from_json(store.read_plan())
    out = out or Path(f"{plan.name}.tar")
    _refuse(root, out)
    members: dict[str, bytes | Place] = {**_own_pages(store, plan), **{name: root / name for name in _files(store)}}
    sums = {name: _sha256(content) for name, content in sorted(members.items())}
    members[SUMS] = "".join(f"{sha256}  {name}\n" for name, sha256 in sums.items()).encode()
    temporary = out.with_name(f".{out.name}.{durable.process_tag()}.tmp")
    try:
        _write(temporary, out.suffix, plan.name, members)
        _read_back(temporary, out.suffix, plan.name, sums)
        durable.link_file(temporary, out)
    finally:
        durable.remove_file(temporary)
    return Archived(path=out, files=len(members), bytes=out.stat().st_size)


def _refuse(root: Place, out: Path) -> None:
    if out.suffix not in SUFFIXES:
        raise UserError(f"{out}: an archive ends in {' or '.join(SUFFIXES)}", exit_code=EXIT_USAGE)
    if out.exists():
        raise UserError(f"{out} exists already and is left as it is", exit_code=EXIT_CONFLICT, hint="Give another -o.")
    damage = [str(finding) for finding in verify(root) if finding.kind == "damage"]
    if damage:
        raise UserError("\n".join(damage), exit_code=EXIT_BAD_DATA, hint="Nothing was written.")


def _files(store: SweepStore) -> Iterator[str]:
    """Names of what belongs into the archive, as they lie in the sweep's folder."""
    root = store.root
    plans = [path.name for path in below(root, "plan*.json")]
    yield from (name for name in ("spec.yaml", "code.py", *plans, *TABLES) if _is_file(root / name))
    for folder in FOLDERS:
        found = [path for path in below(root / folder) if not path.name.startswith(".")]
        yield from (f"{folder}/{path.name}" for path in found if _is_file(path) and not _is_link(path))


def _is_file(path: Place) -> bool:
    return path.is_file() if isinstance(path, Path) else path.exists()


def _is_link(path: Place) -> bool:
    return isinstance(path, Path) and path.is_symlink()


def _own_pages(store: SweepStore, plan: Plan) -> dict[str, bytes]:
    """What is written for the archive alone."""
    versions = {"planned_with": plan.grokctl_version, "trained_with": _fingerprints(store)}
    return {
        "README.md": _readme(store, plan).encode(),
        "versions.json": (json.dumps(versions, indent=1, sort_keys=True) + "\n").encode(),
    }


def _fingerprints(store: SweepStore) -> list[Mapping[str, Any]]:
    """Versions, device and precision of every attempt, each once; without the names of machines."""
    headers = (store.pack(pack_id).newest_header() for pack_id in store.pack_ids())
    found = (entry for header in headers if header for entry in header.fingerprints.values())
    texts = {json.dumps({k: v for k, v in entry.items() if k != "host"}, sort_keys=True) for entry in found}
    return [json.loads(text) for text in sorted(texts)]


def _readme(store: SweepStore, plan: Plan) -> str:
    ended = sum(len(store.pack(pack_id).outcomes()) for pack_id in store.pack_ids())
    name = plan.name
    return f"""# {name}

A sweep of grokctl {plan.grokctl_version}: {ended:,} of {plan.n_runs:,} planned runs have ended.

| file | holds |
|---|---|
| `spec.yaml` | the question as it was asked |
| `code.py` | the sweep's own Python code, if it has some; it runs with `--allow-code` alone |
| `plan.json`, `plan.0001.json`, ... | the question with all defaults and settings; every run and how it was trained |
| `runs.parquet` | one row a run: hyperparameters, how it ended |
| `labels.parquet` | one row a run: its phase, the evidence, one sentence why, the thresholds |
| `traces/` | whole traces of runs that have ended, by (run_id, step), with the hyperparameters as columns |
| `measures/`, `snapshots/`, `critical.parquet`, `sensitivity.parquet`, `figures/` | if the sweep has them |
| `versions.json` | code, versions, device and precision under which the runs were trained |
| `{SUMS}` | of all files here: `sha256sum -c {SUMS}` |

Any reader of Parquet will do, for example

```python
import pandas as pd

labels = pd.read_parquet("{name}/labels.parquet")
traces = pd.read_parquet("{name}/traces")
print(labels.groupby("phase").size())
```

and so does grokctl itself: `grokctl label {name}`, `grokctl diagram {name}`, `grokctl query {name} "FROM labels"`.
The same question is trained anew by `grokctl launch ./{name} --out elsewhere`: the same runs, and on the same kind of
machine with the same versions the same bits.
"""


# Bytes


def _sha256(content: bytes | Place) -> str:
    with _opened(content) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _opened(content: bytes | Place) -> Any:
    if isinstance(content, Path):
        return content.open("rb")
    return io.BytesIO(content if isinstance(content, bytes) else content.read_bytes())


def _size(content: bytes | Place) -> int:
    if isinstance(content, Path):
        return content.stat().st_size
    return len(content if isinstance(content, bytes) else content.read_bytes())


def _write(path: Path, suffix: str, top: str, members: Mapping[str, bytes | Place]) -> None:
    with path.open("xb") as file:
        if suffix == ".tar":
            _write_tar(file, top, members)
        else:
            _write_zip(file, top, members)
        file.flush()
        os.fsync(file.fileno())


def _write_tar(file: Any, top: str, members: Mapping[str, bytes | Place]) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in sorted(members.items()):
            info = tarfile.TarInfo(f"{top}/{name}")  # owner 0, time 0
            info.size, info.mode = _size(content), 0o644
            with _opened(content) as source:
                archive.addfile(info, source)


def _write_zip(file: Any, top: str, members: Mapping[str, bytes | Place]) -> None:
    """Stored, not packed: Parquet is, and another zlib would give other bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(members.items()):
            info = zipfile.ZipInfo(f"{top}/{name}")  # of 1980
            info.external_attr, info.create_system = 0o644 << 16, 3
            with _opened(content) as source, archive.open(info, "w", force_zip64=True) as target:
                while piece := source.read(1 << 20):
                    target.write(piece)


def _read_back(path: Path, suffix: str, top: str, sums: Mapping[str, str]) -> None:
    """Raises OSError if the archive does not hold what was put into it."""
    found = dict(_tar_sums(path) if suffix == ".tar" else _zip_sums(path))
    found.pop(f"{top}/{SUMS}", None)
    if found != {f"{top}/{name}": sha256 for name, sha256 in sums.items()}:
        raise OSError(f"{path} does not read back as it was written; nothing was kept")


def _tar_sums(path: Path) -> Iterator[tuple[str, str]]:
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file, "the archive holds files only"
            yield member.name, hashlib.sha256(file.read()).hexdigest()


def _zip_sums(path: Path) -> Iterator[tuple[str, str]]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            try:
                yield name, hashlib.sha256(archive.read(name)).hexdigest()
            except zipfile.BadZipFile as error:
                raise OSError(f"{path}: {error}") from error
