"""A colorizer in a child process: an image that makes a decoder crash or hang costs that image only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from raycolor.child_process import Ask, Child, Work
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.hint_list import HintList
from raycolor.colorizer.photograph import Colorized, FileColorizer
from raycolor.colorizer.predict import Predict
from raycolor.sources import Input, Reader

_TASK = "raycolor.colorize.isolation:make"
_READ = "read"


@dataclass(frozen=True)
class _Options:
    """What a child makes its colorizer and its reader from."""

    colorizer: ColorizerConfig
    asks: bool
    """Whether it has no network of its own."""
    reader: Reader | None
    hints: HintList


class IsolatedColorizer:
    """Runs `FileColorizer.colorize` in a child process, started when first needed and again after each death.

    Args:
        config: what the child makes its colorizer from.
        timeout_s: seconds after which an image has hung.
        predict: the network, where it runs elsewhere: the child asks for color then. By default the child loads it.
        reader: with it the child reads inputs, too.
        hints: of the inputs that it reads.
        read_timeout_s: seconds after which reading has hung.
        command: the child, as `Child` takes it.
    """

    def __init__(
        self,
        config: ColorizerConfig,
        *,
        timeout_s: float,
        predict: Predict | None = None,
        reader: Reader | None = None,
        hints: HintList | None = None,
        read_timeout_s: float | None = None,
        command: Sequence[str] = (),
    ) -> None:
        made_from = _Options(config, predict is not None, reader, hints or HintList())
        self.child = Child(_TASK, made_from, timeout_s=timeout_s, command=command)
        self._predict = predict
        self._read_timeout_s = timeout_s if read_timeout_s is None else read_timeout_s

    def __enter__(self) -> IsolatedColorizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.close()

    def colorize(self, data: bytes) -> Colorized:
        """Colorize one photograph; as `FileColorizer.colorize`.

        Raises:
            ImageError: as `FileColorizer.colorize`.
            ChildDiedError: the child died of this image or took longer than the timeout.
            ChildStartError: there is no child.
        """
        return self._joined(*self.child.ask(None, data, answer=self._answer))

    def read_and_colorize(self, info: Input) -> Colorized:
        """Read one input and colorize it, both in the child; raises what reading raises, too."""
        return self._joined(*self.child.ask(info, answer=self._answer, timeout_s=self._read_timeout_s))

    def _answer(self, question: Any) -> Any:
        """Answer the child: it has read and begins to colorize, or it asks for the color of lightness planes."""
        if question == _READ:
            return None
        assert self._predict is not None
        return self._predict(question)

    @staticmethod
    def _joined(result: Colorized, made: bytes) -> Colorized:
        return replace(result, data=made)


def make(options: _Options, ask: Ask) -> Work:
    """Be the task of the child."""
    colorizer = FileColorizer(options.colorizer, ask) if options.asks else FileColorizer(options.colorizer)

    def work(info: Input | None, data: bytes) -> tuple[Colorized, bytes]:
        if info is not None:
            assert options.reader is not None
            data = options.reader.get(info)
            ask(_READ)
        result = colorizer.colorize(data, () if info is None else options.hints.of(info.key))
        return replace(result, data=b""), result.data

    return work
