"""docs/archives.md does what it says: its blocks run in order, from scans to a signed bag that validates."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import bagit
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs/archives.md"
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_page_runs_from_scans_to_a_valid_bag(tmp_path):
    """Every command ends with 0; what is excluded and what is rejected is not colored, all others are signed."""
    shutil.copytree(ROOT / "docs/sample", tmp_path / "docs/sample")
    settings = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(BLOCKS)],
        cwd=tmp_path, env=settings, capture_output=True, text=True, timeout=550,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    summary = json.loads((tmp_path / "colored/_raycolor/summary.json").read_text())
    assert summary["counts"] == {"colorized": 14, "skipped": 2, "failed": 0}
    assert summary["reasons"] == {"excluded": 1, "withdrawn": 1}
    signed = json.loads((tmp_path / "colored/_raycolor/signatures/summary.json").read_text())
    assert signed["counts"] == {"embedded": 14, "detached": 0, "before": 0, "problem": 0}
    bagit.Bag(str(tmp_path / "bag")).validate()
    assert len(list((tmp_path / "bag/iiif/images").iterdir())) == 28
