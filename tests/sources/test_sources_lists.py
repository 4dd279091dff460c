"""Laws of lists as sources: CSV, text, Parquet, S3 Inventory, and failed.csv."""

import gzip
import hashlib
import json

import packs
import photographs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raycolor.colorize.job_record import JobRecord
from raycolor.colorize.manifest import ManifestTotals
from raycolor.colorize.outcomes import Outcome, table_of_outcomes, write_csvs
from raycolor.errors import ConfigError
from raycolor.sources import Input, Location, Reader, open_source
from raycolor.sources.key_set import KeySet
from raycolor.storage import open_store

FILES = {"a.jpg": b"A", "b c/d,e.jpg": b"D", 'b c/"f"\n.jpg': b"F", "ü%41.jpg": b"U"}


@pytest.fixture
def place(tmp_path):
    """A folder `in` of photographs, and a function that writes a list beside it and opens it."""
    photographs.write_all(tmp_path / "in", FILES)

    def opened(name, data, **options):
        photographs.write_all(tmp_path, {name: data if isinstance(data, bytes) else data.encode()})
        return open_source(str(tmp_path / name), **options)

    return tmp_path, opened


def read(source):
    """Return key -> bytes or problem."""
    return packs.read_all(source, Reader(source.root))


QUOTED = 'uri\r\nin/a.jpg\r\n"in/b c/d,e.jpg"\r\n"in/b c/""f""\n.jpg"\r\nin/ü%41.jpg\r\n'


@pytest.mark.parametrize("text", [QUOTED, QUOTED.replace("uri\r\n", ""), "\ufeff" + QUOTED.replace("uri", "Path")])
def test_a_csv_column_of_paths(place, text):
    """With and without a header, quoted as RFC 4180 says, also behind a byte order mark; relative to the list."""
    _, opened = place
    assert read(opened("list.csv", text)) == {f"in/{key}": data for key, data in FILES.items()}


def test_the_same_as_gzip_text_and_parquet(place):
    """Every form of list names the same inputs in the same order."""
    _, opened = place
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"URI": [f"in/{key}" for key in FILES], "note": [1] * 4}), sink)
    expected = list(opened("list.csv", QUOTED).inputs("/nowhere"))
    assert list(opened("list.csv.gz", gzip.compress(QUOTED.encode())).inputs("/nowhere")) == expected
    assert list(opened("list.parquet", sink.getvalue().to_pybytes()).inputs("/nowhere")) == expected
    plain = [info for info in expected if "\n" not in info.key]
    assert list(opened("list.txt", "".join(f"{i.key}\r\n" for i in plain)).inputs("/nowhere")) == plain


def test_keys_are_relative_to_the_root(place):
    """--root says what keys are relative to; outputs are named by the same keys."""
    tmp_path, opened = place
    source = opened("list.csv", "key,reason,detail\na.jpg,empty,x\n", root=str(tmp_path / "in"))
    assert read(source) == {"a.jpg": b"A"}
    absolute = opened("list.csv", f"path\n{tmp_path}/in/a.jpg\n", root=str(tmp_path / "in"))
    assert read(absolute) == {"a.jpg": b"A"}


def test_files_in_and_outside_the_lists_folder(place):
    """Where only / is common, keys are whole paths; `..` is resolved and never reaches a key."""
    tmp_path, opened = place
    text = f"{tmp_path}/in/a.jpg\n../{tmp_path.name}/in/b c/x/../../a.jpg\n/etc/hostname\n"
    keys = [info.key for info in opened("l/list.csv", text.replace("../", "../../", 1)).inputs("/nowhere")]
    assert keys == [f"{tmp_path}/in/a.jpg"[1:], "etc/hostname"]


def test_an_input_named_twice_is_one(place):
    """Exactly one outcome per key: repetitions are left out and counted."""
    _, opened = place
    source = opened("list.csv", "in/a.jpg\nin/./a.jpg\nin/ü%41.jpg\nin/a.jpg\n")
    assert [info.key for info in source.inputs("/nowhere")] == ["in/a.jpg", "in/ü%41.jpg"]
    assert source.notes == {"listed more than once": 2}


def test_a_missing_input_is_its_outcome(place):
    """A list may name what is not there: that is known when it is read, and costs that input alone."""
    _, opened = place
    found = read(opened("list.csv", "in/gone.jpg\nin/a.jpg\n"))
    assert (found["in/gone.jpg"][0], found["in/a.jpg"]) == ("not_found", b"A")


def test_members_of_archives_can_be_named(place):
    """A key through an archive takes that member alone; one that is not in it ends as not_found."""
    tmp_path, opened = place
    photographs.write_all(tmp_path, {"p.tar": packs.tar([("1", b"1"), ("2", b"2"), ("1", b"3")]), "q.zip/x.jpg": b"x"})
    found = read(opened("list.csv", "p.tar/1~2\nq.zip/x.jpg\np.tar/9\np.tar/1\n"))
    assert found.pop("p.tar/9")[0] == "not_found"
    assert found == {"p.tar/1": b"1", "p.tar/1~2": b"3", "q.zip/x.jpg": b"x"}


def test_buckets_versions_and_their_keys(place):
    """Of several buckets keys are bucket/key; a version is pinned, and two versions of one key are two inputs."""
    _, opened = place
    text = "bucket,key,version_id,size,etag\nx,a.jpg,v1,5,e\ny,a.jpg,,0,\nx,a.jpg,v2,6,f\nx,a.jpg,v1,5,e\n"
    assert list(opened("list.csv", text).inputs("s3://z")) == [
        Input("x/a.jpg", 5, "e", Location("s3://x", "a.jpg", "v1")),
        Input("y/a.jpg", 0, "", Location("s3://y", "a.jpg")),
        Input("x/a~2.jpg", 6, "f", Location("s3://x", "a.jpg", "v2")),
    ]
    one = opened("one.csv", "x,p/a.jpg\nx,p/b.jpg,v1\ns3,not,header\n".replace("s3,not,header\n", ""))
    assert (one.root, [info.key for info in one.inputs("s3://z")]) == ("s3://x", ["p/a.jpg", "p/b.jpg"])
    under = opened("u.csv", "s3://x/p/a.jpg\n", root="s3://x/p")
    assert (under.root, [info.key for info in under.inputs("s3://z")]) == ("s3://x/p", ["a.jpg"])


def test_a_destination_that_a_list_could_overwrite_is_refused(place):
    """What counts is where the inputs lie, not where the list lies; inputs inside DEST are left out."""
    tmp_path, opened = place
    source = opened("list.csv", "x,a.jpg\nx,out/b.jpg\n")
    source.check_dest(str(tmp_path))
    with pytest.raises(ConfigError, match="is the SOURCE itself"):
        source.check_dest("s3://x")
    assert [info.key for info in source.inputs("s3://x/out")] == ["a.jpg"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.csv", "", "the list is empty"),
        ("l.csv", "key\na.jpg\n", r"line 2: key 'a.jpg' is relative: give --root"),
        ("l.csv", "in/a.jpg\ns3://b/a.jpg\n", "names both files and buckets"),
        ("l.csv", "b,k\nb,\n", "line 2: no key"),
        ("l.csv", "b,k,v\nb,k,v,w\n", "line 2: 4 columns, not 3"),
        ("l.csv", 'b,"k\n', "cannot be read as a list"),
        ("l.csv", b"in/\xff.jpg\n", "cannot be read as a list"),
        ("l.csv", "key,bucket,size\nk,b,many\n", "size 'many' is not a number of bytes"),
        (
            "l.csv",
            "key,bucket,size\nk,b,100000000000000000000\n",
            "size '100000000000000000000' is not a number of bytes",
        ),
        ("l.csv", "key,bucket,size\nk,b,-1\n", "size '-1' is not a number of bytes"),
        ("l.csv", f"key,bucket,size\nk,b,{'9' * 5000}\n", "size '9{40}' is not a number of bytes"),
        ("l.csv", "uri\na\0b\n", "line 2: the key holds a NUL character"),
        ("l.csv", 'uri\n"gs://a\n\x0bb"\n', r"line 2: gs://a\\n\\x0bb: unknown scheme"),
        ("l.txt", "a\0b\n", "line 1: the key holds a NUL character"),
        ("l.csv", "https://x/y\n", "unknown scheme"),
        ("l.csv", "s3://b\n", "write s3://bucket/key"),
        ("l.csv.gz", b"no gzip", "cannot be read as a list"),
        ("l.parquet", b"no parquet", "cannot be read as a list"),
        ("l.json", b"{}", "is not an S3 Inventory manifest.json"),
        ("l.json", b"[", "is not an S3 Inventory manifest.json"),
    ],
)
def test_a_list_that_cannot_be_used_is_one_line(place, name, text, message):
    """The error names list and line, and comes before anything is written."""
    _, opened = place
    with pytest.raises(ConfigError, match=message):
        opened(name, text)


def test_inputs_outside_the_root_are_refused(place):
    """--root is a promise about every row."""
    _, opened = place
    with pytest.raises(ConfigError, match=r"line 2: s3://b/x/a.jpg is not inside --root s3://b/p"):
        opened("l.csv", "s3://b/p/a.jpg\ns3://b/x/a.jpg\n", root="s3://b/p")


def inventory(kind, rows, schema="Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, ETag"):
    """Return the files of an S3 Inventory as S3 lays them out."""
    if kind == "CSV":
        lines = "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows)
        data, suffix = gzip.compress(lines.encode()), "csv.gz"
    else:
        names = ["bucket", "key", "version_id", "is_latest", "is_delete_marker", "size", "e_tag"]
        columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
        columns["is_latest"] = [value == "true" for value in columns["is_latest"]]
        columns["is_delete_marker"] = [value == "true" for value in columns["is_delete_marker"]]
        columns["size"] = [int(value or 0) for value in columns["size"]]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), sink)
        data, suffix = sink.getvalue().to_pybytes(), "parquet"
    key = f"inv/src/daily/data/0a1b.{suffix}"
    files = [{"key": key, "size": len(data), "MD5checksum": hashlib.md5(data).hexdigest()}]
    manifest = {"sourceBucket": "src", "destinationBucket": "arn:aws:s3:::dst", "fileFormat": kind}
    manifest |= {"fileSchema": schema, "files": files}
    return {"inv/src/daily/2026-11-01T00-00Z/manifest.json": json.dumps(manifest).encode(), key: data}


ROWS = [
    ("src", "p/a%2Bb+c%25.jpg", "v1", "true", "false", "5", "e1"),
    ("src", "p/a%2Bb+c%25.jpg", "v0", "false", "false", "4", "e0"),
    ("src", "gone.jpg", "v2", "true", "true", "", ""),
    ("src", "folder/", "v3", "true", "false", "0", ""),
    ("src", "z.jpg", "", "true", "false", "7", "e3"),
]


@pytest.mark.parametrize("kind", ["CSV", "Parquet"])
def test_an_inventory_gives_the_current_objects(tmp_path, kind):
    """Keys are decoded in CSV and taken as they are in Parquet; versions are pinned; old ones and markers left out."""
    photographs.write_all(tmp_path, inventory(kind, ROWS))
    source = open_source(str(tmp_path / "inv/src/daily/2026-11-01T00-00Z/manifest.json"))
    first = "p/a+b c%.jpg" if kind == "CSV" else ROWS[0][1]
    inputs = list(source.inputs("s3://elsewhere"))
    assert [info[:3] for info in inputs] == [(first, 5, "e1"), ("z.jpg", 7, "e3")]
    assert inputs[0].location.version == "v1"
    assert source.root == "s3://src"


def test_an_inventory_in_orc_or_damaged_is_refused(tmp_path):
    """ORC is refused by name; a data file that does not match its MD5, by its name."""
    files = inventory("CSV", ROWS)
    manifest, data = files
    photographs.write_all(tmp_path, {**files, data: files[data] + b"x"})
    with pytest.raises(ConfigError, match=r"0a1b.csv.gz: does not match the MD5"):
        list(open_source(str(tmp_path / manifest)).inputs("s3://elsewhere"))
    photographs.write_all(tmp_path, {manifest: files[manifest].replace(b'"CSV"', b'"ORC"')})
    with pytest.raises(ConfigError, match="data files in ORC: configure the inventory for CSV or Parquet"):
        open_source(str(tmp_path / manifest))


def finished(dest, source, failed, **config):
    """Write what a finished job leaves behind that a later one reads: job.json and failed.csv."""
    store = open_store(dest)
    JobRecord({}, {}, source, config, "0", ManifestTotals(1, 1, 1, (0,)), "2026").write(store)
    write_csvs(store, [table_of_outcomes([Outcome(key, "failed", "empty", "x") for key in failed])])
    return str(dest / "_raycolor" / "failed.csv")


def test_failed_csv_is_a_source(place):
    """The failed inputs of an earlier job, members of archives among them, under the same keys; nothing else."""
    tmp_path, _ = place
    photographs.write_all(tmp_path / "in", {"p.tar": packs.tar([("1", b"1"), ("2", b"2"), ("3", b"3")])})
    failed = ['b c/"f"\n.jpg', "p.tar/3", "a.jpg", "p.tar/9", "p.tar/1", "ü%41.jpg"]
    source = open_source(finished(tmp_path / "out", str(tmp_path / "in"), failed))
    found = read(source)
    assert found.pop("p.tar/9")[0] == "not_found"
    assert found == {'b c/"f"\n.jpg': b"F", "p.tar/3": b"3", "a.jpg": b"A", "p.tar/1": b"1", "ü%41.jpg": b"U"}
    with pytest.raises(ConfigError, match="is the SOURCE itself"):
        source.check_dest(str(tmp_path / "in"))


def test_failed_csv_gives_back_keys_that_look_like_formulas(place):
    """Keys that a spreadsheet would compute are guarded in failed.csv, and are the same keys again as a SOURCE."""
    tmp_path, _ = place
    keys = ["=1+1.jpg", "-a.jpg", "@x/+y.jpg", "'=q.jpg", "'plain.jpg"]
    photographs.write_all(tmp_path / "in", {key: key.encode() for key in keys})
    path = finished(tmp_path / "out", str(tmp_path / "in"), keys)
    assert read(open_source(path)) == {key: key.encode() for key in keys}
    assert read(open_source(path, root=str(tmp_path / "in"))) == {key: key.encode() for key in keys}


def test_a_key_that_leads_elsewhere_costs_its_own_row(place):
    """Whatever stands in failed.csv, nothing outside the earlier source is read, and the other rows are."""
    tmp_path, _ = place
    evil = ["s3://evil/x", "s3://evil/a.tar/x", "../in/a.jpg", "../p.tar/1", "/etc/hostname"]
    found = read(open_source(finished(tmp_path / "out", str(tmp_path / "in"), [*evil, "a.jpg"])))
    assert found.pop("a.jpg") == b"A"
    assert {key: problem[0] for key, problem in found.items()} == dict.fromkeys(evil, "storage_error")


def test_failed_csv_of_a_job_over_a_list(place):
    """Where the earlier source was a list, versions and buckets come from that list; also a second time."""
    tmp_path, opened = place
    opened("list.csv", "x,a.jpg,v1\ny,b.jpg\nx,c.jpg\n")
    first = finished(tmp_path / "out", str(tmp_path / "list.csv"), ["x/a.jpg", "x/gone.jpg", "x/c.jpg"])
    second = finished(tmp_path / "out2", first, ["x/a.jpg"])
    inputs = list(open_source(first).inputs("s3://z"))
    assert [info.key for info in inputs] == ["x/a.jpg", "x/c.jpg", "x/gone.jpg"]
    assert inputs[0].location == Location("s3://x", "a.jpg", "v1")
    assert inputs[2].location.reason == "not_found"
    assert list(open_source(second).inputs("s3://z")) == inputs[:1]


def test_failed_csv_without_its_job_says_so(tmp_path):
    """A damaged job.json is named; --root needs none."""
    photographs.write_all(tmp_path, {"out/_raycolor/job.json": b"{", "out/_raycolor/failed.csv": b"key\na\n"})
    path = str(tmp_path / "out/_raycolor/failed.csv")
    with pytest.raises(ConfigError, match=r"job.json: is damaged .*: give --root"):
        open_source(path)
    assert [info.key for info in open_source(path, root=str(tmp_path)).inputs("/nowhere")] == ["a"]


def test_the_key_book_takes_each_key_once():
    """The set in a file is a set; numbered names are free ones, and many of one name are quick."""
    with KeySet() as book:
        assert [book.add(key) for key in ("a", "b", "a", "\udc80")] == [True, True, False, True]
        assert "a" in book
        assert "c" not in book
        names = [book.free_name("x/y.jpg") for _ in range(3000)]
    assert names[:3] == ["x/y.jpg", "x/y~2.jpg", "x/y~3.jpg"]
    assert len(set(names)) == 3000


@pytest.mark.parametrize("name", ["bomb.csv.gz", "bomb.csv", "bomb.txt"])
@pytest.mark.parametrize("row", ["a" * (1 << 16), '"a\n",' * (1 << 14)])
def test_a_row_without_end_is_refused_before_it_is_held(place, name, row):
    """A list that unpacks to one row of gigabytes is refused after a megabyte of it."""
    _, opened = place
    text = b"uri\n" + row.encode() * 40
    if name == "bomb.txt" and "\n" in row:
        text = text.replace(b"\n", b"x")
    with pytest.raises(ConfigError, match=r"a row of more than 1,048,576 characters|field larger than field limit"):
        list(opened(name, gzip.compress(text) if name.endswith(".gz") else text).inputs("/nowhere"))


def test_a_size_of_a_parquet_list_may_be_any_number(place):
    """Infinity in a column of numbers is named by its row."""
    _, opened = place
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"uri": ["a.jpg"], "size": [float("inf")]}), sink)
    with pytest.raises(ConfigError, match="row 1: size 'inf' is not a number of bytes"):
        list(opened("list.parquet", sink.getvalue().to_pybytes()).inputs("/nowhere"))
