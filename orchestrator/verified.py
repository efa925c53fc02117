"""What `status --verify` and `status --repair` tell of a sweep's files."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from results.places import Place
from results.repair import Repair
from results.repair import repair as repair_files
from results.store import SweepStore
from results.verify import Finding, require_whole_plan
from results.verify import verify as verify_files


@dataclass(frozen=True, kw_only=True)
class Files:
    """The state of a sweep's files, after the repair if one was asked for."""

    folder: Place
    findings: Sequence[Finding]
    repairs: Sequence[Repair] | None

    @property
    def damage(self) -> list[str]:
        return [str(finding) for finding in self.findings if finding.kind == "damage"]

    @property
    def debris(self) -> list[str]:
        return [str(finding) for finding in self.findings if finding.kind == "debris"]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        repairs = None if self.repairs is None else [str(repair) for repair in self.repairs]
        return {"damage": self.damage, "debris": self.debris, "repairs": repairs}

    def lines(self) -> list[str]:
        """As `grokctl status` prints them."""
        told = [*(str(repair) for repair in self.repairs or ()), *self.damage, *self.debris]
        if not told and self.repairs is not None:
            told = ["nothing to repair"]
        if not self.damage:
            told.append("as they were committed")
        return [*(f"files  {line}" for line in told), *self._next_steps()]

    def _next_steps(self) -> list[str]:
        name = shlex.quote(str(self.folder))
        if self.damage:
            return [f"next   `grokctl status {name} --repair` moves damaged files aside, so that they are made again"]
        if any(repair.needs_launch for repair in self.repairs or ()):
            return [f"next   `grokctl launch SPEC --out {name}`, with the spec of the sweep, makes them again"]
        return []


def check_files(folder: Place, *, repair: bool) -> Files:
    """Check every file of a sweep, and before that put damaged ones aside if `repair` says so.

    Raises LostPlanError if it is the plan that is damaged, LockedError for a repair while a launch is at work.
    """
    require_whole_plan(SweepStore(folder))
    repairs = repair_files(folder) if repair else None
    return Files(folder=folder, findings=verify_files(folder), repairs=repairs)
