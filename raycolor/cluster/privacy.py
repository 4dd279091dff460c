"""A local Ray that nobody else can reach: neither from the network, nor another user of this machine."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ray._private import ray_constants
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

logger = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
_MODE: Final = "RAY_AUTH_MODE"
_TOKEN: Final = "RAY_AUTH_TOKEN"
# A socket's path has 107 characters, of which what is added here takes up to 80.
_LONGEST_BASE: Final = 26


@contextmanager
def private_ray(*, keep: bool = False) -> Iterator[str]:
    """Have the Ray that is started during the body for this process and its children alone; yield its folder.

    Whoever speaks to it needs a token, which is drawn anew each time and handed to Ray's processes in their
    environment: it stands in no file and on no command line. All of its servers listen on the loopback interface.
    Logs, sockets and spilled objects lie in a folder that only this user may enter: Ray's own lets everybody in.

    Args:
        keep: leave the folder, with Ray's logs, at the end.
    """
    before = {name: os.environ.get(name) for name in (_MODE, _TOKEN)}
    home = Path(tempfile.mkdtemp(prefix="ray-", dir=_base()))
    clusters = ray_constants.ENABLE_RAY_CLUSTER
    # Without a mode Ray takes a token, and says so to its own libraries; a user's setting is about clusters.
    os.environ.pop(_MODE, None)
    os.environ[_TOKEN] = secrets.token_hex(32)
    # As on macOS and Windows: else Ray takes another address of this machine for 127.0.0.1, and listens on all of them.
    ray_constants.ENABLE_RAY_CLUSTER = False
    AuthenticationTokenLoader.instance().reset_cache()
    try:
        # Ray opens its folder to everybody: it has to be one in ours.
        yield str(home / "r")
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = clusters
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        # A cluster that is joined later asks for its own token, or for none.
        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()
        if keep:
            logger.debug("Ray's logs are in %s", home)
        else:
            shutil.rmtree(home, ignore_errors=True)


def _base() -> str:
    """Return where Ray's folder is made: as Ray does, but where the path would be too long for its sockets."""
    base = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    return base if len(base) <= _LONGEST_BASE else "/tmp"
