"""What runs on the cluster: `grokctl launch` on the head, after a look at what it runs on.

Ray keeps a job's exit code, except of a job that was stopped; so the last line of the log says it, too.
"""

import importlib.metadata
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from orchestrator.errors import EXIT_ENVIRONMENT
from orchestrator.scratch import scratch_folder
from orchestrator.sources import sources_digest

LAST_LINE = "[grokctl job: exit code {}]"


def main(folder: Path = Path()) -> int:
    """Run what was sent with the job. Returns the exit code."""
    about = json.loads((folder / "job.json").read_text())
    problems = [*other_code(about["sources"]), *lacking()]
    code = _complain(problems) if problems else _run(folder, about["arguments"])
    print(LAST_LINE.format(code), flush=True)
    return code


def lacking() -> Iterator[str]:
    """What grokctl needs and this Python has not."""
    from packaging.requirements import Requirement

    for line in importlib.metadata.requires("grokctl") or ():
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            yield f"{wanted} is not installed"
            continue
        if not wanted.specifier.contains(found, prereleases=True):
            yield f"{wanted} is needed, {found} is installed"


def other_code(expected: str) -> Iterator[str]:
    """Whether this process imported something else than what was sent."""
    found = sources_digest()
    if found != expected:
        where = Path(__file__).resolve().parents[2]
        yield f"the code in {where} has sources {found}, and what was sent has {expected}"


def _complain(problems: list[str]) -> int:
    print(f"error: {sys.executable} on the cluster's head cannot run this job", file=sys.stderr)
    for problem in problems:
        print(f"  {problem}", file=sys.stderr)
    print(
        "Nothing was trained. Every node needs the libraries that grokctl needs, and no changed code.", file=sys.stderr
    )
    return EXIT_ENVIRONMENT


def _run(folder: Path, arguments: list[str]) -> int:
    """In a folder of its own, with what was sent beside the packages: a node of the same cluster that starts on this
    very machine makes the job's working directory anew, and a process without a current folder ends in odd ways."""
    from orchestrator.cli import main as grokctl

    here = Path.cwd()
    with scratch_folder() as own:
        for path in filter(Path.is_file, folder.iterdir()):
            shutil.copy(path, own)
        os.chdir(own)
        sys.argv = ["grokctl", *arguments]
        try:
            grokctl()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            with suppress(FileNotFoundError):
                os.chdir(here)
    return 0


if __name__ == "__main__":
    sys.exit(main())
