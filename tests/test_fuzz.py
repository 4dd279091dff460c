"""The short form of `make fuzz`: mutated files end in a picture, a named reason or a ConfigError, nothing else."""

from pathlib import Path

import fuzz
import pytest


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """The whole path of a photograph with a network that costs nothing, and the readers of settings and lists."""
    return fuzz.Target(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(scope="module")
def files():
    """The mutated files of a seed that `make fuzz` does not use."""
    return fuzz.Files(7)


@pytest.mark.parametrize("part", range(4))
def test_mutated_files_raise_nothing_of_a_library(target, files, part):
    """Of hundreds of files of every format, settings and lists, none raises anything but errors of raycolor's own."""
    wrong = {}
    for number in range(100 * part, 100 * (part + 1)):
        name, data = files[number]
        try:
            target.end(number, name, data)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is the finding
            wrong[number] = (name, repr(exc))
    assert wrong == {}


def test_a_file_of_the_fuzz_is_the_same_each_time(files):
    """A number and a seed make the same bytes again, so that one command repeats a finding."""
    again = fuzz.Files(7)
    assert [files[i] for i in range(40)] == [again[i] for i in range(40)]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc")
def test_too_much_memory_is_found():
    """A child that holds more than it may is a finding, it is replaced, and the run ends."""
    result = fuzz.run(7, iter(range(2)), workers=1, seconds=120, limit_s=60, limit_bytes=1 << 20)
    assert result.findings
    assert all("took" in finding or "takes" in finding for finding in result.findings)
