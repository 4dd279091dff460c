"""A store that waits for its place."""

from types import SimpleNamespace

from raycolor.errors import StorageError
from raycolor.storage import open_store, patience
from raycolor.storage.patience import PatientStore


class Place:
    """A store whose reads take time on a clock of ours, and that is out until it was probed twice."""

    def __init__(self, store):
        self.store, self.uri, self.now = store, store.uri, 0.0
        self.out, self.probes = False, 0

    def __getattr__(self, name):
        return getattr(self.store, name)

    def get(self, key, **_):
        if self.out:
            raise StorageError("access_denied", f"{self.uri}: the session token has expired", place=True)
        self.now += 10.0
        return self.store.get(key)


class Quick:
    """The same place for probes."""

    def __init__(self, place):
        self.place = place

    def get_range(self, key, start, length):
        self.place.probes += 1
        if self.place.probes < 2:
            raise StorageError("access_denied", f"{self.place.uri}: the session token has expired", place=True)
        self.place.out = False
        return self.place.store.get_range(key, start, length)


def test_a_read_that_was_begun_before_an_outage_does_not_end_it(tmp_path, monkeypatch):
    """What was begun before a failure and succeeds after it says nothing about the place since."""
    for key in ("a", "b"):
        (tmp_path / key).write_bytes(key.encode())
    place = Place(open_store(str(tmp_path)))
    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: place.now))
    store = PatientStore(place, Quick(place), patience_s=60.0)
    assert store.get("a") == b"a"  # from 0 to 10
    place.now, place.out = 5.0, True  # and meanwhile
    assert store.get("b") == b"b"
    assert place.probes == 2
