"""From a spec to a labelled phase diagram: plan, train, label, draw. `launch` reads from top to bottom.

Launching the same spec again is resuming: the plan that the first launch froze, minus what the store holds. One launch
at a time holds the sweep's folder. A first signal drains to the next commits, a second one stops at once; either way,
and after kill -9 too, the next launch goes on from the last commits and ends with the same bits.
"""

import json
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from rich.console import Console
from rich.text import Text

from orchestrator.calibration import calibrate, stored_cost
from orchestrator.code_file import admit, bytes_of, require_allowed
from orchestrator.drain import Drain
from orchestrator.environment import agreed
from orchestrator.errors import EXIT_BAD_DATA, EXIT_IO, EXIT_OK, EXIT_RUNS_FAILED, EXIT_USAGE, SpecError, UserError
from orchestrator.extension import extension, growth_of, is_of
from orchestrator.filters import parse_only
from orchestrator.machine import find_slots, slots_of_nodes
from orchestrator.outcome import LaunchResult, is_labelled, outcome, report
from orchestrator.permits import Permits
from orchestrator.plan import Plan, PlannedPack, make_plan
from orchestrator.plan_summary import PlanSummary, compiling_text, format_duration, summarize
from orchestrator.progress import QuietConsole, follow
from orchestrator.remaining import newest_headers, require_match, unfinished
from orchestrator.replanning import new_cut, not_started
from orchestrator.resolved import resolved_spec
from orchestrator.signals import StopNow, StopRequest, drain_on_signals
from orchestrator.slots import Slots
from orchestrator.spec import LoadedSpec, load_spec, load_text
from orchestrator.spec_model import SweepSpec
from results.counted import counted
from results.errors import MissingError, StorageError
from results.objects import ObjectPath
from results.places import Place, absolute, place_of
from results.store import SweepStore
from trainers.expressions import Expression

if TYPE_CHECKING:
    from orchestrator.on_ray import OnRay
    from orchestrator.ray_cluster import Cluster

CALIBRATE_FROM_S = 300.0
"""A sweep that takes this long, by the estimate for another machine, is worth 20 s of measuring this one first."""


def launch(
    spec: str | Place | SweepSpec,
    *,
    out: str | Place | None = None,
    address: str | None = None,
    local: bool = False,
    overrides: Mapping[str, str] | None = None,
    only: str | None = None,
    max_hours: float | None = None,
    accept_environment: bool = False,
    allow_code: bool = False,
    take_over: bool = False,
    replan: bool = False,
    console: Console | None = None,
) -> LaunchResult:
    """Train what a sweep's folder lacks, label and draw all that it has.

    Args:
        spec: a path, the name of a shipped spec, the folder of a sweep (which goes on), or a SweepSpec.
        out: the sweep's folder, or s3://bucket/prefix; by default sweeps/<name> in the current one.
        address: of a Ray cluster; by default a local Ray is started and stopped.
        local: train in this process, without Ray.
        overrides: hyperparameters by name, as `--set` gives them.
        only: a filter over hyperparameters. The plan is made of all runs; only packs that hold a matching run are
            trained (whole: what shares a pack is trained together).
        max_hours: drain after this time, as after a first Ctrl-C, but with exit code 0.
        accept_environment: go on with packs that were begun on another device or with other versions.
        allow_code: run the user's Python file that the spec names; see trainers.interface. Without it such a spec is
            refused (77).
        take_over: go on although another launch may hold the folder; that one can commit nothing any more.
        replan: cut packs that have not started anew, for the devices that there are now.

    Raises:
        UserError: something that the user can mend, with an exit code.
        StoreError: the folder cannot be used: foreign, locked, damaged.
    """
    if local and address:
        raise UserError("--local and --address exclude each other", exit_code=EXIT_USAGE)
    console = console or QuietConsole()
    loaded = _load(spec, overrides or {})
    default = place_of(spec) if _is_sweep(spec) else Path("sweeps") / loaded.spec.name
    store = SweepStore(absolute(place_of(out or default)))
    store.require_text_path()
    selected = parse_only(only)
    if store.exists():
        plan = Plan.from_json(store.read_plan())
        if not is_of(plan, loaded):
            growth_of(plan, loaded, store.root)  # refuses other changes before anything is written
        else:
            require_match(plan, selected)
            if not unfinished(store, plan, selected) and is_labelled(store, headers := newest_headers(store, plan)):
                note = "nothing to do: all that was asked for is here"
                return report(store, plan, console, EXIT_OK, note, headers=headers)
    require_allowed(loaded.spec.code, allowed=allow_code, command=f"grokctl launch {shlex.quote(str(loaded.path))}")
    # The nodes of a cluster may differ in their hardware, and a pack goes on where there is room.
    permits = Permits(environment=accept_environment or ("hardware" if address else False), code=allow_code)
    launching = _Launch(
        store=store,
        console=console,
        drain=Drain(store, console),
        permits=permits,
        loaded=loaded,
        selected=selected,
        address=address,
        local=local,
        max_hours=max_hours,
        take_over=take_over,
        replan=replan,
    )
    return launching.run()


@dataclass(frozen=True, kw_only=True)
class _Launch:
    """One launch, while it holds the sweep's folder. What it was asked for are the arguments of `launch`."""

    store: SweepStore
    console: Console
    drain: Drain
    permits: Permits
    loaded: LoadedSpec
    selected: Expression | None
    address: str | None
    local: bool
    max_hours: float | None
    take_over: bool
    replan: bool

    def run(self) -> LaunchResult:
        with self._hold(), drain_on_signals(self._say_draining) as request:
            try:
                plan = self._train()
                self._write_tables(plan)
                return self._end(plan, request)
            except StopNow as stop:
                return self._stopped(stop.exit_code)
            finally:
                with suppress(StorageError):  # the next launch does it; what went wrong before is what counts
                    self.store.clear_stop()

    @contextmanager
    def _hold(self) -> Iterator[None]:
        """Hold the sweep's folder. Whoever asks for a stop while somebody holds it asks this launch, however long it
        takes to start: only what was asked of an earlier one is forgotten, and that at once."""
        with self.store.lock(take_over=self.take_over) as note:
            self.store.clear_stop()
            if note:
                self.console.print(Text(f"note: {note}"), soft_wrap=True)
            yield

    def _stopped(self, exit_code: int) -> LaunchResult:
        """After a second signal, which may have come at any point of a launch."""
        self.console.print("stopped at once; what was committed is safe", style="bold")
        known = Plan.from_json(self.store.read_plan()) if self.store.exists() else None
        return outcome(self.store, known, exit_code, {}, newest_headers(self.store, known) if known else {})

    def _say_draining(self, number: signal.Signals) -> None:
        self.drain.ask(f"{number.name}: stopping at the next commit of each pack; once more to stop at once")

    def _train(self) -> Plan:
        """Train what is unfinished, on a Ray that lives as long as that takes. Returns the plan."""
        with ExitStack() as stack:
            joined = self._connect(stack) if self.address else None
            resources = self.loaded.spec.resources
            slots = slots_of_nodes(resources, joined.nodes) if joined else find_slots(resources)
            plan = self._stored_plan(slots) if self.store.exists() else self._create(slots, is_own=joined is None)
            for pack in plan.packs:
                self.store.pack(pack.pack_id).tidy()  # a kill right after a pack's end leaves its checkpoints
            packs = unfinished(self.store, plan, self.selected)
            if not packs:
                return plan
            self._refuse_what_would_fail(packs, is_own=joined is None)
            attempt = self.store.begin_attempt()
            if self.replan:
                plan = self._cut_anew(plan, slots, attempt)
                packs = unfinished(self.store, plan, self.selected)
            self._announce(plan, packs, attempt)
            self._tell_of_other_slots(plan, slots)
            stack.enter_context(self._time_limit())
            if self.local:
                self._train_here(plan, packs, attempt)
            else:
                on_ray = self._on_ray(plan, joined or self._connect(stack))
                on_ray.require_room(may_grow=joined is not None)
                on_ray.train(packs, attempt)
            return self._amended(plan)

    def _refuse_what_would_fail(self, packs: Sequence[PlannedPack], *, is_own: bool) -> None:
        """Before a worker starts. `is_own`: workers run on this very machine."""
        _require_data(packs)
        self._try_code(packs[0])
        if not is_own:
            from orchestrator import ray_session

            ray_session.require_same_everywhere(str(self.store.root))
        elif not self.permits.environment:
            self._require_same_environment(packs)

    def _try_code(self, pack: PlannedPack) -> None:
        """The user's code, with one of its runs on a few examples: what is wrong with it is said here, once, and not by
        each worker."""
        config = pack.config(0)
        if config.code_sha256 is None:
            return
        admit(self.store.code_path, config.code_sha256, str(config.code), allowed=self.permits.code)
        from trainers.rehearsal import rehearse

        for note in rehearse(config):
            self.console.print(Text(f"note: {note}"), soft_wrap=True)

    def _require_same_environment(self, packs: Sequence[PlannedPack]) -> None:
        """Workers look themselves; here it is said once."""
        begun = [(pack, header) for pack in packs if (header := self.store.pack(pack.pack_id).newest_header())]
        if not begun:
            return
        from orchestrator.worker import device_fingerprint

        for pack, header in begun:
            agreed(header.fingerprints[str(header.attempt)], device_fingerprint(pack.settings), accept=False)

    def _amended(self, plan: Plan) -> Plan:
        """The plan as workers may have amended it meanwhile."""
        record = self.store.read_plan()
        for entry in record["amendments"]:
            if entry.get("replaced") in plan.by_id:
                text = f"pack {entry['replaced']} ran as {entry['pack_id']}: {entry['reason']}"
                self.console.print(Text(text), style="yellow", soft_wrap=True)
        return Plan.from_json(record)

    def _connect(self, stack: ExitStack) -> "Cluster":
        from orchestrator.ray_cluster import cluster

        what = f"joining the Ray cluster at {self.address}" if self.address else "starting Ray"
        self.console.print(what, markup=False)
        return stack.enter_context(cluster(self.address or None))

    def _stored_plan(self, slots: Slots) -> Plan:
        """The frozen plan, extended if the spec has gained runs. Raises UserError for another spec."""
        plan = Plan.from_json(self.store.read_plan())
        if is_of(plan, self.loaded):
            return plan
        growth = growth_of(plan, self.loaded, self.store.root)
        all_started = not not_started(plan, self.store)
        self.store.extend(**extension(self.loaded, growth, slots, stored_cost(slots), all_started=all_started))
        self.console.print(Text(f"amended the plan: {growth.reason}"), soft_wrap=True)
        extended = Plan.from_json(self.store.read_plan())
        require_match(extended, self.selected)
        return extended

    def _cut_anew(self, plan: Plan, slots: Slots, attempt: int) -> Plan:
        """The plan, amended for these slots. Launches before this one can commit nothing any more, so what has not
        started by now never will."""
        waiting = not_started(plan, self.store)
        cut = new_cut(waiting, self.loaded, slots, stored_cost(slots)) if waiting else None
        if cut is None:
            self.console.print("nothing to cut anew: " + ("the plan fits" if waiting else "every pack has begun"))
            return plan
        self.store.recut(**cut, attempt=attempt)
        self.console.print(Text(cut["reason"]), soft_wrap=True)
        return Plan.from_json(self.store.read_plan())

    def _tell_of_other_slots(self, plan: Plan, slots: Slots) -> None:
        """A plan for other devices is still right, and maybe slow."""
        planned = plan.slots["slots"], plan.slots["device"]
        if planned != (slots.slots, slots.device) and not_started(plan, self.store):
            what = f"planned for {planned[0]:,} slots ({planned[1]}); now there are {slots.slots:,} ({slots.device})"
            self.console.print(Text(f"{what}: --replan cuts packs that have not started anew"), soft_wrap=True)

    def _create(self, slots: Slots, *, is_own: bool) -> Plan:
        plan = make_plan(self.loaded, slots, stored_cost(slots))
        if not plan.calibrated and is_own and self._totals(plan).estimated_s >= CALIBRATE_FROM_S:
            self._calibrate(slots)
            plan = make_plan(self.loaded, slots, stored_cost(slots))
        require_match(plan, self.selected)  # before there is a folder
        code = None if self.loaded.spec.code is None else bytes_of(self.loaded.spec.code).decode()
        SweepStore.create(self.store.root, spec_text=self.loaded.text, plan=plan.to_json(), code_text=code)
        return plan

    def _calibrate(self, slots: Slots) -> None:
        """Without it the plan is made for another machine: worse, and good enough."""
        self.console.print("measuring how fast this machine trains: about 20 s, once")
        try:
            calibrate(slots)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self.console.print(
                Text(f"that failed ({error}); times are estimated as for another machine"), soft_wrap=True
            )

    def _announce(self, plan: Plan, packs: Sequence[PlannedPack], attempt: int) -> None:
        total = self._totals(plan)
        runs, n_packs = sum(pack.n_runs for pack in packs), len(packs)
        what = f"{plan.name}: {counted(runs, 'run')} in {counted(n_packs, 'pack')}" + (" left" if attempt > 1 else "")
        about = f"about {format_duration(total.estimated_s)} for the whole sweep ({total.calibration})"
        shapes = total.shapes_to_compile
        if shapes:
            about = f"{about}; {compiling_text(shapes)}"
        how = "one pack at a time" if total.slots == 1 else f"{total.slots} side by side"
        self.console.print(Text(f"{what}, {how} on {total.device}; {about}"), soft_wrap=True)

    def _totals(self, plan: Plan) -> PlanSummary:
        """What the plan comes to in this launch. In this process packs are trained one after another; they are cut for
        all slots none the less, because a sweep may go on on Ray, and has the same bits either way."""
        return summarize(plan, at_once=1 if self.local else None)

    @contextmanager
    def _time_limit(self) -> Iterator[None]:
        """Ask for a drain when the time is over."""
        if self.max_hours is None:
            yield
            return
        timer = threading.Timer(self.max_hours * 3600, self._end_of_time)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _end_of_time(self) -> None:
        self.drain.ask(f"{self.max_hours:g} hours are over: stopping at the next commit of each pack")

    def _train_here(self, plan: Plan, packs: Sequence[PlannedPack], attempt: int) -> None:
        from orchestrator.local import train_here

        with follow(self.store, plan, self.console):
            ids = [pack.pack_id for pack in packs]
            train_here(self.store.root, ids, attempt, should_stop=self.drain.is_asked_for, permits=self.permits)

    def _on_ray(self, plan: Plan, cluster: "Cluster") -> "OnRay":
        from orchestrator.on_ray import OnRay

        return OnRay(
            store=self.store,
            plan=plan,
            cluster=cluster,
            permits=self.permits,
            console=self.console,
            should_stop=self.drain.is_asked_for,
        )

    def _write_tables(self, plan: Plan) -> None:
        from orchestrator.tables import write_tables

        write_tables(self.store, plan)

    def _end(self, plan: Plan, request: StopRequest) -> LaunchResult:
        left = unfinished(self.store, plan, self.selected)
        failures = [failure for pack in left if (failure := self.store.pack(pack.pack_id).failure())]
        if request.exit_code is not None:
            return report(self.store, plan, self.console, request.exit_code, "stopped as asked")
        if any(failure.is_pause for failure in failures):
            return report(self.store, plan, self.console, EXIT_IO, "paused: the disk refuses")
        return report(self.store, plan, self.console, EXIT_RUNS_FAILED if failures else EXIT_OK)


def _load(spec: str | Place | SweepSpec, overrides: Mapping[str, str]) -> LoadedSpec:
    if isinstance(spec, SweepSpec):
        return _as_loaded(spec)
    if not _is_sweep(spec):
        if isinstance(place_of(spec), ObjectPath):
            raise MissingError(f"{spec} holds no sweep; a spec is a file, and `--out {spec}` is where its sweep goes")
        return load_spec(str(spec) if isinstance(spec, str) else Path(str(spec)), overrides)
    # The resolved spec, because spec.yaml knows nothing of --set, and its folder is another one.
    store = SweepStore(spec)
    resolved = store.read_plan()["spec"]
    if resolved.get("code"):  # the file itself may be gone, or another one by now
        resolved = {**resolved, "code": {**resolved["code"], "file": str(absolute(store.code_path))}}
    try:
        return load_text(json.dumps(resolved), Path(str(spec)), overrides)
    except SpecError as error:
        if not {"task.file", "task.folder"} & {problem.path for problem in error.problems}:
            raise
        hint = f"Have the data moved? Launch the spec that finds them, with --out {shlex.quote(str(spec))}."
        raise SpecError(error.problems, hint=hint) from None


def _is_sweep(spec: str | Place | SweepSpec) -> TypeGuard[str | Place]:
    """Whether that is the folder of a sweep. A bare name is that of a shipped spec."""
    if isinstance(spec, SweepSpec) or (isinstance(spec, str) and "/" not in spec):
        return False
    return SweepStore(spec).exists()


def _as_loaded(spec: SweepSpec) -> LoadedSpec:
    import yaml

    text = yaml.safe_dump(resolved_spec(spec), sort_keys=False)
    return LoadedSpec(spec=spec, text=text, path=Path(spec.name))


def _require_data(packs: Sequence[PlannedPack]) -> None:
    """Images and files that changed since the plan was made are refused before a worker starts."""
    from trainers.tasks import DataError, images, own_data

    names = ("folder", "file", "feature_columns", "target_columns", "data_sha256")
    wanted = {tuple(pack.values(name)[0] for name in names) for pack in packs if pack.fixed.get("data_sha256")}
    for folder, file, feature_columns, target_columns, sha256 in sorted(wanted, key=str):
        try:
            if folder is not None:
                images.planned_images(folder, sha256)
            else:
                own_data.planned(own_data.source(file, feature_columns, target_columns), sha256)
        except DataError as error:
            raise UserError(str(error), exit_code=EXIT_BAD_DATA) from error
