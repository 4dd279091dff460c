"""Laws of the wheel: it holds what a user needs and nothing else, and works where nothing else is installed."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from raycolor.models.checkpoints import shipped_names

ROOT = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).parent / "uv"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not UV.exists(), reason="uv comes with `make setup`"),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel as a package registry would get it."""
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([UV, "build", "--quiet", "--wheel", "--out-dir", out, ROOT], check=True, timeout=300)
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_holds_what_a_user_needs_and_nothing_else(wheel):
    """The package with types, pages and weights, the examples, and the license; no tests, benchmarks or caches."""
    names = zipfile.ZipFile(wheel).namelist()
    package = [name for name in names if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in package} == {"raycolor"}
    assert "raycolor/py.typed" in names
    for checkpoint in shipped_names():
        assert f"raycolor/weights/{checkpoint}/weights.safetensors" in names
    tracked = subprocess.run(["git", "ls-files", "raycolor"], cwd=ROOT, capture_output=True, text=True, check=True)
    examples = [name for name in package if name.startswith("raycolor/examples/")]
    assert sorted(set(package) - set(examples)) == sorted(tracked.stdout.split("\n")[:-1])
    parts = {name.split("/")[2] for name in examples}
    assert parts == {"jobs", "tune_configs", "cluster.yaml", "requirements.lock", "requirements-worker.lock", "docs"}
    assert wheel.stat().st_size < 60_000_000


def test_the_wheel_works_in_a_bare_environment(wheel, tmp_path):
    """Installed with its dependencies alone, outside of any checkout: init, help, and a photograph colorized."""
    environment = tmp_path / "venv"
    run = {"check": True, "timeout": 550, "cwd": tmp_path, "text": True, "capture_output": True}
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, environment], **run)
    lock = ["--constraint", ROOT / "requirements.lock"]
    python = environment / "bin/python"
    subprocess.run([UV, "pip", "install", "--quiet", "--python", python, wheel, *lock], **run)
    run["env"] = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL"))}
    raycolor = environment / "bin/raycolor"
    init = subprocess.run([raycolor, "init", "start"], **run)
    assert "put raycolor's wheel into start" in init.stderr
    assert (tmp_path / "start/jobs/colorize.py").read_bytes() == (ROOT / "jobs/colorize.py").read_bytes()
    one = min((tmp_path / "start/docs/sample").iterdir())
    shutil.copy(one, tmp_path / one.name)
    subprocess.run([raycolor, "colorize", one.name, "out"], **run)
    assert (tmp_path / "out" / one.name).stat().st_size > one.stat().st_size
    where = subprocess.run([python, "-c", "import raycolor; print(raycolor.__file__)"], **run).stdout
    assert where.startswith(str(environment))
