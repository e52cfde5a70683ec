"""The scripts that made the embedded data set: their arithmetic, on fonts and images made here."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

TOOLS = Path(__file__).parents[2] / "tools" / "glyphs"
LETTERS = "ABCDEFGHIJ"


@pytest.fixture(scope="module")
def tools():
    """The scripts' modules by name, imported as the scripts themselves import them."""
    sys.path.insert(0, str(TOOLS))
    try:
        names = ("families", "selection", "raster", "registries", "fontfile", "render")
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(TOOLS))


def bar(width, height):
    """A filled rectangle as a glyph, in thousandths of an em."""
    pen = TTGlyphPen(None)
    pen.moveTo((50, 0))
    for point in ((50, height), (50 + width, height), (50 + width, 0)):
        pen.lineTo(point)
    pen.closePath()
    return pen.glyph()


def make_font(path, *, licence=None, **glyphs):
    """A font whose letters are rectangles of different shapes, but for the glyphs given."""
    shapes = {".notdef": bar(300, 400), **{c: bar(100 + 15 * i, 720) for i, c in enumerate(LETTERS)}}
    shapes.update(glyphs)
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(list(shapes))
    builder.setupCharacterMap({ord(name): name for name in shapes if len(name) == 1})
    builder.setupGlyf(shapes)
    builder.setupHorizontalMetrics(dict.fromkeys(shapes, (1000, 50)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    names = {"familyName": "Bars", "styleName": "Regular", "copyright": "Nobody"}
    builder.setupNameTable(names | ({"licenseDescription": licence} if licence else {}))
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Foo", "foo"),
        ("Foo Light", "foo"),
        ("Foo Condensed", "foo"),
        ("Foo SC", "foo"),
        ("FooSans-BoldItalic", "foo"),
        ("Foo Semi Expanded Extra Light", "foo"),
        ("IBM Plex Sans Condensed", "ibm plex"),
        ("EB Garamond 12 All SC", "eb garamond"),
        ("Source Code Pro", "source"),
        ("Black Sans", "black sans"),
        ("Übung Text 2", "übung"),
    ],
)
def test_family_key_takes_off_what_is_no_name(tools, name, key):
    """Weights, widths, small capitals and kinds of a family are that family."""
    assert tools["families"].family_key(name) == key


def test_font_of_ten_different_letters_is_rendered(tools, tmp_path):
    """A fit font gives ten images of the right shape and polarity."""
    images = tools["raster"].render(make_font(tmp_path / "f.ttf"))
    assert (images.shape, images.dtype) == ((10, 28, 28), np.uint8)
    assert images[0, 14, 14] == 255


def test_same_font_gives_the_same_bytes(tools, tmp_path):
    """Rendering is deterministic."""
    path = make_font(tmp_path / "f.ttf")
    np.testing.assert_array_equal(tools["raster"].render(path), tools["raster"].render(path))


@pytest.mark.parametrize(
    ("glyphs", "message"),
    [
        ({"C": bar(300, 400)}, "C is drawn as the missing glyph"),
        ({"C": TTGlyphPen(None).glyph()}, "C is blank"),
        ({"C": bar(100, 720)}, "C is drawn as A"),
        ({"C": bar(5, 720)}, "C covers 1% of its square"),
        ({"C": bar(600, 600)}, "C covers 100% of its square"),
    ],
)
def test_unfit_font_is_refused(tools, tmp_path, glyphs, message):
    """Tofu, blanks, doubles and specks are no letters."""
    raster = tools["raster"]
    with pytest.raises(raster.UnfitFontError, match=message):
        raster.render(make_font(tmp_path / "f.ttf", **glyphs))


def test_frame_stretches_to_the_square_up_to_the_bound(tools):
    """A glyph fills the square; one that is narrower than half its height keeps a margin on both sides."""
    frame = tools["raster"].frame
    white = np.full((100, 50), 255, np.uint8)
    assert frame(white).min() == 255
    bar_image = frame(white[:, :25])  # a quarter of its height: half of the square
    np.testing.assert_array_equal(bar_image[0], [0] * 7 + [255] * 14 + [0] * 7)
    np.testing.assert_array_equal(bar_image, np.broadcast_to(bar_image[0], (28, 28)))
    np.testing.assert_array_equal(frame(white[:, :25].T), bar_image.T)


def test_frame_gives_the_covered_share_of_a_pixel(tools):
    """Edges are grey by as much as they cover, whatever the glyph's size in samples."""
    edge = tools["raster"].frame(np.full((56, 13), 255, np.uint8))
    np.testing.assert_array_equal(edge[0, 7:21], [128] + [255] * 12 + [128])  # 13 of 28 pixels, centred


def test_distances_are_means_over_letters_of_the_rms_difference(tools):
    """Two letters, one equal and one black against white: (0 + 1) / 2."""
    images = np.zeros((2, 2, 4, 4), np.uint8)
    images[1, 1] = 255
    np.testing.assert_allclose(tools["selection"].distances(images), [[0, 0.5], [0.5, 0]])


def test_designs_are_joined_through_others(tools):
    """a is near b and b near c: all three are one design, d is none of it."""
    near = np.full((4, 4), 0.5)
    near[0, 1] = near[1, 0] = near[1, 2] = near[2, 1] = 0.01
    designs = tools["selection"].join_designs(["c", "b", "a", "d"], near, 0.1)
    assert designs == {"a": "a", "b": "a", "c": "a", "d": "d"}


def test_spread_takes_the_middle_and_then_the_farthest(tools):
    """Points 0, 1, 2, 3, 9 on a line: the middle one, the far end, the other end; never one closer than the gap."""
    points = np.array([0.0, 1.0, 2.0, 3.0, 9.0])
    near = np.abs(points[:, None] - points[None])
    assert tools["selection"].spread(near, 3, 0.5) == [2, 4, 0]
    assert tools["selection"].spread(near, 5, 1.5) == [2, 4, 0]


def test_assign_keeps_designs_whole_and_the_shares(tools):
    """Every design gets one split, the shares are those asked for, and names decide, not their order."""
    sizes = {f"design {i}": 1 + i % 9 for i in range(300)}
    splits = tools["selection"].assign(sizes)
    total = sum(sizes.values())
    for split, share in (("train", 0.70), ("validation", 0.15), ("test", 0.15)):
        found = sum(size for design, size in sizes.items() if splits[design] == split)
        assert found / total == pytest.approx(share, abs=0.01)
    assert tools["selection"].assign(dict(reversed(sizes.items()))) == splits


def test_shared_images_name_the_fonts_of_earlier_splits(tools):
    """Font 0 (train) shares a letter with font 2 (test), fonts 0 and 1 share one within train: 0 goes."""
    images = np.arange(4 * 2, dtype=np.uint8).reshape(4, 2, 1, 1)
    images[2, 1] = images[0, 0]
    images[1, 1] = images[0, 1]
    assert tools["selection"].shared_images(images, ["train", "train", "test", "validation"]) == [0]


@pytest.mark.parametrize(
    ("licence", "own", "objection"),
    [
        ("OFL-1.1", None, None),
        ("OFL-1.1", "This Font Software is licensed under the SIL Open Font License", None),
        ("OFL-1.1", "OFL or GPL", "names other terms"),
        ("OFL-1.1", "Ask the foundry", "terms of its own"),
        ("GPL-2+", None, "licence GPL-2+ is not one of OFL-1.0"),
        ("MIT", None, "is not one of"),
    ],
)
def test_licences(tools, tmp_path, licence, own, objection):
    """A package's licence must be allowed, and the file may be silent but not say otherwise."""
    make_font(tmp_path / "f.ttf", licence=own)
    package = tools["registries"].Package("debian", "fonts-bars", "1", licence, "copyright", "0" * 64)
    font = tools["fontfile"].read_font_file(package, tmp_path, "f.ttf")
    found = tools["fontfile"].licence_objection(font)
    assert (found is None) if objection is None else objection in found
    assert (font.family, font.style, font.copyright) == ("Bars", "Regular", "Nobody")


def test_changed_licence_file_is_refused(tools, tmp_path):
    """What was reviewed is what is used: another licence text stops the script."""
    registries = tools["registries"]
    folder = tmp_path / "fonts-bars@1"
    folder.mkdir()
    (folder / "copyright").write_text("GPL now", encoding="utf-8")
    package = registries.Package("debian", "fonts-bars", "1", "OFL-1.1", "copyright", "0" * 64)
    with pytest.raises(registries.PackageError, match="is not the text that was read"):
        registries.fetch([package], tmp_path)
    (folder / "copyright").unlink()
    with pytest.raises(registries.PackageError, match="has no licence file copyright"):
        registries.fetch([package], tmp_path)


def test_pack_keeps_images_labels_and_designs_together(tools):
    """Whatever the order, image, label and design of a place belong together."""
    rows = [
        {"split": split, "design": design, "sha256": f"{i:064x}"}
        for i, (split, design) in enumerate([("train", "b"), ("test", "a"), ("validation", "c"), ("train", "d")])
    ]
    images = (np.arange(4)[:, None] * 10 + np.arange(10)).astype(np.uint8)[..., None, None]
    arrays = tools["render"].pack(rows, images)
    assert arrays["families"].tolist() == ["a", "b", "c", "d"]
    x, y, family = arrays["x_train"][:, 0, 0], arrays["y_train"], arrays["family_train"]
    assert sorted(x) == [*range(10), *range(30, 40)]
    np.testing.assert_array_equal(x % 10, y)
    np.testing.assert_array_equal(family, np.where(x < 10, 1, 3))
    assert list(x) != sorted(x)


def test_notice_is_the_one_that_the_list_makes(tools):
    """NOTICE in the package is what render.py writes from fonts.csv."""
    render = tools["render"]
    notice = render.write_notice(render.read_fonts(TOOLS / "fonts.csv"))
    assert (render.TARGET / "NOTICE").read_text(encoding="utf-8") == notice
