"""`grokctl weights`: the final weights of a run as one file for PyTorch."""

import io
from pathlib import Path

from orchestrator.errors import EXIT_CONFLICT, UserError
from orchestrator.run_ids import find_run
from results import durable
from results.store import SweepStore


def write_weights(folder: str, prefix: str, out: Path | None = None) -> tuple[Path, int]:
    """Write the state dict of the run whose id begins with `prefix` to `out`, by default RUN_ID.pt in the current
    folder; the file, and how many tensors.

    Raises UserError if no run or more than one is called so, or if there is such a file (73), MissingError if the
    weights were not kept. On a full disk nothing is left behind.
    """
    store = SweepStore(folder)
    run_id = find_run((name for pack in store.read_plan()["packs"] for name in pack["runs"]["run_id"]), prefix)
    tensors = store.read_weights(run_id)
    target = out or Path(f"{run_id}.pt")
    if target.exists():
        raise UserError(
            f"{target} exists already and is left as it is", exit_code=EXIT_CONFLICT, hint="Give another -o."
        )
    import torch

    packed = io.BytesIO()
    torch.save({name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, packed)
    durable.replace_file(target, packed.getvalue(), tag=durable.process_tag())
    return target, len(tensors)
