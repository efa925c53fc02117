"""The version of everything on disk, apart so that headers can be read without arrow; and records of other versions."""

from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from typing import Any

from results.errors import DamagedError, VersionError
from results.places import Place

SCHEMA_VERSION = 1
"""In plans, headers and the metadata of every table. Readers refuse what is newer."""


def require_kind(needed: Collection[str], record: Mapping[str, Any], path: Place, kind: str) -> None:
    """DamagedError if `record` has none of these entries: whole as it may be, it is about something else."""
    if not any(name in record for name in needed):
        raise DamagedError(path, f"another record in the place of {kind}")


def require_fields(kind: type, record: Mapping[str, Any], where: object) -> None:
    """VersionError unless `record` has what the dataclass `kind` needs, and nothing that it does not know."""
    known = {field.name: field for field in fields(kind)}
    needed = [name for name, it in known.items() if it.default is MISSING and it.default_factory is MISSING]
    require_names(needed, record, where)
    further = [name for name in record if name not in known]
    if further:
        raise VersionError(f"{where} was written by a newer version of grokctl (it has {further[0]!r})")


def require_names(needed: Collection[str], record: Mapping[str, Any], where: object) -> None:
    """VersionError unless `record` has all these entries."""
    missing = [name for name in needed if name not in record]
    if missing:
        raise VersionError(f"{where} was written by an earlier version of grokctl (it lacks {missing[0]!r})")


def require_version(record: Mapping[str, Any], where: object) -> None:
    """VersionError for a record of a newer schema."""
    version = record.get("schema_version", 0)
    if version > SCHEMA_VERSION:
        text = f"schema {version}, this one knows {SCHEMA_VERSION}"
        raise VersionError(f"{where} was written by a newer version of grokctl ({text})")
