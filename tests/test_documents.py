"""What documents name is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_a_document_names_exist(document):
    """A path with a folder, of a test or a file of the package, is that of a file."""
    named = set(re.findall(r"(?<![\w./-])(?:[a-z_]+/)+[a-z_0-9]+\.py\b", document.read_text(encoding="utf-8")))
    missing = [name for name in named if not any((ROOT / base / name).exists() for base in ("", "raycolor", "docs"))]
    assert not missing
