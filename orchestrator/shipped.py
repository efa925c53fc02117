"""The specs that come with grokctl: `grokctl launch quickstart` works from any folder.

They lie in specs/ at the top of a source checkout, and in orchestrator/specs/ in an installed wheel. Each opens with a
comment: the question, then `Figure`, `Command`, `Cost` and `Expected`, and which settings are the source's own
(`source`), taken from elsewhere because it states none (`inherited`), or other than there (`changed`).
"""

import re
from difflib import get_close_matches
from pathlib import Path

from orchestrator.errors import EXIT_CONFLICT, EXIT_MISSING_INPUT, UserError

INDENT = 12
"""Where the text stands in an opening comment, behind `# ` and a word."""


def folder() -> Path:
    """Where the shipped specs lie."""
    here = Path(__file__).resolve().parent
    packaged = here / "specs"
    return packaged if packaged.is_dir() else here.parent / "specs"


def names() -> list[str]:
    return sorted(path.stem for path in folder().glob("*.yaml"))


def path_of(name: str) -> Path:
    """The file of a shipped spec. Raises UserError (66) for an unknown name, with the nearest known one."""
    known = names()
    if name in known:
        return folder() / f"{name}.yaml"
    near = get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]}?" if near else "`grokctl specs` lists them."
    raise UserError(f"no spec named {name!r} is shipped with grokctl", exit_code=EXIT_MISSING_INPUT, hint=hint)


def read(name: str) -> str:
    return path_of(name).read_text(encoding="utf-8")


def opening(name: str) -> dict[str, str]:
    """What the opening comment says under each of its words: `{"Figure": "Liu et al. 2022, figure 6b", ...}`."""
    said: dict[str, str] = {}
    word = ""
    for line in read(name).splitlines():
        if not line.startswith("#"):
            break
        begins = re.match(r"# (\w+) +(?=\S)", line)
        if begins and begins.end() == INDENT:
            word = begins[1]
            said[word] = line[INDENT:].strip()
        elif word and line.startswith("#" + " " * (INDENT - 1)):
            said[word] += " " + line[INDENT:].strip()
        else:
            word = ""
    return said


def in_short(said: str) -> str:
    """The first statement: up to a semicolon, a bracket or the end of a sentence."""
    return re.split(r"; | \(|(?<!et al)\. |\.$", said, maxsplit=1)[0]


def copy(name: str, target_folder: Path) -> Path:
    """Put a copy of a shipped spec into a folder, to be edited. Raises UserError (73) rather than replace a file."""
    target = target_folder / f"{name}.yaml"
    text = read(name)
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(
            f"{target} exists already and is left as it is", exit_code=EXIT_CONFLICT, hint="Copy into another folder."
        ) from None
    return target
