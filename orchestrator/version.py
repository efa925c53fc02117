"""Which grokctl this is: the release, and the commit where one is known."""

import importlib.metadata
import json
import shutil
import subprocess
from pathlib import Path


def release() -> str:
    return importlib.metadata.version("grokctl")


def commit() -> str | None:
    """The git commit of a source checkout (with `+` if files were changed since), or of what pip installed from git."""
    root = Path(__file__).resolve().parent.parent
    if (root / ".git").exists():
        return _commit_of_checkout(root)
    recorded = importlib.metadata.distribution("grokctl").read_text("direct_url.json")
    return json.loads(recorded).get("vcs_info", {}).get("commit_id") if recorded else None


def _commit_of_checkout(root: Path) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(root), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
    answer = subprocess.run(command, capture_output=True, text=True)
    return answer.stdout.strip() or None


def describe() -> str:
    """`0.1.0 (commit 0123456789ab)`."""
    known = commit()
    return f"{release()} (commit {known})" if known else release()
