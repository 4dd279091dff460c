"""Laws of credentials: found once for all stores of a process, patiently, and looked for again when refused."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from s3server import ACCESS_KEY, SECRET_KEY

from raycolor.errors import StorageError
from raycolor.storage import open_store


@pytest.fixture
def no_keys(s3, monkeypatch, tmp_path):
    """The environment of an instance that has no keys of its own."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9/")
    return tmp_path / "credentials"


@pytest.fixture
def metadata(no_keys, monkeypatch):
    """A slow metadata service of an instance, and what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def _answer(self, text):
            asked.append(self.path)
            time.sleep(1.2 if len(asked) == 1 else 0)
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def do_PUT(self):
            self._answer("token")

        def do_GET(self):
            if self.path.endswith("security-credentials/"):
                return self._answer("role")
            keys = {"AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY, "Token": ""}
            return self._answer(json.dumps({**keys, "Code": "Success", "Expiration": "2100-01-01T00:00:00Z"}))

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    yield asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_slow_instance_is_asked_once_for_all_stores(s3, metadata):
    """Metadata that take longer than botocore's second are waited for; the stores of a process share what they say."""
    stores = [open_store(s3.uri()) for _ in range(5)]
    threads = [threading.Thread(target=store.put, args=("a", b"1")) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.get("a") for store in stores] == [b"1"] * 5
    assert len([path for path in metadata if path.endswith("/role")]) == 1, metadata


def test_renewed_credentials_are_found_by_a_running_process(s3, no_keys):
    """What a person writes into the credentials file while a job waits is used by the next request."""
    store = open_store(s3.uri(), tries=1)
    text = f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = "
    no_keys.write_text(text + "wrong\n")
    with pytest.raises(StorageError, match="secret key does not match"):
        store.put("a", b"1")
    no_keys.write_text(text + SECRET_KEY + "\n")
    assert store.put("a", b"1")
