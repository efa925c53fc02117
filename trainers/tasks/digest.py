"""By what the user's data are known: their numbers and shapes, and not where they lie or how they are packed."""

import hashlib
from typing import Any

import numpy.typing as npt


def digest_of(*arrays: npt.NDArray[Any]) -> str:
    """sha256 of the arrays, in their order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr(array.shape).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
