"""Laws of one photograph: size, own lightness, orientation, and what the network is shown."""

import io
import subprocess

import numpy as np
import photographs
import pytest
import simplejpeg
import torch
from PIL import Image

from raycolor import codecs
from raycolor.codecs import jpeg_file, jpeg_whole
from raycolor.color.kernels import lightness
from raycolor.color.resize import resize_area
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.photograph import Colorized, FileColorizer, flags_of, network_shape, usual_px
from raycolor.colorizer.predict import Predicted
from raycolor.errors import ImageError
from raycolor.models import checkpoints
from raycolor.models.build import build_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint with seeded random weights whose colors are strong enough to see."""
    folder = tmp_path_factory.mktemp("checkpoint") / "random"
    torch.manual_seed(3)
    network = build_model("regression")
    with torch.no_grad():
        list(network.parameters())[-1].copy_(torch.tensor([0.15, 0.25]))
    checkpoints.save(folder, network, method="regression", training={}, dataset={"image_size": 64}, metrics={})
    return str(folder)


@pytest.fixture(scope="module")
def colorizer(checkpoint):
    """The colorizer with its default options."""
    return FileColorizer(ColorizerConfig(checkpoint=checkpoint))


def rgb_of(data):
    """Decode a result with a library that raycolor does not use for it."""
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("shape", [(48, 64), (1, 1), (7, 300), (301, 5)])
def test_size_stays_and_lightness_is_the_photographs_own(colorizer, kind, shape):
    """Width and height are the input's, and L of the result is that of the gray, within rounding to 8 bits."""
    gray = photographs.gray_pixels(*shape)
    result = colorizer.colorize(photographs.encoded(gray, kind))
    rgb = rgb_of(result.data)
    assert rgb.shape == (*shape, 3)
    # Half a level of 8-bit sRGB is at most 0.5 L where the curve is steepest.
    assert np.abs(lightness(np.ascontiguousarray(rgb)) - lightness(gray)).max() < 0.75
    assert (rgb.max(axis=-1) - rgb.min(axis=-1)).max() > 10


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 40}])
@pytest.mark.parametrize("shape", [(48, 64), (47, 61), (8, 9), (1, 1)])
def test_a_gray_jpeg_keeps_its_luma_exactly(colorizer, tmp_path, options, shape):
    """Colorizing is reversible: the gray pixels that a decoder sees in the result are those of the original."""
    original = photographs.encoded(photographs.gray_pixels(*shape), "jpeg", **options)
    result = colorizer.colorize(original).data
    assert np.array_equal(simplejpeg.decode_jpeg(result, "GRAY"), simplejpeg.decode_jpeg(original, "GRAY"))
    assert rgb_of(result).shape == (*shape, 3)


@pytest.mark.parametrize("kind", ["gray", "toned"])
def test_a_jpeg_is_parsed_and_proven_whole_once(colorizer, monkeypatch, kind):
    """Header, decoding, luma and the exact copy go on with one parsed structure, and one walk along the scans."""
    gray = photographs.gray_pixels(48, 64)
    toned = np.stack([gray, (gray * 0.9).astype(np.uint8), (gray * 0.7).astype(np.uint8)], axis=-1)
    original = photographs.encoded(gray if kind == "gray" else toned, "jpeg")
    parsed, proven = [], []
    parse, check_whole = jpeg_file.parse, jpeg_whole.check_whole
    monkeypatch.setattr(jpeg_file, "parse", lambda data, **options: parsed.append(data) or parse(data, **options))
    monkeypatch.setattr(jpeg_whole, "check_whole", lambda file: proven.append(file.data) or check_whole(file))
    assert colorizer.colorize(original).source_kind == kind
    assert parsed.count(original) == 1
    assert proven == [original]


def test_jpegtran_gives_the_original_back(colorizer, tmp_path):
    """`jpegtran -grayscale` of the output has the original's coefficients."""
    try:
        subprocess.run(["jpegtran", "-version"], capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("jpegtran is not installed (Debian: libjpeg-turbo-progs)")
    original = photographs.encoded(photographs.gray_pixels(123, 211), "jpeg", quality=85)
    (tmp_path / "color.jpg").write_bytes(colorizer.colorize(original).data)
    (tmp_path / "original.jpg").write_bytes(original)
    for name, flags in (("color", ["-grayscale"]), ("original", [])):
        command = ["jpegtran", "-copy", "none", *flags, "-outfile", f"{name}.out", f"{name}.jpg"]
        subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "color.out").read_bytes() == (tmp_path / "original.out").read_bytes()


def test_reencoding_can_be_asked_for(checkpoint):
    """--jpeg-luma reencode writes a plain JPEG of the joined picture, luma close to the original's."""
    gray = photographs.gray_pixels(64, 64)
    reencode = FileColorizer(ColorizerConfig(checkpoint=checkpoint, jpeg_luma="reencode"))
    data = photographs.encoded(gray, "jpeg", quality=95)
    result = reencode.colorize(data).data
    assert rgb_of(result).shape == (64, 64, 3)
    assert not np.array_equal(simplejpeg.decode_jpeg(result, "GRAY"), simplejpeg.decode_jpeg(data, "GRAY"))


def test_16_bits_stay_16_bits(colorizer):
    """A 16-bit gray TIFF becomes a 16-bit RGB TIFF whose lightness has more than 8 bits."""
    import tifffile

    y, x = np.mgrid[0:40, 0:900]
    gray = (20_000 + x * 9 + y).astype(np.uint16)
    sink = io.BytesIO()
    tifffile.imwrite(sink, gray)
    rgb = tifffile.imread(io.BytesIO(colorizer.colorize(sink.getvalue()).data))
    assert (rgb.dtype, rgb.shape) == (np.uint16, (40, 900, 3))
    assert np.abs(lightness(np.ascontiguousarray(rgb)) - lightness(gray)).max() < 0.01


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
def test_color_is_enlarged_along_edges_unless_asked_otherwise(checkpoint, colorizer, kind):
    """--upsampling bilinear gives other colors than the default in every way of writing, and the same lightness."""
    gray = photographs.gray_pixels(200, 300)
    data = photographs.encoded(gray if kind != "tiff" else gray.astype(np.uint16) * 257, kind)
    bilinear = FileColorizer(ColorizerConfig(checkpoint=checkpoint, upsampling="bilinear")).colorize(data).data
    guided = colorizer.colorize(data).data
    assert guided != bilinear
    if kind == "png":
        assert np.abs(lightness(rgb_of(guided)) - lightness(rgb_of(bilinear))).max() < 1


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_network_sees_upright_and_the_file_stays_as_stored(colorizer, orientation):
    """A photograph stored on its side gets the colors of the upright one, in its own orientation."""
    upright = photographs.gray_pixels(64, 128)
    stored = np.ascontiguousarray(codecs.as_stored(upright, orientation))
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = rgb_of(colorizer.colorize(photographs.encoded(upright, "png")).data)
    turned = colorizer.colorize(photographs.encoded(stored, "png", exif=exif)).data
    with Image.open(io.BytesIO(turned)) as picture:
        assert picture.getexif()[0x0112] == orientation
    again = codecs.upright(rgb_of(turned), orientation)
    # Bilinear enlarging of ab commutes with turning up to rounding.
    assert np.abs(again.astype(int) - plain.astype(int)).max() <= 1


def test_toned_photographs_are_colorized_from_their_lightness(colorizer):
    """Sepia is no color: it is replaced, and the lightness stays."""
    gray = photographs.gray_pixels(64, 64).astype(float)
    sepia = np.clip(np.stack([gray * 1.0 + 18, gray * 0.93 + 8, gray * 0.78], axis=-1), 0, 255).astype(np.uint8)
    result = colorizer.colorize(photographs.encoded(sepia, "png"))
    assert result.source_kind == "toned"
    out = rgb_of(result.data)
    assert np.abs(lightness(np.ascontiguousarray(out)) - lightness(sepia)).max() < 0.75


def test_colored_photographs_are_skipped_copied_or_recolored(colorizer, checkpoint):
    """--on-color decides, and the default touches nothing."""
    data = photographs.encoded(photographs.color_pixels(), "png")
    with pytest.raises(ImageError, match="has colors") as caught:
        colorizer.colorize(data)
    assert caught.value.reason == "already_color"
    copied = FileColorizer(ColorizerConfig(checkpoint=checkpoint, on_color="copy")).colorize(data)
    assert (copied.data, copied.source_kind) == (data, "color")
    recolored = FileColorizer(ColorizerConfig(checkpoint=checkpoint, on_color="recolor")).colorize(data)
    assert isinstance(recolored, Colorized)
    assert not np.array_equal(rgb_of(recolored.data), photographs.color_pixels())


def test_saturation_scales_the_colors(checkpoint):
    """Factor 0 gives back the gray photograph."""
    gray = photographs.gray_pixels()
    options = ColorizerConfig(checkpoint=checkpoint, saturation=0.0)
    rgb = rgb_of(FileColorizer(options).colorize(photographs.encoded(gray, "png")).data)
    assert np.array_equal(rgb, np.broadcast_to(gray[..., None], rgb.shape))


def test_the_provenance_names_the_checkpoint(colorizer):
    """XMP says that a model made the colors, and which weights."""
    data = colorizer.colorize(photographs.encoded(photographs.gray_pixels(), "jpeg")).data
    assert b"compositeWithTrainedAlgorithmicMedia" in data
    assert colorizer.checkpoint.weights_sha256.encode() in data


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (480, 640), (20_000, 1), (1, 20_000), (100, 100), (4000, 6000), (224, 224)]
)
@pytest.mark.parametrize("stride", [8, 32])
def test_the_network_size_keeps_area_and_aspect(height, width, stride):
    """Sides are multiples of the stride, the area is about that asked for, and the aspect is kept within 4:1."""
    h, w = network_shape(height, width, 224, stride, None)
    assert h % stride == w % stride == 0
    assert 0.75 < h * w / 224**2 < 1.3
    wanted = min(max(width / height, 0.25), 4.0)
    assert 0.7 < (w / h) / wanted < 1.4


def test_a_small_photograph_is_not_enlarged_as_far_as_a_large_one():
    """The larger the photograph, the larger what the network sees, up to its own size; of 390 px it is the same."""
    seen = [usual_px(side, 2 * side, 1024) for side in (1, 50, 100, 200, 400, 4000)]
    assert seen == sorted(seen)
    assert len(set(seen)) == len(seen)
    assert (usual_px(390, 390, 1024), usual_px(4000, 6000, 384)) == (390, 384)
    assert usual_px(20_000, 1, 1024) == usual_px(1, 20_000, 1024)
    assert usual_px(1, 1, 352) == 36


def test_who_asks_for_a_size_gets_it():
    """A small photograph, too, is seen at `--network-size`; without it, at what suits both it and the network."""
    data = photographs.encoded(photographs.gray_pixels(100, 100), "png")
    asked = FileColorizer(ColorizerConfig(checkpoint="default", network_size=384)).prepare(data)
    usual = FileColorizer(ColorizerConfig(checkpoint="default")).prepare(data)
    assert [plane.shape for plane in asked.L_small] == [(384, 384)]
    assert [plane.shape for plane in usual.L_small] == [(224, 224)]


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_a_network_sees_few_sizes(stride):
    """Whatever the shapes of photographs and the size asked for: those of one size share a pass on a GPU."""
    for size in (128, 224, 256, 300, 320, 512, 1000):
        widths = np.exp(np.linspace(-1.6, 1.6, 1500)) * 1000
        seen = {network_shape(1000, int(width), size, stride, None) for width in widths}
        assert len(seen) <= 31
        assert size != 256 or len(seen) == 25


def test_a_network_with_a_dense_layer_takes_its_one_size():
    """The autoencoder is shown a square, whatever the photograph."""
    assert network_shape(100, 900, 300, 16, 224) == (224, 224)


def test_shrinking_averages_areas():
    """Each small pixel is the mean of the large ones it covers: no aliasing, for 8 and 16 bits."""
    for dtype in (np.uint8, np.uint16):
        pixels = np.random.default_rng(0).integers(0, 255, (40, 60)).astype(dtype)
        means = pixels.reshape(10, 4, 15, 4).mean(axis=(1, 3))
        assert np.abs(resize_area(pixels, 10, 15) - means).max() <= 0.5


def test_batches_and_single_photographs_agree(colorizer):
    """What a photograph becomes does not depend on those that go with it."""
    planes = [lightness(photographs.gray_pixels(64, 64, seed)) for seed in range(3)]
    together = colorizer.predict(planes)
    for plane, ab in zip(planes, together, strict=True):
        assert np.array_equal(colorizer.predict([plane])[0].ab, ab.ab)


def test_mirrored_twice_is_the_mean_of_both(colorizer, checkpoint):
    """--tta flip: the mirrored photograph gets the mirrored color, which without it it does not."""
    L = lightness(photographs.gray_pixels(64, 64, 1))
    mirrored = np.ascontiguousarray(L[:, ::-1])
    both = FileColorizer(ColorizerConfig(checkpoint=checkpoint, tta="flip", precision="fp32"))
    once = FileColorizer(ColorizerConfig(checkpoint=checkpoint, precision="fp32"))
    assert np.abs(both.predict([L])[0].ab - both.predict([mirrored])[0].ab[:, ::-1]).max() < 1e-3
    mean = (once.predict([L])[0].ab + once.predict([mirrored])[0].ab[:, ::-1]) / 2
    assert np.abs(once.predict([L])[0].ab - mean).max() > 0.01
    assert np.abs(both.predict([L])[0].ab - mean).max() < 1e-3


def test_flags_name_what_a_viewer_would_notice():
    """No color is `dull`, color that sRGB cannot hold at that lightness is `overflow`, one such page is enough."""
    L = np.full((64, 64), 60.0, dtype=np.float32)
    gray = np.zeros((64, 64, 2), dtype=np.float32)
    fine, beyond = gray + np.float32(20), gray + np.array([0.0, -100.0], dtype=np.float32)
    assert flags_of([fine], [L]) == ()
    assert flags_of([gray], [L]) == ("dull",)
    assert flags_of([beyond], [L]) == ("overflow",)
    assert flags_of([fine, gray, beyond], [L] * 3) == ("dull", "overflow")


def test_confidence_is_told_by_those_who_know(checkpoint, colorizer, tmp_path):
    """A network with a distribution over color says how sure it is; the regression does not guess a number."""
    data = photographs.encoded(photographs.gray_pixels(64, 64, 1))
    assert colorizer.colorize(data).confidence is None
    torch.manual_seed(0)
    network = build_model("unet", {"head": "bins", "pretrained": False, "widths": [8, 8, 8, 8], "convs": 1})
    checkpoints.save(tmp_path / "bins", network, method="unet", training={}, dataset={"image_size": 64}, metrics={})
    result = FileColorizer(ColorizerConfig(checkpoint=str(tmp_path / "bins"))).colorize(data)
    assert 0 < result.confidence < 0.5


@pytest.mark.parametrize("upsampling", ["guided", "bilinear"])
def test_what_travels_as_float16_loses_nothing(checkpoint, upsampling):
    """Here L and color are rounded as they would be on their way: where the network runs changes no byte."""
    colorizer = FileColorizer(ColorizerConfig(checkpoint=checkpoint, upsampling=upsampling))
    prepared = colorizer.prepare(photographs.encoded(photographs.gray_pixels(96, 96), "png"))
    (L,) = prepared.L_small
    assert np.array_equal(L, L.astype(np.float16).astype(np.float32))
    ab = np.random.default_rng(0).uniform(-60, 60, (*L.shape, 2)).astype(np.float32)
    sent = ab.astype(np.float16).astype(np.float32)
    assert not np.array_equal(ab, sent)
    here, elsewhere = (colorizer.finish(prepared, [Predicted(one, None)]).data for one in (ab, sent))
    assert here == elsewhere
