"""`make bench`: measure every row, print the table, and write it to docs/benchmarks.md (on a GPU, to
docs/benchmarks_gpu.md).

Rows are printed as they come; a group that fails becomes a row that says so, and the others are measured all the same.
"""

import argparse
import datetime
import importlib
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import APART, GROUPS, ON_GPU
from benchmarks.harness import FAILED, Row, Setting, line, table
from benchmarks.machine import describe_machine

DOCS = Path(__file__).resolve().parents[2] / "docs"
DOCUMENTS = {"cpu": (GROUPS, DOCS / "benchmarks.md"), "cuda": (ON_GPU, DOCS / "benchmarks_gpu.md")}


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parse(arguments)
    setting = Setting(device=asked.device, quick=asked.quick)
    machine = describe_machine(asked.device)
    print(*machine, sep="\n", end="\n\n", flush=True)
    start = time.monotonic()
    groups, path = DOCUMENTS[asked.device]
    rows = []
    for row in (row for group in asked.only or groups for row in measure(group, setting)):
        rows.append(row)
        print(line(row), flush=True)
    text = document(rows, machine, minutes=(time.monotonic() - start) / 60)
    print(f"\n{text}")
    if asked.only or asked.quick:
        print(f"{path.name} is left as it is: this was a part, or a smoke test.")
    else:
        path.write_text(text)
    return int(any(row.comparison.endswith(FAILED) for row in rows))


ONLY = f"of {', '.join(GROUPS)}; or {', '.join(APART)}, which the table leaves out"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=(*GROUPS, *APART), metavar="GROUP", help=ONLY)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where grokctl and baselines train")
    parser.add_argument("--quick", action="store_true", help="a smoke test: tiny sizes, numbers without meaning")
    return parser.parse_args(arguments)


def measure(group: str, setting: Setting) -> Iterator[Row]:
    """The rows of a group, as they come."""
    start = time.monotonic()
    try:
        yield from importlib.import_module(f"benchmarks.{group}").rows(setting)
    except Exception as error:
        traceback.print_exc()
        message = str(error).splitlines() or [""]
        yield Row(comparison=f"{group}: {FAILED}", beside=f"{type(error).__name__}: {message[-1]}")
    print(f"({group}: {time.monotonic() - start:.0f} s)", file=sys.stderr, flush=True)


def document(rows: Sequence[Row], machine: Sequence[str], *, minutes: float) -> str:
    """docs/benchmarks.md."""
    opening = (
        "# Benchmarks\n\n"
        f"Written by `make bench` on {datetime.date.today()} in {minutes:.0f} minutes. The sides of a row run\n"
        "in turns on one machine; numbers are medians. A ratio says how many times better grokctl is. Rows without a\n"
        "baseline are absolute: they describe this machine and gate nothing. How well plans foretell time and memory\n"
        'is measured apart (`make bench ARGS="--only estimates"`); LOG.md has the result.\n\n'
    )
    return opening + "\n".join(f"- {fact}" for fact in machine) + "\n\n" + table(rows)


if __name__ == "__main__":
    sys.exit(main())
