"""Measurements against what users would otherwise do. Nothing here is a timed test: `make bench` writes a table."""

GROUPS: tuple[str, ...] = ("peak", "training", "overhead", "images", "tune", "store")
"""Modules of this package with a function `rows(setting)`, in the order of the table."""
