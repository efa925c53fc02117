"""How a launch ended: told to the terminal, with what to do next, and returned to whoever called from Python."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator import labelled
from orchestrator.accuracy import accuracy_text, measure_accuracy
from orchestrator.environment import not_repeated
from orchestrator.plan import Plan
from orchestrator.progress import last_line
from orchestrator.remaining import newest_headers, runs_ended, stored
from results.headers import Header
from results.places import Place
from results.store import SweepStore


@dataclass(frozen=True, kw_only=True)
class LaunchResult:
    """How a launch ended."""

    folder: Place
    exit_code: int
    """0; 1 if packs failed; 74 if the disk refused; 128 + n after signal n."""
    runs: int
    runs_ended: int
    phases: Mapping[str, int]
    """Labelled runs by phase."""
    failed_packs: Mapping[str, str]
    """pack_id -> last line of its traceback."""
    paths: Sequence[Place] = ()
    """Tables and figures."""


def is_labelled(store: SweepStore, headers: Mapping[str, Header]) -> bool:
    """Whether the labels, which are written last, are those of all runs that ended."""
    found = labelled.phases(store)
    return found is not None and found.total() == runs_ended(headers)


def report(
    store: SweepStore,
    plan: Plan,
    console: Console,
    exit_code: int,
    note: str = "",
    *,
    headers: Mapping[str, Header] | None = None,
) -> LaunchResult:
    """Print what is known now and what to do next."""
    headers = newest_headers(store, plan) if headers is None else headers
    result = outcome(store, plan, exit_code, labelled.in_order(labelled.phases(store)), headers)
    if note:
        console.print(Text(note))
    for warning in not_repeated(headers.values()):
        console.print(Text(f"warning: {warning}"), style="yellow", soft_wrap=True)
    found = measure_accuracy(plan.packs, headers)
    if found:
        console.print(Text(accuracy_text(found)), soft_wrap=True)
    if result.phases:
        console.print(_phase_table(result, plan.name))
    for pack_id, error in result.failed_packs.items():
        console.print(Text(f"pack {pack_id} did not get to its end: {error}"), style="red", soft_wrap=True)
    for line in [*(f"wrote {_shown(path)}" for path in result.paths), *_next_steps(result)]:
        console.print(Text(line), soft_wrap=True)
    return result


def outcome(
    store: SweepStore, plan: Plan | None, exit_code: int, phases: Mapping[str, int], headers: Mapping[str, Header]
) -> LaunchResult:
    packs = plan.packs if plan else ()
    done = {pack_id for pack_id, header in headers.items() if header.checkpoint is None}
    failures = {pack.pack_id: found.failure() for pack, found in stored(store, packs) if pack.pack_id not in done}
    return LaunchResult(
        folder=store.root,
        exit_code=exit_code,
        runs=sum(pack.n_runs for pack in packs),
        runs_ended=runs_ended(headers),
        phases=phases,
        failed_packs={pack_id: last_line(failure.text) for pack_id, failure in failures.items() if failure},
        paths=labelled.output_paths(store),
    )


def _phase_table(result: LaunchResult, name: str) -> Table:
    table = Table(title=f"{name}: {result.runs_ended:,} of {result.runs:,} runs", title_justify="left")
    table.add_column("phase")
    table.add_column("runs", justify="right")
    table.add_column("share", justify="right")
    total = sum(result.phases.values())
    for phase, count in result.phases.items():
        table.add_row(phase, f"{count:,}", f"{count / total:.1%}")
    return table


def _shown(path: Place) -> Place:
    """As the user would type it."""
    if not isinstance(path, Path):
        return path
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _next_steps(result: LaunchResult) -> list[str]:
    folder = shlex.quote(str(_shown(result.folder)))
    if result.failed_packs:
        return [f"next: `grokctl status {folder}` says what failed; launch again to retry"]
    if result.runs_ended < result.runs:
        return ["next: launch again to go on"]
    return [f'next: grokctl query {folder} "SELECT phase, count(*) FROM labels GROUP BY phase"']
