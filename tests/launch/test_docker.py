"""What the Dockerfile, compose.yaml and the JobSet say agrees with the package and keeps its promises. No daemon is asked."""

import fnmatch
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMPILERS = re.compile(r"(^|\s)(gcc|g\+\+|make|cmake|git|ninja-build|build-essential|python3-dev|\S+-devel\S*)(\s|$)")


def read_stages() -> dict[str, dict[str, list[str]]]:
    """stage -> instruction -> arguments, with continued lines joined and comments left out."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    stages: dict[str, dict[str, list[str]]] = {}
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            stages[rest.split()[-1]] = {"FROM": [rest.split()[0]]}
        elif word and stages:
            stages[list(stages)[-1]].setdefault(word, []).append(rest)
    return stages


STAGES = read_stages()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
JOBSET = yaml.safe_load((ROOT / "tools/launch/jobset.yaml").read_text())
(POD,) = [job["template"]["spec"]["template"]["spec"] for job in JOBSET["spec"]["replicatedJobs"]]


def ignored(path: str) -> bool:
    """What .dockerignore says: the last pattern that matches the path or a folder above it."""
    result, parts = False, Path(path).parts
    above = ["/".join(parts[: i + 1]) for i in range(len(parts))]
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").rstrip("/")
        names = parts if pattern.startswith("**/") else above
        if any(fnmatch.fnmatch(name, pattern.removeprefix("**/")) for name in names):
            result = not line.startswith("!")
    return result


# --- Dockerfile ------------------------------------------------------------------------------------------------------------


def test_what_is_copied_exists_and_is_not_ignored():
    copied = [c.split()[:-1] for stage in STAGES.values() for c in stage["COPY"] if not c.startswith("--from=")]
    for path in (path for paths in copied for path in paths):
        assert (ROOT / path).exists(), path
        assert not ignored(path), path
    for needed in ("src/tracer1/train.py", "conf/train.yaml", "tools/launch/node.sh", "demo/shards/manifest.json"):
        assert not ignored(needed), needed


@pytest.mark.parametrize(
    "path",
    [
        ".git/HEAD",
        ".venv/bin/python",
        ".venv-vllm/x",
        "outputs/run/round-000001.ckpt",
        "mlflow.db",
        ".env",
        "data/gui.tar",
        "tests/conftest.py",
        "src/tracer1/__pycache__/train.pyc",
        "src/tracer1.egg-info/PKG-INFO",
    ],
)
def test_what_no_image_takes(path: str):
    assert ignored(path)


def test_the_image_that_runs_is_the_last_and_holds_no_build_tools():
    assert list(STAGES)[-1] == "runtime"
    runtime = STAGES["runtime"]
    assert "-runtime-" in runtime["FROM"][0]
    (install,) = runtime["RUN"]
    assert not COMPILERS.search(install)
    assert "pip install" not in install
    assert COMPILERS.search(STAGES["build"]["RUN"][0])  # the pattern sees one where there is one


def test_every_variable_is_declared_in_the_stage_that_uses_it():
    """An ARG above the first FROM is empty in the stages, unless they name it again."""
    for name, stage in STAGES.items():
        declared = {re.split(r"[=\s]", arg)[0] for arg in stage.get("ARG", [])}
        used = {
            word for key in stage.keys() - {"FROM"} for line in stage[key] for word in re.findall(r"\${(\w+)}", line)
        }
        assert used <= declared, name


@pytest.mark.parametrize("stage", ["runtime", "mlflow"])
def test_images_run_as_an_ordinary_user_and_say_how_they_are(stage: str):
    assert STAGES[stage]["USER"] == ["1000:1000"]
    assert len(STAGES[stage]["HEALTHCHECK"]) == 1


def test_labels_and_tags_are_the_packages_version():
    version = PROJECT["version"]
    assert f"VERSION={version}" in STAGES["runtime"]["ARG"]
    labels = STAGES["runtime"]["LABEL"][0]
    for name in ("title", "description", "version", "revision"):
        assert f"org.opencontainers.image.{name}=" in labels
    images = [one["image"] for one in (*COMPOSE["services"].values(), *POD["containers"])]
    assert {image for image in images if image.startswith("tracer1:")} == {f"tracer1:{version}"}


def test_pins_are_those_of_the_constraints():
    """A constraint file for every pip install, and what is pinned beside it agrees with it and with pyproject.toml."""
    constraints = {
        name: dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("constraints.txt", "constraints-gpu.txt")
    }
    for stage in STAGES.values():
        for step in stage["RUN"]:
            for command in re.findall(r"pip install[^&]*", step):
                if "--no-deps" in command:
                    continue
                name = Path(re.search(r"-c (\S+)", command)[1]).name
                for package, version in re.findall(r"([\w-]+)==([\w.]+)", command):
                    assert constraints[name].get(package, version) == version, command
    assert "mlflow==" + constraints["constraints.txt"]["mlflow"] in STAGES["mlflow"]["RUN"][0]
    assert '".[${EXTRAS}]"' in " ".join(STAGES["build"]["RUN"])
    (extras,) = [arg.removeprefix("EXTRAS=") for arg in STAGES["build"]["ARG"] if arg.startswith("EXTRAS=")]
    assert {"vllm"} <= set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    (deepspeed,) = re.findall(r"deepspeed==([\d.]+)", " ".join(STAGES["build"]["RUN"]))
    assert PROJECT["optional-dependencies"]["deepspeed"] == [f"deepspeed>={deepspeed},<0.20"]


# --- compose.yaml ----------------------------------------------------------------------------------------------------------


def test_every_image_has_a_tag_and_every_service_is_watched():
    for name, service in COMPOSE["services"].items():
        assert re.fullmatch(r"[\w/-]+:\d[\w.-]+", service["image"]), name
        built = service.get("build", {}).get("target")
        assert "healthcheck" in service or "HEALTHCHECK" in STAGES.get(built, {}), name
        for other in service.get("depends_on", {}):
            assert other in COMPOSE["services"]
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in COMPOSE["volumes"] or volume.startswith("${DATA")


def test_no_password_is_written_down():
    text = (ROOT / "compose.yaml").read_text()
    for name in ("POSTGRES_PASSWORD", "S3_SECRET_KEY"):
        assert set(re.findall(rf"\${{({name}[^}}]*)}}", text)) == {f"{name}:?set it in .env"}
    assert ignored(".env")
    git = subprocess.run(["git", "check-ignore", "-q", ".env"], cwd=ROOT, check=False)
    assert git.returncode == 0


def test_the_services_find_each_other():
    train, executor, mlflow = (COMPOSE["services"][name] for name in ("train", "executor", "mlflow"))
    assert train["environment"]["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    (allowed,) = [c for c in mlflow["command"] if c.startswith("--allowed-hosts=")]
    assert "mlflow:5000" in allowed  # MLflow refuses names that it was not told
    port = executor["command"][executor["command"].index("--port") + 1]
    assert f"executor.server.endpoints=[http://executor:{port}]" in train["command"]
    assert train["depends_on"].keys() == {"mlflow", "executor"}
    (devices,) = train["deploy"]["resources"]["reservations"]["devices"]
    assert train["environment"]["TRACER1_GPUS"] == len(devices["device_ids"])
    assert 512 % len(devices["device_ids"]) == 0


# --- Kubernetes ------------------------------------------------------------------------------------------------------------


def test_the_jobset_agrees_with_itself():
    (job,) = JOBSET["spec"]["replicatedJobs"]
    spec, (train,) = job["template"]["spec"], POD["containers"]
    environment = {entry["name"]: entry["value"] for entry in train["env"]}
    assert spec["completions"] == spec["parallelism"] == int(environment["TRACER1_NODES"])
    assert train["resources"]["limits"]["nvidia.com/gpu"] == int(environment["TRACER1_GPUS"])
    name = JOBSET["metadata"]["name"]
    assert environment["MASTER_ADDR"] == f"{name}-{job['name']}-0-0.{name}"
    assert {mount["name"] for mount in train["volumeMounts"]} == {volume["name"] for volume in POD["volumes"]}
    (run,) = [a.removeprefix("run_name=") for a in train["args"] if a.startswith("run_name=")]
    for probe in ("startupProbe", "livenessProbe"):
        assert f"{environment['TRACER1_OUTPUTS']}/{run}" in train[probe]["exec"]["command"]
    assert POD["securityContext"]["runAsUser"] == 1000


def test_the_jobset_starts_again_after_a_stop_and_not_after_a_mistake():
    from tracer1.training.entry import REQUEUE

    (job,) = JOBSET["spec"]["replicatedJobs"]
    first, second = job["template"]["spec"]["podFailurePolicy"]["rules"]
    assert first["onExitCodes"]["values"] == [2, REQUEUE]
    assert first["onExitCodes"]["containerName"] == POD["containers"][0]["name"]
    assert second["onPodConditions"][0]["type"] == "DisruptionTarget"
    mistake, stopped = JOBSET["spec"]["failurePolicy"]["rules"]
    assert (mistake["action"], stopped["action"]) == ("FailJobSet", "RestartJobSetAndIgnoreMaxRestarts")
    said = "Container train for pod default/x failed with exit code {} matching FailJob rule at index 0"  # Kubernetes' Job controller
    (pattern,) = mistake["onJobFailureMessagePatterns"]
    assert re.search(pattern, said.format(2))
    assert not re.search(pattern, said.format(REQUEUE))
