"""What imports cost, and how long files are; who may import whom is checked by `lint-imports` (pyproject.toml)."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ONNX = {"onnx", "onnxruntime", "onnxscript"}
SAMPLE = Path(__file__).parent.parent / "docs" / "sample" / "fsaowi_LC-USF33-020593.jpg"
JOBS = (
    "colorize",
    "compare",
    "evaluate",
    "exchange",
    "package",
    "plan",
    "prepare",
    "review",
    "sign",
    "train",
    "tune",
    "verify",
)
RECORD = """
import tempfile
from raycolor.colorize.outcomes import Outcome, find_shard, write_outcomes
from raycolor.storage import open_store
dest = open_store(tempfile.mkdtemp())
write_outcomes(dest, 0, [Outcome("a.jpg", "colorized", width=3, confidence=0.5)])
assert find_shard(dest, 0).outcomes[0].width == 3
"""
ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "raycolor").rglob("*.py"))
SCRIPTS = sorted([*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "docs").rglob("*.py"), *(ROOT / "jobs").glob("*.py")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short(path):
    """A file that grows past 400 lines does two jobs."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def loaded(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys; print(' '.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import raycolor", {"torch", "ray", "numpy"}),
        ("from raycolor import Colorizer, list_checkpoints, load_checkpoint", {"ray", "boto3"}),
        ("from raycolor import list_checkpoints; list_checkpoints()", {"torch", "ray", "boto3"}),
        ("import raycolor.cli", {"torch", "ray", "numpy", "pydantic"}),
        (
            "import raycolor.codecs, raycolor.storage, raycolor.color.kernels, raycolor.sources",
            {"torch", "ray", "boto3"},
        ),
        ("import raycolor.colorize.messages, raycolor.models.checkpoints", {"torch", "ray", "boto3"}),
        ("import raycolor.colorizer.predict, raycolor.colorize.shard, raycolor.evaluate.measure", {"ray"}),
        ("import raycolor.training.loop", {"ray"}),
        ("from raycolor.evaluate import evaluate; from raycolor.train import train", {"torch", "ray", "numpy"}),
        ("import raycolor.plan.driver", {"torch", "ray", "boto3"}),
        ("import raycolor.exchange.import_onnx", {"torch", "ray", "boto3", *ONNX}),
        ("import raycolor.colorize.shard, raycolor.evaluate.measure, raycolor.models.onnx_checkpoint", ONNX),
        # The whole way of a photograph through a network of ours.
        (f"from raycolor import Colorizer; Colorizer('regression')(r'{SAMPLE}')", {*ONNX, "pandas", "tifffile"}),
        # What a worker writes down: of pandas alone each process would load for 0.7 s.
        (RECORD, {"pandas", "pyarrow.dataset"}),
        *((f"import raycolor.{job}.config", {"torch", "ray", "boto3", "numpy"}) for job in JOBS),
    ],
)
def test_imports_stay_light(statement, absent):
    """Who asks for help waits for neither torch nor Ray, and what lies below the jobs works without Ray."""
    assert not loaded(statement) & absent


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_import_what_is_there(path):
    """A benchmark or a script of the documentation, which no type checker reads, names nothing that has moved."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "raycolor":
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
