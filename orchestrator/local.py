"""Train packs in this process, one after the other. No Ray: the same store, the same bits, and pdb works."""

from collections.abc import Callable, Sequence

from orchestrator.permits import NOTHING_MORE, Permits
from orchestrator.worker import try_pack
from results.places import Place


def train_here(
    root: Place,
    pack_ids: Sequence[str],
    attempt: int,
    *,
    should_stop: Callable[[], bool],
    permits: Permits = NOTHING_MORE,
) -> None:
    """Train each pack until it is done or a stop is asked for, or the disk refuses.

    A pack that fails has recorded why in its folder; the next ones are trained all the same.
    """
    for pack_id in pack_ids:
        if should_stop():
            return
        if try_pack(root, pack_id, attempt, should_stop, permits) == "paused":
            return
