"""The boto3 session of a process."""

from __future__ import annotations

import os
import threading
from typing import Final

import boto3
import botocore.session

# botocore gives an instance's metadata 1 s and one try, which a busy instance misses.
_METADATA_TIMEOUT_S: Final = 5
_METADATA_TRIES: Final = 4


class Sessions:
    """The boto3 session of this process: credentials are found once for all its stores, and renewed once."""

    def __init__(self) -> None:
        # Making a client from a session is not safe in several threads.
        self.lock = threading.RLock()
        self._found_by: object = None
        self._session: boto3.session.Session | None = None

    def current(self) -> boto3.session.Session:
        """Return the session; another one in a forked child, and after a change of the AWS variables."""
        found_by = os.getpid(), sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))
        with self.lock:
            if self._session is None or self._found_by != found_by:
                core = botocore.session.get_session()
                for name, least in (
                    ("metadata_service_timeout", _METADATA_TIMEOUT_S),
                    ("metadata_service_num_attempts", _METADATA_TRIES),
                ):
                    core.set_config_variable(name, max(least, int(core.get_config_variable(name))))
                self._session, self._found_by = boto3.session.Session(botocore_session=core), found_by
            return self._session

    def forget(self, session: boto3.session.Session | None) -> None:
        """Look for credentials again, unless that was done since `session` was current."""
        with self.lock:
            if session is self._session:
                self._session = None


SESSIONS: Final = Sessions()
