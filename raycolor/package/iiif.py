"""IIIF: a Presentation 3 manifest per folder, in which every photograph can be seen gray and in color."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from raycolor.errors import ConfigError
from raycolor.package.iiif_images import Picture, image_files, pictures_of
from raycolor.sources.key_set import scratch

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

Put = Callable[[str, bytes], str]


class Shown(NamedTuple):
    """One photograph, gray and in color."""

    key: str
    network: str
    gray: bytes
    """The original file."""
    color: bytes
    """The output file."""

    @property
    def name(self) -> str:
        """Of its images: the same for the same key, and safe in every address and on every disk."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:20]


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


class Drawn(NamedTuple):
    """What was made of one photograph."""

    key: str
    canvas: str
    """As JSON."""
    sums: list[tuple[str, str]]
    """Name and SHA-256 of each file."""


class Presentation:
    """Writes images as photographs come, and at last the manifests of their folders.

    Memory does not grow with the number of photographs: canvases wait on disk.

    Args:
        url: as `check_url` returns it.
        put: writes one file of the package by its name; returns its SHA-256.
        folder: for the canvases, on disk.
    """

    def __init__(self, url: str, put: Put, folder: Path) -> None:
        self._url, self._put = url, put
        self._canvases = scratch(
            str(folder), "CREATE TABLE canvases (folder TEXT, key TEXT, body TEXT, PRIMARY KEY (folder, key))"
        )

    def draw(self, shown: Shown) -> Drawn:
        """Write the images of one photograph, from any thread.

        Raises:
            DecodeError: a file cannot be decoded.
        """
        bodies, sums, size = [], [], (0, 0)
        for kind, data, label in (
            ("gray", shown.gray, "The original"),
            ("color", shown.color, f"Colorized by a trained network ({shown.network})"),
        ):
            folder = f"{FOLDER}images/{shown.name}-{kind}"
            pictures = pictures_of(data)
            for name, content in image_files(self._image(shown.name, kind), pictures):
                sums.append((f"{folder}/{name}", self._put(f"{folder}/{name}", content)))
            bodies.append(self._body(shown.name, kind, label, pictures[-1]))
            size = pictures[-1].width, pictures[-1].height
        return Drawn(shown.key, json.dumps(self._canvas(shown, size, bodies), ensure_ascii=False), sums)

    def note(self, drawn: Drawn) -> None:
        """Keep the canvas of a photograph for the manifest of its folder."""
        folder = drawn.key.rpartition("/")[0]
        self._canvases.execute("INSERT OR REPLACE INTO canvases VALUES (?, ?, ?)", [folder, drawn.key, drawn.canvas])

    def close(self) -> None:
        """Remove what waited on disk."""
        self._canvases.close()

    def write_manifests(self, title: str) -> Iterator[tuple[str, str]]:
        """Write the manifest of each folder, and the collection of them all; yield name and SHA-256 of each.

        Args:
            title: of the collection.
        """
        folders = [row[0] for row in self._canvases.execute("SELECT DISTINCT folder FROM canvases ORDER BY folder")]
        items = []
        for folder in folders:
            name = f"manifests/{hashlib.sha256(folder.encode()).hexdigest()[:16]}.json"
            label = {"none": [folder or title]}
            yield FOLDER + name, self._put(FOLDER + name, b"".join(self._manifest(folder, name, label)))
            items.append({"id": f"{self._url}/{name}", "type": "Manifest", "label": label})
        collection = {
            "@context": _CONTEXT,
            "id": f"{self._url}/collection.json",
            "type": "Collection",
            "label": {"none": [title]},
            "requiredStatement": _NOTICE,
            "items": items,
        }
        yield FOLDER + "collection.json", self._put(FOLDER + "collection.json", _json(collection))

    def _manifest(self, folder: str, name: str, label: dict[str, list[str]]) -> Iterator[bytes]:
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

    def _canvas(self, shown: Shown, size: tuple[int, int], bodies: list[dict[str, Any]]) -> dict[str, Any]:
        at = f"{self._url}/canvases/{shown.name}"
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
            "label": {"none": [PurePosixPath(shown.key).name]},
            "width": size[0],
            "height": size[1],
            "items": [{"id": f"{at}/page", "type": "AnnotationPage", "items": [painting]}],
        }

    def _body(self, name: str, kind: str, label: str, picture: Picture) -> dict[str, Any]:
        image = self._image(name, kind)
        return {
            "id": f"{image}/full/max/0/default.jpg",
            "type": "Image",
            "format": "image/jpeg",
            "label": {"en": [label]},
            "width": picture.width,
            "height": picture.height,
            "service": [{"id": image, "type": "ImageService3", "profile": "level0"}],
        }

    def _image(self, name: str, kind: str) -> str:
        return f"{self._url}/images/{name}-{kind}"


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n"
