"""Laws of docs/docker: an image builds, or, without a container runtime, its commands work in folders of their own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = ROOT / "docs" / "docker" / "Dockerfile"


def stages():
    """Return the instructions of each stage: name -> (stage below it, [(instruction, rest)])."""
    text = re.sub(r"\\\n\s*", " ", DOCKERFILE.read_text(encoding="utf-8"))
    found, name = {}, ""
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        instruction, rest = line.split(maxsplit=1)
        if instruction == "FROM":
            below, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()
            found[name] = (below, [])
        else:
            found[name][1].append((instruction, rest))
    return found


def instructions(name):
    """Return all instructions of a target, those of the stages below it first."""
    known = stages()
    if name not in known:
        return []
    below, own = known[name]
    return instructions(below) + own


def context():
    """Return the files that .dockerignore lets through."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = tuple(line[1:] for line in lines if line.startswith("!"))
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    return [name for name in tracked if name and any(name == one or name.startswith(one + "/") for one in allowed)]


def test_the_context_holds_what_the_package_is_made_of():
    """Everything that the wheel's build reads passes .dockerignore; tests, benchmarks and .git do not."""
    names = context()
    parts = {name.split("/")[0] for name in names}
    assert parts >= {"raycolor", "jobs", "pyproject.toml", "requirements-worker.lock", "README.md", "LICENSE"}
    assert not parts & {"tests", "benchmarks", ".git"}
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for source in re.findall(r'^"([^"]+)" = "raycolor/examples', text, re.MULTILINE):
        assert any(name == source or name.startswith(source + "/") for name in names), source


def test_both_targets_are_there_and_pin_what_they_install():
    """`cpu` and `gpu` install by the lock of workers; Kubernetes uses an image built by this file, with a GPU group."""
    for target in ("cpu", "gpu"):
        commands = " ".join(rest for instruction, rest in instructions(target) if instruction == "RUN")
        assert "requirements-worker.lock" in commands
        assert ("--torch-backend cpu" in commands) == (target == "cpu")
        assert ("--require-hashes" in commands) == (target == "gpu")
    job = ROOT / "docs" / "kubernetes" / "rayjob.yaml"
    assert "docs/docker/Dockerfile" in job.read_text(encoding="utf-8")
    spec = yaml.safe_load(job.read_text(encoding="utf-8"))["spec"]["rayClusterSpec"]
    groups = {group["groupName"]: group["template"]["spec"]["containers"][0] for group in spec["workerGroupSpecs"]}
    workdir = next(rest for instruction, rest in instructions("gpu") if instruction == "WORKDIR")
    assert {one["workingDir"] for one in groups.values()} == {workdir}
    assert groups["gpu"]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in groups["cpu"]["resources"]["limits"]


def builder():
    """Return the command of a container runtime that answers and has or fetches the base image, or None."""
    base = next(below for below, _ in stages().values() if below not in stages())
    for command in ("docker", "buildah"):
        path = shutil.which(command)
        if path and all(
            subprocess.run([path, *words], capture_output=True, timeout=600).returncode == 0
            for words in (["info"], ["pull", base])
        ):
            return [path, "build"] if command == "docker" else [path, "bud"]
    return None


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_gpu_image_builds_or_its_commands_work(tmp_path):
    """With docker or buildah and its base image, `raycolor --version` is the last step of a build.

    Without, RUN by RUN in folders in the place of /opt, with an environment of their own; apt and users are the base's
    business and left out.
    """
    if (build := builder()) is not None:
        subprocess.run([*build, "-f", DOCKERFILE, "--target", "gpu", ROOT], check=True, timeout=2900)
        return
    opt = tmp_path / "opt"
    work = opt / "raycolor"
    work.mkdir(parents=True)
    cache = subprocess.run(
        [Path(sys.executable).parent / "uv", "cache", "dir"], capture_output=True, text=True, check=True
    )
    environment = {"HOME": str(tmp_path), "PATH": "/usr/local/bin:/usr/bin:/bin", "UV_CACHE_DIR": cache.stdout.strip()}
    environment |= {
        name: value for name, value in os.environ.items() if name.startswith(("UV_INDEX", "UV_DEFAULT", "PIP_", "SSL_"))
    }
    said = ""
    for instruction, rest in instructions("gpu"):
        rest = rest.replace("/opt", str(opt))
        if instruction == "ENV":
            for pair in rest.split():
                name, _, value = pair.partition("=")
                environment[name] = value.replace("$PATH", environment["PATH"])
        elif instruction == "COPY":
            *sources, _ = [word for word in rest.split() if not word.startswith("--")]
            for name in context() if sources == ["."] else sources:
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, work / name)
        elif instruction == "RUN" and "apt-get" not in rest and "useradd" not in rest:
            # The cache of this machine stands for the network.
            command = rest.replace(" --no-cache ", " ").replace("python3 -m venv", f"{sys.executable} -m venv")
            command = command.replace("--python python3", f"--python {sys.executable}")
            done = subprocess.run(
                ["bash", "-c", command], env=environment, cwd=work, capture_output=True, text=True, timeout=1200
            )
            assert done.returncode == 0, f"{command}\n{done.stderr[-2000:]}"
            said = done.stdout
    assert said.startswith("raycolor, version")
    python = opt / "venv" / "bin" / "python"
    where = subprocess.run(
        [python, "-c", "import raycolor; print(raycolor.__file__)"], capture_output=True, text=True, cwd="/"
    )
    assert str(opt / "venv") in where.stdout
