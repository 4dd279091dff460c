"""Laws of color hints: they color what belongs together, fade elsewhere, and never touch lightness."""

import io

import numpy as np
import photographs
import pytest
import simplejpeg
from onnx_made import Linear, exported, write_checkpoint
from PIL import Image

import raycolor
from raycolor.color.arrays import rgb_to_lab
from raycolor.color.kernels import lightness
from raycolor.colorizer.hint_list import Hint, HintList, as_hints, parse_hints
from raycolor.colorizer.hints import place, spread
from raycolor.errors import ConfigError, ImageError
from raycolor.exchange.fit import adapted
from raycolor.exchange.probe import Listing, Port
from raycolor.models.card import BUILT_IN

NAVY = (47.5, -64.7)


def two_fields(height=96, width=128):
    """Return lightness of a dark left and a light right half, with a little grain, and gray color of half its size."""
    L = np.where(np.arange(width) < width // 2, 30.0, 70.0)[None].repeat(height, 0)
    L = L + np.random.default_rng(0).normal(0, 1, L.shape)
    return L.astype(np.float32), np.zeros((height // 2, width // 2, 2), np.float32)


def at(row, column, color="navy"):
    return place([Hint(column, row, color)], (96, 128), (96, 128))


def test_a_hint_colors_what_belongs_together_and_ends_at_an_edge():
    """Its own field gets its color, the other side of an edge of lightness keeps the network's."""
    L, ab = two_fields()
    made = spread(ab, L, at(48, 20))
    assert made.shape == (96, 128, 2)
    assert made[48, 20] == pytest.approx(NAVY, abs=0.2)
    field, beyond = made[20:76, 5:50], made[:, 72:]
    assert np.hypot(*np.moveaxis(field, -1, 0)).min() > 0.5 * np.hypot(*NAVY)
    assert np.abs(beyond).max() < 1


def test_a_hint_ends_where_the_network_knows_another_color():
    """Flat lightness, and a network that sees grass beside sky: the hint stays on its side."""
    ab = np.zeros((96, 128, 2), np.float32)
    ab[:, 64:] = (-30, 35)
    made = spread(ab, np.full((96, 128), 50, np.float32), at(48, 20))
    assert np.hypot(*np.moveaxis(made[:, :60], -1, 0)).min() > 20
    assert np.abs(made[:, 68:] - ab[:, 68:]).max() < 1


def test_a_hint_fades_with_the_distance():
    """Where nothing changes at all, color still becomes the network's far away, and never passes either."""
    made = spread(np.zeros((20, 400, 2), np.float32), np.full((20, 400), 50, np.float32), at(10, 2)[:1])
    chroma = np.hypot(*np.moveaxis(made[10], -1, 0))
    assert (np.diff(chroma[5:]) <= 1e-3).all()
    assert chroma[-1] < 1 < 75 < chroma[2]
    assert chroma.max() <= np.hypot(*NAVY) + 0.2


def test_each_of_two_hints_has_its_color_where_it_stands():
    """At a hint no other one counts; between them color lies between theirs. `gray` takes color away."""
    ab = np.full((96, 128, 2), 25, np.float32)
    made = spread(ab, np.full((96, 128), 50, np.float32), [*at(48, 20), *at(48, 100, "gray")])
    assert made[48, 20] == pytest.approx(NAVY, abs=0.2)
    assert made[48, 100] == pytest.approx((0, 0), abs=0.2)
    assert 5 < np.hypot(*made[48, 60]) < 75


def test_without_hints_nothing_is_other_than_before():
    """The very plane of the network."""
    L, ab = two_fields()
    assert spread(ab, L, []) is ab


@pytest.fixture(scope="module")
def colorizer():
    """The smallest shipped network."""
    return raycolor.Colorizer("regression", network_size=64)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_luma_of_a_jpeg_comes_back_exactly_under_hints(colorizer, options):
    """A hint is color alone: the gray that a decoder sees is the original's, and color is another than without."""
    original = photographs.encoded(photographs.gray_pixels(), "jpeg", **options)
    hinted, plain = colorizer(original, hints=[(20, 20, "navy"), (50, 40, "#ffd000")]), colorizer(original)
    assert np.array_equal(simplejpeg.decode_jpeg(hinted.data, "GRAY"), simplejpeg.decode_jpeg(original, "GRAY"))
    assert hinted.data != plain.data
    assert colorizer(original, hints=[]).data == plain.data


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_hint_stands_where_viewers_show_it(colorizer, orientation):
    """Coordinates are those of the upright picture, whatever EXIF says; lightness is the photograph's own."""
    gray = np.full((60, 90), 120, np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = colorizer(photographs.encoded(gray, "png", exif=exif), hints=[(8, 8, "red")])
    assert np.abs(lightness(np.ascontiguousarray(result.rgb)) - lightness(gray)[0, 0]).max() < 0.75
    a = rgb_to_lab(result.rgb / 255.0)[..., 1]
    assert a[8, 8] > 60
    height, width = a.shape
    assert a[height - 8, width - 8] < a[8, 8] - 10


@pytest.mark.parametrize("where", [(64, 10), (10, 48), (5000, 5000)])
def test_a_hint_outside_the_picture_is_one_line(colorizer, where):
    """Reason `bad_hint`; it names the place and the size."""
    with pytest.raises(ImageError, match=rf"bad_hint: the hint at {where[0]}, {where[1]} lies outside .* 64 x 48 pix"):
        colorizer(photographs.gray_pixels(), hints=[(*where, "navy")])


@pytest.mark.parametrize(
    ("hint", "match"),
    [
        ((-1, 2, "navy"), "hint 1: x -1: must be pixels"),
        ((1, "b", "navy"), "hint 1: y 'b': must be pixels"),
        ((1, float("nan"), "navy"), "must be pixels"),
        ((1, 2, "navyish"), "hint 1: color 'navyish': must be #rrggbb"),
        ((1, 2), r"must be \(x, y, color\)"),
        ("navy", r"must be \(x, y, color\)"),
    ],
)
def test_what_is_no_hint_is_refused(hint, match):
    """One line that names the hint and the value."""
    with pytest.raises(ConfigError, match=match):
        as_hints([hint])


def test_a_list_of_hints_reads_what_it_writes():
    """Keys that a spreadsheet would take for formulas too; the same hints are the same bytes and hash."""
    text = b"\xef\xbb\xbfKey,x,y,color\r\n'=a.jpg,1,2,Navy\r\n\r\nb/c.jpg,3.5,4,#AABBCC\r\nb/c.jpg,0,0,red\r\n"
    found = parse_hints(text, "h.csv")
    assert found.of("=a.jpg") == (Hint(1, 2, "navy"),)
    assert found.of("b/c.jpg") == (Hint(3.5, 4, "#aabbcc"), Hint(0, 0, "red"))
    assert found.of("other.jpg") == ()
    assert parse_hints(found.to_csv(), "again") == found
    assert (found.sha256, HintList().sha256) == (parse_hints(found.to_csv(), "again").sha256, None)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("key,x,y\na,1,2\n", "h.csv: has no column `color`"),
        ("key,x,y,color\n,1,2,navy\n", "row 2 names no key"),
        ("key,x,y,color\na,1,2,navy\na,1,2,blu\n", "row 3: color 'blu'"),
        ("key,x,y,color\na,1,,navy\n", "row 2: y ''"),
        ("key,x,y,color\n", "holds no hint"),
        ("", "has no column `key`"),
        ('key,x,y,color\n"a,1,2,navy\n', "cannot be read as a list of hints"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(text, match):
    """One line that names the file and the row."""
    with pytest.raises(ConfigError, match=match):
        parse_hints(text.encode(), "h.csv")


HINTED = [
    {"name": "extra_0", "channels": 2, "takes": "ab", "scale": 0.5},
    {"name": "extra_1", "channels": 1, "takes": "mask", "value": -0.5},
]


@pytest.mark.parametrize("card", [{}, pytest.param({"size": {"fixed_px": 64}}, marks=pytest.mark.slow)])
def test_a_network_that_takes_hints_is_given_them(tmp_path, card):
    """A network that adds up its inputs shows them: a and b of the hint by half, and its mask, at that place alone."""
    fixed = "size" in card
    net = Linear(1, 2, extras=(2, 1))
    data = exported(net, **({"dynamic": False, "batch": 1} if fixed else {}))
    write_checkpoint(tmp_path / "net", data, **card, extra=HINTED)
    colorizer = raycolor.Colorizer(tmp_path / "net", network_size=64)
    files = colorizer._files
    photograph = photographs.encoded(photographs.gray_pixels(64, 64), "png")
    prepared = files.prepare(photograph, as_hints([(16, 40, "navy")]))
    made, plain = files.predict(prepared.network_input)[0].ab, files.predict(files.prepare(photograph).L_small)[0].ab
    difference = made - plain
    assert difference[40, 16] == pytest.approx([sum(NAVY) / 2 + 1] * 2, abs=0.2)
    assert np.abs(difference[:, 40:]).max() < 1e-3
    flipped = raycolor.Colorizer(tmp_path / "net", network_size=64, tta="flip")._files
    assert flipped.predict(prepared.network_input)[0].ab == pytest.approx(made, abs=1e-3)


def test_the_card_of_siggraph17_finds_its_inputs_for_hints():
    """By their channels, in an export of three inputs; one of a single input takes none."""
    names = [("L", 1), ("hints", 2), ("where", 1)]
    ports = tuple(Port(name, (1, channels, None, None), "float32") for name, channels in names)
    card = adapted(BUILT_IN["siggraph17"], Listing(ports, (Port("ab", (1, 2, None, None), "float32"),), None))
    assert [(one.name, one.channels, one.takes) for one in card.extra] == [("hints", 2, "ab"), ("where", 1, "mask")]
    assert card.takes_hints
    assert not adapted(BUILT_IN["siggraph17"], Listing(ports[:1], (), None)).takes_hints


def test_a_picture_of_several_pages_has_hints_on_its_first(colorizer):
    """The others are as without."""
    pages = [Image.fromarray(photographs.gray_pixels(seed=i)) for i in range(2)]
    sink = io.BytesIO()
    pages[0].save(sink, "TIFF", save_all=True, append_images=pages[1:])
    made = [Image.open(io.BytesIO(colorizer(sink.getvalue(), hints=hints).data)) for hints in ([(9, 9, "navy")], [])]
    same = []
    for page in (0, 1):
        for picture in made:
            picture.seek(page)
        same.append(np.array_equal(*(np.asarray(picture) for picture in made)))
    assert same == [False, True]
