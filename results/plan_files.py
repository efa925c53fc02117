"""The plan of a sweep on disk: plan.json, and the amendments that change it later, plan.0001.json, plan.0002.json, ...

Each of these files is written once. An amendment puts one pack in the place of another that has committed nothing,
adds packs of runs that the spec has gained, or cuts packs that have not started anew; and it may say where the data of
all packs lie by now, which are known by their hash. It names the plan that it amends, so they form a chain, and
`read_plan` gives what stands at its end. Every file holds its `plan_id`, a hash of its content; that of the last one is
the id of the whole.
"""

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from results import durable
from results.errors import ConflictError, DamagedError, LostPlanError, MissingError
from results.objects import ObjectPath
from results.pack_files import read_json
from results.places import Place
from results.versions import SCHEMA_VERSION, require_kind, require_names, require_version

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
ENTRIES = ("name", "columns", "packs")
"""What the store itself reads in a plan."""
AMENDMENT = re.compile(r"plan\.(\d{4,})\.json")


def plan_identity(plan: Mapping[str, Any]) -> str:
    """The plan_id: sha256 of the plan in canonical JSON, without `plan_id` and `created`; 16 hex digits."""
    body = json.loads(json.dumps(dict(plan), allow_nan=False))
    hashed = {key: value for key, value in body.items() if key not in ("plan_id", "created")}
    text = json.dumps(hashed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_plan(root: Place) -> dict[str, Any]:
    """The plan as amended, with two more entries: `plan_ids`, the chain, and `amendments`, what each changed.

    Remembered as long as the files stay the same: it is not to be changed. Raises MissingError without a plan,
    LostPlanError if a file isn't what was written or the chain is broken.
    """
    versions = _object_versions(root) if isinstance(root, ObjectPath) else _file_versions(root)
    if not versions:
        raise MissingError(_why_no_plan(root))
    try:
        return _read(root, versions)
    except DamagedError as error:
        raise LostPlanError(error.path, error.problem) from None


def _why_no_plan(root: Place) -> str:
    if isinstance(root, Path) and not root.exists():
        return f"there is no file or folder {root}"
    if isinstance(root, Path) and root.is_file():
        return f"{root} is a file, not the folder of a sweep"
    return f"{root} is not the folder of a sweep: it has no plan.json"


def _file_versions(root: Path) -> tuple[tuple[Any, ...], ...]:
    names = ["plan.json", *_amendments(path.name for path in root.glob("plan.*.json"))]
    try:
        stats = [(root / name).stat() for name in names]
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple((n, s.st_ino, s.st_mtime_ns, s.st_size) for n, s in zip(names, stats, strict=True))


def _object_versions(root: ObjectPath) -> tuple[tuple[Any, ...], ...]:
    """One list has them all."""
    found = root.listing("plan.")
    names = ["plan.json", *_amendments(found)]
    return tuple((name, found[name]) for name in names) if "plan.json" in found else ()


def _amendments(names: Iterable[str]) -> list[str]:
    """Those among them, in their order."""
    found = ((int(match[1]), name) for name in names if (match := AMENDMENT.fullmatch(name)))
    return [name for _, name in sorted(found)]


def amend(root: Place, *, replaced: str, pack: Mapping[str, Any], reason: str, tag: str) -> str:
    """Puts `pack` in the place of the pack `replaced`, unless somebody has done so; the id of what stands there now.

    The caller knows that `replaced` has committed nothing.
    """
    while True:
        plan = read_plan(root)
        by = successor(plan, replaced)
        if by != replaced:
            return by
        if _append(root, plan, {"replaced": replaced, "pack": dict(pack), "reason": reason}, tag):
            return str(pack["pack_id"])


def extend(
    root: Place,
    *,
    packs: Sequence[Mapping[str, Any]],
    changed: Mapping[str, Any],
    moved: Mapping[str, Mapping[str, Any]],
    reason: str,
    tag: str,
) -> None:
    """Adds packs, and replaces entries of the plan that tell of all runs. `moved` has by `data_sha256` the fields of
    runs that say where these data lie now."""
    body = {"added": [dict(pack) for pack in packs], "changed": dict(changed), "reason": reason}
    if moved:
        body["moved"] = {sha256: dict(fields) for sha256, fields in moved.items()}
    while not _append(root, read_plan(root), body, tag):
        pass  # a pack's amendment was first


def recut(
    root: Place,
    *,
    removed: Sequence[str],
    packs: Sequence[Mapping[str, Any]],
    changed: Mapping[str, Any],
    reason: str,
    tag: str,
) -> None:
    """Puts `packs` in the place of all of `removed`, and replaces entries of the plan. The caller knows that those have
    committed nothing, and that nobody else amends the plan."""
    body = {"removed": list(removed), "added": [dict(pack) for pack in packs], "changed": dict(changed)}
    if not _append(root, read_plan(root), {**body, "reason": reason}, tag):
        raise ConflictError(f"the plan of {root} was amended by somebody else just now: launch again")


def _append(root: Place, plan: Mapping[str, Any], change: Mapping[str, Any], tag: str) -> bool:
    """Takes the next number; False if somebody else has it."""
    body = {"schema_version": SCHEMA_VERSION, "amends": plan["plan_id"], **change}
    data = json.dumps({**body, "plan_id": plan_identity(body)}, allow_nan=False).encode()
    try:
        durable.create_file(root / f"plan.{len(plan['amendments']) + 1:04d}.json", data, tag=tag)
    except FileExistsError:
        return False
    return True


def successor(plan: Mapping[str, Any], pack_id: str) -> str:
    """The pack that stands in the place of this one now."""
    for entry in plan["amendments"]:
        if entry.get("replaced") == pack_id:
            pack_id = entry["pack_id"]
    return pack_id


@functools.lru_cache(maxsize=4)
def _read(root: Place, files: tuple[tuple[Any, ...], ...]) -> dict[str, Any]:
    """A worker trains many packs of one sweep, and the plan of a large one takes seconds to read."""
    plan = _checked(root / "plan.json")
    require_kind(ENTRIES, plan, root / "plan.json", "the plan")
    require_names(ENTRIES, plan, root / "plan.json")
    plan = {**plan, "plan_ids": [plan["plan_id"]], "amendments": []}
    for number, (name, *_) in enumerate(files[1:], start=1):
        path = root / name
        amendment = _checked(path)
        if amendment.get("amends") != plan["plan_id"] or name != f"plan.{number:04d}.json":
            raise DamagedError(path, "does not amend the plan before it")
        plan = _amended(plan, amendment)
    for name in (plan["name"], *(pack["pack_id"] for pack in plan["packs"])):
        if not NAME.fullmatch(str(name)):  # files are named after them
            raise DamagedError(root / files[-1][0], f"not a plan of ours: {name!r} can name no file")
    return plan


def _checked(path: Place) -> dict[str, Any]:
    plan = read_json(path)
    if plan is None:
        raise MissingError(f"there is no {path}")
    require_version(plan, path)
    if plan.get("plan_id") != plan_identity(plan):
        raise DamagedError(path, "not the plan that was written: its plan_id does not fit")
    return plan


def _amended(plan: dict[str, Any], amendment: dict[str, Any]) -> dict[str, Any]:
    named = {name: amendment[name] for name in ("plan_id", "reason")}
    if "added" in amendment:
        changed = dict(amendment["changed"])
        entry = {**named, "added": [pack["pack_id"] for pack in amendment["added"]]}
        packs = [*(_moved(pack, amendment.get("moved", {})) for pack in plan["packs"]), *amendment["added"]]
        if "removed" in amendment:
            entry["removed"] = amendment["removed"]
            kept = [pack for pack in plan["packs"] if pack["pack_id"] not in set(amendment["removed"])]
            packs = sorted([*kept, *amendment["added"]], key=lambda pack: (-pack["estimated_s"], pack["pack_id"]))
    else:
        replaced, pack, changed = amendment["replaced"], amendment["pack"], {}
        entry = {**named, "replaced": replaced, "pack_id": pack["pack_id"]}
        packs = [pack if old["pack_id"] == replaced else old for old in plan["packs"]]
    return {
        **plan,
        **changed,
        "plan_id": amendment["plan_id"],
        "plan_ids": [*plan["plan_ids"], amendment["plan_id"]],
        "amendments": [*plan["amendments"], entry],
        "packs": packs,
    }


def _moved(pack: dict[str, Any], moved: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The data of a pack are the same for all of its runs."""
    fields = moved.get(pack["fixed"].get("data_sha256")) if moved else None
    if fields is None:
        return pack
    runs = {name: values for name, values in pack["runs"].items() if name not in fields}
    return {**pack, "fixed": {**pack["fixed"], **fields}, "runs": runs}
