"""Manifests: what they ask for, how they quote, and whether those who read them would take them."""

import json
import os
import posixpath
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from conftest import TINY_SPEC, Grokctl
from fuzzing import HOSTILE
from test_house import imported_by

from orchestrator.costs import FormulaCost
from orchestrator.errors import EXIT_BAD_DATA, EXIT_USAGE, UserError
from orchestrator.manifests import KINDS, Given, Kind, instance_for, launch_command, manifest, resource_name
from orchestrator.manifests.allocation import MAX_SLOTS, TARGET_S, Allocation, allocate, hours_for, node_shape
from orchestrator.plan import make_plan
from orchestrator.slots import Slots
from orchestrator.spec import LoadedSpec, load_spec, load_text

HERE = Slots(device="cpu", slots=2, cpus_per_pack=1, gpus_per_pack=0.0, has_compiler=False)
GPU = Slots(device="cuda", slots=1, cpus_per_pack=4, gpus_per_pack=0.5, has_compiler=False)
FEW_LANES = TINY_SPEC.replace("device: cpu", "device: cpu, lanes: 4")
LARGE = FEW_LANES.replace("steps: 40", "steps: 400000").replace("seeds: 1", "seeds: 100")
HUGE = LARGE.replace("steps: 400000", "steps: 4000000")
OUT = '/shared results/it\'s $HOME; "x"'
"""A path that is allowed, and hostile to every shell and to YAML."""


def loaded_spec(text: str = TINY_SPEC, path: str | Path = "/specs/tiny.yaml") -> LoadedSpec:
    return load_text(text, path)


def printed(kind: Kind, loaded: LoadedSpec | None = None, here: Slots = HERE, **options: Any) -> str:
    return manifest(kind, loaded or loaded_spec(), here, FormulaCost(device=here.device), **options)


def asked_for(loaded: LoadedSpec, here: Slots = HERE) -> Allocation:
    return allocate(loaded, here, FormulaCost(device=here.device))


def ray_job(text: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The files of the ConfigMap, and the RayJob."""
    config_map, job = yaml.safe_load_all(text)
    assert (config_map["apiVersion"], config_map["kind"]) == ("v1", "ConfigMap")
    return config_map["data"], job


def commented_commands(text: str, program: str) -> list[list[str]]:
    lines = (line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    return [shlex.split(line) for line in lines if line.startswith(program)]


# How much is asked for


def test_a_small_sweep_asks_for_one_slot() -> None:
    asked = asked_for(loaded_spec())
    assert (asked.slots, asked.nodes, asked.cpus_per_node, asked.gpus_per_node) == (1, 1, 1, 0)
    assert asked.max_hours == 0.25


def test_a_large_sweep_asks_for_slots_that_finish_it_in_time() -> None:
    asked = asked_for(loaded_spec(LARGE))
    slots = Slots(device="cpu", slots=asked.slots, cpus_per_pack=1, gpus_per_pack=0.0, has_compiler=False)
    plan = make_plan(loaded_spec(LARGE), slots, FormulaCost(device="cpu"))
    work_s = sum(pack.estimated_s for pack in plan.packs)
    assert 1 < asked.slots < MAX_SLOTS
    assert work_s / asked.slots == pytest.approx(TARGET_S, rel=0.2)
    assert asked.estimated_s < 1.3 * TARGET_S
    assert asked.max_hours * 3600 > 1.5 * asked.estimated_s


def test_slots_are_bounded() -> None:
    assert asked_for(loaded_spec(HUGE)).slots == MAX_SLOTS


@pytest.mark.parametrize(
    ("slots", "cpus", "gpus", "shape"),
    [
        (1, 1, 0.0, (1, 0)),
        (17, 1, 0.0, (9, 0)),  # two nodes alike, not one of 16 and one of 1
        (4, 32, 0.0, (1, 0)),
        (8, 2, 1.0, (4, 4)),
        (12, 1, 0.5, (6, 3)),
        (12, 1, 0.3, (12, 4)),  # .3 fits three times into a GPU, not thirteen times into four
        (2, 1, 6.0, (1, 6)),
    ],
)
def test_nodes_hold_their_packs(slots: int, cpus: int, gpus: float, shape: tuple[int, int]) -> None:
    assert node_shape(slots, cpus, gpus) == shape


@pytest.mark.parametrize(("seconds", "hours"), [(1, 0.25), (449, 0.25), (451, 0.5), (7200, 4.0)])
def test_hours_leave_headroom(seconds: float, hours: float) -> None:
    assert hours_for(seconds) == hours


# What is launched


def test_the_command_is_one_that_launch_takes(grokctl: Grokctl) -> None:
    command = launch_command("tiny.yaml", "/sweeps/tiny", asked_for(loaded_spec()), Given({"steps": "20"}, False))
    assert command[:4] == ["grokctl", "launch", "tiny.yaml", "--address"]
    # --local contradicts --address, which is found after the options were parsed.
    result = grokctl(*command[1:], "--local")
    assert "exclude each other" in result.stderr


def test_kuberay_launches_the_spec_that_was_given() -> None:
    spec = TINY_SPEC + "# \u200bé: \t\x85# ' \" | > \n"
    files, job = ray_job(printed("kuberay", loaded_spec(spec), out=OUT, settings={"task": 'a * b + "c" $d'}))
    assert files["tiny.yaml"] == spec
    assert job["spec"]["entrypoint"] == "sh /etc/grokctl/launch.sh"
    assert shlex.split(files["launch.sh"]) == [
        "exec", "grokctl", "launch", "/etc/grokctl/tiny.yaml", "--address", "auto", "--out", OUT, "--max-hours", "0.25",
        "--set", 'task=a * b + "c" $d', "--take-over",
    ]  # fmt: skip


def test_ray_up_launches_the_spec_that_was_given() -> None:
    text = printed("ray", loaded_spec(path="/my specs/tiny.yaml"), out=OUT, settings={"task": "it's"})
    config = yaml.safe_load(text)
    assert config["file_mounts"]["/home/ray/grokctl/tiny.yaml"] == "/my specs/tiny.yaml"
    ((*_, command),) = commented_commands(text, "ray exec")
    assert shlex.split(command.rpartition("; done; ")[2]) == [
        "grokctl", "launch", "/home/ray/grokctl/tiny.yaml", "--address", "auto", "--out", OUT, "--max-hours", "0.25",
        "--set", "task=it's",
    ]  # fmt: skip
    assert shlex.split(config["docker"]["run_options"][0]) == ["--volume=/mnt/grokctl:/shared results"]


def test_ray_up_waits_for_all_cores(tmp_path: Path) -> None:
    loaded = loaded_spec(HUGE)
    text = printed("ray", loaded)
    ((*_, command),) = commented_commands(text, "ray exec")
    ray = "echo x >> {0}/asked; echo ' 0.0/'$((16 * $(wc -l < {0}/asked)))'.0 CPU'"
    for name, body in {"ray": ray, "sleep": ":", "grokctl": "cp {0}/asked {0}/launched"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body.format(tmp_path)}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-c", command], env=environment, check=True, timeout=60)
    asked = asked_for(loaded)
    assert (tmp_path / "launched").read_text() == "x\n" * -(-asked.cpus // 16)
    assert asked.cpus > 16


# Whether those who read them would take them


def fits(value: Any, form: Any, where: str = "") -> None:
    """Whether a value has a form: a type, or mappings and lists of forms. A key with `?` may be missing; no other key
    than those named may be there."""
    if isinstance(form, type):
        assert type(value) is form, where
    elif isinstance(form, list):
        assert isinstance(value, list), where
        for number, entry in enumerate(value):
            fits(entry, form[0], f"{where}[{number}]")
    else:
        assert isinstance(value, dict), where
        assert set(value) <= {name.rstrip("?") for name in form}, where
        for name, inner in form.items():
            if name.rstrip("?") in value:
                fits(value[name.rstrip("?")], inner, f"{where}.{name}")
            else:
                assert name.endswith("?"), f"{where}.{name}"


QUANTITIES = {"cpu": str, "memory": str, "nvidia.com/gpu?": str}
POD = {
    "spec": {
        "containers": [
            {
                "name": str,
                "image": str,
                "env": [{"name": str, "value?": str, "valueFrom?": {"secretKeyRef": {"name": str, "key": str}}}],
                "resources": {"limits": QUANTITIES, "requests": QUANTITIES},
                "volumeMounts?": [{"name": str, "mountPath": str, "readOnly?": bool}],
            }
        ],
        "serviceAccountName?": str,
        "volumes?": [{"name": str, "configMap?": {"name": str}, "persistentVolumeClaim?": {"claimName": str}}],
    }
}
START = {"dashboard-host?": str, "num-cpus": str, "num-gpus": str, "object-store-memory": str}
"""`rayStartParams` are strings, numbers too."""
RAY_JOB = {
    "apiVersion": str,
    "kind": str,
    "metadata": {"name": str},
    "spec": {
        "entrypoint": str,
        "backoffLimit": int,
        "activeDeadlineSeconds": int,
        "shutdownAfterJobFinishes": bool,
        "ttlSecondsAfterFinished": int,
        "rayClusterSpec": {
            "rayVersion": str,
            "authOptions": {"mode": str, "secretName": str},
            "headGroupSpec": {"serviceType": str, "rayStartParams": START, "template": POD},
            "workerGroupSpecs": [
                {
                    "groupName": str,
                    "replicas": int,
                    "minReplicas": int,
                    "maxReplicas": int,
                    "rayStartParams": START,
                    "template": POD,
                }
            ],
        },
    },
}
"""The fields of KubeRay 1.6's RayJob (ray.io/v1) that are used."""


@pytest.mark.parametrize("here", [HERE, GPU])
def test_kuberay_job_has_the_form_of_its_resource(here: Slots) -> None:
    loaded = loaded_spec(HUGE.replace("device: cpu", f"device: {here.device}"))
    asked = asked_for(loaded, here)
    _, job = ray_job(printed("kuberay", loaded, here))
    fits(job, RAY_JOB)
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["replicas"] == workers["minReplicas"] == workers["maxReplicas"] == asked.nodes
    (container,) = workers["template"]["spec"]["containers"]
    gpus = {"nvidia.com/gpu": str(asked.gpus_per_node)} if here is GPU else {}
    assert container["resources"]["limits"] == {
        "cpu": str(asked.cpus_per_node), "memory": f"{asked.memory_gb_per_node}G", **gpus
    }  # fmt: skip
    assert workers["rayStartParams"]["num-gpus"] == str(asked.gpus_per_node)
    assert job["spec"]["activeDeadlineSeconds"] > asked.max_hours * 3600
    for pod in (cluster["headGroupSpec"]["template"], workers["template"]):
        (container,) = pod["spec"]["containers"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}


def test_kuberay_token_comes_from_the_secret() -> None:
    _, job = ray_job(printed("kuberay"))
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token", "secretName": job["metadata"]["name"]}
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        environment = {entry["name"]: entry for entry in group["template"]["spec"]["containers"][0]["env"]}
        assert environment["RAY_AUTH_MODE"]["value"] == "token"
        reference = environment["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]
        assert reference == {"name": job["metadata"]["name"], "key": "auth_token"}


@pytest.mark.parametrize("name", ["Grokking_of.9", "a" * 64, "9-", "A.b", "A_b"])
def test_kubernetes_takes_the_names(name: str) -> None:
    found = resource_name(loaded_spec(TINY_SPEC.replace("name: tiny", f"name: {name}")))
    assert len(found) <= 47
    assert found.startswith("grokctl-")
    assert set(found) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert "--" not in found


def test_names_of_different_specs_differ() -> None:
    names = [resource_name(loaded_spec(TINY_SPEC.replace("name: tiny", f"name: {name}"))) for name in ("A.b", "A_b")]
    assert names[0] != names[1]


@pytest.mark.parametrize(("here", "out"), [(HERE, None), (GPU, None), (HERE, "s3://bucket/tiny")])
def test_ray_up_takes_the_file(here: Slots, out: str | None) -> None:
    import ray.autoscaler
    from ray.autoscaler._private.util import prepare_config, validate_config

    loaded = loaded_spec(HUGE.replace("device: cpu", f"device: {here.device}"))
    asked = asked_for(loaded, here)
    config = yaml.safe_load(printed("ray", loaded, here, out=out))
    schema = Path(ray.autoscaler.__file__).with_name("ray-schema.json")
    jsonschema.validate(config, json.loads(schema.read_text()))
    validate_config(prepare_config(config))
    workers = config["available_node_types"]["worker"]
    assert config["max_workers"] == workers["min_workers"] == workers["max_workers"] == asked.nodes
    gpus = {"GPU": asked.gpus_per_node} if here is GPU else {}
    assert workers["resources"] == {"CPU": asked.cpus_per_node, **gpus}
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        assert "RAY_AUTH_MODE=token ray start" in commands[-1]
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]


def test_aws_instances_hold_a_node() -> None:
    asked = asked_for(loaded_spec(HUGE), GPU)
    assert (asked.gpus_per_node, asked.cpus_per_node) == (2, 16)
    assert instance_for(asked) == "g5.12xlarge"
    assert instance_for(asked_for(loaded_spec())) == "m6i.large"


def test_a_pack_that_no_aws_instance_holds_is_refused() -> None:
    with pytest.raises(UserError, match="no AWS instance known here has 500 cores"):
        printed("ray", here=Slots(device="cpu", slots=1, cpus_per_pack=500, gpus_per_pack=0.0, has_compiler=False))


@pytest.mark.parametrize("kind", KINDS)
def test_versions_are_those_installed(kind: Kind, grokctl: Grokctl) -> None:
    import ray

    text = printed(kind)
    release = grokctl("--version").stdout.split()[1]
    assert f"grokctl {release}" in text
    assert f"Ray {ray.__version__}" in text


# What is refused, and what is never written


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hostile", ["/sweeps/a\nb", "/sweeps/\x1b[2J", "/sweeps/\u202egnp", "/sweeps/\udcff"])
def test_unprintable_paths_are_refused(kind: Kind, hostile: str) -> None:
    with pytest.raises(UserError, match="cannot be printed"):
        printed(kind, out=hostile)
    with pytest.raises(UserError, match="cannot be printed"):
        printed(kind, settings={"task": hostile})
    with pytest.raises(UserError, match="cannot be printed"):
        printed(kind, loaded_spec(path=f"{hostile}.yaml"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("out", ["gs://bucket/tiny", "s3://bucket", "S3://bucket/tiny", "s3://bucket/a b", "file:///x"])
def test_other_object_stores_are_refused(kind: Kind, out: str) -> None:
    with pytest.raises(UserError, match="or to s3://BUCKET/PREFIX") as raised:
        printed(kind, out=out)
    assert raised.value.exit_code == EXIT_USAGE


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_in_a_bucket_needs_no_shared_folder(kind: Kind) -> None:
    text, in_folder = printed(kind, out="s3://bucket/sweeps/tiny"), printed(kind, out="/shared/tiny")
    assert "s3://bucket/sweeps/tiny" in text
    assert not [word for word in ("/shared", "/mnt/grokctl", "claimName", "hard links", "AWS_SECRET") if word in text]
    assert "hard links" in in_folder
    assert "AWS" not in in_folder.replace("type: aws", "")


@pytest.mark.parametrize("out", ["s3://bucket/tiny", "/shared/tiny"])
def test_kuberay_takes_over_from_a_head_that_was_lost(out: str) -> None:
    """Its name is left in the folder, and neither NFS nor a bucket tells whether it lives."""
    files, _ = ray_job(printed("kuberay", out=out))
    command = shlex.split(files["launch.sh"])
    assert command[command.index("--out") + 1] == out
    assert command[-1] == "--take-over"


def test_kuberay_with_a_bucket_has_an_account_and_no_volume() -> None:
    _, job = ray_job(printed("kuberay", out="s3://bucket/tiny"))
    fits(job, RAY_JOB)
    cluster = job["spec"]["rayClusterSpec"]
    pods = [cluster["headGroupSpec"]["template"]["spec"], cluster["workerGroupSpecs"][0]["template"]["spec"]]
    assert [pod["serviceAccountName"] for pod in pods] == ["grokctl", "grokctl"]
    assert [volume["name"] for pod in pods for volume in pod.get("volumes", ())] == ["spec"]
    assert all({"name": "AWS_REGION", "value": "us-west-2"} in pod["containers"][0]["env"] for pod in pods)


@pytest.mark.parametrize("kind", ["kuberay", "ray"])
@pytest.mark.parametrize("out", ["sweeps/tiny", "/tiny", "/", "/a:b/tiny"])
def test_folders_that_nodes_cannot_mount_are_refused(kind: Kind, out: str) -> None:
    with pytest.raises(UserError, match=r"absolute path|no colon") as raised:
        printed(kind, out=out)
    assert raised.value.exit_code == EXIT_USAGE


@pytest.mark.parametrize("kind", ["kuberay", "ray"])
def test_data_beside_the_spec_is_refused(kind: Kind, tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    numpy.savez(tmp_path / "mine.npz", features=numpy.eye(40, dtype="float32"), targets=numpy.arange(40) % 2)
    text = "name: own\ntask: {kind: data, file: FILE}\nmodel: {kind: mlp, width: 4}\nsteps: 10\ntrain_size: 20\n"
    beside = load_text(text.replace("FILE", "mine.npz"), tmp_path / "own.yaml")
    with pytest.raises(UserError, match="relative to its own folder") as raised:
        printed(kind, beside)
    assert raised.value.exit_code == EXIT_BAD_DATA
    assert "grokctl launch" in printed(kind, load_text(text.replace("FILE", f"{tmp_path}/mine.npz"), "own.yaml"))


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_never_printed(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "canary-7d1f")
    assert "canary-7d1f" not in printed(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_submit_prints_and_writes_nothing(
    kind: Kind, grokctl: Grokctl, tiny_spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = grokctl("submit", tiny_spec, "--manifest", kind, "--out", "/shared/tiny", "--set", "steps=20")
    assert result.exit_code == 0, result.output
    assert "/shared" in result.stdout
    assert "steps=20" in result.stdout
    assert list(tmp_path.iterdir()) == [tiny_spec]


def launched_into(kind: Kind, text: str) -> str:
    """The folder that a manifest's command names, by what reads it: a shell, after YAML."""
    if kind == "slurm":
        (line,) = (line for line in text.splitlines() if line.startswith("out="))
        (assigned,) = shlex.split(line, comments=True)
        return assigned.removeprefix("out=")
    if kind == "ray":
        ((*_, command),) = commented_commands(text, "ray exec")
    else:
        command = ray_job(text)[0]["launch.sh"]
    words = shlex.split(command)
    return words[words.index("--out") + 1]


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_folders_are_quoted_or_refused(kind: Kind) -> None:
    quoted = 0
    for word in HOSTILE:
        folder = posixpath.normpath(f"/sweeps/sub/{word}")
        try:
            text = printed(kind, out=folder)
        except UserError as error:
            assert not word.isprintable() or ":" in word or folder.count("/") < 2, error  # noqa: PT017
        else:
            assert launched_into(kind, text) == folder
            quoted += 1
    assert quoted > 20


@pytest.mark.parametrize("kind", KINDS)
def test_printing_imports_neither_torch_nor_ray(kind: Kind, tiny_spec: Path) -> None:
    assert imported_by("submit", tiny_spec, "--manifest", kind) & {"torch", "ray"} == set()


@pytest.mark.parametrize(
    ("kind", "words"), [("kuberay", "activeDeadlineSeconds: 7200"), ("slurm", "--time=2:00:00"), ("ray", "Once")]
)
def test_as_much_time_is_asked_for_as_is_given(kind: Kind, words: str, grokctl: Grokctl, tiny_spec: Path) -> None:
    text = grokctl("submit", tiny_spec, "--manifest", kind, "--max-hours", "1.5").stdout
    assert words in text
    assert "--max-hours 1.5" in text


@pytest.mark.parametrize("options", [("--detach",), ("--only", "width > 4"), ("--replan",), ("--take-over",)])
def test_what_only_a_job_can_do_is_refused_with_a_manifest(options: tuple[str, ...], grokctl: Grokctl) -> None:
    result = grokctl("submit", "quickstart", "--manifest", "slurm", *options)
    assert (result.exit_code, result.stdout) == (EXIT_USAGE, "")
    assert result.stderr.startswith(f"error: {options[0]} cannot go with --manifest\n")


@pytest.mark.parametrize("options", [(), ("--manifest", "ray", "--address", "http://127.0.0.1:8265")])
def test_submit_takes_a_manifest_or_an_address(options: tuple[str, ...], grokctl: Grokctl) -> None:
    result = grokctl("submit", "quickstart", *options)
    assert result.exit_code == EXIT_USAGE
    assert result.stderr.splitlines()[0].startswith("error: submit takes either --address")


@pytest.mark.parametrize("kind", KINDS)
def test_shipped_specs_have_manifests(kind: Kind) -> None:
    assert "grokctl launch" in printed(kind, load_spec("quickstart"))
