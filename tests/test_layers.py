"""The import order of docs/architecture.md, checked on every file."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {
    "cells": 1, "errors": 1, "machine": 1, "progress": 1, "fingerprint": 1, "signals": 1,
    "color": 2, "child": 2,
    "codecs": 3, "storage": 3,
    "models": 4, "losses": 4, "metrics": 4, "precision": 4,
    "dataset": 5, "manifest": 5, "lease": 5, "sources": 5, "options": 5,
    "checkpoints": 6, "outcomes": 6,
    "training": 7, "colorizer": 7, "outcome_csv": 7,
    "bulk": 8, "evaluation": 8, "pages": 8, "tuning": 8,
    "config": 9,
    "cluster": 10, "plan": 10,
    "cli": 11, "__main__": 12,
}  # fmt: skip
FILES = sorted((ROOT / "raycolor").rglob("*.py"))


def room_of(path: Path) -> str:
    """Return the room that a file of the package belongs to."""
    return path.relative_to(ROOT / "raycolor").parts[0].removesuffix(".py")


def imports(path: Path) -> list[str]:
    """Return every module that a file imports, at the top or inside functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            assert node.level == 0, f"{path}: relative import of {module}"
            found.append(module)
            if module == "raycolor":
                found += [f"raycolor.{alias.name}" for alias in node.names]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_lower_rooms_only(path):
    """A room imports rooms with a lower number and its own folder, nothing else of raycolor."""
    room = room_of(path)
    if room == "__init__":
        assert not [name for name in imports(path) if name.startswith("raycolor")]
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "raycolor" or len(parts) == 1 or parts[1] in (room, "__version__"):
            continue
        assert ROOMS[parts[1]] < ROOMS[room], f"{path.name} (room {ROOMS[room]}) imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_ray_stays_in_its_room(path):
    """Only `cluster/` imports Ray."""
    if room_of(path) != "cluster":
        assert not [name for name in imports(path) if name.split(".")[0] == "ray"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_config_is_read_by_cluster_and_commands_alone(path):
    """Everything below the cluster room takes plain numbers and paths as arguments."""
    if room_of(path) not in ("cluster", "plan", "cli", "config"):
        assert "raycolor.config" not in imports(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short(path):
    """A file that grows past 400 lines has become two rooms."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def loaded(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter holds after a statement."""
    code = f"{statement}; import sys; print(' '.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import raycolor", {"torch", "ray", "numpy"}),
        ("import raycolor.cli", {"torch", "ray", "numpy", "pydantic"}),
        ("import raycolor.codecs, raycolor.storage, raycolor.color.kernels, raycolor.manifest", {"torch", "ray"}),
        ("import raycolor.bulk, raycolor.checkpoints, raycolor.sources", {"torch", "ray", "boto3"}),
        ("import raycolor.colorizer, raycolor.bulk.shard, raycolor.evaluation, raycolor.training.loop", {"ray"}),
        ("import raycolor.plan.job", {"torch", "ray", "boto3"}),
    ],
)
def test_imports_stay_light(statement, absent):
    """Who asks for help waits for neither torch nor Ray, and the rooms below the cluster work without Ray."""
    assert not loaded(statement) & absent
