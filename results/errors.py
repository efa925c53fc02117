"""What can go wrong with a sweep's folder, one class for each way out that the user has."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from results.places import Place


class StoreError(Exception):
    """A sweep's folder cannot be used as asked."""


class MissingError(StoreError):
    """What was asked for is not there."""


class VersionError(StoreError):
    """Another version of grokctl wrote this, and the two do not understand each other."""


class PlaceError(StoreError):
    """Not the name of a place in which a sweep can lie."""


class ConflictError(StoreError):
    """The folder belongs to something else."""


class LockedError(StoreError):
    """Another launch is at work on the folder."""

    def __init__(self, root: "Place", holder: Mapping[str, Any], advice: str = "") -> None:
        who = ", ".join(f"{key} {value}" for key, value in holder.items()) or "an unnamed process"
        super().__init__(f"{root} is locked by another launch ({who})" + (f": {advice}" if advice else ""))
        self.holder = dict(holder)


class FencedError(StoreError):
    """A newer attempt has taken over; this one publishes nothing."""


class StorageError(StoreError):
    """The disk refused while a pack was committing. The last commit is intact; the pack goes on when launched again."""


class UnavailableError(StorageError):
    """The object store does not answer, or cannot do what a sweep needs."""


class AccessError(StorageError):
    """The object store does not take us for somebody who may do that."""


class DamagedError(StoreError):
    """A file is not what was written. It is left as it lies."""

    def __init__(self, path: "Place", problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class LostPlanError(DamagedError):
    """A file of the plan is damaged or missing. Nothing else says what the sweep is, so nothing can make it again."""
