"""The text files of a BagIt bag (RFC 8493): names as manifests spell them, and the tags of `bag-info.txt`."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from raycolor import __version__
from raycolor.colorize.job_record import JobRecord
from raycolor.progress import printable

DECLARATION: Final = "bagit.txt"
INFO: Final = "bag-info.txt"
MANIFEST: Final = "manifest-sha256.txt"
TAG_MANIFEST: Final = "tagmanifest-sha256.txt"
PAYLOAD: Final = "data/"

DECLARED: Final = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
_JOB: Final = "Internal-Sender-Identifier: raycolor-job:"

_ENCODED: Final = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})


def encoded(path: str) -> str:
    """Return a path as manifests spell it: `%`, CR and LF percent-encoded, nothing else (RFC 8493, 2.1.3)."""
    return path.translate(_ENCODED)


def decoded(path: str) -> str:
    """Invert `encoded`."""
    return path.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")


def manifest_line(sha256: str, path: str) -> bytes:
    """Return one line of a manifest."""
    return f"{sha256}  {encoded(path)}\n".encode()


def is_misread(path: str) -> bool:
    """Whether a widespread reader (bagit-python up to 1.9) takes a path for another one than RFC 8493 says."""
    return "%" in path or path != path.rstrip()


def job_mark(record: JobRecord) -> str:
    """Return the line of `bag-info.txt` that says of which job a bag is; later runs do not change it."""
    job = json.dumps([record.identity, record.source, record.created], sort_keys=True)
    return _JOB + hashlib.sha256(job.encode()).hexdigest()


def bag_info(record: JobRecord, payload_bytes: int, payload_files: int) -> bytes:
    """Return `bag-info.txt`; the same job gives the same bytes whenever it is packed."""
    checkpoint = record.checkpoint
    lines = (
        f"Bag-Software-Agent: raycolor {__version__}",
        f"Bagging-Date: {record.created[:10]}",
        f"External-Description: Photographs colorized by raycolor {record.raycolor_version}, "
        f"checkpoint {printable(checkpoint['name'])} ({checkpoint['weights_sha256']})",
        job_mark(record),
        f"Payload-Oxum: {payload_bytes}.{payload_files}",
    )
    return "".join(f"{line}\n" for line in lines).encode()
