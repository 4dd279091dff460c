"""`raycolor package`: the outputs and records of a finished job as a BagIt bag, in a folder or in S3."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from raycolor.colorize.finished import PIECE_BYTES, finished_job, originals_of, pieces, sha256_of
from raycolor.colorize.job_folder import ATTEMPTS, FOLDER
from raycolor.colorize.job_record import JobRecord, read_job
from raycolor.errors import ConfigError, ManifestError
from raycolor.package import bag_files, iiif, premis
from raycolor.package.config import PackageConfig
from raycolor.package.payload import File, payload_of
from raycolor.progress import Progress
from raycolor.sources.key_set import KeySet
from raycolor.sources.overlap import place_holds
from raycolor.storage import LocalStore, ObjectInfo, ObjectStore, get_if_there, open_store
from raycolor.storage.lease import LEASE_KEY, Lease
from raycolor.storage.local import name_to_key

logger = logging.getLogger(__name__)

_THREADS: Final = 8
# Every ended job has these; whatever else lies among the records is packed, too.
_RECORDS: Final = tuple(
    FOLDER + name for name in ("job.json", "summary.json", "outcomes.csv", "failed.csv", "report.html")
)
# What a package holds beside its payload.
_TAGS: Final = (bag_files.DECLARATION, bag_files.INFO, bag_files.MANIFEST, bag_files.TAG_MANIFEST)
_METADATA: Final = (re.compile(r"metadata/premis/part-\d{6,}\.xml\Z"), iiif.FILE)


def run(config: PackageConfig) -> int:
    """Pack a job; returns 0. Changes nothing in DEST. Memory grows neither with the number of outputs nor their size.

    Raises:
        ConfigError: OUT overlaps DEST or SOURCE, or holds something else than an earlier package of the job; the
            address of `iiif` is none, or the originals that it shows are not there.
        ManifestError: there is no finished job, its records are damaged, or an output is not what its outcome says.
        StorageError: DEST cannot be read, or OUT not be written.
    """
    if config.iiif is not None:
        config = config.model_copy(update={"iiif": iiif.check_url(config.iiif)})
    dest = open_store(config.dest, must_exist=True, endpoint_url=config.endpoint_url)
    record = finished_job(dest)
    _check_place(open_store(config.out, endpoint_url=config.endpoint_url).uri, dest, record)
    _check_records(dest, record)
    with (
        KeySet() as expected,
        KeySet() as metadata,
        tempfile.TemporaryDirectory(prefix="raycolor-package-") as scratch,
        (Path(scratch) / "tags").open("wb") as tags,
    ):
        package = _Package(dest, record, config, expected, metadata, Path(scratch), tags)
        package.count()
        package.check_free()
        # The payload's store has data/ as its root: what a killed writer left behind is found below the root alone.
        with Lease(package.payload):
            package.write()
        # Last of all, when not even the lease is there any more: until now OUT is no bag.
        package.bag.put(bag_files.DECLARATION, bag_files.DECLARED)
    logger.info(
        "%s: a bag of %s files, %s bytes", package.bag.uri, f"{package.files:,}", f"{package.size_bytes:,}",
        extra={"event": "packed", "fields": {"files": package.files, "bytes": package.size_bytes}},
    )  # fmt: skip
    if package.misread:
        logger.warning(
            "%s names hold %% or end in a space: the manifest spells them by RFC 8493, which bagit-python (1.9) cannot "
            "read: it will call these files missing",
            f"{package.misread:,}",
        )
    return 0


def _check_place(out: str, dest: ObjectStore, record: JobRecord) -> None:
    """Refuse an OUT that would be written into the job's places, or that holds them.

    Raises:
        ConfigError: it overlaps DEST or SOURCE.
    """
    named = record.sources or (record.source,)
    for name, place in [("DEST", dest.uri), *(("SOURCE", _bare(place)) for place in named)]:
        if place_holds(place, out, or_is=True) or place_holds(out, place):
            raise ConfigError(f"OUT {out}: overlaps the {name} {place}: give another place")
    # What the keys of a list are relative to may be a whole disk: it must only not lie inside.
    if record.root and place_holds(out, _bare(record.root), or_is=True):
        raise ConfigError(f"OUT {out}: overlaps the SOURCE {record.root}: give another place")


def _bare(place: str) -> str:
    return place.removeprefix("file://")


def _check_records(dest: ObjectStore, record: JobRecord) -> None:
    """Make sure that a job was ended in whole: outcomes are written before what is made of them.

    Raises:
        ManifestError: a record is missing, or of an earlier state.
    """
    missing = [key for key in _RECORDS if dest.stat(key) is None]
    if not missing:
        try:
            summary = json.loads(dest.get(FOLDER + "summary.json"))
            if summary["complete"] and summary["images"] == record.manifest.images:
                return
        except (ValueError, KeyError, TypeError):
            pass
    what = f"{missing[0]} is missing" if missing else "summary.json is not of the finished job"
    raise ManifestError(f"{dest.uri}: {what}: run the command of the job again")


@dataclass
class _Package:
    """A package that is being made."""

    dest: ObjectStore
    record: JobRecord
    config: PackageConfig
    expected: KeySet
    """Keys of the payload, as its store lists them."""
    metadata: KeySet
    """Names of what lies beside the payload."""
    scratch: Path
    tags: IO[bytes]
    """Lines of the manifest of the tags, as they come."""
    size_bytes: int = 0
    files: int = 0
    misread: int = 0
    records: list[ObjectInfo] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bag = open_store(self.config.out, endpoint_url=self.config.endpoint_url)
        self.payload = open_store(f"{self.bag.uri.rstrip('/')}/data", endpoint_url=self.config.endpoint_url)

    def count(self) -> None:
        """Take in what the payload will be: every output, and every record but those of running jobs."""
        for _, items in payload_of(self.dest, self.record):
            for item in items:
                for file in item.files:
                    self._expect(file.key, file.size)
        for info in self.dest.list(FOLDER):
            if info.key != LEASE_KEY and not info.key.startswith(ATTEMPTS):
                self.records.append(info)
                self._expect(info.key, info.size)
        self.records.sort()  # not every server lists in order

    def _expect(self, key: str, size: int) -> None:
        self.expected.add(self._there(key))
        self.size_bytes += size
        self.files += 1
        self.misread += bag_files.is_misread(key)

    def _there(self, key: str) -> str:
        """Return the key under which the payload holds a key of DEST: on disk, too, the name is just the key."""
        return name_to_key(key) if isinstance(self.payload, LocalStore) else key

    def check_free(self) -> None:
        """Refuse an OUT with files that are not of an earlier package of the job, before anything is written.

        Raises:
            ConfigError: names the first of them.
        """
        info = get_if_there(self.bag, bag_files.INFO) or b""
        ours = bag_files.job_mark(self.record).encode() in info.splitlines()
        with KeySet() as earlier:
            if ours:
                for key in self._earlier():
                    earlier.add(self._there(key))
            for there in self.bag.list():
                key = there.key.removeprefix(bag_files.PAYLOAD)
                if there.key == bag_files.PAYLOAD + LEASE_KEY:
                    continue
                if key != there.key:
                    known = key in self.expected or key in earlier
                else:
                    known = key in _TAGS or any(names.match(key) for names in _METADATA)
                if not (ours and known):
                    raise ConfigError(
                        f"OUT {self.bag.uri}: {there.key} is not of an earlier package of this job: give another place"
                    )

    def _earlier(self) -> Iterator[str]:
        """Yield the payload's keys by the manifest of the earlier package, if it had come to its end."""
        found = self.bag.stat(bag_files.MANIFEST)
        if found is None:
            return
        rest = b""
        for piece in pieces(self.bag, bag_files.MANIFEST, found.size):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                path = bag_files.decoded(line.decode("utf-8", "replace").partition("  ")[2])
                yield path.removeprefix(bag_files.PAYLOAD)

    def write(self) -> None:
        """Bring OUT to what the job is: payload, manifests and tags; all but the declaration that it is a bag."""
        self.bag.delete(bag_files.DECLARATION)
        # First of all: by it a package that was stopped is known for what it is.
        info = bag_files.bag_info(self.record, self.size_bytes, self.files)
        self._tag(bag_files.INFO, self._put_tag(bag_files.INFO, info))
        self.bag.sweep(older_than_s=0)
        self.payload.sweep(older_than_s=0)
        manifest = self.scratch / "manifest"
        with manifest.open("wb") as lines, ExitStack() as ends:
            shows = self._presentation(ends)
            for key, sha256 in self._payload(shows):
                lines.write(bag_files.manifest_line(sha256, bag_files.PAYLOAD + key))
            if shows is not None:
                shows.end()
        self._remove_others()
        self.bag.put_file(bag_files.MANIFEST, manifest)
        with manifest.open("rb") as lines:
            self._tag(bag_files.MANIFEST, hashlib.file_digest(lines, "sha256").hexdigest())
        self._tag(bag_files.DECLARATION, hashlib.sha256(bag_files.DECLARED).hexdigest())
        self.tags.flush()
        self.bag.put_file(bag_files.TAG_MANIFEST, Path(self.tags.name))
        if read_job(self.dest) != self.record:
            raise ManifestError(
                f"{self.dest.uri}: its job went on meanwhile: run the same command again when it has ended"
            )

    def _presentation(self, ends: ExitStack) -> iiif.Presentation | None:
        """Return what writes the images of IIIF, if they are asked for."""
        if self.config.iiif is None:
            return None
        originals = originals_of(self.record, self.config.endpoint_url, "--iiif shows every original")
        to = self.config.iiif, self.scratch, self._put_tag, self._tag
        return ends.enter_context(closing(iiif.Presentation(self.dest, self.record, originals, *to)))

    def _payload(self, shows: iiif.Presentation | None) -> Iterator[tuple[str, str]]:
        """Copy the payload; yield key and SHA-256 of each file, in an order that is always the same."""
        with (
            Progress("package", self.files, "files") as progress,
            ThreadPoolExecutor(_THREADS, "package") as pool,
        ):
            for shard, items in payload_of(self.dest, self.record):
                files = [file for item in items for file in item.files]
                sums = pool.map(self._file, files)
                yield from ((file.key, sha256) for file, sha256 in zip(files, sums, strict=True))
                progress.update(len(files))
                if self.config.premis and items:
                    name = f"metadata/premis/part-{shard:06d}.xml"
                    self._tag(name, self._put_tag(name, premis.document(self.record, items)))
                if shows is not None:
                    shows.show(shard, [item.outcome for item in items if item.outcome.status == "colorized"], pool)
            sums = pool.map(lambda info: self._copy(info.key, info.size, None), self.records)
            for info, sha256 in zip(self.records, sums, strict=True):
                yield info.key, sha256
                progress.update(1)

    def _tag(self, name: str, sha256: str) -> None:
        """Take in a file that was written beside the payload."""
        self.metadata.add(name)
        self.tags.write(bag_files.manifest_line(sha256, name))

    def _put_tag(self, name: str, data: bytes) -> str:
        self.bag.put(name, data)
        return hashlib.sha256(data).hexdigest()

    def _file(self, file: File) -> str:
        """Copy or write one file of an output, unless it is there; return its SHA-256.

        Raises:
            ManifestError: it is not what the records say.
        """
        if file.data is not None:
            self.payload.put(self._there(file.key), file.data)
            return file.sha256
        there = self.dest.stat(file.key)
        if there is None or there.size != file.size:
            raise self._changed(file.key, "is missing" if there is None else "has changed")
        return self._copy(file.key, file.size, file.sha256)

    def _changed(self, key: str, what: str) -> ManifestError:
        return ManifestError(f"{self.dest.uri}/{key}: {what}: run `raycolor verify` on the job for all such files")

    def _copy(self, key: str, size: int, sha256: str | None) -> str:
        """Copy one file of known size, unless its bytes are there; return their SHA-256."""
        there = self.payload.stat(self._there(key))
        same_size = there is not None and there.size == size
        if sha256 is not None and same_size and sha256_of(self.payload, self._there(key), size) == sha256:
            return sha256
        found = hashlib.sha256()
        if size <= PIECE_BYTES:
            data = self.dest.get(key)
            found.update(data)
            self._check(key, len(data) == size, found.hexdigest(), sha256)
            self.payload.put(self._there(key), data)
            return found.hexdigest()
        with tempfile.NamedTemporaryFile(dir=self.scratch) as file:
            for piece in pieces(self.dest, key, size):
                found.update(piece)
                file.write(piece)
            file.flush()
            self._check(key, file.tell() == size, found.hexdigest(), sha256)
            self.payload.put_file(self._there(key), Path(file.name))
        return found.hexdigest()

    def _check(self, key: str, whole: bool, found: str, sha256: str | None) -> None:
        if not whole or sha256 not in (None, found):
            raise self._changed(key, "has changed")

    def _remove_others(self) -> None:
        """Remove what an earlier package held and this one does not, and count what is there.

        Raises:
            ConfigError: a file system took two names for one, or somebody else writes here.
        """
        files = size = 0
        for there in self.payload.list():
            if there.key in self.expected:
                files, size = files + 1, size + there.size
            elif there.key != LEASE_KEY:
                self.payload.delete(there.key)
        for folder in ("metadata/premis/", iiif.FOLDER):
            for there in self.bag.list(folder):
                if there.key not in self.metadata:
                    self.bag.delete(there.key)
        if (files, size) != (self.files, self.size_bytes):
            raise ConfigError(
                f"OUT {self.bag.uri}: holds {files:,} of {self.files:,} files: names differ in letters only that this "
                "file system takes for the same, or somebody else writes here: give another place, for example S3"
            )
