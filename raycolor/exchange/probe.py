"""Looking at an ONNX file in a child process: what is in it, and what it answers; a hostile one costs that child."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from raycolor.child_process import Ask, Work
from raycolor.errors import CheckpointError
from raycolor.models.card import METADATA_KEY, Card
from raycolor.models.onnx_file import dtype_of, parse, start_session, tensors

TASK: Final = "raycolor.exchange.probe:make"
_MEMORY: Final = 12 << 30  # bytes; the largest published colorizer needs 4 GB at 512 px
_LARGEST: Final = 2_000_000_000  # bytes of a file of protobuf
_TRY_PX: Final = 256


class Port(NamedTuple):
    """An input or output of a network."""

    name: str
    shape: tuple[int | None, ...]
    """None where it is free."""
    dtype: str


class Listing(NamedTuple):
    """What an ONNX file says of itself."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    card: str | None
    """As JSON."""


class Answers(NamedTuple):
    """What a network answered to two planes."""

    finite: bool
    same: bool
    """Whether to both alike."""
    low: float
    """Least and largest number, by the card in Lab units or, of RGB, in 0..1."""
    high: float
    input_px: int
    """Height of the planes, and of the answers."""
    output_px: int


def make(source: str, ask: Ask) -> Work:
    """Be the task of the child: a path gives a `Listing` and the file; a `Card`, after that, `Answers`."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, resource.RLIM_INFINITY))
    session: Any = None

    def work(request: Any, _: bytes) -> tuple[Any, bytes]:
        nonlocal session
        try:
            if not isinstance(request, Card):
                whole = read_whole(Path(request))
                session = start_session(whole, source)
                return _list(session), whole
            if session is None:
                raise CheckpointError(f"{source}: the process that tried it was killed: is there memory enough?")
            return _try(session, request, source), b""
        except MemoryError as exc:
            raise CheckpointError(
                f"{source}: needs more than {_MEMORY >> 30} GB of memory: is it a colorizer?"
            ) from exc

    return work


def read_whole(path: Path) -> bytes:
    """Read an ONNX file, and weights that it keeps beside itself into it.

    Raises:
        CheckpointError: it cannot be read, is none, or names files elsewhere.
    """
    import onnx

    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise CheckpointError(f"{path}: {size:,} bytes: ONNX files hold at most {_LARGEST:,}")
        data = path.read_bytes()
    except OSError as exc:
        raise CheckpointError(f"{path}: cannot be read ({exc.strerror}): check the path") from exc
    model = parse(data, str(path))
    outside = [tensor for tensor in tensors(model) if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if not outside:
        return data
    total = len(data)
    for tensor in outside:
        said = {entry.key: entry.value for entry in tensor.external_data}
        part = _read_beside(path, said)
        total += len(part)
        if total > _LARGEST:
            raise CheckpointError(f"{path}: over {_LARGEST:,} bytes with its weights: one ONNX file cannot hold them")
        tensor.raw_data = part
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
    return bytes(model.SerializeToString())


def _read_beside(path: Path, said: dict[str, str]) -> bytes:
    """Read a part of a file of weights, which has to lie in the folder of the ONNX file itself."""
    name = said.get("location", "")
    beside = path.parent / name
    if not name or name != Path(name).name or "\\" in name or beside.is_symlink() or not beside.is_file():
        raise CheckpointError(
            f"{path}: keeps weights in {name[:100]!r}: only a file in its own folder is read: save it as one file"
        )
    try:
        offset, length = int(said.get("offset", "0")), int(said.get("length", "-1"))
        if not 0 <= offset <= beside.stat().st_size or not -1 <= length <= _LARGEST:
            raise ValueError("out of the file")
        with beside.open("rb") as opened:
            opened.seek(offset)
            return opened.read(min(length, _LARGEST) if length >= 0 else _LARGEST)
    except (OSError, ValueError) as exc:
        raise CheckpointError(f"{beside}: cannot be read as weights ({exc}): copy it again") from exc


def _list(session: Any) -> Listing:
    def ports(found: Any) -> tuple[Port, ...]:
        return tuple(
            Port(one.name, tuple(side if isinstance(side, int) else None for side in one.shape), dtype_of(one.type))
            for one in found
        )

    said = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    return Listing(ports(session.get_inputs()), ports(session.get_outputs()), said)


def _try(session: Any, card: Card, source: str) -> Answers:
    from raycolor.models.card_arithmetic import color_of, run_network

    side = card.size.fixed_px or max(card.size.multiple_of, _TRY_PX // card.size.multiple_of * card.size.multiple_of)
    # RGB is looked at before it is clipped.
    scaled = np.concatenate([run_network(session, card, plane[None], source)[0] for plane in _planes(side)])
    found = color_of(card, scaled)
    same = bool(np.array_equal(found[0], found[1]))
    finite, low, high = bool(np.isfinite(found).all()), float(scaled.min()), float(scaled.max())
    return Answers(finite, same, low, high, side, scaled.shape[2])


def _planes(side: int) -> list[NDArray[np.float32]]:
    """Return two lightness planes: a soft landscape of hills under a sky, and noise."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    hills = np.where(y > 0.5 + 0.1 * np.sin(9 * x), 35 + 15 * np.sin(40 * x * y), 85 - 30 * y)
    noise = np.random.default_rng(0).uniform(0, 100, (side, side))
    return [hills.astype(np.float32), noise.astype(np.float32)]
