"""Fixtures that several test folders share."""

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from s3server import S3Server


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--corpus", metavar="DIR", help="a folder of any files for tests/bulk/test_corpus.py")
    parser.addoption("--chaos-seed", metavar="N", type=int, help="seed of the moments at which tests kill")

    parser.addoption("--chaos-rounds", metavar="N", type=int, default=1, help="repetitions of what kills nodes")


def pytest_configure(config: pytest.Config) -> None:
    # Tests start hundreds of processes: without bytecode each of them compiles torch anew, longer than it then works.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Ray Data warns of settings of its own that it sets itself.
    config.addinivalue_line("filterwarnings", r"ignore::DeprecationWarning:ray\..*")


@pytest.fixture(scope="session")
def s3() -> "Iterator[S3Server]":
    """A real S3 server (SeaweedFS) on 127.0.0.1 with one bucket; credentials are in the environment meanwhile."""
    from s3server import S3Server

    with S3Server() as server:
        before = {name: os.environ.get(name) for name in server.environment}
        os.environ.update(server.environment)
        try:
            yield server
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


@pytest.fixture(scope="session")
def ray_local(request: pytest.FixtureRequest) -> Iterator[None]:
    """An embedded Ray of three CPUs; tests that use it are marked `ray`."""
    # Ray's workers inherit the environment of the moment Ray starts: the server's address must stand in it by then.
    if any("s3" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("s3")
    from raycolor.cluster import session  # sets what Ray reads when it is imported, so it comes first

    import ray  # isort: skip

    session.start_local(3, log_to_driver=False, configure_logging=False)
    try:
        yield
    finally:
        ray.shutdown()


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint with seeded random weights: colors mean nothing, but are the same each time."""
    import torch

    from raycolor.models import checkpoints
    from raycolor.models.build import build_model

    folder = tmp_path_factory.mktemp("untrained") / "untrained"
    torch.manual_seed(0)
    checkpoints.save(
        folder, build_model("regression"), method="regression", training={}, dataset={"image_size": 64}, metrics={}
    )
    return str(folder)
