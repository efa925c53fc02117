"""Manifests: what a cluster's own scheduler takes to start Ray and launch a sweep on it. Pure: a spec goes in, text
comes out.

Each kind is a template beside this file, in which `@name@` stands for a value that has been quoted for its place. Names
in a spec are harmless by its rules; paths and settings are the user's, so they are quoted for the shell and then for
YAML, and refused where they hold what no comment or terminal should (control characters, line ends).
"""

import json
import posixpath
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import yaml

from orchestrator.costs import CostModel
from orchestrator.errors import EXIT_BAD_DATA, EXIT_USAGE, UserError
from orchestrator.manifests.allocation import Allocation, allocate
from orchestrator.ray_cluster import OBJECT_STORE_BYTES
from orchestrator.resolved import resolved_spec, spec_digest
from orchestrator.slots import Slots
from orchestrator.spec import LoadedSpec, place_folders
from orchestrator.version import release
from orchestrator.yaml_source import parse_yaml
from results.errors import PlaceError
from results.objects import SCHEME, object_path

Kind = Literal["kuberay", "ray", "slurm"]
KINDS: tuple[Kind, ...] = get_args(Kind)
GRACE_MIN = 30
"""Minutes from the end of --max-hours until the scheduler ends the job: the last commits, tables and figures."""
NAME_LENGTH = 47
"""Characters of a RayJob's name, at most (KubeRay makes longer names of it)."""
HAS_CPUS = '$2 == "CPU" { split($1, n, "/"); if (n[2] >= wanted) found = 1 } END { exit !found }'
"""awk: whether the lines of `ray status` (`0.0/32.0 CPU`) show that so many cores have joined."""
INSTANCES: tuple[tuple[str, int, int, int], ...] = (
    ("m6i.large", 2, 0, 8), ("m6i.xlarge", 4, 0, 16), ("m6i.2xlarge", 8, 0, 32), ("m6i.4xlarge", 16, 0, 64),
    ("m6i.8xlarge", 32, 0, 128), ("m6i.16xlarge", 64, 0, 256), ("m6i.32xlarge", 128, 0, 512),
    ("g5.xlarge", 4, 1, 16), ("g5.2xlarge", 8, 1, 32), ("g5.4xlarge", 16, 1, 64), ("g5.8xlarge", 32, 1, 128),
    ("g5.12xlarge", 48, 4, 192), ("g5.24xlarge", 96, 4, 384), ("g5.48xlarge", 192, 8, 768),
)  # fmt: skip
"""AWS: name, virtual cores, GPUs and GB of memory; small ones first."""


class Given(NamedTuple):
    """What the command line gave, for the launch."""

    settings: Mapping[str, str]
    allow_code: bool


def manifest(
    kind: Kind,
    loaded: LoadedSpec,
    here: Slots,
    cost: CostModel,
    *,
    out: str | None = None,
    settings: Mapping[str, str] | None = None,
    allow_code: bool = False,
    max_hours: float | None = None,
) -> str:
    """The text of a manifest that launches a sweep.

    Args:
        kind: kuberay (a RayJob), ray (a file for `ray up`) or slurm (a script for sbatch).
        loaded: the spec, overrides applied.
        here: what a pack gets, and on which device; how many there are is chosen by the work.
        cost: what training costs, for the estimate of time.
        out: the sweep's folder as the nodes see it; by default /sweeps/NAME, with slurm sweeps/NAME from here.
        settings: the overrides, for the command.
        allow_code: whether the command may run the Python file that the spec names.
        max_hours: after which the launch drains; by default so many that its estimate has headroom.

    Raises:
        UserError: a path that does not go into a manifest, or that the nodes could not find.
    """
    for text in (str(loaded.path), out or "", *(settings or {}), *(settings or {}).values()):
        _require_printable(text)
    asked = allocate(loaded, here, cost)
    if max_hours is not None:
        asked = replace(asked, max_hours=max_hours)
    values = _common_values(loaded, asked) | VALUES[kind](loaded, asked, out, Given(settings or {}, allow_code))
    (template,) = Path(__file__).parent.glob(f"{kind}.*.in")
    return fill(template.read_text(encoding="utf-8"), values)


def fill(template: str, values: Mapping[str, object]) -> str:
    """The template with `@name@` replaced. A line with a value that is None is left out, and one that held nothing else
    and became empty."""
    lines = []
    for line in template.splitlines():
        if any(values[name] is None for name in re.findall(r"@([a-z_]+)@", line)):
            continue
        filled = re.sub(r"@([a-z_]+)@", lambda match: str(values[match[1]]), line)
        if filled.strip() or not line.strip():
            lines.append(filled)
    return "\n".join(lines)


def _require_printable(text: str) -> None:
    if not text.isprintable():
        raise UserError(
            f"{text!a} has characters that cannot be printed; no manifest is made with them", exit_code=EXIT_USAGE
        )


def _common_values(loaded: LoadedSpec, asked: Allocation) -> dict[str, object]:
    ray, tag = version("ray"), f"py{sys.version_info.major}{sys.version_info.minor}"
    return {
        "sweep": loaded.spec.name,
        "name": resource_name(loaded),
        "sentence": asked.sentence(),
        "release": release(),
        "ray": ray,
        "python": tag,
        "image_suffix": "-gpu" if asked.gpus_per_node else "",
        "image": _yaml(f"REGISTRY/grokctl:{release()}-ray{ray}-{tag}"),
        "nodes": asked.nodes,
        "cpus_per_node": asked.cpus_per_node,
        "gpus_per_node": asked.gpus_per_node,
        "memory_gb": asked.memory_gb_per_node,
        "object_store_bytes": OBJECT_STORE_BYTES,
        "has_cpus": HAS_CPUS,
    }


def _kuberay_values(loaded: LoadedSpec, asked: Allocation, out: str | None, given: "Given") -> dict[str, object]:
    require_absolute_data(loaded)
    place = _bucket(out) or _shared_folder(loaded, out)
    spec = f"{loaded.spec.name}.yaml"
    launch = launch_command(f"/etc/grokctl/{spec}", place, asked, given)
    # A head that was lost leaves its name in the sweep's folder, and on NFS or in a bucket nobody can tell that it is
    # dead. KubeRay starts another one only when it is gone, and if it lived it could commit nothing any more.
    launch.append("--take-over")
    gpus = {"nvidia.com/gpu": str(asked.gpus_per_node)} if asked.gpus_per_node else {}
    resources = {"cpu": str(asked.cpus_per_node), "memory": f"{asked.memory_gb_per_node}G", **gpus}
    return {
        "files": _block_of_files({"launch.sh": f"exec {shlex.join(launch)}\n", spec: loaded.text}),
        "deadline_s": round(asked.max_hours * 3600) + GRACE_MIN * 60,
        "mount": None if _bucket(out) else _yaml(posixpath.dirname(place)),
        "service_account": "grokctl" if _bucket(out) else None,
        "resources": _yaml(resources),
        **_place_values(out),
    }


def _ray_values(loaded: LoadedSpec, asked: Allocation, out: str | None, given: "Given") -> dict[str, object]:
    require_absolute_data(loaded)
    place = _bucket(out) or _shared_folder(loaded, out)
    spec = f"/home/ray/grokctl/{loaded.spec.name}.yaml"
    launch = shlex.join(launch_command(spec, place, asked, given))
    all_there = f"ray status 2>/dev/null | awk -v wanted={asked.cpus} {shlex.quote(HAS_CPUS)}"
    command = f"export RAY_AUTH_MODE=token; until {all_there}; do sleep 5; done; {launch}"
    resources = {"CPU": asked.cpus_per_node, **({"GPU": asked.gpus_per_node} if asked.gpus_per_node else {})}
    return {
        "command": shlex.quote(command),
        "volume": None if _bucket(out) else _yaml(shlex.quote(f"--volume=/mnt/grokctl:{posixpath.dirname(place)}")),
        "instance_profile": "arn:aws:iam::ACCOUNT:instance-profile/PROFILE" if _bucket(out) else None,
        **_place_values(out),
        "remote_spec": spec,
        "local_spec": _yaml(str(loaded.path.absolute())),
        "resources": _yaml(resources),
        "instance": instance_for(asked),
    }


def _slurm_values(loaded: LoadedSpec, asked: Allocation, out: str | None, given: "Given") -> dict[str, object]:
    bucket = _bucket(out)
    minutes = round(asked.max_hours * 60) + GRACE_MIN
    launch = launch_command("$spec", "$out", asked, given)
    quoted = ['"$spec"' if part == "$spec" else '"$out"' if part == "$out" else shlex.quote(part) for part in launch]
    return {
        "spec": shlex.quote(str(loaded.path.absolute())),
        "bucket": shlex.quote(bucket) if bucket else None,
        "folder": None if bucket else shlex.quote(str(Path(out or Path("sweeps") / loaded.spec.name).absolute())),
        "gpus_directive": f"#SBATCH --gpus-per-node={asked.gpus_per_node}" if asked.gpus_per_node else "",
        "time_limit": f"{minutes // 60}:{minutes % 60:02d}:00",
        "launch": " ".join(quoted),
    }


VALUES: Mapping[Kind, Callable[[LoadedSpec, Allocation, str | None, Given], dict[str, object]]] = {
    "kuberay": _kuberay_values,
    "ray": _ray_values,
    "slurm": _slurm_values,
}


def launch_command(spec: str, out: str, asked: Allocation, given: Given) -> list[str]:
    """What runs on the head. `auto` is the cluster that RAY_ADDRESS names, or the one on the same machine."""
    command = ["grokctl", "launch", spec, "--address", "auto", "--out", out, "--max-hours", f"{asked.max_hours:g}"]
    command += [part for name, value in given.settings.items() for part in ("--set", f"{name}={value}")]
    return [*command, *(["--allow-code"] if given.allow_code else [])]


def resource_name(loaded: LoadedSpec) -> str:
    """A name that Kubernetes takes: lower case, digits and dashes, a letter first, and no two specs under one."""
    digest = spec_digest(resolved_spec(loaded.spec))[:8]
    readable = re.sub(r"[^a-z0-9]+", "-", loaded.spec.name.lower())
    return f"grokctl-{readable}"[: NAME_LENGTH - 9].rstrip("-") + f"-{digest}"


def instance_for(asked: Allocation) -> str:
    """The smallest AWS instance that holds a node of packs. Raises UserError if none does."""
    wanted = (asked.cpus_per_node, asked.gpus_per_node, asked.memory_gb_per_node)
    for name, *has in INSTANCES:
        if all(there >= need for there, need in zip(has, wanted, strict=True)) and bool(has[1]) == bool(wanted[1]):
            return name
    raise UserError(
        f"no AWS instance known here has {wanted[0]} cores, {wanted[1]} GPUs and {wanted[2]} GB for a pack",
        hint="Ask for less under `resources` in the spec.",
    )


def _shared_folder(loaded: LoadedSpec, out: str | None) -> str:
    """The sweep's folder, in one that is mounted on every node. Raises UserError for one that cannot be."""
    folder = posixpath.normpath(out or f"/sweeps/{loaded.spec.name}")
    if not folder.startswith("/") or posixpath.dirname(folder) == "/":
        raise UserError(
            f"--out {out}: the nodes need an absolute path, in a folder that all of them mount",
            exit_code=EXIT_USAGE,
            hint=f"For example: --out /sweeps/{loaded.spec.name}",
        )
    if ":" in folder:
        raise UserError(f"--out {out}: a folder that containers mount has no colon in its path", exit_code=EXIT_USAGE)
    return folder


def _bucket(out: str | None) -> str | None:
    """The place in a bucket that `out` names, if it is one. Raises UserError for an object store that is not S3."""
    scheme = re.match(r"[a-z][a-z0-9+.-]*://", out or "", re.IGNORECASE)
    if out is None or scheme is None:
        return None
    try:
        return str(object_path(out if scheme[0] == SCHEME else ""))
    except PlaceError:
        raise UserError(
            f"--out {out}: a sweep is written to a file system that all nodes share, or to s3://BUCKET/PREFIX",
            exit_code=EXIT_USAGE,
            hint="For example: --out s3://my-bucket/sweeps/NAME",
        ) from None


def _place_values(out: str | None) -> dict[str, object]:
    """What lines that are for folders, or for buckets, are known by."""
    bucket = _bucket(out)
    return {"in_folder": None if bucket else "", "region": "us-west-2" if bucket else None, "out": bucket}


def require_absolute_data(loaded: LoadedSpec, *, code_is_sent: bool = False) -> None:
    """The spec is read from another folder there, so data beside it would not be found, nor code."""
    written = parse_yaml(loaded.text, str(loaded.path)).data
    if code_is_sent and isinstance(written, dict):
        written.pop("code", None)
    placed = deepcopy(written)
    place_folders(placed, Path("/"))
    if placed != written:
        raise UserError(
            f"{loaded.path} names its data relative to its own folder, and the nodes read it from another one",
            exit_code=EXIT_BAD_DATA,
            hint="Write the absolute path under which every node sees the data, or the code.",
        )


class _Block(str):
    """Text for a YAML block, as it stands in its file."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")
)


def _block_of_files(files: Mapping[str, str]) -> str:
    """The `data` of a ConfigMap. What a terminal would not show is escaped, which YAML undoes."""
    shown = all(char.isprintable() or char == "\n" for text in files.values() for char in text)
    blocks = {name: _Block(text) for name, text in files.items()}
    text = yaml.dump(blocks, Dumper=_Dumper, sort_keys=False, allow_unicode=shown, width=10**6)
    return "\n".join(f"  {line}" if line else "" for line in text.rstrip("\n").split("\n"))


def _yaml(value: Any) -> str:
    """A value on one line; JSON is YAML."""
    return json.dumps(value)
