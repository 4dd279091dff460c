"""Laws of `raycolor.Colorizer`: what it takes, what it gives, what it refuses, in one line each."""

import doctest
import importlib.resources
import shutil
import threading
from pathlib import Path

import numpy as np
import photographs
import pytest
from PIL import Image

import raycolor
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.photograph import FileColorizer
from raycolor.errors import CheckpointError, ConfigError, ImageError, RaycolorError, ShapeError, StorageError
from raycolor.models.shipped import PURPOSES
from raycolor.storage import open_store

SAMPLE = Path(__file__).parents[2] / "docs/sample/fsaowi_LC-USF34-058042.jpg"
GRAY = photographs.gray_pixels()


@pytest.fixture(scope="module")
def colorizer():
    """The smallest shipped network."""
    return raycolor.Colorizer("regression")


def test_a_file_comes_back_as_the_bulk_job_writes_it(colorizer):
    """A path, a Path and the file's bytes give the bytes of `FileColorizer`, which is what workers run."""
    expected = FileColorizer(ColorizerConfig(checkpoint="regression")).colorize(SAMPLE.read_bytes()).data
    for given in (SAMPLE, str(SAMPLE), SAMPLE.read_bytes(), bytearray(SAMPLE.read_bytes())):
        assert colorizer(given).data == expected
    result = colorizer(SAMPLE)
    assert (result.format, result.source_kind, result.pages) == ("jpeg", "gray", 1)
    assert result.rgb.shape == (result.height, result.width, 3)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2"])
@pytest.mark.parametrize("channels", [None, 3])
def test_arrays_and_pil_images_give_color_of_their_size_and_depth(colorizer, dtype, channels):
    """(H, W) and (H, W, 3) of 8 or 16 bits, of either byte order and any strides, become (H, W, 3) of that depth."""
    scale = 1 if dtype == "uint8" else 257
    gray = GRAY.astype(dtype) * np.array(scale, dtype)
    pixels = gray if channels is None else np.repeat(gray[..., None], 3, axis=2)
    result = colorizer(pixels)
    assert result.format == "png"
    assert result.rgb.shape == (*GRAY.shape, 3)
    assert result.rgb.dtype == (np.uint8 if dtype == "uint8" else np.uint16)
    assert result.rgb.std(axis=2).max() > scale
    mirrored = colorizer(np.repeat(pixels, 2, axis=1)[:, ::2])
    assert mirrored.data == result.data
    if dtype == "uint8":
        assert np.array_equal(colorizer(Image.fromarray(pixels)).rgb, result.rgb)


def test_rgb_is_upright(colorizer):
    """What EXIF turns is turned in `rgb`, for files and PIL images; the file keeps its orientation."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = photographs.encoded(GRAY, "png", exif=exif)
    result = colorizer(data)
    assert (result.width, result.height) == GRAY.shape[::-1]
    assert result.rgb.shape == (*GRAY.shape[::-1], 3)
    picture = Image.fromarray(GRAY)
    picture.getexif()[0x0112] = 6
    assert np.array_equal(colorizer(picture).rgb, result.rgb)


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        (GRAY.astype(float), ShapeError, r"float64 \(48, 64\): must be .* uint8 or uint16"),
        (GRAY[..., None], ShapeError, r"\(48, 64, 1\): must be"),
        (np.zeros((0, 4), np.uint8), ShapeError, r"\(0, 4\): must be"),
        (Image.new("CMYK", (4, 4)), ShapeError, r"mode CMYK: .*image.convert\('RGB'\)"),
        (None, ShapeError, "NoneType: must be a path"),
        (b"", ImageError, "empty"),
        ("no/such.jpg", StorageError, "no such file"),
        (".", ConfigError, "is a folder: give one file"),
        ("s3://bucket", ConfigError, "give s3://bucket/key"),
        (photographs.color_pixels(), ImageError, 'already_color: .*on_color="recolor"'),
    ],
)
def test_what_cannot_be_colorized_is_refused_in_one_line(colorizer, given, error, match):
    """Errors are raycolor's own, and name what, which value and the fix."""
    with pytest.raises(error, match=match) as caught:
        colorizer(given)
    assert isinstance(caught.value, RaycolorError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"saturation": 9}, "Colorizer: saturation = 9: .*less than or equal to 3"),
        ({"contrast": 1}, "Colorizer: unknown key contrast: known are .*saturation"),
    ],
)
def test_settings_are_those_of_the_config(settings, match):
    """Unknown ones and values out of bounds are refused before any weight is read."""
    with pytest.raises(ConfigError, match=match):
        raycolor.Colorizer("no-such-checkpoint", **settings)
    with pytest.raises(CheckpointError, match="no-such-checkpoint: no such checkpoint"):
        raycolor.Colorizer("no-such-checkpoint")


def test_a_photograph_in_color_is_colorized_or_copied_only_when_asked():
    """`recolor` gives other pixels and `copy` the same ones; both say that it was in color."""
    pixels = photographs.color_pixels()
    recolored = raycolor.Colorizer("regression", on_color="recolor")(pixels)
    copied = raycolor.Colorizer("regression", on_color="copy")(pixels)
    assert recolored.source_kind == copied.source_kind == "color"
    assert not np.array_equal(recolored.rgb, pixels)
    assert np.array_equal(copied.rgb, pixels)
    assert "copied: it has colors" in repr(copied)


def test_saturation_zero_is_gray():
    """The setting arrives: without saturation nothing is added."""
    assert np.ptp(raycolor.Colorizer("regression", saturation=0)(GRAY).rgb, axis=2).max() == 0


def test_save_never_overwrites_the_input_nor_names_another_format(colorizer, tmp_path):
    """Whole files under fitting names; the input is known by links and other spellings, as PIL image too."""
    scan = tmp_path / "scan.jpg"
    shutil.copy(SAMPLE, scan)
    (tmp_path / "link.jpg").symlink_to(scan)
    before = scan.read_bytes()
    result = colorizer(scan)
    with Image.open(scan) as picture:
        results = (result, colorizer(picture))
    for one, name in [(result, "scan.jpg"), (result, "link.jpg"), (results[1], "scan.jpg")]:
        with pytest.raises(ConfigError, match="never overwritten"):
            one.save(tmp_path / name)
    with pytest.raises(ConfigError, match=r"color.png: the result is JPEG, .*end the name in .jpg"):
        result.save(tmp_path / "color.png")
    result.save(tmp_path / "new/color.JPEG")
    assert (tmp_path / "new/color.JPEG").read_bytes() == result.data
    assert scan.read_bytes() == before
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["color.JPEG", "link.jpg", "new", "scan.jpg"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="a file stands where a folder is needed"):
        result.save(tmp_path / "file/color.jpg")


def test_all_pages_of_a_tiff_are_colorized(colorizer):
    """`data` holds every page, `rgb` the first."""
    pages = [Image.fromarray(photographs.gray_pixels(seed=seed)) for seed in range(3)]
    result = colorizer(photographs.encoded(np.asarray(pages[0]), "tiff", save_all=True, append_images=pages[1:]))
    assert (result.pages, result.format) == (3, "tiff")
    assert np.array_equal(result.rgb, colorizer(pages[0]).rgb)
    assert "3 pages" in repr(result)


def test_a_notebook_shows_before_and_after(colorizer):
    """Small pictures of both, and one line of what it is; nothing of a name becomes markup."""
    result = colorizer(SAMPLE)
    shown = result._repr_html_()
    assert shown.count("data:image/jpeg;base64,") == 2
    assert "was gray" in shown
    assert len(shown) < 200_000
    assert result._repr_jpeg_().startswith(b"\xff\xd8")


def test_threads_share_a_colorizer(colorizer):
    """Calls at the same time give the bytes that they give one after another."""
    inputs = [photographs.gray_pixels(64 + 16 * (i % 3), 96, seed=i) for i in range(12)]
    expected = [colorizer(pixels).data for pixels in inputs]
    found = {}
    threads = [
        threading.Thread(target=lambda i=i: found.update({i: colorizer(inputs[i]).data})) for i in range(len(inputs))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(len(inputs))] == expected


def test_every_shipped_checkpoint_is_listed_with_its_purpose():
    """Names, purposes and weights go together."""
    listed = {one.name: one for one in raycolor.list_checkpoints()}
    assert set(listed) == set(PURPOSES)
    for name, one in listed.items():
        checkpoint = raycolor.load_checkpoint(name)
        assert one.method == checkpoint.method
        assert one.parameters == sum(weight.numel() for weight in checkpoint.model().parameters())


@pytest.mark.parametrize("name", sorted(set(raycolor.__all__) - {"__version__"}))
def test_public_names_have_an_example_that_runs(name, tmp_path, monkeypatch):
    """The docstring of each public name holds an example, and it does what it says."""
    shutil.copy(SAMPLE, tmp_path / "scan.jpg")
    monkeypatch.chdir(tmp_path)
    public = getattr(raycolor, name)
    tests = doctest.DocTestFinder(recurse=False).find(public, name, globs={})
    assert tests
    assert tests[0].examples
    told = []
    doctest.DocTestRunner().run(tests[0], out=told.append)
    assert not told, "".join(told)


def test_the_public_names_are_there():
    """`dir`, `__all__` and attributes agree; what is not there says so as Python does."""
    assert set(raycolor.__all__) <= set(dir(raycolor))
    assert importlib.resources.files("raycolor").joinpath("py.typed").is_file()
    with pytest.raises(AttributeError, match="no attribute 'colourizer'"):
        raycolor.colourizer  # noqa: B018


def test_objects_in_s3_are_read_and_written(colorizer, s3):
    """s3://bucket/key works on both sides, and the input is refused there, too."""
    place = s3.uri()
    open_store(place).put("scan.jpg", SAMPLE.read_bytes())
    result = colorizer(f"{place}/scan.jpg")
    result.save(f"{place}/color.jpg")
    assert open_store(place).get("color.jpg") == result.data == colorizer(SAMPLE).data
    with pytest.raises(ConfigError, match="never overwritten"):
        result.save(f"{place}/scan.jpg")
    with pytest.raises(StorageError, match="not_found"):
        colorizer(f"{place}/missing.jpg")
