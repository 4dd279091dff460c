"""Laws of `raycolor package --iiif`: valid manifests, and every address in them is a file of the package."""

import hashlib
import io
import json

import bagit
import finished_jobs
import photographs
import pytest
from PIL import Image
from test_package import check_by_rfc, package

from raycolor.package import iiif_images
from raycolor.storage import open_store

try:
    # Its models come from IIIF's own schema. It is not among the pinned packages, as it takes none of today's Pillow.
    import iiif_prezi3
except ImportError:
    iiif_prezi3 = None

URL = "https://example.org/a collection/iiif".replace(" ", "%20")
NAMES = {"a.jpg": (48, 64), "box 1/<b>.png": (700, 500), "box 1/c#?.tif": (300, 900), "box 2/deep/d.jpg": (64, 48)}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished job of four photographs in three folders, one of them stored sideways, and a color photograph."""
    files = {"color.jpg": photographs.encoded(photographs.color_pixels())}
    for seed, (name, (height, width)) in enumerate(NAMES.items()):
        kind = {"jpg": "jpeg", "png": "png", "tif": "tiff"}[name.rpartition(".")[2]]
        exif = Image.Exif()
        if name == "a.jpg":
            exif[0x0112] = 6
        files[name] = photographs.encoded(photographs.gray_pixels(height, width, seed), kind, exif=exif)
    return finished_jobs.fabricate(tmp_path_factory.mktemp("job"), files, copied=["color.jpg"])


@pytest.fixture(scope="module")
def bag(made, tmp_path_factory):
    """A package with IIIF, which no test may change."""
    out = tmp_path_factory.mktemp("packed") / "bag"
    assert package(made, out, "--iiif", URL + "/") == 0
    return out


def fetch(bag, address):
    """Return what a server would give for an address of the package."""
    assert address.startswith(URL + "/")
    return (bag / "iiif" / address.removeprefix(URL + "/")).read_bytes()


# What IIIF Presentation 3.0 asks of each type: properties that must be there, and others that are used here.
PROPERTIES = {
    "Collection": ({"@context", "id", "type", "label", "items"}, {"requiredStatement"}),
    "Manifest": ({"@context", "id", "type", "label", "items"}, {"requiredStatement"}),
    "Canvas": ({"id", "type", "label", "height", "width", "items"}, set()),
    "AnnotationPage": ({"id", "type", "items"}, set()),
    "Annotation": ({"id", "type", "motivation", "body", "target"}, set()),
    "Choice": ({"type", "items"}, set()),
    "Image": ({"id", "type", "format", "height", "width", "service"}, {"label"}),
    "ImageService3": ({"id", "type", "profile"}, set()),
}
INSIDE = {
    "Collection": "Manifest", "Manifest": "Canvas", "Canvas": "AnnotationPage", "AnnotationPage": "Annotation",
    "Choice": "Image",
}  # fmt: skip


def check_text(texts):
    """A language map: language, or `none`, to texts."""
    assert texts
    for language, some in texts.items():
        assert language in ("none", "en")
        assert some
        assert all(isinstance(text, str) and text for text in some)


def check_presentation(one, kind, ids, *, referred=False):
    """A resource and all inside it are as the specification says; no address is used twice."""
    must, may = PROPERTIES[kind]
    must = must - {"@context", "items"} if referred else must
    assert one["type"] == kind
    assert must <= one.keys() <= must | may
    if "@context" in must:
        assert one["@context"] == "http://iiif.io/api/presentation/3/context.json"
    if "id" in must:
        assert one["id"].startswith("https://")
        assert " " not in one["id"]
        assert one["id"] not in ids
        ids.add(one["id"])
    for text in ([one["label"]] if "label" in one else []) + [*one.get("requiredStatement", {}).values()]:
        check_text(text)
    for side in {"height", "width"} & one.keys():
        assert isinstance(one[side], int)
        assert one[side] > 0
    if kind == "Annotation":
        assert one["motivation"] == "painting"
        assert one["target"] in ids
        check_presentation(one["body"], "Choice", ids)
    for service in one.get("service", []):
        check_presentation(service, "ImageService3", ids)
    if not referred and kind in INSIDE:
        assert one["items"]
        for inner in one["items"]:
            check_presentation(inner, INSIDE[kind], ids, referred=kind == "Collection")


def manifests(bag):
    """Return label -> manifest, as the collection leads to them."""
    collection = json.loads(fetch(bag, f"{URL}/collection.json"))
    check_presentation(collection, "Collection", set())
    assert collection["id"] == f"{URL}/collection.json"
    found = {one["label"]["none"][0]: json.loads(fetch(bag, one["id"])) for one in collection["items"]}
    assert [found[label]["id"] for label in found] == [one["id"] for one in collection["items"]]
    return found


def test_a_manifest_for_every_folder_is_valid(bag):
    """By the specification; folders and photographs by their names, sorted; nothing that was only copied."""
    found = manifests(bag)
    assert list(found) == ["in", "box 1", "box 2/deep"]
    ids = set()
    for manifest in found.values():
        check_presentation(manifest, "Manifest", ids)
        assert "trained network" in manifest["requiredStatement"]["value"]["en"][0]
    labels = {folder: [canvas["label"]["none"][0] for canvas in one["items"]] for folder, one in found.items()}
    assert labels == {"in": ["a.jpg"], "box 1": ["<b>.png", "c#?.tif"], "box 2/deep": ["d.jpg"]}


@pytest.mark.skipif(iiif_prezi3 is None, reason="iiif-prezi3 is not installed")
def test_the_models_of_iiif_take_every_manifest(bag):
    """Those of iiif-prezi3, which are made from IIIF's own schema."""
    iiif_prezi3.Collection(**json.loads(fetch(bag, f"{URL}/collection.json")))
    for manifest in manifests(bag).values():
        iiif_prezi3.Manifest(**manifest)


def test_every_canvas_offers_the_original_and_the_color(bag):
    """A Choice of two, the original first: gray pixels and colored ones, of one upright size, as the addresses give."""
    for manifest in manifests(bag).values():
        for canvas in manifest["items"]:
            (annotation,) = canvas["items"][0]["items"]
            assert annotation["target"] == canvas["id"]
            assert annotation["body"]["type"] == "Choice"
            pictures = []
            for body in annotation["body"]["items"]:
                with Image.open(io.BytesIO(fetch(bag, body["id"]))) as picture:
                    pictures.append(picture.convert("HSV"))
                    assert (body["width"], body["height"]) == picture.size == (canvas["width"], canvas["height"])
            saturations = [max(picture.getchannel("S").tobytes()) for picture in pictures]
            assert saturations[0] == 0 < saturations[1]
            if canvas["label"]["none"] == ["a.jpg"]:
                assert (canvas["width"], canvas["height"]) == (48, 64)  # stored as 64 x 48


def test_images_are_level_0(bag):
    """`info.json` says what Image API 3 asks for, and every size it names is a file of that size."""
    for manifest in manifests(bag).values():
        for canvas in manifest["items"]:
            for body in canvas["items"][0]["items"][0]["body"]["items"]:
                (service,) = body["service"]
                info = json.loads(fetch(bag, f"{service['id']}/info.json"))
                assert info["id"] == service["id"]
                assert (info["type"], info["profile"]) == ("ImageService3", "level0")
                assert info["protocol"] == "http://iiif.io/api/image"
                assert info["sizes"][-1] == {"width": info["width"], "height": info["height"]}
                assert max(info["sizes"][0].values()) <= 256
                for size in info["sizes"]:
                    address = f"{service['id']}/full/{size['width']},{size['height']}/0/default.jpg"
                    with Image.open(io.BytesIO(fetch(bag, address))) as picture:
                        assert picture.size == (size["width"], size["height"])


def test_the_bag_is_valid_and_comes_again_in_the_same_bytes(made, bag, tmp_path):
    """Images are listed among the tags; the same command gives the same bytes; without --iiif they are taken out."""
    bagit.Bag(str(bag)).validate()
    check_by_rfc(bag)
    assert package(made, tmp_path / "bag", "--iiif", URL) == 0
    assert photographs.tree(tmp_path / "bag") == photographs.tree(bag)
    assert package(made, tmp_path / "bag", "--iiif", URL) == 0
    assert photographs.tree(tmp_path / "bag") == photographs.tree(bag)
    assert package(made, tmp_path / "bag") == 0
    assert not any(name.startswith("iiif/") for name in photographs.tree(tmp_path / "bag"))


def test_large_photographs_are_published_smaller():
    """At most 4096 pixels a side, sizes that double, at any proportion."""
    pictures = iiif_images.pictures_of(photographs.encoded(photographs.gray_pixels(30, 5000)))
    assert [one.width for one in pictures] == [256, 512, 1024, 2048, 4096]
    assert pictures[-1].height == 25
    assert pictures[0].height == 2


@pytest.mark.parametrize(
    "url", ["example.org/iiif", "ftp://example.org", "https://u:p@example.org", "https://a/b?c", "https:// a"]
)
def test_an_address_that_is_none_is_refused(made, tmp_path, url, capsys):
    """Exit code 2, one line, before anything is written."""
    assert package(made, tmp_path / "bag", "--iiif", url) == 2
    assert "is no plain web address" in capsys.readouterr().err
    assert not (tmp_path / "bag").exists()


def test_an_original_that_has_gone_is_named(tmp_path, capsys):
    """It cannot be shown: one line, and no bag."""
    dest = finished_jobs.fabricate(tmp_path, {f"{k}.jpg": photographs.encoded(photographs.gray_pixels()) for k in "ab"})
    (tmp_path / "in/b.jpg").unlink()
    assert package(dest, tmp_path / "bag", "--iiif", URL) == 1
    assert "b.jpg: --iiif shows it gray and in color, and it cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "bag" / "bagit.txt").exists()


def test_names_of_images_are_of_keys_alone(bag):
    """The same key has the same addresses in every package."""
    name = hashlib.sha256(b"box 1/<b>.png").hexdigest()[:20]
    assert (bag / "iiif" / "images" / f"{name}-color" / "info.json").exists()


def test_in_a_bucket_it_is_the_same(s3, made, bag):
    """Every object is a file of the package in a folder."""
    assert package(made, s3.uri("iiif-bag"), "--iiif", URL) == 0
    store = open_store(s3.uri("iiif-bag"))
    assert {info.key: store.get(info.key) for info in store.list()} == photographs.tree(bag)
