"""What `draw` gives: SVG that can be read everywhere, its words, and figures."""

import base64
import io
import json
import pathlib
import re
import sys
import types
from xml.etree import ElementTree

import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from nets import CHAPTER
from pictures import NETS, drawing_of, fresh
from torch import nn

import d2lcompute as d2c
from d2lcompute.seeing.picture import artists
from d2lcompute.seeing.picture.boxes import measure
from d2lcompute.seeing.picture.palette import DARK, LIGHT
from d2lcompute.seeing.picture.sketch import ROOM
from docs import pictures as sheet

SVG = "{http://www.w3.org/2000/svg}"
every_net = pytest.mark.parametrize("name", NETS)


def texts(svg):
    return [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@every_net
def test_the_svg_shows_what_the_figure_shows(name):
    drawn = drawing_of(name)
    assert texts(drawn._repr_svg_()) == [text.get_text() for text in drawn.ax.texts]


@pytest.mark.parametrize("name", [*CHAPTER, "gpt", "mixture_of_experts"])
def test_the_svg_is_the_same_each_time(name):
    svg = fresh(name)._repr_svg_()
    assert svg == fresh(name)._repr_svg_()
    assert not re.search(r"\d{4}-\d\d-\d\d|\bid=", svg)


def test_the_svg_has_its_words_first():
    drawn = drawing_of("chimera")
    title, words, *_ = ElementTree.fromstring(drawn._repr_svg_())
    assert (title.tag, title.text) == (f"{SVG}title", "Sequential")
    assert (words.tag, words.text) == (f"{SVG}desc", drawn.alt)


def test_a_picture_is_small():
    assert len(drawing_of("chimera")._repr_svg_()) < 15_000


def colours(svg):
    """The colour of each class, in the light scheme and in the dark one."""
    light, dark = svg.split("@media (prefers-color-scheme:dark)")
    rule = re.compile(r"\.(\S+)\{(?:fill|stroke):(#\w{6})\}")
    return dict(rule.findall(light)), dict(rule.findall(dark))


def test_the_svg_has_two_schemes_with_the_same_classes():
    svg = drawing_of("chimera")._repr_svg_()
    light, dark = colours(svg)
    assert (
        light.keys() == dark.keys() == set(re.findall(r"\b[fs]-[\w-]+", svg.split("</style>")[1]))
    )
    assert light["f-ink"] == LIGHT.ink
    assert dark["f-ink"] == DARK.ink


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


GROUNDS = ["paper", "nest0", "nest1", "accent tint", "failure tint", "shade0 tint", "shade4 tint"]


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("letters", ["ink", "faint"])
@pytest.mark.parametrize("ground", GROUNDS)
def test_letters_can_be_read_on_every_ground(palette, letters, ground):
    roles = palette.colors()
    assert contrast(roles[letters], roles[ground]) > 4.5


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_badges_can_be_read(palette):
    assert contrast(palette.paper, palette.faint) > 4.5


def test_letters_outside_of_boxes_have_a_ground():
    scene = drawing_of("chimera")._scene
    outside = [shape for shape in scene.shapes if getattr(shape, "text", "") in ("(2, 20)", "()")]
    assert {shape.ground for shape in outside if not 0 < shape.y < scene.height - 1} == {"paper"}


# --------------------------------------------------------------------------------- in notebooks


@pytest.fixture
def displayed(monkeypatch):
    """What is displayed, as pairs of data and metadata."""
    shown = []

    def display(data, metadata=None, raw=False):
        assert raw
        shown.append((data, metadata))

    module = types.SimpleNamespace(display=display)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(display=module))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return shown


def test_a_drawing_shows_itself_once_with_its_words(displayed):
    before = plt.get_fignums()
    drawn = drawing_of("chimera")
    drawn._ipython_display_()
    ((data, metadata),) = displayed
    assert data["image/svg+xml"] == drawn._repr_svg_()
    assert data["text/plain"] == drawn.alt == repr(drawn)
    assert metadata["image/svg+xml"]["alt"] == drawn.alt
    image = ElementTree.fromstring(data["text/html"]).find("img")
    assert image.get("alt") == drawn.alt
    encoded = image.get("src").removeprefix("data:image/svg+xml;base64,")
    assert base64.b64decode(encoded).decode() == drawn._repr_svg_()
    assert plt.get_fignums() == before


def test_a_drawing_on_axes_of_others_leaves_it_to_them(displayed):
    ax = Figure().subplots()
    drawn = fresh("chimera", ax=ax)
    drawn._ipython_display_()
    assert displayed == []
    assert drawn.ax is ax
    assert drawn.figure is ax.figure


def test_a_page_may_shrink_the_picture_but_not_until_it_cannot_be_read():
    drawn = drawing_of("chimera")
    style = ElementTree.fromstring(drawn._repr_html_()).find("img").get("style")
    assert style == f"max-width:100%;min-width:{0.8 * drawn._scene.width * 96:.0f}px"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_chapter_shows_each_picture_once(language):
    path = pathlib.Path(__file__).parents[2] / "chapters" / language / "1_blocks.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    drawn = [cell["outputs"] for cell in cells if "d2c.draw(" in "".join(cell["source"])]
    assert len(drawn) > 1
    for outputs in drawn:
        (shown,) = [output for output in outputs if output["output_type"] != "stream"]
        assert set(shown["data"]) == {"image/svg+xml", "text/html", "text/plain"}
        assert "".join(shown["data"]["text/plain"]) == shown["metadata"]["image/svg+xml"]["alt"]


# --------------------------------------------------------------------------------------- to files


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("suffix", ["png", "pdf", "svg", "SVG"])
def test_a_drawing_is_saved_as_the_suffix_says(tmp_path, suffix, own):
    drawn = fresh("chimera", ax=None if own else Figure().subplots(1, 2)[0])
    path = tmp_path / f"net.{suffix}"
    drawn.save(path)
    start = {"png": b"\x89PNG", "pdf": b"%PDF"}.get(suffix, b"<svg")
    assert path.read_bytes().startswith(start)


def test_what_is_saved_is_the_picture_alone(tmp_path):
    figure = Figure()
    fresh("chimera", ax=figure.subplots(1, 2)[0]).save(tmp_path / "on_axes.png")
    drawing_of("chimera").save(tmp_path / "alone.png")
    assert (tmp_path / "on_axes.png").read_bytes() == (tmp_path / "alone.png").read_bytes()


# ------------------------------------------------------------------------------------ its words


def test_the_words_tell_names_shapes_and_order():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    assert d2c.draw(net, (2, 4)).alt == (
        "Picture of Sequential, which takes (2, 4) and gives (2, 3). Sequential consists of: "
        "0: Linear, 15 parameters, gives (2, 3); 1: ReLU, gives (2, 3)."
    )


TOLD = {
    "two inputs": ("seq2seq", "takes source (4, 7), target (4, 5) and gives (4, 5, 50)"),
    "from where": ("seq2seq", "attention: MultiheadAttention, 1,088 parameters, from "),
    "reuse": ("FixedHiddenMLP", "linear: Linear is one block that is called again."),
    "ties": ("gpt", "wte: Embedding and head: Linear share parameters."),
    "what repeats": ("gpt", "0 to 11: Block (12 in a row)"),
    "side by side": ("mixture_of_experts", "experts.0 to 3: Sequential (4 side by side), from"),
}


@pytest.mark.parametrize("name", TOLD)
def test_the_words_tell(name):
    net, words = TOLD[name]
    assert words in drawing_of(net).alt


@every_net
def test_every_box_is_in_the_words(name):
    drawn = drawing_of(name)
    titles = [shape.text for shape in drawn._scene.shapes if getattr(shape, "size", 0) == 10.0]
    assert titles
    assert all(title in drawn.alt for title in titles)


def test_the_words_tell_of_an_error_and_of_what_is_lazy():
    assert "stopped here" in d2c.draw(d2c.MLP(in_units=20), torch.rand(2, 5)).alt
    failed = d2c.draw(d2c.MLP(in_units=20), torch.rand(2, 5)).alt
    assert re.search("RuntimeError: .*mat1", failed)
    assert "0: LazyLinear, no shape yet" in d2c.draw(d2c.mlp(8, 2)).alt


@pytest.fixture
def chinese():
    d2c.language("zh")
    yield
    d2c.language("en")


def test_pictures_speak_chinese(chinese):
    drawn = fresh("gpt")
    told = " ".join([drawn.alt, *texts(drawn._repr_svg_())])
    assert re.search("[\u4e00-\u9fff]", told)
    assert not re.search(r"\b(Picture|consists|share|in a row|parameters)\b", told)


@pytest.mark.filterwarnings("ignore:Glyph")  # the fonts only pretend to have them
@pytest.mark.parametrize("fonts", ["some", "none"])
def test_words_on_figures_are_english_where_no_font_has_others(chinese, monkeypatch, fonts):
    known = range(0x10000) if fonts == "some" else range(128)
    monkeypatch.setattr(artists, "_letters_of", lambda font: known)
    words = [text.get_text() for text in fresh("gpt").ax.texts]
    layer = nn.Linear(2, 2)
    axes = d2c.plot_parameters(layer), d2c.plot_activations(layer, torch.ones(1, 2))
    plt.close("all")
    assert ("依次 12 个" in words, "12 in a row" in words) == (fonts == "some", fonts == "none")
    drawn = ("值", "激活值") if fonts == "some" else ("value", "activation")
    assert tuple(ax.get_xlabel() for ax in axes) == drawn
    assert d2c.language() == "zh"


@pytest.mark.filterwarnings("ignore:Glyph")  # the fonts only pretend to have them
def test_what_pictures_say_beside_themselves_is_the_same_whatever_the_fonts(chinese, monkeypatch):
    def told(letters):
        torch.manual_seed(0)
        monkeypatch.setattr(artists, "_letters_of", lambda font: letters)
        layer = nn.Linear(2, 2)
        twice, lazy = nn.Sequential(layer, layer), nn.LazyLinear(2)
        axes = [d2c.plot_activations(twice, torch.ones(1, 2)), d2c.plot_parameters(lazy)]
        plt.close("all")
        return [ax.get_label() for ax in axes], fresh("gpt").alt

    few = told(range(128))
    assert few == told(range(0x10000))
    assert "第 2 次调用" in few[0][0]


# ---------------------------------------------------------------------------------- how large it is


@pytest.mark.parametrize("name", ["chimera", "resnet", "translator", "unet", "densenet"])
def test_a_picture_folds_until_it_can_be_read_on_a_slide(name):
    net, *inputs = sheet.NETS[name][0]()
    drawn = d2c.draw(net, *inputs)
    width, height = drawn._scene.width, drawn._scene.height
    assert width < ROOM[0] + 1 < 30
    assert height < ROOM[1] + 1.5 < 30
    if "levels are open" in drawn.alt:
        assert any("levels are open" in text for text in texts(drawn._repr_svg_()))
        whole = d2c.draw(net, *inputs, depth="all")
        assert "levels are open" not in whole.alt
        assert len(whole.alt) > len(drawn.alt)


def test_what_is_asked_for_is_drawn():
    net, *inputs = sheet.NETS["resnet"][0]()
    shown = [len(texts(d2c.draw(net, *inputs, depth=d)._repr_svg_())) for d in (0, 1, 2, 3, "all")]
    assert shown == sorted(set(shown))


# -------------------------------------------------------------------------------------- its letters


def test_formulas_are_taken_literally():
    net = nn.Sequential()
    net.add_module("$\\foo$ & <b>", nn.Linear(2, 2))
    drawn = d2c.draw(net, torch.rand(1, 2))
    drawn.figure.savefig(io.BytesIO())
    assert "$\\foo$ & <b>: Linear" in texts(drawn._repr_svg_())


def chinese_net():
    net = nn.Sequential()
    net.add_module("隐藏层", nn.Linear(2, 2))
    return net


def test_letters_that_no_font_has_are_told_by_number(monkeypatch):
    monkeypatch.setattr(artists, "CHINESE", ())
    drawn = d2c.draw(chinese_net(), torch.rand(1, 2))
    drawn.figure.savefig(io.BytesIO())  # an empty box would be a warning
    assert "隐藏层: Linear" in texts(drawn._repr_svg_())  # the page has its own fonts
    assert r"\u9690\u85cf\u5c42: Linear" in [text.get_text() for text in drawn.ax.texts]


def test_letters_that_a_font_has_are_drawn_in_it(monkeypatch):
    known = {"DejaVu Serif": set(map(ord, "隐藏层"))}
    monkeypatch.setattr(artists, "CHINESE", ("Missing", "DejaVu Serif"))
    monkeypatch.setattr(artists, "_letters_of", lambda font: known.get(font, range(128)))
    text = artists.Text()
    artists.set_text(text, "隐藏层")
    assert text.get_text() == "隐藏层"
    assert text.get_fontfamily()[-1] == "DejaVu Serif"


def test_texts_are_as_wide_as_was_measured():
    """What matplotlib would write, kerned, is never wider, and hardly less so."""
    for first in range(33, 122, 5):
        text = "".join(map(chr, range(first, first + 5)))
        drawn = Figure(dpi=720).text(0, 0, text, parse_math=False, fontsize=10)
        width = drawn.get_window_extent().width / 720
        assert 0.85 * measure(text, 10) < width < 1.01 * measure(text, 10)
