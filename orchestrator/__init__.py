"""From a question in YAML to finished runs: spec, expand, plan, act.

`from orchestrator import launch` gives the launcher; it is imported on first use, because it needs torch, and checking
or planning a sweep does not.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "launch":
        from orchestrator.launcher import launch

        return launch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
