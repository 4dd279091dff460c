"""Laws of where outputs go: names of their own, and nobody's file replaced."""

import photographs
import pytest

from raycolor.colorize.outcomes import read_outcomes
from raycolor.colorize.outputs import KeyRefusedError, Outputs, name_output, with_free_outputs
from raycolor.errors import ConfigError
from raycolor.sources import Input, Location
from raycolor.storage import LocalStore, open_store


def test_names_of_outputs_differ_where_those_of_inputs_do():
    """Whatever inputs are called, and whichever gets another format, no two outputs share a key."""
    like_half = ".raycolor-0123abcd-0123456789abcdef"
    keys = ["a.gif", "a.gif.raycolor.png", "a.gif.raycolor.png.raycolor.png", "a", ".raycolor-x.jpg"]
    keys += [f"{folder}{dot}{like_half[1:]}" for folder in ("", "b/") for dot in (".", "%2E", "%252E", "%25252E")]
    for one in (None, ".png"):
        for other in (None, ".png"):
            names = [name_output(key, one) for key in keys[::2]] + [name_output(key, other) for key in keys[1::2]]
            assert len(set(names)) == len(keys)
    assert name_output(".raycolor-x.jpg", None) == ".raycolor-x.jpg"
    assert name_output(f"b/{like_half}/c", None) == f"b/%2E{like_half[1:]}/c"


def test_an_output_is_never_taken_for_a_half_written_file(job):
    """An input called as half-written files are is colorized, listed, and still there after a sweep."""
    worker = job({"x.jpg": photographs.encoded(photographs.gray_pixels())})
    keys = [".raycolor-x.jpg", worker.dest.temp_name(), f"a/{worker.dest.temp_name()}"]
    place = Location(object="x.jpg")
    worker.manifest.shard = lambda number: [Input(key, 0, "", place) for key in keys]
    worker.run(0)
    worker.dest.sweep(older_than_s=0)
    listed = {info.key for info in worker.dest.list()}
    outcomes = list(read_outcomes(worker.dest))
    assert [(outcome.key, outcome.status) for outcome in outcomes] == [(key, "colorized") for key in keys]
    assert {outcome.output_key for outcome in outcomes} <= listed


@pytest.fixture(params=["disk", "s3"])
def dest(request, tmp_path):
    """An empty destination."""
    return open_store(tmp_path / "out" if request.param == "disk" else request.getfixturevalue("s3").uri())


def test_an_output_replaces_only_what_this_job_made(dest, tmp_path):
    """A file that is there is left, unless an attempt left these very bytes or an outcome of the job names the key."""
    outputs = Outputs(dest, str(tmp_path / "in"))
    outputs.put("a.jpg", b"one")
    outputs.put("a.jpg", b"one")
    for other in (b"two", b"longer", b""):
        with pytest.raises(KeyRefusedError, match=r"a\.jpg: exists already, .* move it away"):
            outputs.put("a.jpg", other)
    assert dest.get("a.jpg") == b"one"
    outputs.put("a.jpg", b"two", own=True)
    assert dest.get("a.jpg") == b"two"


@pytest.mark.parametrize("patience_s", [None, 0.0])
def test_outputs_never_go_through_a_link_into_the_source(tmp_path, patience_s):
    """A folder of the destination that leads into the source takes nothing, though its names are free there."""
    photographs.write_all(tmp_path / "in", {"sub/a.jpg": b"original"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "in" / "sub")
    outputs = Outputs(open_store(tmp_path / "out", patience_s=patience_s), str(tmp_path / "in"))
    for key in ("sub/a.jpg", "sub/b.jpg", "sub/new/c.jpg"):
        with pytest.raises(KeyRefusedError, match="a link leads into the SOURCE: remove it"):
            outputs.put(key, b"new", own=True)
    outputs.put("a.jpg", b"new")
    assert photographs.tree(tmp_path / "in") == {"sub/a.jpg": b"original"}


def test_a_link_into_the_source_costs_its_photographs_alone(job, tmp_path):
    """Photographs below such a link end as `storage_error`; the others are colorized, and no original is touched."""
    files = {name: photographs.encoded(photographs.gray_pixels()) for name in ("sub/a.jpg", "b.jpg")}
    worker = job(files)
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "in" / "sub")
    worker.run(0)
    outcomes = {outcome.key: outcome for outcome in read_outcomes(worker.dest)}
    assert (outcomes["sub/a.jpg"].reason, outcomes["b.jpg"].status) == ("storage_error", "colorized")
    assert photographs.tree(tmp_path / "in") == files


def test_a_file_that_appears_while_a_job_runs_stays(job):
    """Somebody puts a file where an output would go: it is that photograph's failure, in the second attempt too."""
    worker = job({name: photographs.encoded(photographs.gray_pixels()) for name in ("a.jpg", "b.jpg")})
    worker.dest.put("a.jpg", b"somebody's")
    for _ in range(2):
        worker.run(0)
        outcomes = {outcome.key: outcome for outcome in read_outcomes(worker.dest)}
        assert (outcomes["a.jpg"].status, outcomes["a.jpg"].reason) == ("failed", "storage_error")
        assert outcomes["b.jpg"].status == "colorized"
        worker.dest.put("_raycolor/attempts/shard-000000", b"1")
    assert worker.dest.get("a.jpg") == b"somebody's"


def fixed(inputs):
    """Return key -> reason of the inputs whose outcome is fixed already."""
    return {info.key: info.location.reason for info in inputs if info.location.reason}


def test_a_first_run_refuses_what_is_there(dest):
    """A file where an output would go, whatever its format, is named with the way out; others do no harm."""
    inputs = [Input(key, 1, "") for key in ("a.jpg", "b.gif", "c/d.tif", "e.png.raycolor.png", "Thumbs.db")]
    for key in ("Thumbs.db", "other.jpg", "c/a.jpg", "e.png.raycolor.png", "_raycolor/a.jpg", "a.jpg.bak"):
        dest.put(key, b"x")
    before = {info.key for info in dest.list()}
    assert list(with_free_outputs(dest, iter(inputs))) == inputs
    for key, name in [
        ("a.jpg", "a.jpg"),
        ("b.gif.raycolor.png", "b.gif"),
        ("e.png.raycolor.png.raycolor.png", "e.png"),
    ]:
        dest.put(key, b"x")
        with pytest.raises(ConfigError, match=f"where the output of {name}.* would go.*: give another DEST"):
            list(with_free_outputs(dest, iter(inputs)))
        dest.delete(key)
    for info in inputs[:-1]:
        dest.put(name_output(info.key, None), b"x")
    with pytest.raises(ConfigError, match=r"the output of a\.jpg and 3 more would go"):
        list(with_free_outputs(dest, iter(inputs)))
    assert {info.key for info in dest.list()} == before | {name_output(info.key, None) for info in inputs[:-1]}


class Folding(LocalStore):
    """A folder on a file system that does not tell upper from lower case, as those of macOS and Windows."""

    def path(self, key):
        return super().path(key.casefold())


def test_two_keys_that_share_a_name_are_one_storage_error(tmp_path):
    """Where `a.jpg` and `A.JPG` are one file the second is a failure from the start; elsewhere both are photographs."""
    inputs = [Input(key, 1, "") for key in ("A.JPG", "B/x.jpg", "a.jpg", "b/x.jpg", "b/y.jpg")]
    folder = Folding(tmp_path / "out")
    found = list(with_free_outputs(folder, iter(inputs)))
    assert [info.key for info in found] == [info.key for info in inputs]
    assert fixed(found) == {"a.jpg": "storage_error", "b/x.jpg": "storage_error"}
    assert not list(folder.list())
    assert fixed(with_free_outputs(open_store(tmp_path / "out"), iter(inputs))) == {}
    folder.put("a.jpg", b"somebody's")
    with pytest.raises(ConfigError, match=r"the output of A\.JPG and 1 more would go"):
        list(with_free_outputs(folder, iter(inputs)))


def test_a_file_system_that_joins_names_in_other_ways_is_noticed_at_the_output(tmp_path):
    """The same bytes under a name that is spelled otherwise are another input's output, not this one's."""
    folder = Folding(tmp_path / "out")
    outputs = Outputs(folder, str(tmp_path / "in"))
    outputs.put("a/b.jpg", b"one")
    outputs.put("a/b.jpg", b"one")
    for key in ("a/B.jpg", "A/b.jpg"):
        with pytest.raises(KeyRefusedError, match="takes for the same: rename one"):
            outputs.put(key, b"one")
