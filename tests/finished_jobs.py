"""Small finished jobs, and jobs that nobody may take for finished: for commands over a finished job."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
import photographs

from raycolor import codecs
from raycolor.colorize import driver
from raycolor.colorize.config import ColorizeConfig
from raycolor.colorize.job_record import JOB_KEY, JobRecord
from raycolor.colorize.manifest import Manifest, write_manifest
from raycolor.colorize.outcomes import Outcome, read_tables, write_csvs, write_outcomes
from raycolor.sources import open_sources
from raycolor.storage import open_store

CHECKPOINT = {"name": "made", "method": "regression", "weights_sha256": "ab" * 32}
"""Of jobs that were fabricated."""

REFUSED = [
    ("no job", "holds no job of raycolor colorize"),
    ("stopped", "shards have no outcomes"),
    ("later run", "a later run has begun"),
]
"""What `unfinish` leaves, and what has to be said of it."""


def colorize(source: Path, dest: Path, checkpoint: str, *, max_failed: str, **more: object) -> int:
    """Run a job without Ray; return its exit code."""
    places = {"source": str(source), "dest": str(dest), "checkpoint": checkpoint}
    return driver.run(ColorizeConfig(**places, ray=False, max_failed=max_failed, **more))


def make(folder: Path, checkpoint: str, names: Iterable[str], *, max_failed: str) -> Path:
    """Run a job over photographs of these names and an empty file; return its destination."""
    files = {name: photographs.encoded(photographs.gray_pixels(seed=i)) for i, name in enumerate(names)}
    (folder / "in").mkdir()
    photographs.write_all(folder / "in", {**files, "empty.jpg": b""})
    assert colorize(folder / "in", folder / "out", checkpoint, max_failed=max_failed) == 0
    return folder / "out"


def fabricate(folder: Path, files: Mapping[str, bytes], copied: Collection[str] = ()) -> Path:
    """Leave what a job over these files would, with one color everywhere; return its destination.

    Takes no second, for tests of what comes after a job. Two photographs a shard; those in `copied` are only copied.
    """
    photographs.write_all(folder / "in", files)
    source, dest = open_sources([str(folder / "in")]), open_store(folder / "out")
    totals = write_manifest(dest, source.inputs(dest.uri), images_per_shard=2)
    manifest = Manifest(dest, totals)
    for shard in range(totals.shards):
        rows = []
        for info in manifest.shard(shard):
            data = files[info.key]
            made = data if info.key in copied else _colored(data)
            dest.put(info.key, made)
            rows.append(
                Outcome(
                    info.key,
                    "skipped" if info.key in copied else "colorized",
                    "already_color" if info.key in copied else None,
                    input_bytes=len(data),
                    input_etag=info.etag,
                    output_key=info.key,
                    output_bytes=len(made),
                    output_sha256=hashlib.sha256(made).hexdigest(),
                    pixels=codecs.read_header(data).total_pixels,
                )
            )
        write_outcomes(dest, shard, rows)
    JobRecord({}, CHECKPOINT, source.uri, {}, "0.1.0", totals, "2026-01-01T00:00:00+00:00", root=source.root).write(
        dest
    )
    write_csvs(dest, read_tables(dest))
    dest.put("_raycolor/summary.json", json.dumps({"complete": True, "images": totals.images}).encode())
    dest.put("_raycolor/report.html", b"<title>made</title>")
    return folder / "out"


def _colored(data: bytes) -> bytes:
    """Return a photograph with one color everywhere, as raycolor would write it."""
    header = codecs.read_header(data)
    provenance = codecs.Provenance("made", CHECKPOINT["weights_sha256"], "0.1.0")
    if header.format == "jpeg":
        half = (header.height + 1) // 2, (header.width + 1) // 2
        return codecs.jpeg_exact(
            header, np.full(half, 100, np.uint8), np.full(half, 150, np.uint8), provenance=provenance
        )
    photo = codecs.decode(data)
    grays = [page if page.ndim == 2 else page[..., 0] for page in photo.pages]
    pages = [np.stack([page, page // 2, page // 3], axis=-1) for page in grays]
    return codecs.encode(photo, pages, provenance=provenance)


def unfinish(dest: Path, kind: str) -> bool:
    """Make a finished job one of `REFUSED`; False if it is none of these kinds."""
    job = json.loads((dest / JOB_KEY).read_text())
    if kind == "no job":
        (dest / JOB_KEY).unlink()
    elif kind == "stopped":
        next((dest / "_raycolor" / "outcomes").iterdir()).unlink()
    elif kind == "later run":
        (dest / JOB_KEY).write_text(json.dumps({**job, "round": {"number": 1, "verify": True}}))
    else:
        return False
    return True
