"""Objects in S3 or a store that speaks its protocol."""

from __future__ import annotations

import logging
import mimetypes
import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError

from raycolor.errors import ConfigError, StorageError
from raycolor.storage.base import ObjectInfo, check_endpoint, check_key
from raycolor.storage.s3_errors import asks_for_credentials, code_of, storage_error
from raycolor.storage.s3_session import SESSIONS

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

logger = logging.getLogger(__name__)

T = TypeVar("T")

_TRIES: Final = 7  # 0.2 to 12.8 s of waiting between them: longer than an S3 partition takes to split
_FIRST_WAIT_S: Final = 0.2
_UPDATES: Final = 50
_LONGEST_WAIT_S: Final = 10.0

# A PUT that is cut off leaves nothing behind; an upload in parts does.
_ONE_PUT: Final = TransferConfig(multipart_threshold=4 << 30, multipart_chunksize=1 << 30, use_threads=False)


class S3Store:
    """Objects below one prefix of a bucket; picklable, and each process makes its own client.

    Credentials, region and `AWS_ENDPOINT_URL` are found as boto3 finds them. Throttling (503), server errors (5xx),
    timeouts, resets and bodies cut short are tried again with growing, jittered waits; nothing else is.

    Args:
        bucket: bucket name.
        prefix: keys are relative to it.
        endpoint_url: another server than AWS; default: AWS_ENDPOINT_URL.
        region: default: as boto3 finds it, else us-east-1.
        requester_pays: pay for reading from a requester-pays bucket.
        kms_key_id: encrypt what is written with this KMS key (SSE-KMS).
        timeout_s: longest wait for a connection or for the next bytes.
        tries: how often a transient failure is tried before it is raised.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        requester_pays: bool = False,
        kms_key_id: str | None = None,
        timeout_s: float = 60.0,
        tries: int = _TRIES,
    ) -> None:
        self.bucket = bucket
        self.prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self.uri = f"s3://{bucket}/{self.prefix}".rstrip("/")
        self.endpoint_url, self.region = check_endpoint(endpoint_url, "endpoint_url"), region
        self.timeout_s, self.tries = timeout_s, tries
        self._read_options: dict[str, Any] = {"RequestPayer": "requester"} if requester_pays else {}
        self._write_options: dict[str, Any] = dict(self._read_options)
        if kms_key_id is not None:
            self._write_options |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_id}
        self._start()

    @classmethod
    def from_uri(cls, uri: str, **options: Any) -> S3Store:
        """Open `s3://bucket/prefix`.

        Raises:
            ConfigError: no bucket is named.
        """
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        if not bucket:
            raise ConfigError(f"{uri}: no bucket: write s3://bucket/prefix")
        return cls(bucket, prefix, **options)

    def _start(self) -> None:
        self._client: S3Client | None = None
        self._session: boto3.session.Session | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> Mapping[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_client", "_session", "_lock")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        self._start()

    @property
    def client(self) -> S3Client:
        """This process's client. A forked child must not share the parent's connections."""
        session = SESSIONS.current()
        with self._lock:
            if self._client is None or self._session is not session:
                self._client, self._session = self._connect(session), session
            return self._client

    def _connect(self, session: boto3.session.Session) -> S3Client:
        endpoint = self.endpoint_url
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
            endpoint = endpoint or check_endpoint(os.environ.get(name), name)
        config = Config(
            # Retrying is done here alone: boto3 never tries a body again that was cut short.
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=min(10.0, self.timeout_s),
            read_timeout=self.timeout_s,
            max_pool_connections=64,
            # Bucket names as host names need a DNS entry each, which servers other than AWS rarely have.
            s3={"addressing_style": "path" if endpoint else "auto"},
            # Checksums by default break older servers that speak S3; bodies are checked for their length.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        region = self.region or session.region_name or "us-east-1"
        try:
            with SESSIONS.lock:
                return session.client("s3", endpoint_url=endpoint, region_name=region, config=config)
        except (BotoCoreError, ValueError) as exc:
            raise ConfigError(f"{self.uri}: {exc}: check AWS_ENDPOINT_URL and the AWS configuration") from exc

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with `prefix`, sorted by key, a page of 1,000 at a time."""
        token: dict[str, Any] = {}
        while True:
            page = self._call(
                lambda token=token: self.client.list_objects_v2(  # type: ignore[misc]
                    Bucket=self.bucket, Prefix=self.prefix + prefix, **token, **self._read_options
                ),
                f"{self.uri}/{prefix}",
            )
            for found in page.get("Contents", []):
                key = found["Key"][len(self.prefix) :]
                # Consoles mark folders with empty objects that end in a slash: they are no one's photographs.
                if key and not key.endswith("/"):
                    yield ObjectInfo(key, found["Size"], found.get("ETag", "").strip('"'))
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def some(self, count: int) -> Sequence[str]:
        page = self._call(
            # One more is asked for, as the marker of the folder itself is no key.
            lambda: self.client.list_objects_v2(
                Bucket=self.bucket, Prefix=self.prefix, MaxKeys=count + 1, **self._read_options
            ),
            self.uri,
        )
        keys = [found["Key"][len(self.prefix) :] for found in page.get("Contents", []) if found["Size"]]
        return [key for key in keys if key and not key.endswith("/")][:count]

    def get(self, key: str, *, version_id: str | None = None) -> bytes:
        return self._get(key, _pinned(version_id))[0]

    def get_range(self, key: str, start: int, length: int, *, version_id: str | None = None) -> bytes:
        if length <= 0:
            return b""
        try:
            return self._get(key, {"Range": f"bytes={start}-{start + length - 1}", **_pinned(version_id)})[0]
        except StorageError as exc:
            if _answered(exc, "InvalidRange", "416"):
                return b""
            raise

    def _get(self, key: str, options: Mapping[str, Any]) -> tuple[bytes, str]:
        """Return bytes and etag, the latter with its quotes."""
        full = self._full(key)

        def read() -> tuple[bytes, str]:
            answer = self.client.get_object(Bucket=self.bucket, Key=full, **options, **self._read_options)
            body = answer["Body"].read()
            if len(body) != answer["ContentLength"]:
                raise IncompleteReadError(actual_bytes=len(body), expected_bytes=answer["ContentLength"])
            return body, answer.get("ETag", "")

        return self._call(read, f"{self.uri}/{key}")

    def stat(self, key: str, *, version_id: str | None = None) -> ObjectInfo | None:
        try:
            head = self._head(key, _pinned(version_id))
        except StorageError as exc:
            if exc.reason == "not_found":
                return None
            raise
        return ObjectInfo(key, head["ContentLength"], head["ETag"].strip('"'))

    def _head(self, key: str, options: Mapping[str, Any]) -> HeadObjectOutputTypeDef:
        full = self._full(key)
        return self._call(
            lambda: self.client.head_object(Bucket=self.bucket, Key=full, **options, **self._read_options),
            f"{self.uri}/{key}",
        )

    def put(self, key: str, data: bytes, *, only_if_absent: bool = False) -> bool:
        """Write one object whole or not at all; `only_if_absent` is decided by the server (If-None-Match)."""
        full, where = self._full(key), f"{self.uri}/{key}"
        options = self._options_for(key)
        writer = uuid.uuid4().hex
        if only_if_absent:
            options |= {"IfNoneMatch": "*", "Metadata": {"raycolor-writer": writer}}
        tried = 0

        def write() -> bool:
            nonlocal tried
            tried += 1
            self.client.put_object(Bucket=self.bucket, Key=full, Body=data, **options)
            return True

        try:
            return self._call(write, where)
        except StorageError as exc:
            if not only_if_absent or not _answered(exc, "PreconditionFailed", "412"):
                raise
        # An answer that got lost may have hidden our own success: then the object carries our mark.
        return tried > 1 and self._head(key, {}).get("Metadata", {}).get("raycolor-writer") == writer

    def update(self, key: str, change: Callable[[bytes | None], bytes]) -> bytes:
        """Write what a function makes of an object's bytes, as long as it is that object (If-Match)."""
        full, where = self._full(key), f"{self.uri}/{key}"
        for _ in range(_UPDATES):
            found: bytes | None = None
            condition: dict[str, Any] = {"IfNoneMatch": "*"}
            try:
                found, etag = self._get(key, {})
                condition = {"IfMatch": etag}
            except StorageError as exc:
                if exc.reason != "not_found":
                    raise
            made = change(found)
            if made == found:
                return made
            options = {**self._options_for(key), **condition}
            try:
                self._call(
                    lambda made=made, options=options: self.client.put_object(  # type: ignore[misc]
                        Bucket=self.bucket, Key=full, Body=made, **options
                    ),
                    where,
                )
            except StorageError as exc:
                # An answer that got lost may hide our own success: then `change` finds it.
                if not _answered(exc, "PreconditionFailed", "412", "NoSuchKey", "404"):
                    raise
            else:
                # A server that does not know If-Match has taken everybody's: whoever was overwritten writes again.
                if self._get(key, {})[0] == made:
                    return made
            time.sleep(random.uniform(0, _FIRST_WAIT_S))
        raise StorageError("storage_error", f"{where}: others change it all the time: try again")

    def put_file(self, key: str, path: Path) -> None:
        """Write one object whole or not at all from a local file; in several parts only past what one PUT takes."""
        full, options = self._full(key), self._options_for(key)

        def write() -> None:
            with path.open("rb") as file:
                self.client.upload_fileobj(file, self.bucket, full, ExtraArgs=options, Config=_ONE_PUT)

        self._call(write, f"{self.uri}/{key}")

    def _options_for(self, key: str) -> dict[str, Any]:
        """Return what every way of writing an object says beside its bytes."""
        kind = mimetypes.guess_type(key)[0]
        return {**self._write_options, **({"ContentType": kind} if kind else {})}

    def delete(self, key: str) -> None:
        full = self._full(key)
        self._call(
            lambda: self.client.delete_object(Bucket=self.bucket, Key=full, **self._read_options), f"{self.uri}/{key}"
        )

    def sweep(self, prefix: str = "", *, older_than_s: float = 3600.0) -> int:
        """Return 0: a PUT that was cut off leaves nothing behind in S3."""
        del prefix, older_than_s
        return 0

    def _full(self, key: str) -> str:
        check_key(key)
        return self.prefix + key

    def _call(self, act: Callable[[], T], what: str) -> T:
        """Run one request, again if it failed for a moment; every exception of boto3 becomes ours here."""
        wait_s = _FIRST_WAIT_S
        for attempt in range(1, self.tries + 1):
            try:
                return act()
            except (BotoCoreError, ClientError, OSError) as exc:
                error = storage_error(exc, what)
                if asks_for_credentials(exc):
                    SESSIONS.forget(self._session)
                if not error.transient or attempt == self.tries:
                    raise error from exc
                logger.info("try %d of %d: %s", attempt, self.tries, error)
            # Full jitter: workers that failed together must not come back together.
            time.sleep(random.uniform(0, wait_s))
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        raise AssertionError("unreachable: the last try returns or raises")


def _pinned(version_id: str | None) -> dict[str, str]:
    return {"VersionId": version_id} if version_id else {}


def _answered(error: StorageError, *codes: str) -> bool:
    """Whether the server answered with one of these codes."""
    return isinstance(error.__cause__, ClientError) and code_of(error.__cause__) in codes
