"""The packs of one launch on a connected Ray: handed to Tune until none is left, whatever dies meanwhile."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from orchestrator import tune
from orchestrator.environment import moved
from orchestrator.errors import EXIT_ENVIRONMENT, EXIT_UNAVAILABLE, UserError
from orchestrator.exits import GOES_ON
from orchestrator.permits import Permits
from orchestrator.plan import Plan, PlannedPack
from orchestrator.progress import follow
from orchestrator.ray_cluster import Cluster
from orchestrator.remaining import newest_headers
from orchestrator.trials import Trials
from results.errors import FencedError
from results.store import SweepStore

POLL_S = 0.2
IDLE_ROUNDS = 2
"""So often in a row a new Tuner is started over what is left although the one before brought no commit."""


@dataclass(frozen=True, kw_only=True)
class OnRay:
    """A plan, and the Ray that trains what is left of it."""

    store: SweepStore
    plan: Plan
    cluster: Cluster
    permits: Permits
    console: Console
    should_stop: Callable[[], bool]

    def require_room(self, *, may_grow: bool) -> None:
        """A pack that fits nowhere would wait for ever. Raises UserError, unless the cluster may grow."""
        cpus, gpus = self.plan.slots["cpus_per_pack"], self.plan.slots["gpus_per_pack"]
        nodes = self.cluster.nodes
        if any(node.packs(cpus, gpus) for node in nodes):
            return
        has = f"Ray has {self.cluster.cpus} and {self.cluster.gpus}" + (f" on {len(nodes)} nodes" * (len(nodes) > 1))
        message = f"a pack asks for {cpus} cores and {gpus:g} GPUs on one machine; {has}"
        if not may_grow:
            hint = "Change `resources` in the spec, join a cluster with --address, or train with --local."
            raise UserError(message, exit_code=EXIT_ENVIRONMENT, hint=hint)
        self.console.print(f"{message}: waiting for nodes that have them", markup=False)

    def train(self, packs: Sequence[PlannedPack], attempt: int) -> None:
        """Until nothing is left to do. Tune may give up as a whole, and was seen to forget a trial whose worker it had
        lost sight of; what is left then goes to a new Tuner."""
        trials = Trials(store=self.store, attempt=attempt)
        left, rounds, crash = list(packs), 0, ""
        with follow(self.store, self.plan, self.console):
            while left and rounds <= IDLE_ROUNDS and not self.should_stop():
                before = self._commits(left)
                crash = self._schedule(left, trials)
                rounds = 0 if self._commits(left) != before else rounds + 1
                left = [pack for pack in left if not self._is_settled(pack, attempt)]
        if left and crash:
            raise UserError(f"Ray gives up: {crash}", exit_code=EXIT_UNAVAILABLE, hint=GOES_ON)
        if not self.should_stop():
            self._record_deaths(left, trials)
        self._tell_of_hardware()

    def _schedule(self, packs: Sequence[PlannedPack], trials: Trials) -> str:
        """Have packs trained until none is left or a stop was asked for. What made Tune give up before, if it did."""
        demands = {pack.pack_id: self.plan.demand(pack) for pack in packs}
        training = tune.start_training(self.cluster, self.store.root, demands, trials, self.permits)
        while not training.wait(POLL_S):
            self.cluster.require_alive()
            if self.store.latest_attempt() > trials.attempt:
                raise FencedError(f"a newer launch has taken over {self.store.root}")
            if self.should_stop():
                training.end_if_idle()
            while trials.notes:
                self.console.print(Text(trials.notes.pop(0)), style="yellow", soft_wrap=True)
        return "\n".join(training.crash)

    def _commits(self, packs: Sequence[PlannedPack]) -> list[tuple[int, int] | None]:
        """The newest commit of each pack."""
        stored = (self.store.pack(self.store.current_pack(pack.pack_id)) for pack in packs)
        return [header.order() if (header := pack.newest_header()) else None for pack in stored]

    def _is_settled(self, pack: PlannedPack, attempt: int) -> bool:
        """Whether this launch has nothing more to do about a pack: it is done, or has failed."""
        stored = self.store.pack(self.store.current_pack(pack.pack_id))
        failure = stored.failure()
        return stored.is_done() or (failure is not None and failure.attempt == attempt)

    def _record_deaths(self, packs: Sequence[PlannedPack], trials: Trials) -> None:
        """A worker that died could not say why; what Ray knows of it goes to the pack's folder."""
        if self.store.latest_attempt() > trials.attempt:
            raise FencedError(f"a newer launch has taken over {self.store.root}")
        for pack in packs:
            current = self.store.current_pack(pack.pack_id)
            stored = self.store.pack(current)
            if not stored.is_done() and stored.failure() is None:
                stored.write_failure(trials.failure_text(pack.pack_id, current), trials.attempt)

    def _tell_of_hardware(self) -> None:
        plan = Plan.from_json(self.store.read_plan())  # packs that ran out of memory have been replaced meanwhile
        if changes := moved(newest_headers(self.store, plan).values()):
            text = "packs that lost their node went on on another kind of it, with other last bits than without that"
            self.console.print(Text(f"note: {text}: {'; '.join(changes)}"), style="yellow", soft_wrap=True)
