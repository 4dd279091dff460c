"""Laws of sources in S3, on a real server and behind a proxy that breaks answers; with what a worker records."""

import json
import time
from dataclasses import replace

import packs
import pytest
from faultproxy import FaultProxy
from test_sources_lists import ROWS, inventory

from raycolor.colorize import shard as shard_module
from raycolor.colorize.manifest import write_manifest
from raycolor.colorize.outcomes import Tally, read_outcomes
from raycolor.colorize.shard import ShardSpec, ShardWorker
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.photograph import Colorized
from raycolor.errors import ConfigError
from raycolor.sources import Input, Location, Reader, open_source
from raycolor.storage import open_store

MEMBERS = [(f"{i:02}.jpg", bytes([i]) * 3000) for i in range(12)]
FILES = {"a.jpg": b"A", "b c/ü%41.jpg": b"B", "p.tar": packs.tar(MEMBERS), "q.zip": packs.zipped(MEMBERS)}
FILES["r.tgz"] = packs.tgz(MEMBERS)
EXPECTED = {
    "a.jpg": b"A",
    "b c/ü%41.jpg": b"B",
    **{f"{name}/{key}": data for name in ("p.tar", "q.zip", "r.tgz") for key, data in MEMBERS},
}


@pytest.fixture
def bucket(s3):
    """A prefix with a few objects and archives; returns its URI."""
    store = open_store(s3.uri())
    for key, data in FILES.items():
        store.put(key, data)
    return store


@pytest.fixture
def quick(monkeypatch):
    """Waits between tries take no time."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """A function that lists a source and returns its worker, whose colorizer hands back what it is given."""

    class Echo:
        def __init__(self, options, predict=None):
            pass

        def colorize(self, data, *_):
            return Colorized(data, "gray", 1, 1)

    monkeypatch.setattr(shard_module, "FileColorizer", Echo)

    def make(uri, options=None, **opening):
        source = open_source(uri, options=opening.pop("listing", options), **opening)
        dest = open_store(tmp_path / "out")
        totals = write_manifest(dest, source.inputs(dest.uri), images_per_shard=1000)
        spec = ShardSpec(source.root, dest.uri, totals, ColorizerConfig(), source_options=options or {})
        return ShardWorker(spec)

    return make


def outcomes(worker):
    """Run every shard and return key -> outcome; each key has one."""
    for number in range(worker.spec.totals.shards):
        worker.run(number)
    found = list(read_outcomes(worker.dest))
    assert len({outcome.key for outcome in found}) == len(found) == worker.spec.totals.images
    return {outcome.key: outcome for outcome in found}


def test_a_prefix_with_archives_is_read_whole(bucket):
    """Objects and members of archives come back byte for byte, by ranged reads."""
    source = open_source(bucket.uri)
    assert packs.read_all(source, Reader(source.root)) == EXPECTED


def test_one_object_is_a_source(bucket):
    """s3://bucket/key means that object alone; an archive, its members; nothing there is an error."""
    one = open_source(f"{bucket.uri}/a.jpg")
    assert packs.read_all(one, Reader(one.root)) == {"a.jpg": b"A"}
    assert one.uri == f"{bucket.uri}/a.jpg"
    zipped = open_source(f"{bucket.uri}/q.zip")
    assert packs.read_all(zipped, Reader(zipped.root)) == {f"q.zip/{key}": data for key, data in MEMBERS}
    with pytest.raises(ConfigError, match="holds no objects"):
        open_source(f"{bucket.uri}/a.jp")


def test_objects_below_an_archives_name_do_not_collide(bucket):
    """In S3 p.tar and p.tar/00.jpg may both be there: both are inputs, under different keys."""
    other = open_store(bucket.uri + "/x")
    other.put("p.tar", packs.tar(MEMBERS[:1]))
    # SeaweedFS refuses an object below an object's name, S3 does not: what a listing would give is made here.
    source = open_source(other.uri)
    listed = [Input(*info) for info in other.list()]
    source._listed = lambda: iter([*listed, replace_key(listed[0], "p.tar/00.jpg")])
    member, renamed = source.inputs("/nowhere")
    assert [member.key, renamed.key] == ["p.tar/00.jpg", "p.tar/00~2.jpg"]
    assert renamed.location.object == "p.tar/00.jpg"


def replace_key(info, key):
    """Return the same object under another key."""
    return info._replace(key=key, size=1)


def test_a_list_in_a_bucket_pins_versions(s3):
    """A version that a list names is read, whatever came later; of an archive too."""
    client = s3.client()
    name = "versions"
    client.create_bucket(Bucket=name)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    old, _ = [client.put_object(Bucket=name, Key="a.jpg", Body=body)["VersionId"] for body in (b"old", b"new")]
    tars = [packs.tar(MEMBERS[:2]), packs.tar(MEMBERS[2:3])]
    old_tar, _ = [client.put_object(Bucket=name, Key="p.tar", Body=body)["VersionId"] for body in tars]
    text = f"bucket,key,version\n{name},a.jpg,{old}\n{name},p.tar,{old_tar}\n{name},a.jpg,\n"
    client.put_object(Bucket=name, Key="lists/l.csv", Body=text.encode())
    source = open_source(f"s3://{name}/lists/l.csv")
    assert packs.read_all(source, Reader(source.root)) == {
        "a.jpg": b"old",
        "p.tar/00.jpg": MEMBERS[0][1],
        "p.tar/01.jpg": MEMBERS[1][1],
        "a~2.jpg": b"new",
    }


def test_an_inventory_in_a_bucket(s3):
    """Data files are found by their full key in the manifest's bucket."""
    store = open_store(f"s3://{s3.bucket}")
    files = inventory("CSV", ROWS)
    for key, data in files.items():
        store.put(key, data)
    manifest = next(key for key in files if key.endswith("manifest.json"))
    source = open_source(f"{store.uri}/{manifest}")
    assert [info.key for info in source.inputs("/nowhere")] == ["p/a+b c%.jpg", "z.jpg"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("403", "access_denied"), ("404", "not_found"), ("archived", "archived_storage_class")],
)
def test_lasting_refusals_are_outcomes_at_once(s3, bucket, worker, fault, reason):
    """403, 404 and Glacier are no faults to wait for: one request each, one outcome each, and the job goes on."""
    with FaultProxy(s3.endpoint) as proxy:
        ready = worker(bucket.uri, {"endpoint_url": proxy.endpoint})
        before = sum(proxy.counts.values())
        proxy._script = [fault] * 3
        found = outcomes(ready)
        # One each; the packed tar is asked for its size and read once for all of its members.
        assert sum(proxy.counts.values()) - before == 2 + 12 + 12 + 2
    assert sorted(o.reason for o in found.values() if o.status == "failed") == [reason] * 3
    assert {key for key, o in found.items() if o.status == "colorized"} | {
        key for key, o in found.items() if o.reason == reason
    } == set(EXPECTED)


def test_a_refused_archive_is_one_outcome(s3, bucket, worker):
    """An archive in Glacier, asked while listing, fails as itself; all else is listed."""
    with FaultProxy(s3.endpoint) as proxy:
        # Three listings, then the first bytes of p.tar.
        proxy._script = [None, None, None, "archived"]
        found = outcomes(worker(bucket.uri, {"endpoint_url": proxy.endpoint}))
    assert found["p.tar"].reason == "archived_storage_class"
    assert {key for key, o in found.items() if o.status == "colorized"} == {
        key for key in EXPECTED if not key.startswith("p.tar")
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_passing_faults_lose_nothing(s3, bucket, worker, quick, seed):
    """A fifth of all answers is 503, 500, a reset or cut short: every output is whole all the same."""
    with FaultProxy(s3.endpoint, rate=0.2, kinds=("503", "500", "reset", "truncate"), seed=seed) as proxy:
        ready = worker(bucket.uri, {"endpoint_url": proxy.endpoint})
        found = outcomes(ready)
        assert proxy.counts["passed"] < sum(proxy.counts.values())
    assert {key: ready.dest.get(o.output_key) for key, o in found.items()} == EXPECTED


@pytest.mark.slow
def test_stalls_lose_nothing(s3, bucket, worker, quick):
    """A server that stops answering in the middle costs one time limit, and no input."""
    with FaultProxy(s3.endpoint, rate=0.2, kinds=("stall", "truncate"), stall_s=2.0, seed=3) as proxy:
        ready = worker(bucket.uri, {"endpoint_url": proxy.endpoint, "timeout_s": 1.0})
        found = outcomes(ready)
        assert proxy.counts["stall"]
    assert {key: ready.dest.get(o.output_key) for key, o in found.items()} == EXPECTED


def test_problems_of_the_listing_become_outcomes(tmp_path, worker):
    """Links are skipped, a cut archive fails, and sizes that a list does not tell are those that were read."""
    import tarfile

    data = packs.tar([packs.special("link", tarfile.SYMTYPE, "/etc/passwd"), *MEMBERS], end=False)
    (tmp_path / "p.tar").write_bytes(data)
    (tmp_path / "l.csv").write_text("path\np.tar\na.jpg\n")
    (tmp_path / "a.jpg").write_bytes(b"12345")
    ready = worker(str(tmp_path / "l.csv"))
    found = outcomes(ready)
    told = {key: (o.status, o.reason, o.input_bytes) for key, o in found.items() if not key.endswith(".jpg")}
    assert told == {
        "p.tar": ("failed", "truncated", len(data)),
        "p.tar/link": ("skipped", "not_a_photograph", 0),
    }
    assert found["p.tar/link"].source_kind is None
    assert (found["a.jpg"].status, found["a.jpg"].input_bytes) == ("colorized", 5)
    tally = Tally()
    for outcome in found.values():
        tally.add(outcome)
    assert tally.counts == {"colorized": 13, "skipped": 1, "failed": 1}


def test_outputs_are_written_with_the_key_that_was_given(s3, worker, monkeypatch):
    """--sse-kms-key-id reaches the PUT of an output, --requester-pays every request."""
    from raycolor.colorize.config import ColorizeConfig

    config = ColorizeConfig(source="s", dest="d", requester_pays=True, sse_kms_key_id="k", endpoint_url=s3.endpoint)
    assert config.identity() == ColorizeConfig(source="s", dest="d").identity()
    store = open_store(s3.uri(), **config.dest_options())
    sent = []
    real = store.client
    monkeypatch.setattr(real, "put_object", lambda **options: sent.append(options))
    monkeypatch.setattr(real, "get_object", lambda **options: sent.append(options) or {"Body": None})
    store.put("a", b"1")
    reader = Reader(store.uri, config.source_options())
    listing = reader.store().client
    monkeypatch.setattr(listing, "list_objects_v2", lambda **options: sent.append(options) or {})
    list(reader.store().list())
    told = [
        {k: v for k, v in options.items() if k in ("SSEKMSKeyId", "ServerSideEncryption", "RequestPayer")}
        for options in sent
    ]
    assert told == [
        {"SSEKMSKeyId": "k", "ServerSideEncryption": "aws:kms", "RequestPayer": "requester"},
        {"RequestPayer": "requester"},
    ]


def test_a_location_survives_the_manifest(tmp_path):
    """What the driver wrote about a member, with any characters, is what the worker reads; a key finds it again."""
    from raycolor.colorize.manifest import Manifest

    place = Location("s3://b", 'ü"\n.tar', "v", "zip", 2**40, 2**33, 8, 2**32 - 1, detail="x")
    assert Location.from_text(place.to_text()) == place
    assert json.loads(Location(kind="tar", start=0).to_text()) == {"kind": "tar"}
    inputs = [Input("a", 1, "e"), Input("b/c", 2, "f", place)]
    store = open_store(tmp_path)
    manifest = Manifest(store, write_manifest(store, inputs, images_per_shard=64))
    assert manifest.shard(0) == inputs
    assert [manifest.find(key) for key in ("b/c", "a", "d")] == [inputs[1], inputs[0], None]
    assert replace(place, version=None) != place
