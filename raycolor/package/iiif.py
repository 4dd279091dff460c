"""IIIF: a Presentation 3 manifest per folder, in which every photograph can be seen gray and in color."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from raycolor.colorize.job_record import JobRecord
from raycolor.colorize.manifest import Manifest
from raycolor.colorize.memory_budget import MemoryBudget
from raycolor.colorize.outcomes import Outcome
from raycolor.errors import ConfigError, ImageError, ManifestError
from raycolor.package.iiif_images import Picture, image_files, pictures_of
from raycolor.progress import printable
from raycolor.sources import Input, Reader
from raycolor.sources.key_set import scratch
from raycolor.storage import ObjectStore

FOLDER: Final = "iiif/"
FILE: Final = re.compile(
    r"iiif/(?:collection\.json|manifests/[0-9a-f]{16}\.json"
    r"|images/[0-9a-f]{20}-(?:gray|color)/(?:info\.json|full/(?:max|\d+,\d+)/0/default\.jpg))\Z"
)
"""Names of all that is written here."""
_CONTEXT: Final = "http://iiif.io/api/presentation/3/context.json"
_NOTICE: Final = {
    "label": {"en": ["Color"]},
    "value": {"en": ["Added by a trained network. It is no record of the colors that were there."]},
}

_HELD_BYTES: Final = 2**30
_BYTES_PER_PIXEL: Final = 10  # of one photograph gray and in color, with its files


def check_url(url: str) -> str:
    """Return the address under which `iiif/` will be published, without a slash at its end.

    Raises:
        ConfigError: it is no plain web address.
    """
    try:
        parts = urlsplit(url)
        plain = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
        plain = plain and not any(char.isspace() for char in url) and not ("?" in url or "#" in url)
    except ValueError:
        plain = False
    if not plain:
        raise ConfigError(
            f"--iiif {url}: is no plain web address: give that under which the package's folder iiif will be found, "
            "for example https://example.org/collection/iiif"
        )
    return url.rstrip("/")


class Presentation:
    """Shows the photographs of a job, shard by shard, and at last writes the manifests of their folders.

    Memory does not grow with the number of photographs: canvases wait on disk.

    Args:
        dest: the job's destination.
        record: the job.
        originals: reads its inputs.
        url: as `check_url` returns it.
        folder: for the canvases, on disk.
        put: writes one file of the package by its name, from any thread; returns its SHA-256.
        on_file: told name and SHA-256 of every file that was written, in an order that is always the same.
    """

    def __init__(
        self,
        dest: ObjectStore,
        record: JobRecord,
        originals: Reader,
        url: str,
        folder: Path,
        put: Callable[[str, bytes], str],
        on_file: Callable[[str, str], None],
    ) -> None:
        self._dest, self._record, self._originals, self._url = dest, record, originals, url
        self._put, self._on_file = put, on_file
        self._manifest, self._budget = Manifest(dest, record.manifest), MemoryBudget(_HELD_BYTES)
        self._canvases = scratch(
            str(folder), "CREATE TABLE canvases (folder TEXT, key TEXT, body TEXT, PRIMARY KEY (folder, key))"
        )

    def show(self, shard: int, outcomes: Sequence[Outcome], pool: ThreadPoolExecutor) -> None:
        """Write the images of some photographs of a shard.

        Raises:
            ManifestError: an original or an output cannot be read.
        """
        inputs = {info.key: info for info in self._manifest.shard(shard)}
        # Members of a packed archive are unpacked from its front, one after the other.
        packed = any(self._originals.in_order(inputs[outcome.key]) for outcome in outcomes)

        def draw(outcome: Outcome) -> tuple[str, list[tuple[str, str]]]:
            return self._draw(outcome, inputs[outcome.key])

        drawn = map(draw, outcomes) if packed else pool.map(draw, outcomes)
        for outcome, (canvas, files) in zip(outcomes, drawn, strict=True):
            row = [outcome.key.rpartition("/")[0], outcome.key, canvas]
            self._canvases.execute("INSERT OR REPLACE INTO canvases VALUES (?, ?, ?)", row)
            for name, sha256 in files:
                self._on_file(name, sha256)

    def _draw(self, outcome: Outcome, info: Input) -> tuple[str, list[tuple[str, str]]]:
        """Write the images of one photograph; return its canvas as JSON, and name and SHA-256 of each file."""
        with self._budget.hold(_BYTES_PER_PIXEL * (outcome.pixels or 0)):
            try:
                gray = self._originals.get_any(self._originals.sized(info))
                return self._images(outcome, gray, self._dest.get(str(outcome.output_key)))
            except ImageError as exc:
                raise ManifestError(
                    f"{printable(outcome.key)}: --iiif shows it gray and in color, and it cannot be read ({exc}): mend "
                    "that, or leave out --iiif"
                ) from exc

    def _images(self, outcome: Outcome, gray: bytes, color: bytes) -> tuple[str, list[tuple[str, str]]]:
        network = self._record.made_by(outcome.revision).checkpoint["name"]
        # The same for the same key, and safe in every address and on every disk.
        images = hashlib.sha256(outcome.key.encode()).hexdigest()[:20]
        bodies, files, size = [], [], (0, 0)
        for kind, data, label in (
            ("gray", gray, "The original"),
            ("color", color, f"Colorized by a trained network ({network})"),
        ):
            folder, pictures = f"images/{images}-{kind}", pictures_of(data)
            for name, content in image_files(f"{self._url}/{folder}", pictures):
                files.append((f"{FOLDER}{folder}/{name}", self._put(f"{FOLDER}{folder}/{name}", content)))
            bodies.append(_body(f"{self._url}/{folder}", label, pictures[-1]))
            size = pictures[-1].width, pictures[-1].height
        return json.dumps(self._canvas(outcome.key, images, size, bodies), ensure_ascii=False), files

    def close(self) -> None:
        """Remove what waited on disk."""
        self._canvases.close()

    def end(self) -> None:
        """Write the manifest of each folder, and the collection of them all."""
        title = self._record.source.rstrip("/").rpartition("/")[2] or "photographs"
        folders = [row[0] for row in self._canvases.execute("SELECT DISTINCT folder FROM canvases ORDER BY folder")]
        items = []
        for folder in folders:
            name = f"manifests/{hashlib.sha256(folder.encode()).hexdigest()[:16]}.json"
            label = {"none": [folder or title]}
            self._write(name, b"".join(self._manifest_of(folder, name, label)))
            items.append({"id": f"{self._url}/{name}", "type": "Manifest", "label": label})
        collection = {
            "@context": _CONTEXT,
            "id": f"{self._url}/collection.json",
            "type": "Collection",
            "label": {"none": [title]},
            "requiredStatement": _NOTICE,
            "items": items,
        }
        self._write("collection.json", _json(collection))

    def _write(self, name: str, data: bytes) -> None:
        self._on_file(FOLDER + name, self._put(FOLDER + name, data))

    def _manifest_of(self, folder: str, name: str, label: dict[str, list[str]]) -> Iterator[bytes]:
        head = {
            "@context": _CONTEXT,
            "id": f"{self._url}/{name}",
            "type": "Manifest",
            "label": label,
            "requiredStatement": _NOTICE,
        }
        yield _json(head).rstrip()[:-1].rstrip() + b',\n  "items": [\n'
        rows = self._canvases.execute("SELECT body FROM canvases WHERE folder = ? ORDER BY key", [folder])
        for number, (body,) in enumerate(rows):
            yield (b",\n" if number else b"") + body.encode()
        yield b"\n  ]\n}\n"

    def _canvas(self, key: str, name: str, size: tuple[int, int], bodies: list[dict[str, Any]]) -> dict[str, Any]:
        at = f"{self._url}/canvases/{name}"
        painting = {
            "id": f"{at}/painting",
            "type": "Annotation",
            "motivation": "painting",
            "target": at,
            "body": {"type": "Choice", "items": bodies},
        }
        return {
            "id": at,
            "type": "Canvas",
            "label": {"none": [PurePosixPath(key).name]},
            "width": size[0],
            "height": size[1],
            "items": [{"id": f"{at}/page", "type": "AnnotationPage", "items": [painting]}],
        }


def _body(image: str, label: str, picture: Picture) -> dict[str, Any]:
    return {
        "id": f"{image}/full/max/0/default.jpg",
        "type": "Image",
        "format": "image/jpeg",
        "label": {"en": [label]},
        "width": picture.width,
        "height": picture.height,
        "service": [{"id": image, "type": "ImageService3", "profile": "level0"}],
    }


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n"
