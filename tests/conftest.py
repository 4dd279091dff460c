"""Fixtures that several test folders share."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def s3() -> Iterator[object]:
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
def ray_local() -> Iterator[None]:
    """An embedded Ray of three CPUs; tests that use it are marked `ray`."""
    import ray

    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        yield
    finally:
        ray.shutdown()
