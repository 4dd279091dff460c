"""Laws of `raycolor package`: a valid bag of all that the job made, the same bytes however often it was stopped."""

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from functools import partial

import bagit
import finished_jobs
import photographs
import pytest
from finished_jobs import REFUSED, unfinish

from raycolor import cli
from raycolor.colorize.job_record import JOB_KEY
from raycolor.package import bag_files
from raycolor.package.driver import _Package
from raycolor.storage import open_store

NAMES = ("a/0.jpg", "a/1.jpg", "b c/2.jpg", "lf\nfeed.jpg", "cr\rreturn.jpg", "é/<&>.jpg")
PREMIS = "{http://www.loc.gov/premis/v3}"
RECORDS = ("job.json", "summary.json", "outcomes.csv", "failed.csv", "report.html")


colorize, make = (partial(one, max_failed="2") for one in (finished_jobs.colorize, finished_jobs.make))


@pytest.fixture(scope="module")
def made(tmp_path_factory, untrained):
    """A finished job, whose destination no test may change."""
    return make(tmp_path_factory.mktemp("job"), untrained, NAMES)


@pytest.fixture
def done(made, tmp_path):
    """A copy of the finished job."""
    return shutil.copytree(made, tmp_path / "out")


def package(dest, out, *flags):
    """Run the command; return its exit code."""
    return cli.run(["package", str(dest), str(out), *flags])


def read_back(bag, name="manifest-sha256.txt"):
    """Return path -> SHA-256 of a manifest, read by RFC 8493 alone."""
    lines = (bag / name).read_bytes().decode().removesuffix("\n").split("\n")
    rows = [line.split("  ", 1) for line in lines]
    return {path.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%"): sha256 for sha256, path in rows}


def check_by_rfc(bag):
    """The payload is what the manifest lists, byte for byte, and the tag manifest lists all other files."""
    files = {name: hashlib.sha256(data).hexdigest() for name, data in photographs.tree(bag).items()}
    payload = {name: sha256 for name, sha256 in files.items() if name.startswith("data/")}
    assert read_back(bag) == payload
    tags = {name: files[name] for name in files.keys() - payload.keys() - {"tagmanifest-sha256.txt"}}
    assert read_back(bag, "tagmanifest-sha256.txt") == tags


def test_a_bag_that_the_reference_validator_takes(made, tmp_path):
    """Outputs at their keys and the job's records; DEST keeps every byte; bytes are those of DEST."""
    before = photographs.tree(made)
    assert package(made, tmp_path / "bag") == 0
    bagit.Bag(str(tmp_path / "bag")).validate()
    check_by_rfc(tmp_path / "bag")
    assert photographs.tree(made) == before
    assert photographs.tree(tmp_path / "bag" / "data") == before
    assert {f"_raycolor/{name}" for name in RECORDS} < before.keys()
    info = bagit.Bag(str(tmp_path / "bag")).info
    assert info["Payload-Oxum"] == f"{sum(map(len, before.values()))}.{len(before)}"
    assert info["Bagging-Date"] == json.loads(before[JOB_KEY])["created"][:10]


def test_the_payload_is_a_job_that_can_be_verified(made, tmp_path):
    """Whoever received the bag may ask `raycolor verify` about its data/."""
    package(made, tmp_path / "bag")
    assert cli.run(["verify", str(tmp_path / "bag" / "data")]) == 0


@pytest.mark.parametrize("flags", [(), ("--premis",)])
def test_the_same_bytes_each_time(made, tmp_path, flags):
    """Over the same OUT, and in another one."""
    assert package(made, tmp_path / "bag", *flags) == 0
    first = photographs.tree(tmp_path / "bag")
    assert package(made, tmp_path / "bag", *flags) == 0
    assert package(made, tmp_path / "other", *flags) == 0
    assert photographs.tree(tmp_path / "bag") == first == photographs.tree(tmp_path / "other")


@pytest.mark.parametrize("files", [0, 1, 4])
def test_a_stopped_package_goes_on(made, tmp_path, monkeypatch, files):
    """Stopped after some files, half a file left behind: no bag yet; run again it ends with the same bytes."""
    assert package(made, tmp_path / "whole", "--premis") == 0
    copy, left = _Package._copy, [files]

    def stop(self, *which):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return copy(self, *which)

    with monkeypatch.context() as patched:
        patched.setattr(_Package, "_copy", stop)
        assert package(made, tmp_path / "bag", "--premis") == 130
    assert not (tmp_path / "bag" / "bagit.txt").exists()
    half = open_store(tmp_path / "bag" / "data").temp_name()
    (tmp_path / "bag" / "data" / "a").mkdir(parents=True, exist_ok=True)
    (tmp_path / "bag" / "data" / "a" / half).write_bytes(b"half")
    assert package(made, tmp_path / "bag", "--premis") == 0
    assert photographs.tree(tmp_path / "bag") == photographs.tree(tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_package_goes_on(made, tmp_path):
    """SIGKILL as soon as the first output is there: the same bytes in the end, the lease of the dead taken over."""
    assert package(made, tmp_path / "whole") == 0
    process = subprocess.Popen([sys.executable, "-m", "raycolor", "package", str(made), str(tmp_path / "bag")])
    deadline = time.monotonic() + 60
    while not (tmp_path / "bag" / "bag-info.txt").exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert package(made, tmp_path / "bag") == 0
    assert photographs.tree(tmp_path / "bag") == photographs.tree(tmp_path / "whole")


def test_a_bag_that_is_brought_up_to_date_is_none_meanwhile(made, tmp_path, monkeypatch):
    """Whoever looks at it after a kill finds no bagit.txt that vouches for half of two states."""
    package(made, tmp_path / "bag")

    def stop(self, *which):
        raise KeyboardInterrupt

    monkeypatch.setattr(_Package, "_copy", stop)
    assert package(made, tmp_path / "bag") == 130
    assert not (tmp_path / "bag" / "bagit.txt").exists()


def test_what_was_edited_in_the_package_is_mended(made, tmp_path):
    """Another run compares bytes, not sizes and times."""
    package(made, tmp_path / "bag")
    first = photographs.tree(tmp_path / "bag")
    victim = tmp_path / "bag" / "data" / "a" / "0.jpg"
    victim.write_bytes(bytes(victim.stat().st_size))
    assert package(made, tmp_path / "bag") == 0
    assert photographs.tree(tmp_path / "bag") == first


def test_a_later_run_of_the_job_is_taken_in(tmp_path, untrained):
    """What was added is there, what is no output any more has gone, and the bag is valid."""
    dest = make(tmp_path, untrained, NAMES[:2])
    assert package(dest, tmp_path / "bag", "--premis") == 0
    photographs.write_all(tmp_path / "in", {"a/1.jpg": b"no image", "z.jpg": (tmp_path / "in/a/0.jpg").read_bytes()})
    assert colorize(tmp_path / "in", dest, untrained, add_new=True) == 0
    assert package(dest, tmp_path / "bag", "--premis") == 0
    bag = bagit.Bag(str(tmp_path / "bag"))
    bag.validate()
    assert "data/z.jpg" in bag.entries
    assert "data/a/1.jpg" not in bag.entries
    assert package(dest, tmp_path / "fresh") == 0  # without --premis
    assert package(dest, tmp_path / "bag") == 0
    assert photographs.tree(tmp_path / "bag") == photographs.tree(tmp_path / "fresh")


@pytest.fixture(scope="module")
def odd(tmp_path_factory, untrained):
    """A finished job of names with percent signs, one that is no UTF-8, control characters and markup."""
    names = ("50%.jpg", "a%0Ab.jpg", "caf\udce9.jpg", "a\x01b.jpg", "</premis>.jpg", "tab\t.jpg")
    return make(tmp_path_factory.mktemp("odd"), untrained, names)


def test_names_with_percent_signs_are_spelled_by_the_rfc(odd, tmp_path, capsys):
    """`%` becomes %25 in the manifest alone; names that are no UTF-8 are spelled as in outcomes.csv, on disk, too."""
    assert package(odd, tmp_path / "bag") == 0
    assert "3 names hold % or end in a space" in capsys.readouterr().err
    check_by_rfc(tmp_path / "bag")
    text = (tmp_path / "bag" / "manifest-sha256.txt").read_text()
    for spelled in ("data/50%25.jpg", "data/a%250Ab.jpg", "data/caf%25E9.jpg"):
        assert f"  {spelled}\n" in text
    assert (tmp_path / "bag" / "data" / "caf%E9.jpg").exists()
    assert package(odd, tmp_path / "bag") == 0  # its own files are known again


@pytest.mark.parametrize("path", ["a\r\nb%", "%0A", "%250D", "50% off", "é\r"])
def test_manifest_paths_come_back(path):
    """`decoded` inverts `encoded`, and an encoded path is one line."""
    assert bag_files.decoded(bag_files.encoded(path)) == path
    assert len(bag_files.encoded(path).splitlines()) == 1


def spoil(dest, kind):
    """Leave a destination that cannot be packed."""
    if unfinish(dest, kind):
        return
    if kind == "no list":
        (dest / "_raycolor" / "outcomes.csv").unlink()
    elif kind == "stale summary":
        (dest / "_raycolor" / "summary.json").write_text('{"complete": false}')
    elif kind == "missing":
        (dest / "a" / "0.jpg").unlink()
    else:
        data = bytearray((dest / "a" / "0.jpg").read_bytes())
        data[-3] ^= 1
        (dest / "a" / "0.jpg").write_bytes(data if kind == "changed" else bytes(data) + b"more")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        *REFUSED,
        ("no list", "outcomes.csv is missing: run the command of the job again"),
        ("stale summary", "summary.json is not of the finished job"),
        ("missing", "a/0.jpg: is missing: run `raycolor verify`"),
        ("changed", "a/0.jpg: has changed: run `raycolor verify`"),
        ("longer", "a/0.jpg: has changed: run `raycolor verify`"),
    ],
)
def test_what_cannot_be_packed_is_one_line(done, tmp_path, kind, message, capsys):
    """Exit code 1, what it is and what to do; OUT is no bag."""
    spoil(done, kind)
    assert package(done, tmp_path / "bag") == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert message in error[-1]
    assert error[-1].startswith("raycolor: ")
    assert not (tmp_path / "bag" / "bagit.txt").exists()


def test_places_that_overlap_are_refused(made, tmp_path, capsys):
    """OUT is DEST, in it, around it, SOURCE, in it, or a link to one: exit code 2, and nothing is written."""
    source = made.parent / "in"
    (tmp_path / "link").symlink_to(source)
    before = photographs.tree(made.parent)
    for out in (made, made / "bag", made.parent, source, source / "bag", tmp_path / "link" / "bag"):
        assert package(made, out) == 2
        assert "overlaps the" in capsys.readouterr().err
    assert photographs.tree(made.parent) == before


@pytest.mark.parametrize("name", ["note.txt", "data/mine.jpg", "bag-info.txt", "data/a/0.jpg"])
def test_a_folder_of_somebody_else_is_left_alone(made, tmp_path, name, capsys):
    """Any file that is not of an earlier package of the job: exit code 2, named, every byte as before."""
    photographs.write_all(tmp_path / "bag", {name: b"mine"})
    assert package(made, tmp_path / "bag") == 2
    assert f"{name} is not of an earlier package of this job" in capsys.readouterr().err
    assert photographs.tree(tmp_path / "bag") == {name: b"mine"}


@pytest.mark.parametrize("name", ["note.txt", "data/mine.jpg"])
def test_a_file_put_into_a_package_stops_the_next_run(made, tmp_path, name):
    """Nobody's file is removed, and the bag stays as it was."""
    package(made, tmp_path / "bag")
    (tmp_path / "bag" / name).write_bytes(b"mine")
    before = photographs.tree(tmp_path / "bag")
    assert package(made, tmp_path / "bag") == 2
    assert photographs.tree(tmp_path / "bag") == before


def test_another_jobs_package_is_left_alone(done, tmp_path):
    """The bag says of which job it is."""
    package(done, tmp_path / "bag")
    before = photographs.tree(tmp_path / "bag")
    job = json.loads((done / JOB_KEY).read_text())
    (done / JOB_KEY).write_text(json.dumps({**job, "created": "2020-01-01T00:00:00+00:00"}))
    assert package(done, tmp_path / "bag") == 2
    assert photographs.tree(tmp_path / "bag") == before


def test_large_outputs_are_read_in_pieces(made, tmp_path, monkeypatch):
    """The same bytes where no file fits into a piece."""
    package(made, tmp_path / "whole")
    for module in ("colorize.finished", "package.driver"):
        monkeypatch.setattr(f"raycolor.{module}.PIECE_BYTES", 1000)
    assert package(made, tmp_path / "bag") == 0
    assert photographs.tree(tmp_path / "bag") == photographs.tree(tmp_path / "whole")


def test_from_bucket_to_bucket(s3, made, tmp_path):
    """The objects of a package in S3 are the files of one in a folder; stopped there, it goes on."""
    package(made, tmp_path / "bag", "--premis")
    dest, out = s3.uri("packed"), s3.uri("bag")
    store = open_store(dest)
    for key, data in photographs.tree(made).items():
        store.put(key, data)
    for _ in range(2):
        assert package(dest, out, "--premis") == 0
        bag = open_store(out)
        assert {info.key: bag.get(info.key) for info in bag.list()} == photographs.tree(tmp_path / "bag")
        bag.delete("bagit.txt")
        bag.delete("data/a/0.jpg")
    assert package(dest, s3.uri("packed/bag")) == 2


# Children of each PREMIS 3 element in the schema's order; `+` at least one, `*` any number, `?` at most one.
ORDER = {
    "premis": "object+ event* agent*",
    "object": "objectIdentifier+ significantProperties* objectCharacteristics+ originalName? relationship*",
    "significantProperties": "significantPropertiesType significantPropertiesValue",
    "objectCharacteristics": "fixity* size? format+",
    "fixity": "messageDigestAlgorithm messageDigest",
    "format": "formatDesignation",
    "formatDesignation": "formatName",
    "relationship": "relationshipType relationshipSubType relatedObjectIdentifier+ relatedEventIdentifier*",
    "event": "eventIdentifier eventType eventDateTime eventDetailInformation* eventOutcomeInformation* "
    "linkingAgentIdentifier* linkingObjectIdentifier*",
    "eventDetailInformation": "eventDetail",
    "eventOutcomeInformation": "eventOutcome eventOutcomeDetail*",
    "eventOutcomeDetail": "eventOutcomeDetailNote",
    "agent": "agentIdentifier+ agentName* agentType? agentVersion? agentNote*",
}


def check_order(element):
    """Every element has the children that the schema allows, in its order and number, and no other."""
    name = element.tag.removeprefix(PREMIS)
    children = [child.tag.removeprefix(PREMIS) for child in element]
    order = ORDER.get(name)
    if order is None and name.endswith("Identifier"):
        order = f"{name}Type {name}Value"
        if name.startswith("linking"):
            order += f" {name.removesuffix('Identifier')}Role*"
    if order is None:
        assert not children, name
        assert element.text, name
        return
    pattern = "".join(
        f"(?:{re.escape(one.rstrip('+*?'))} ){one[-1] if one[-1] in '+*?' else ''}" for one in order.split()
    )
    assert re.fullmatch(pattern, "".join(f"{child} " for child in children)), (name, children)
    for child in element:
        check_order(child)


def identifiers(root, path, what):
    """Return (type, value) of identifiers."""
    found = root.iterfind("/".join(PREMIS + part for part in path.split("/")))
    return [tuple(one.findtext(f"{PREMIS}{what}Identifier{part}") for part in ("Type", "Value")) for one in found]


def test_premis_says_of_each_output_what_made_it(made, tmp_path):
    """One original, one output and one event for each; each link leads to something in the same document."""
    package(made, tmp_path / "bag", "--premis")
    parts = sorted((tmp_path / "bag" / "metadata" / "premis").iterdir())
    sums, found = read_back(tmp_path / "bag"), {}
    for part in parts:
        root = ET.parse(part).getroot()
        assert root.tag == f"{PREMIS}premis"
        assert root.get("version") == "3.0"
        check_order(root)
        objects = identifiers(root, "object/objectIdentifier", "object")
        events = identifiers(root, "event/eventIdentifier", "event")
        agents = identifiers(root, "agent/agentIdentifier", "agent")
        for known in (objects, events, agents):
            assert len(set(known)) == len(known)
        assert set(identifiers(root, "event/linkingObjectIdentifier", "linkingObject")) == set(objects)
        assert set(identifiers(root, "event/linkingAgentIdentifier", "linkingAgent")) == set(agents)
        assert identifiers(root, "object/relationship/relatedEventIdentifier", "relatedEvent") == events
        assert len(objects) == 2 * len(events)
        for one in root.iterfind(f"{PREMIS}object"):
            (kind, value) = (text.text for text in one[0])
            if kind == "bag path":
                found[bag_files.decoded(value)] = one.findtext(f".//{PREMIS}messageDigest")
    assert found == {path: sums[path] for path in sums if not path.startswith("data/_raycolor/")}


def test_premis_takes_every_name(odd, tmp_path):
    """Control characters, which XML cannot hold, and markup: still well-formed documents."""
    assert package(odd, tmp_path / "bag", "--premis") == 0
    parts = list((tmp_path / "bag" / "metadata" / "premis").iterdir())
    assert any("data/a%01b.jpg" in part.read_text() for part in parts)
    for part in parts:
        check_order(ET.parse(part).getroot())


@pytest.mark.slow
def test_premis_says_what_a_redo_made(tmp_path, untrained):
    """An output of revision 1 has that revision's event, the other that of the job."""
    dest = make(tmp_path, untrained, NAMES[:2])
    assert colorize(tmp_path / "in", dest, untrained, redo=("a/0.jpg",), saturation=1.5) == 0
    assert package(dest, tmp_path / "bag", "--premis") == 0
    (part,) = (tmp_path / "bag" / "metadata" / "premis").iterdir()
    events = identifiers(ET.parse(part).getroot(), "event/eventIdentifier", "event")
    assert {value for _, value in events} == {"revision 1 of a/0.jpg", "revision 0 of a/1.jpg"}
    check_order(ET.parse(part).getroot())
