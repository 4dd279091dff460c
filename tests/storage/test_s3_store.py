"""Laws of S3Store, on a real server and behind a proxy that breaks answers."""

import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError
from faultproxy import FaultProxy

from raycolor.errors import ConfigError, StorageError
from raycolor.storage import ObjectStore, open_store
from raycolor.storage.s3 import S3Store
from raycolor.storage.s3_errors import storage_error


@pytest.fixture
def store(s3):
    return open_store(s3.uri())


@pytest.fixture
def quick(monkeypatch):
    """Waits between tries are counted, not waited."""
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


def through(proxy, store, **options):
    return S3Store(store.bucket, store.prefix, endpoint_url=proxy.endpoint, **options)


def test_put_get_stat_list_agree(store, s3):
    """What was put is what get, stat, list and a plain client give back, in a store that pickles."""
    assert isinstance(store, ObjectStore)
    assert store.put("a/b c.jpg", b"12345")
    other = pickle.loads(pickle.dumps(store))
    assert other.get("a/b c.jpg") == b"12345"
    assert other.get_range("a/b c.jpg", 1, 3) == b"234"
    assert other.get_range("a/b c.jpg", 3, 99) == b"45"
    assert other.get_range("a/b c.jpg", 5, 1) == b""
    assert list(other.list()) == [other.stat("a/b c.jpg")]
    assert other.stat("a/b c.jpg").size == 5
    assert other.stat("nothing") is None
    head = s3.client().head_object(Bucket=s3.bucket, Key=store.prefix + "a/b c.jpg")
    assert head["ContentType"] == "image/jpeg"
    assert other.sweep() == 0


def test_list_streams_pages_in_order(store, monkeypatch):
    """More keys than a page holds all come, sorted, without folder markers; a prefix selects by its start."""
    # Not tried: "a-b" beside "a/b", where SeaweedFS, unlike S3, sorts folder by folder.
    names = [f"k{index:03}" for index in range(12)] + ["é/1", "a/b", "a0", "k%41", "line\nbreak"]
    for name in names:
        store.put(name, b"")
    store.client.put_object(Bucket=store.bucket, Key=store.prefix + "a/", Body=b"")
    client = store.client
    plain = client.list_objects_v2
    pages = []

    def small(**options):
        pages.append(options.get("ContinuationToken"))
        return plain(**options, MaxKeys=5)

    monkeypatch.setattr(client, "list_objects_v2", small)
    assert [info.key for info in store.list()] == sorted(names, key=lambda key: key.encode())
    assert len(pages) >= 4
    assert [info.key for info in store.list("a/")] == ["a/b"]
    assert [info.key for info in store.list("k01")] == ["k010", "k011"]
    assert list(store.list("zzz")) == []


def test_put_if_absent_has_one_winner(store):
    """Of many writers at once the server lets exactly one write."""
    start = threading.Barrier(8)

    def write(index):
        start.wait()
        return store.put("record", bytes([index]), only_if_absent=True)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(8)))
    assert sum(won) == 1
    assert store.get("record") == bytes([won.index(True)])
    assert store.put("record", b"replaced")
    assert store.get("record") == b"replaced"


@pytest.mark.parametrize("kind", ["503", "500", "reset", "truncate"])
def test_passing_faults_are_tried_again(s3, store, quick, kind):
    """Throttling, server errors, resets and bodies cut short do not reach the caller."""
    store.put("a", b"x" * 1000)
    with FaultProxy(s3.endpoint, script=[kind, kind]) as proxy:
        assert through(proxy, store).get("a") == b"x" * 1000
        assert proxy.counts == {kind: 2, "passed": 1}
    assert len(quick) == 2


def test_a_stalled_answer_is_tried_again(s3, store):
    """A server that stops answering costs one time limit, not the job."""
    store.put("a", b"x")
    with FaultProxy(s3.endpoint, script=["stall"], stall_s=1.0) as proxy:
        assert through(proxy, store, timeout_s=0.3).get("a") == b"x"


def test_lasting_faults_are_raised_with_jittered_waits(s3, store, quick):
    """After the stated tries the error says what failed; waits grow up to a limit and are drawn at random."""
    with FaultProxy(s3.endpoint, script=["503"] * 99) as proxy:
        with pytest.raises(StorageError, match="SlowDown") as caught:
            through(proxy, store, tries=5).get("a")
        assert proxy.counts == {"503": 5}
    assert caught.value.transient
    assert len(quick) == 4
    assert all(0 <= wait <= 0.2 * 2**index for index, wait in enumerate(quick))


def test_a_lost_answer_does_not_hide_our_own_write(s3, store, quick):
    """A conditional write whose answer was lost is still known to be ours; another's is known to be another's."""
    with FaultProxy(s3.endpoint, script=["lost"]) as proxy:
        assert through(proxy, store).put("record", b"mine", only_if_absent=True)
    with FaultProxy(s3.endpoint, script=["reset"]) as proxy:
        assert not through(proxy, store).put("record", b"other", only_if_absent=True)
    assert store.get("record") == b"mine"


def test_refusals_are_not_tried_again(s3, store, quick):
    """A missing object, a wrong secret and a missing bucket are said at once, each with its reason."""
    with pytest.raises(StorageError, match="no such object") as caught:
        store.get("missing")
    assert caught.value.reason == "not_found"
    with FaultProxy(s3.endpoint, script=["403"]) as proxy:
        with pytest.raises(StorageError, match="access_denied"):
            through(proxy, store).get("a")
        assert proxy.counts.total() == 1
    with pytest.raises(StorageError, match=r"not_found: s3://no-such-bucket.*bucket does not exist"):
        next(open_store("s3://no-such-bucket/x").list())
    assert quick == []


def test_wrong_credentials_are_access_denied(store, monkeypatch):
    """A secret that does not match is access_denied and names the variable to look at."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StorageError, match="AWS_SECRET_ACCESS_KEY"):
        pickle.loads(pickle.dumps(store)).get("a")


def test_archived_objects_have_their_own_reason():
    """What lies in Glacier is archived_storage_class, though S3 says 403."""
    answer = {"Error": {"Code": "InvalidObjectState"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    error = storage_error(ClientError(answer, "GetObject"), "s3://b/k")
    assert error.reason == "archived_storage_class"
    assert not error.transient


def test_options_reach_every_request(monkeypatch):
    """Requester pays is sent on list, head, get and put; the KMS key on put; the version on get."""
    store = S3Store("bucket", "p", requester_pays=True, kms_key_id="key", endpoint_url="http://127.0.0.1:1", tries=1)
    sent = {}
    store.client.meta.events.register(
        "provide-client-params.s3.*", lambda params, model, **_: sent.setdefault(model.name, dict(params))
    )
    for act in (lambda: store.get("k", version_id="v7"), lambda: store.stat("k"), lambda: store.put("k", b"")):
        with pytest.raises(StorageError, match="storage_error"):
            act()
    with pytest.raises(StorageError, match="storage_error"):
        next(store.list())
    assert {name: params["RequestPayer"] for name, params in sent.items()} == dict.fromkeys(
        ["GetObject", "HeadObject", "PutObject", "ListObjectsV2"], "requester"
    )
    assert sent["GetObject"]["VersionId"] == "v7"
    assert (sent["PutObject"]["ServerSideEncryption"], sent["PutObject"]["SSEKMSKeyId"]) == ("aws:kms", "key")


@pytest.mark.parametrize("key", ["", "../up", "a//b", "a/./b"])
def test_keys_that_name_nothing_are_refused(store, key):
    """Keys that a local folder could not hold are refused here too, so that stores are interchangeable."""
    with pytest.raises(StorageError, match="not supported"):
        store.put(key, b"")


def test_open_store_checks_what_must_exist(s3):
    """A prefix that holds nothing and a URI without a bucket are refused in one line."""
    with pytest.raises(ConfigError, match="holds no objects"):
        open_store(s3.uri(), must_exist=True)
    with pytest.raises(ConfigError, match="no bucket"):
        open_store("s3://")


@pytest.mark.slow
def test_a_storm_of_faults_loses_nothing(s3, store):
    """With a third of all requests failing in every way, 200 objects are written and read whole."""
    kinds = ("503", "500", "reset", "truncate", "lost")
    with FaultProxy(s3.endpoint, rate=0.33, kinds=kinds, seed=3) as proxy:
        broken = through(proxy, store, tries=12)

        def round_trip(index):
            data = bytes([index]) * (index * 100)
            assert broken.put(f"k{index}", data, only_if_absent=True)
            assert broken.get(f"k{index}") == data

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(round_trip, range(200)))
        assert sum(proxy.counts[kind] for kind in kinds) > 50
    assert len(list(store.list())) == 200
