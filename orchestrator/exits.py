"""How a command ends: its exit code, and what it says when something went wrong.

Known errors become one message, and where there is one the next step. Whatever else escapes is our bug: exit code 70,
with a traceback. What users wrote (names, paths, YAML) reaches the terminal through `say` and `complain`, which drop
control characters: a spec from elsewhere must not be able to move the cursor or set the title of a window.
"""

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import typer

from orchestrator import errors
from orchestrator.errors import ClusterLostError, SpecError, UserError
from orchestrator.signals import StopNow
from results.errors import (
    AccessError,
    ConflictError,
    DamagedError,
    FencedError,
    LockedError,
    LostPlanError,
    MissingError,
    PlaceError,
    StorageError,
    StoreError,
    UnavailableError,
    VersionError,
)
from trainers.errors import CodeError


@dataclass(frozen=True)
class Exit:
    """What an error means to whoever started the command."""

    code: int
    hint: str = ""


GOES_ON = "What was committed is safe; the same command goes on from there."
EXITS: dict[type[BaseException], Exit] = {
    LockedError: Exit(errors.EXIT_LOCKED, "Wait for it, or end it with `grokctl stop DIR`."),
    FencedError: Exit(errors.EXIT_LOCKED, "A newer launch has taken over; `grokctl status DIR` shows how far it is."),
    ConflictError: Exit(errors.EXIT_CONFLICT, "Nothing was changed. Give another folder with --out."),
    PlaceError: Exit(errors.EXIT_USAGE),
    MissingError: Exit(errors.EXIT_MISSING_INPUT),
    VersionError: Exit(
        errors.EXIT_ENVIRONMENT,
        "Read it with the version that wrote it (plan.json names it), or launch the spec anew with another --out.",
    ),
    LostPlanError: Exit(
        errors.EXIT_BAD_DATA,
        "Nothing can make a plan again: put back a copy of the file (an archive holds one; runs that a spec gained "
        "come back by launching that spec), or launch the spec anew with another --out.",
    ),
    DamagedError: Exit(errors.EXIT_BAD_DATA, "`grokctl status DIR --verify` checks every file; --repair mends."),
    UnavailableError: Exit(errors.EXIT_UNAVAILABLE, f"Is AWS_ENDPOINT_URL right, and up? {GOES_ON}"),
    AccessError: Exit(errors.EXIT_PERMISSION, f"Renew the AWS_... variables, or the machine's role. {GOES_ON}"),
    StorageError: Exit(errors.EXIT_IO, GOES_ON),
    StoreError: Exit(errors.EXIT_BAD_DATA),
    FileNotFoundError: Exit(errors.EXIT_MISSING_INPUT),
    PermissionError: Exit(errors.EXIT_PERMISSION, "Choose a place where you may write; for a sweep that is --out DIR."),
    FileExistsError: Exit(errors.EXIT_CONFLICT, "Nothing was changed. Choose another place."),
    NotADirectoryError: Exit(errors.EXIT_CONFLICT, "Nothing was changed. Choose another place."),
    IsADirectoryError: Exit(errors.EXIT_CONFLICT, "Nothing was changed. Choose another place."),
    OSError: Exit(errors.EXIT_IO, GOES_ON),
    CodeError: Exit(
        errors.EXIT_BAD_DATA,
        "That is in the Python file of the spec; `python -m pydoc trainers.interface` says what is asked of it.",
    ),
}
"""The most specific entry counts."""


def prepare_streams() -> None:
    """What a stream cannot encode is escaped; a stream that was closed (`grokctl ... >&-`) swallows what it is given.

    Opening the null device in its place also keeps the first data file from becoming standard output.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (for as long as the process lives)
        getattr(sys, name).reconfigure(errors="backslashreplace")


def say(text: str = "") -> None:
    """Print to standard output."""
    print(without_controls(text))


def complain(text: str) -> None:
    """Print to standard error."""
    print(without_controls(text), file=sys.stderr)


def without_controls(text: str) -> str:
    """The text without control and format characters (escape sequences, carriage returns, changes of direction), except
    line ends and tabs."""
    return "".join(c for c in text if c.isprintable() or c in "\n\t")


@contextmanager
def exits(damage: Callable[[], Sequence[str]] = tuple) -> Iterator[None]:
    """Turn what is raised inside into a message and an exit code.

    `damage` finds files that are not what was committed: what fails over those is no bug. It is asked for nothing else,
    because it reads every byte.
    """
    try:
        yield
        sys.stdout.flush()
    except typer.Exit:
        raise
    except BrokenPipeError:
        # Nobody reads any more. Python would complain when it flushes at its end, so give it somewhere to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(errors.EXIT_OK) from None
    except StopNow as stop:  # a second signal in the instant in which a launch ended
        raise typer.Exit(stop.exit_code) from None
    except KeyboardInterrupt:
        complain("interrupted")
        raise typer.Exit(errors.EXIT_SIGINT) from None
    except Exception as error:
        found = damage() if exit_of(error).code == errors.EXIT_BUG else ()
        code = explain(StoreError("\n".join(found)) if found else error)
        if isinstance(error, ClusterLostError):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        raise typer.Exit(code) from None


def exit_of(error: Exception) -> Exit:
    """What an error means."""
    if isinstance(error, UserError):
        return Exit(error.exit_code, error.hint or "")
    classes = (EXITS[kind] for kind in type(error).__mro__ if kind in EXITS)
    return next(classes, Exit(errors.EXIT_BUG))


def explain(error: Exception) -> int:
    """Say what an error means; its exit code."""
    known = exit_of(error)
    if known.code == errors.EXIT_BUG:
        complain("".join(traceback.format_exception(error)))
        known = Exit(
            known.code, "This is a bug in grokctl. Please report it with the lines above and `grokctl --version`."
        )
    else:
        # The problems of a spec begin with file:line:col, where editors look for it.
        complain(str(error) if isinstance(error, SpecError) else f"error: {message_of(error)}")
    if known.hint:
        complain(known.hint)
    return known.code


def message_of(error: Exception) -> str:
    """One message. An error of the operating system names the file before what is wrong with it."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__
