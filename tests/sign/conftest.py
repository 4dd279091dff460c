"""Finished jobs, signed and not, made once for the tests of `raycolor sign`."""

import shutil

import certificates
import photographs
import pytest
from finished_jobs import colorize, fabricate
from signing import scans

from raycolor import cli


@pytest.fixture(scope="session")
def who(tmp_path_factory):
    """The flags that name a certificate and its key."""
    chain, key = certificates.make(tmp_path_factory.mktemp("certificate"))
    return "--certificate", chain, "--key", key


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A folder with `in`, photographs of all formats, and `out`, a finished job of them; no test may change either."""
    folder = tmp_path_factory.mktemp("job")
    fabricate(folder, scans())
    return folder


@pytest.fixture(scope="session")
def real(tmp_path_factory, untrained):
    """The same by a network."""
    folder = tmp_path_factory.mktemp("real")
    photographs.write_all(folder / "in", scans())
    assert colorize(folder / "in", folder / "out", untrained, max_failed="0") == 0
    return folder


@pytest.fixture(scope="session")
def really_signed(real, who, tmp_path_factory):
    """A copy of that job that was signed; no test may change it."""
    dest = shutil.copytree(real / "out", tmp_path_factory.mktemp("really") / "out")
    assert cli.run(["sign", str(dest), *who]) == 0
    return dest


@pytest.fixture
def done(made, tmp_path):
    """A copy of the finished job, whose originals stay where they were."""
    return shutil.copytree(made / "out", tmp_path / "out")


@pytest.fixture(scope="session")
def signed(made, who, tmp_path_factory):
    """A copy of the finished job that was signed; no test may change it."""
    dest = shutil.copytree(made / "out", tmp_path_factory.mktemp("signed") / "out")
    assert cli.run(["sign", str(dest), *who]) == 0
    return dest
