"""How well the plan predicted the time of its packs, and how full their lanes were. Pure: plan and headers go in,
numbers come out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from orchestrator.plan import PlannedPack
from orchestrator.plan_summary import format_duration
from results.counted import counted
from results.headers import Header


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Predicted against actual time of packs that are done."""

    packs: int
    predicted_s: float
    """Summed over packs, without what runs that ended early left of their budgets."""
    actual_s: float
    """Of committed segments, over all attempts: what a kill threw away is not in it."""
    median_error: float
    """Of |predicted - actual| / actual over packs."""
    occupancy: float
    """Share of the lanes' steps that trained a run."""


def measure_accuracy(packs: Iterable[PlannedPack], headers: Mapping[str, Header]) -> Accuracy | None:
    """Of the packs that have a last header with a time; None if there is none."""
    done = [(pack, headers[pack.pack_id]) for pack in packs if pack.pack_id in headers]
    timed = [(_expected_s(pack, header), header.wall_s) for pack, header in done if _is_last(header)]
    if not timed:
        return None
    return Accuracy(
        packs=len(timed),
        predicted_s=round(sum(predicted for predicted, _ in timed), 1),
        actual_s=round(sum(actual for _, actual in timed), 1),
        median_error=round(median(abs(predicted - actual) / actual for predicted, actual in timed), 4),
        occupancy=_occupancy([header for _, header in done if _is_last(header)]),
    )


def _occupancy(headers: list[Header]) -> float:
    return round(sum(header.run_steps for header in headers) / sum(header.lane_steps for header in headers), 4)


def _is_last(header: Header) -> bool:
    return header.checkpoint is None and header.wall_s > 0


def _expected_s(pack: PlannedPack, header: Header) -> float:
    """That a run stops or diverges early is no error of the cost model."""
    share: float = header.run_steps / sum(pack.values("steps"))
    return pack.estimated_s * share


def accuracy_text(found: Accuracy) -> str:
    """`predicted 24 min of work for 11 packs, took 26 min; median error of a pack 12%; lanes were 97% busy`"""
    took = f"predicted {format_duration(found.predicted_s)} of work for {counted(found.packs, 'pack')}, took "
    error = f"median error of a pack {found.median_error:.0%}"
    return took + f"{format_duration(found.actual_s)}; {error}; lanes were {found.occupancy:.0%} busy"
