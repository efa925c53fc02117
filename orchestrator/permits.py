"""What the user allows a launch to do. It travels from the command line to every worker, which looks for itself."""

from dataclasses import dataclass

from orchestrator.environment import Consent


@dataclass(frozen=True, kw_only=True)
class Permits:
    """By default nothing that changes bits, and nobody's code."""

    environment: Consent = False
    """Going on with packs that were begun on another device or with other versions (`--accept-environment`)."""
    code: bool = False
    """Running the Python file that the spec names (`--allow-code`)."""


NOTHING_MORE = Permits()
"""What a launch without these options may do."""
