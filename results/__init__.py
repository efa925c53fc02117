"""What is known about finished runs: tables on disk, labels, pictures.

Knows arrow, pandas and numpy; knows no torch and no ray, so a sweep can be read and relabelled on a laptop years later.
`from results import open_sweep` is all that a notebook needs.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from results.sweep import Sweep, open_sweep

__all__ = ["Sweep", "open_sweep"]


def __getattr__(name: str) -> Any:
    """Imported on first use: `results.errors` must not cost an import of arrow."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from results import sweep

    return getattr(sweep, name)
