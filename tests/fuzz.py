"""Mutated files through the whole path of one photograph, and mutated settings and lists through their readers.

`python tests/fuzz.py --files 20000`; `--only N` repeats file N of a seed, in this process. Every file is made from
(seed, number) alone. Children do the work: one that dies, takes too long or too much memory is a finding, and so is
every exception that is none of raycolor's own. Findings are saved, with the command that repeats each.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import multiprocessing
import os
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "codecs")]
MAX_PIXELS = 2_000_000
_INTERESTING = (0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 32767, 32768, 65535, 65536, *((1 << i) - 1 for i in (31, 32)))
_WORDS = (
    ".inf", "-.inf", ".nan", "1e400", "9" * 5000, "10000000000000000000000", "-1", "&a [1]", "*a", "[" * 3000, "{a: ",
    "!!python/object:os.system", "2026-99-99", "\0", "\ufeff", '"', "1:1:1:1:1:1", "0x" + "f" * 400, "<<: ", ",", "\n",
)  # fmt: skip


def seeds() -> dict[str, bytes]:
    """Return the files that are mutated: every format and kind, settings, and lists."""
    from codec_samples import gray, picture, samples, save, tiff
    from PIL import Image

    bilevel = Image.fromarray(gray() > 127)
    made = dict(samples())
    for compression in ("group3", "group4", "tiff_ccitt"):
        made[f"tiff-{compression}"] = save(bilevel, "TIFF", compression=compression)
    made["tiff-jpeg"] = tiff(picture(), photometric="rgb", compression="jpeg", rowsperstrip=16)
    made["tiff-tiles"] = tiff(gray(), photometric="minisblack", compression="deflate", tile=(32, 32))
    made["tiff-planes"] = tiff(np.moveaxis(picture(), -1, 0).copy(), photometric="rgb", planarconfig="separate")
    made["tiff-zstd"] = tiff(gray(), photometric="minisblack", compression="zstd", predictor=2)
    made["tiff-palette"] = save(Image.fromarray(picture()).quantize(16), "TIFF")
    made["tiff-cmyk"] = save(Image.fromarray(picture()).convert("CMYK"), "TIFF", compression="tiff_lzw")
    frames = [Image.fromarray(gray(seed=i)) for i in range(3)]
    for kind in ("GIF", "PNG", "WEBP"):
        made[f"{kind.lower()}-animated"] = save(frames[0], kind, save_all=True, append_images=frames[1:], duration=40)
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 300.0
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    packet += b'<rdf:Description rdf:about=""/></rdf:RDF></x:xmpmeta>'
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        made[f"{kind.lower()}-metadata"] = save(gray(), kind, exif=exif, xmp=packet)
    made["bmp-gray"] = save(gray(), "BMP")
    made["settings.yaml"] = b"saturation: 0.5\njpeg_quality: 80\nmax_pixels: 250MP\ninclude: ['*.jpg', b]\nworkers: 2\n"
    made["training.yaml"] = b"epochs: 3\nseed: 1\noptim: {lr: 1.0e-4, ema: 0.9}\nnetwork: {base: 8}\nuse_gpu: null\n"
    made["list.csv"] = b"bucket,key,version,size\na,1.jpg,v1,100\na,2 3.jpg,v2,0\n"
    made["names.csv"] = b"uri,size,etag\n1.jpg,5,abc\n/tmp/2.jpg,7,def\n"
    made["list.txt"] = b"1.jpg\nfolder/2.jpg\ns3://bucket/key\n"
    made["inventory.json"] = (
        b'{"sourceBucket": "a", "fileFormat": "CSV", "fileSchema": "Bucket, Key, Size", "files": [{"key": "d.csv.gz"}]}'
    )
    return made


def mutated(name: str, data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Return the file with one to four wounds, its checksums often right again."""
    out = bytearray(data)
    is_text = "." in name
    for _ in range(rng.integers(1, 5)):
        wounds: list[Callable[[bytearray, np.random.Generator], None]] = [_flip, _number, _number, _cut, _double, _swap]
        if is_text:
            wounds += [_word] * 6
        elif name.startswith("tiff"):
            wounds += [_tag] * 4
        wounds[rng.integers(len(wounds))](out, rng)
        if rng.random() < 0.03:
            at, start = _at(out, rng), int(rng.integers(len(other)))
            out[at:at] = other[start : start + int(rng.integers(1, 400))]
    if out[:4] == b"\x89PNG" and rng.random() < 0.7:
        _mend_sums(out)
    return bytes(out)


def _at(out: bytearray, rng: np.random.Generator) -> int:
    """Return a place, more often near the start, where headers are."""
    return int(rng.integers(max(1, len(out) if rng.random() < 0.5 else min(len(out), 300))))


def _flip(out: bytearray, rng: np.random.Generator) -> None:
    if out:
        out[_at(out, rng)] ^= 1 << int(rng.integers(8))


def _number(out: bytearray, rng: np.random.Generator) -> None:
    size, at = int(rng.choice([1, 2, 4, 8])), _at(out, rng)
    known = [*_INTERESTING, len(out), len(out) - at, at]
    value = known[rng.integers(len(known))] if rng.random() < 0.8 else int(rng.integers(1 << 32))
    out[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "big" if rng.random() < 0.5 else "little")


def _cut(out: bytearray, rng: np.random.Generator) -> None:
    at = _at(out, rng)
    del out[at : None if rng.random() < 0.3 else at + int(rng.integers(1, 60))]


def _double(out: bytearray, rng: np.random.Generator) -> None:
    at, size = _at(out, rng), int(rng.integers(1, 200))
    times = 1 if rng.random() < 0.9 else int(rng.integers(2, 400))
    out[at:at] = out[at : at + size] * times


def _swap(out: bytearray, rng: np.random.Generator) -> None:
    a, b = sorted((_at(out, rng), _at(out, rng)))
    size = min(int(rng.integers(1, 64)), b - a)
    out[a : a + size], out[b : b + size] = out[b : b + size], out[a : a + size]


def _word(out: bytearray, rng: np.random.Generator) -> None:
    at = _at(out, rng)
    out[at : at + int(rng.integers(0, 12))] = _WORDS[rng.integers(len(_WORDS))].encode()


def _tag(out: bytearray, rng: np.random.Generator) -> None:
    """Change tag, type, count or value of an entry of the first directory of a classic TIFF."""
    order = "<" if out[:2] == b"II" else ">"
    with contextlib.suppress(struct.error):
        (start,) = struct.unpack_from(order + "I", out, 4)
        (count,) = struct.unpack_from(order + "H", out, start)
        at = start + 2 + 12 * int(rng.integers(max(1, count)))
        place, code = ((0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "H"))[rng.integers(5)]
        values = [*_INTERESTING, start, len(out), *range(256, 285), 330, 34665]
        value = values[rng.integers(len(values))] & (0xFFFF if code == "H" else -1)
        struct.pack_into(order + code, out, at + place, value)


def _mend_sums(out: bytearray) -> None:
    at = 8
    while at + 12 <= len(out):
        (length,) = struct.unpack_from(">I", out, at)
        if at + 12 + length > len(out):
            return
        struct.pack_into(">I", out, at + 8 + length, zlib.crc32(out[at + 4 : at + 8 + length]))
        at += 12 + length


class Files:
    """The mutated files of a seed by number."""

    def __init__(self, seed: int) -> None:
        self._seed, self._seeds = seed, list(seeds().items())

    def __getitem__(self, number: int) -> tuple[str, bytes]:
        rng = np.random.default_rng([self._seed, number])
        name, data = self._seeds[rng.integers(len(self._seeds))]
        return name, mutated(name, data, self._seeds[rng.integers(len(self._seeds))][1], rng)


class Target:
    """What every file goes through; `end` names how it ended, and lets through what should never come."""

    def __init__(self, folder: Path) -> None:
        from raycolor.colorizer.config import ColorizerConfig
        from raycolor.colorizer.photograph import FileColorizer
        from raycolor.colorizer.predict import Predicted

        def predict(planes: Sequence[Any]) -> list[Predicted]:
            return [Predicted(np.full((*plane.shape, 2), 20.0, np.float32), None) for plane in planes]

        options = {"checkpoint": "regression", "max_pixels": MAX_PIXELS, "network_size": 64, "on_color": "recolor"}
        self._colorizers = [
            FileColorizer(ColorizerConfig(**options, jpeg_luma=m), predict) for m in ("exact", "reencode")
        ]
        self._folder = folder

    def end(self, number: int, name: str, data: bytes) -> str:
        from raycolor.errors import ArchiveError, ConfigError, ImageError

        try:
            if "." in name:
                self._read(name, data)
            else:
                self._colorizers[number % 2].colorize(data)
            return "done"
        except ImageError as error:
            ended, message = str(error.reason), error.detail
        except (ConfigError, ArchiveError) as error:
            ended, message = type(error).__name__, str(error)
        if len(message.splitlines()) != 1:
            raise AssertionError(f"a message that is not one line: {message!r}")
        return ended

    def _read(self, name: str, data: bytes) -> None:
        from raycolor.colorize.config import ColorizeConfig
        from raycolor.config import load_config
        from raycolor.sources import open_source
        from raycolor.train.config import TrainConfig

        path = self._folder / name
        path.write_bytes(data)
        if name == "settings.yaml":
            load_config(ColorizeConfig, file=str(path), flags={"source": "a", "dest": "b"})
        elif name == "training.yaml":
            load_config(TrainConfig, file=str(path), flags={"method": "gan", "data": "d", "out": "o"})
        else:
            # Buckets are not asked: the list is all that is read here.
            source = open_source(str(path), archives=False)
            for _ in source.inputs(str(self._folder / "dest")):
                pass


def work(pipe: Connection, seed: int, folder: str) -> None:
    """Do files by their numbers, as they come; answer with how each ended and the most memory it took."""
    faulthandler.enable()
    files, target = Files(seed), Target(Path(folder))
    pipe.send("ready")
    while True:
        number = pipe.recv()
        if number is None:
            return
        name, data = files[number]
        Path("/proc/self/clear_refs").write_text("5")
        try:
            ended, wrong = target.end(number, name, data), None
        except BaseException as exc:  # noqa: BLE001 - whatever it is, it is the finding
            ended, wrong = "exception", f"{type(exc).__name__}: {exc}"
        pipe.send((name, ended, wrong, peak_bytes(os.getpid())))


def peak_bytes(pid: int) -> int:
    """Return the most memory a process has held since its mark was last put back."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return 0


@dataclass
class Child:
    """A process at work on one file, and since when."""

    seed: int
    folder: str
    process: Any = None
    pipe: Any = None
    number: int | None = None
    since: float = 0.0

    def start(self) -> Child:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, self.seed, self.folder), daemon=True)
        self.process.start()
        theirs.close()
        self.number, self.since = None, time.monotonic()
        return self

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


@dataclass
class Result:
    """What a run has found."""

    done: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    peak: int = 0
    slowest: float = 0.0


def run(seed: int, numbers: Iterator[int], *, workers: int, seconds: float, limit_s: float, limit_bytes: int) -> Result:
    """Do files until there are no more or time is up."""
    result, stop = Result(), time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="raycolor-fuzz-") as folder:
        places = [Path(folder) / str(i) for i in range(workers)]
        for place in places:
            place.mkdir()
        children = [Child(seed, str(place)).start() for place in places]
        try:
            while children and time.monotonic() < stop:
                wait([child.pipe for child in children], timeout=0.2)
                for child in list(children):
                    if not _attend(child, result, numbers, limit_s, limit_bytes):
                        children.remove(child)
                        child.kill()
        finally:
            for child in children:
                child.kill()
    return result


def _attend(child: Child, result: Result, numbers: Iterator[int], limit_s: float, limit_bytes: int) -> bool:
    """Take what a child says and give it the next file; False once there are no more."""
    problem, spent = None, time.monotonic() - child.since
    try:
        if child.pipe.poll():
            said = child.pipe.recv()
            if child.number is not None:
                name, ended, problem, peak = said
                result.done += 1
                result.ends[f"{name.partition('-')[0]} {ended}"] += 1
                result.peak, result.slowest = max(result.peak, peak), max(result.slowest, spent)
                if peak > limit_bytes:
                    problem = f"took {peak / 1e9:.2f} GB"
                if problem:
                    result.findings.append(f"{child.number}: {name}: {problem}")
            child.number = next(numbers, None)
            child.since = time.monotonic()
            child.pipe.send(child.number)
            return child.number is not None
        if child.number is not None and peak_bytes(child.process.pid) > limit_bytes:
            problem = f"takes over {limit_bytes / 1e9:.1f} GB"
        elif spent > (limit_s if child.number is not None else 300):
            problem = f"no end after {spent:.0f} s"
    except (EOFError, OSError):
        problem = f"the process died ({child.process.exitcode})"
    if problem:
        result.done += child.number is not None
        result.findings.append(f"{child.number}: {problem}")
        child.kill()
        child.start()
    return True


def main() -> int:
    """Run from the command line; 1 if anything was found, or fewer files were done than asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first file")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--workers", type=int, default=max(1, len(os.sched_getaffinity(0))))
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder for files that were findings")
    parser.add_argument("--only", type=int, help="repeat one file, in this process")
    args = parser.parse_args()
    if args.only is not None:
        name, data = Files(args.seed)[args.only]
        with tempfile.TemporaryDirectory() as folder:
            print(name, len(data), "bytes:", Target(Path(folder)).end(args.only, name, data))
        return 0
    begun = time.monotonic()
    numbers = iter(range(args.start, args.start + args.files))
    result = run(
        args.seed, numbers, workers=args.workers, seconds=60 * args.minutes, limit_s=20, limit_bytes=1_500_000_000
    )
    took = time.monotonic() - begun
    for ended, count in sorted(result.ends.items()):
        print(f"{count:7,}  {ended}")
    print(
        f"{result.done:,} of {args.files:,} files in {took:.0f} s; most memory {result.peak / 1e6:.0f} MB, "
        f"slowest {result.slowest:.1f} s; findings: {len(result.findings)}"
    )
    files = Files(args.seed)
    for finding in result.findings:
        number = finding.partition(":")[0]
        print(f"{finding}\n    python tests/fuzz.py --seed {args.seed} --only {number}")
        if number.isdigit():
            args.keep.mkdir(exist_ok=True)
            name, data = files[int(number)]
            (args.keep / f"{args.seed}-{number}-{name}").write_bytes(data)
    return 1 if result.findings or result.done < args.files else 0


if __name__ == "__main__":
    sys.exit(main())
