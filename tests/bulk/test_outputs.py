"""Laws of where outputs go: names of their own, and nobody's file replaced."""

import photographs

from raycolor.bulk.outputs import name_output
from raycolor.outcomes import read_outcomes
from raycolor.sources import Location
from raycolor.storage import Located


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
    place = Location(object="x.jpg").to_text()
    worker.manifest.shard = lambda number: [Located(key, 0, "", place) for key in keys]
    worker.run(0)
    worker.dest.sweep(older_than_s=0)
    listed = {info.key for info in worker.dest.list()}
    outcomes = list(read_outcomes(worker.dest))
    assert [(outcome.key, outcome.status) for outcome in outcomes] == [(key, "colorized") for key in keys]
    assert {outcome.output_key for outcome in outcomes} <= listed
