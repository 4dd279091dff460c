"""Laws of LocalStore."""

import errno
import os
import pickle
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycolor.errors import ConfigError, StorageError
from raycolor.storage import LocalStore, ObjectStore, local, open_store
from raycolor.storage.local import key_to_name, name_to_key


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "root")


def keys(store, prefix=""):
    return [info.key for info in store.list(prefix)]


def test_put_get_stat_list_agree(store):
    """What was put is what get, stat and list give back, in a store that pickles."""
    assert isinstance(store, ObjectStore)
    assert store.put("a/b.bin", b"12345")
    other = pickle.loads(pickle.dumps(store))
    assert other.get("a/b.bin") == b"12345"
    assert other.get_range("a/b.bin", 1, 3) == b"234"
    assert other.get_range("a/b.bin", 3, 99) == b"45"
    assert list(other.list()) == [other.stat("a/b.bin")]
    assert other.stat("a/b.bin").size == 5
    assert store.stat("a") is None
    assert store.stat("a/b.bin/c") is None


def test_list_is_sorted_by_whole_key(store):
    """Keys come in UTF-8 byte order of the whole key, as S3 gives them: `a-` before `a/` before `a0`."""
    names = ["a/z", "a-1", "a0", "a/b/c", "é/1", "\U0001f600", "z z", "line\nbreak", "a.jpg"]
    for name in names:
        store.put(name, b"")
    assert keys(store) == sorted(names, key=lambda key: key.encode())


@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/b", "a/b/", "a/b/c", "b", "nothing/here", "a/b/c/d"])
def test_prefix_means_what_it_means_in_s3(store, prefix):
    """A prefix selects by the start of the key, not by folder."""
    names = ["a/b/c", "a/bc", "ab", "b/a"]
    for name in names:
        store.put(name, b"")
    assert keys(store, prefix) == sorted(name for name in names if name.startswith(prefix))


def test_names_that_are_no_utf8_have_keys_that_lead_back(tmp_path):
    """Any bytes a file may be called by become UTF-8 keys, without two names sharing one."""
    raw = [b"caf\xe9.jpg", b"caf\xc3\xa9.jpg", b"caf%E9.jpg", b"50%.jpg", b"50%25.jpg", b"\xff\xfe", b"%\xe9"]
    for index, name in enumerate(raw):
        (tmp_path / os.fsdecode(name)).write_bytes(bytes([index]))
    store = LocalStore(tmp_path)
    listed = keys(store)
    assert len(set(listed)) == len(raw)
    assert "50%.jpg" in listed
    for key in listed:
        key.encode("utf-8")
        index = store.get(key)[0]
        assert os.fsencode(store.path(key).name) == raw[index]


@given(st.binary(min_size=1, max_size=12).filter(lambda name: b"/" not in name and b"\0" not in name))
def test_name_to_key_is_reversible(raw):
    """Every file name survives the way to a key and back, and every key is UTF-8."""
    name = os.fsdecode(raw)
    key = name_to_key(name)
    key.encode("utf-8")
    assert key_to_name(key) == name


def test_link_loops_end_and_dangling_links_are_listed(store, tmp_path):
    """A link to a folder above is not entered; one to nothing is listed and reads as not_found."""
    store.put("a/1", b"x")
    (store.root / "a" / "up").symlink_to(store.root)
    (store.root / "a" / "self").symlink_to(store.root / "a" / "self")
    (store.root / "gone").symlink_to(tmp_path / "nowhere")
    outside = LocalStore(tmp_path / "outside")
    outside.put("2", b"y")
    (store.root / "linked").symlink_to(tmp_path / "outside")
    assert keys(store) == ["a/1", "a/self", "gone", "linked/2"]
    with pytest.raises(StorageError, match="not_found"):
        store.get("gone")


def test_pipes_are_neither_listed_nor_waited_for(store):
    """A named pipe is no object; reading one by name is refused at once."""
    store.put("file", b"x")
    os.mkfifo(store.root / "pipe")
    assert keys(store) == ["file"]
    with pytest.raises(StorageError, match="not a regular file"):
        store.get("pipe")


def test_temporary_files_are_hidden_and_swept_when_old(store):
    """A killed writer's file is never listed; sweep removes it once old, and nothing else."""
    store.put("a/1", b"x")
    old, new = store.root / "a" / store.temp_name(), store.root / "a" / store.temp_name()
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    long_ago = time.time() - 7200
    os.utime(old, (long_ago, long_ago))
    os.utime(store.root / "a" / "1", (long_ago, long_ago))
    assert keys(store) == ["a/1"]
    assert store.sweep("a/") == 1
    assert not old.exists()
    assert new.exists()
    assert keys(store) == ["a/1"]


def test_sweep_touches_only_what_this_store_can_have_left(store, tmp_path):
    """Another job's half-written files stay, in a destination below, behind a link, or beside; so do photographs."""
    names = [".raycolor-x.jpg", ".raycolor-0123456789abcdef", "a.jpg"]
    for name in names:
        store.put(name, b"a photograph")
    nested = LocalStore(store.root / "nested")
    nested.put("_raycolor/job.json", b"{}")
    (nested.root / "_raycolor" / store.temp_name()).write_bytes(b"half")
    (nested.root / store.temp_name()).write_bytes(b"half")
    outside = LocalStore(tmp_path / "outside")
    outside.put("x", b"")
    (store.root / "linked").symlink_to(outside.root)
    (outside.root / store.temp_name()).write_bytes(b"half")
    (store.root / outside.temp_name()).write_bytes(b"half")
    own = store.root / "_raycolor" / store.temp_name()
    own.parent.mkdir()
    own.write_bytes(b"half")
    before = set(tmp_path.rglob("*")) | set(outside.root.iterdir())
    assert store.sweep(older_than_s=0) == 1
    assert before - (set(tmp_path.rglob("*")) | set(outside.root.iterdir())) == {own}
    assert [key for key in keys(store) if "/" not in key] == sorted(names)


def test_one_folder_spelled_in_two_ways_is_swept_by_either(store, tmp_path):
    """A killed writer that knew the folder by a link leaves nothing that the next one does not find."""
    store.put("a", b"")
    (tmp_path / "link").symlink_to(store.root)
    (store.root / LocalStore(tmp_path / "link").temp_name()).write_bytes(b"half")
    assert store.sweep(older_than_s=0) == 1


def test_without_hard_links_a_name_is_still_given_once(store, monkeypatch):
    """FAT has no hard links: the file is renamed, and never over another."""

    def none(source, target):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    assert store.put("a", b"first", only_if_absent=True)
    assert not store.put("a", b"second", only_if_absent=True)
    assert store.get("a") == b"first"
    assert [path.name for path in store.root.iterdir()] == ["a"]


def test_a_file_system_that_can_do_neither_is_named(store, monkeypatch):
    """Where a file can be given no name without replacing another, just that is said."""

    def none(*names):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "link", none)
    monkeypatch.setattr(local.ctypes, "CDLL", lambda name, use_errno: object())
    with pytest.raises(StorageError, match=r"neither hard links nor a rename .* write to another file system"):
        store.put("a", b"first", only_if_absent=True)
    assert list(store.root.iterdir()) == []


def test_a_failed_write_leaves_nothing(store, monkeypatch):
    """When the disk is full the old object stays whole, no temporary file stays, and the error names the cause."""
    store.put("a", b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="no space left on the device"):
        store.put("a", b"new")
    assert store.get("a") == b"old"
    assert [path.name for path in store.root.iterdir()] == ["a"]


def test_put_if_absent_has_one_winner(store):
    """Of many writers at once exactly one is told that it wrote, and its bytes stand."""
    start = threading.Barrier(8)
    won = []

    def write(index):
        start.wait()
        if store.put("record", bytes([index]) * 1000, only_if_absent=True):
            won.append(index)

    threads = [threading.Thread(target=write, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.get("record") == bytes(won) * 1000
    assert [path.name for path in store.root.iterdir()] == ["record"]


def test_errors_are_ours_and_say_what_to_do(store):
    """Every failure is a StorageError with the reason that an outcome row takes."""
    with pytest.raises(StorageError, match="no such file") as caught:
        store.get("missing")
    assert caught.value.reason == "not_found"
    with pytest.raises(StorageError, match="shorten it"):
        store.put("x" * 300, b"")
    store.put("file", b"")
    with pytest.raises(StorageError, match="a file stands where a folder is needed"):
        store.put("file/below", b"")
    store.put("dir/below", b"")
    with pytest.raises(StorageError, match="a folder stands"):
        store.get("dir")
    with pytest.raises(StorageError, match="a folder stands"):
        store.put("dir", b"")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_files_are_access_denied(store):
    """A file without read permission gives access_denied."""
    store.put("a", b"x")
    (store.root / "a").chmod(0)
    with pytest.raises(StorageError, match="permission denied"):
        store.get("a")


@pytest.mark.parametrize("key", ["", "../up", "a//b", "/etc/passwd", "a/./b", "a/..", "nul\0"])
def test_keys_cannot_leave_the_root(store, key):
    """No key leads out of the root, whatever an archive or a bucket calls its members."""
    for act in (store.get, store.stat, store.delete, lambda key: store.put(key, b"")):
        with pytest.raises(StorageError, match="not supported"):
            act(key)


def test_delete_twice_is_no_error(store):
    """Deleting what is not there does nothing."""
    store.put("a/b", b"")
    store.delete("a/b")
    store.delete("a/b")
    store.delete("a/b/c")
    assert keys(store) == []


def test_files_have_the_usual_mode(store):
    """Finished files are as readable as the umask allows, not private as temporary files are."""
    store.put("a", b"")
    umask = os.umask(0)
    os.umask(umask)
    assert (store.root / "a").stat().st_mode & 0o777 == 0o666 & ~umask


def test_open_store_refuses_what_is_not_there(tmp_path):
    """A missing folder, a file, and an unknown scheme each get one clear line."""
    (tmp_path / "file").write_bytes(b"")
    assert open_store(f"file://{tmp_path}", must_exist=True).uri == str(tmp_path)
    for uri, said in [(tmp_path / "no", "no such folder"), (tmp_path / "file", "not a folder"), ("gs://x", "scheme")]:
        with pytest.raises(ConfigError, match=said):
            open_store(uri, must_exist=True)
