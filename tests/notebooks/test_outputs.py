import base64
import io
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_output
from PIL import Image

from d2lcompute.notebooks.compare import Widening
from d2lcompute.notebooks.outputs import Manner, difference, on_screen


def printed(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def shown(metadata=None, **data):
    data = {kind.replace("_", "/").replace("svg", "svg+xml"): text for kind, text in data.items()}
    return new_output("display_data", data, metadata=metadata or {})


def picture(width=4, height=3, colour="red", kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


def same(stored, now, **manner):
    return difference(stored, now, Manner(**manner)) is None


@given(st.text(), st.lists(st.integers(0, 40)))
def test_a_stream_may_be_split_in_any_way(text, cuts):
    places = sorted({0, len(text), *(cut for cut in cuts if cut <= len(text))})
    pieces = [printed(text[start:end]) for start, end in itertools.pairwise(places)]
    assert same([printed(text)], pieces)


def test_what_stands_between_prints_stays_there():
    figure = shown(text_plain="<Figure>")
    assert not same([printed("a\n"), figure, printed("b\n")], [printed("a\nb\n"), figure])


def test_stderr_is_compared_where_it_is_asked_for_wherever_it_comes():
    stored = [printed("warning", "stderr"), printed("a"), printed("b")]
    now = [printed("a"), printed("war", "stderr"), printed("b"), printed("ning", "stderr")]
    assert same(stored, now, stderr=True)
    assert same(stored, [printed("ab")])
    assert not same(stored, [printed("ab")], stderr=True)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("10 %\r20 %\r100 %\n", "100 %\n"),
        ("loading\rdone\n", "doneing\n"),  # as a terminal shows it
        ("a\r\nb\r\n", "a\nb\n"),
        ("1/2\b\b\b2/2\n", "2/2\n"),
        ("\b\ba\r", "a"),
        ("no progress\n", "no progress\n"),
    ],
)
def test_of_a_progress_bar_its_last_state_counts(text, seen):
    assert on_screen(text) == seen
    assert same([printed(text)], [printed(seen)])


@pytest.mark.parametrize("piece", ["a\r", "\ra", "\b", "a\b", "\r"])
def test_progress_takes_linear_time(piece):
    """A quadratic step would take minutes here."""
    on_screen("x" * 200_000 + piece * 200_000)


def test_of_an_error_its_name_and_what_it_says_are_compared():
    def error(name, text, *trace):
        return [new_output("error", ename=name, evalue=text, traceback=list(trace))]

    assert same(error("ValueError", "got 0.12345", "a"), error("ValueError", "got 0.12346", "b"))
    assert not same(error("ValueError", "got 3"), error("ValueError", "got 4"))
    assert not same(error("ValueError", "got 3"), error("TypeError", "got 3"))


def test_of_a_picture_its_size_and_its_alternative_text_are_compared():
    def figure(alt="two lines", **options):
        kind = options.get("kind", "PNG").lower()
        more = {f"image/{kind}": {"alt": alt}}
        return [new_output("display_data", {f"image/{kind}": picture(**options)}, metadata=more)]

    assert same(figure(), figure(colour="blue"))
    assert same(figure(kind="JPEG"), figure(kind="JPEG", colour="blue"))
    assert not same(figure(), figure(colour="blue"), pictures=True)
    assert same(figure(), figure(), pictures=True)
    assert not same(figure(), figure(width=5))
    assert not same(figure(), figure(alt="three lines"))


@pytest.mark.parametrize(
    ("width", "height", "is_alike"),
    [(530, 265, True), (528, 266, True), (533, 264, False), (530, 261, False), (264, 530, False)],
)
def test_a_figure_may_be_cropped_at_letters_that_are_a_little_longer(width, height, is_alike):
    def figure(width, height):
        return [shown(image_png=picture(width, height))]

    assert same(figure(530, 264), figure(width, height)) == is_alike
    assert same(figure(530, 264), figure(width, height), pictures=True) is False
    assert not same(figure(150, 28), figure(150, 29))  # more than a hundredth


def test_an_alternative_text_that_no_code_gives_is_the_authors():
    plain = [new_output("display_data", {"image/png": picture()})]
    told = [*plain, new_output("display_data", {"image/png": picture()})]
    told[1].metadata = {"image/png": {"alt": "two lines"}}
    assert same(told, plain * 2)
    assert told[1].metadata["image/png"]["alt"] == "two lines"
    assert not same(plain * 2, told)


def test_what_is_no_picture_is_compared_to_the_byte():
    assert same([shown(image_png="AAAA")], [shown(image_png="AAAA\n")])
    assert not same([shown(image_png="AAAA")], [shown(image_png="AAAB")])


def test_a_picture_within_html_is_compared_as_one():
    def page(**options):
        return [shown(text_html=f'<img src="data:image/png;base64,{picture(**options)}">')]

    assert same(page(), page(colour="blue"))
    assert not same(page(), page(width=5))


def test_html_is_compared_with_its_tags():
    table = '<table><tr><td style="color: red">0.33333</td></tr></table>'
    assert same([shown(text_html=table)], [shown(text_html=table.replace("33333", "33334"))])
    assert not same([shown(text_html=table)], [shown(text_html=table.replace("red", "blue"))])
    assert not same([shown(text_html=table)], [shown(text_html=table.replace("td", "th"))])


def test_names_that_are_new_in_each_run_may_change_where_nobody_sees_them():
    page = '<style>#T_9be9c_row0 {color: red}</style><td id="T_9be9c_row0">9be9c</td>'
    renamed = page.replace("T_9be9c", "T_04f1a")
    assert same([shown(text_html=page)], [shown(text_html=renamed)])
    assert not same([shown(text_html=page)], [shown(text_html=page.replace("9be9c", "04f1a"))])
    assert not same(
        [shown(text_html=page)], [shown(text_html=page.replace('id="T_9be9c', 'id="T_04f1a'))]
    )


def test_of_svg_what_is_drawn_is_compared():
    drawn = (
        "<svg><!-- {comment} --><metadata><dc:date>{comment}</dc:date></metadata>"
        '<title>{title}</title><path d="M 10.123456 {y} L 3,4" clip-path="url(#p{name}d)"/>'
        '<clipPath id="p{name}d"/></svg>'
    )

    def svg(comment="2024", title="a line", y="20.5", name="1a2b3"):
        return [shown(image_svg=drawn.format(comment=comment, title=title, y=y, name=name))]

    assert same(svg(), svg(comment="2025", name="9f8e7"))
    assert same(svg(y="20.512345"), svg(y="20.512347"))
    assert not same(svg(), svg(y="20.6"))
    assert not same(svg(), svg(title="two lines"))


def test_latex_and_markdown_are_compared_as_text():
    stored = r"$\displaystyle 0.12345 x^{2}$"
    assert same([shown(text_latex=stored)], [shown(text_latex=stored.replace("345", "346"))])
    assert not same([shown(text_latex=stored)], [shown(text_latex=stored.replace("{2}", "{3}"))])
    assert not same([shown(text_markdown="a\n\nb")], [shown(text_markdown="a\nb")])


def test_data_is_compared_number_by_number():
    stored = {"x": [0.1, 0.25], "n": 3}
    assert same([shown(application_json=stored)], [shown(application_json={**stored})])
    moved = {**stored, "x": [0.10000000000000002, 0.25]}
    assert same([shown(application_json=stored)], [shown(application_json=moved)])
    assert not same([shown(application_json=stored)], [shown(application_json={**stored, "n": 4})])


def test_of_a_widget_the_words_are_compared_but_not_its_name():
    def widget(name, text="bar"):
        kind = "application/vnd.jupyter.widget-view+json"
        return [new_output("display_data", {kind: {"model_id": name}, "text/plain": text})]

    assert same(widget("1a2b"), widget("3c4d"))
    assert not same(widget("1a2b"), widget("1a2b", "foo"))


def test_more_and_fewer_outputs_are_noticed():
    assert difference([printed("a")], [], Manner()) == "stored  stdout\nnow     nothing\n  a"
    told = difference([shown(text_plain="a")], [shown(text_plain="a"), printed("b\nc")], Manner())
    assert told == "stored  text/plain\nnow     text/plain, stdout\n  b\\nc"
    assert not same([shown(text_plain="a")], [shown(text_plain="a", text_html="b")])
    assert not same([shown(text_plain="a")], [shown(text_plain="a"), shown(text_plain="a")])


def test_users_replacements_and_tolerance_apply():
    now = [printed("7 s 0.50002\n")]
    assert same(
        [printed("12 s 0.5\n")],
        now,
        clean=lambda text: text.partition(" ")[2],
        widening=Widening(atol=0.1),
    )


@pytest.mark.parametrize(
    ("stored", "now", "told"),
    [
        (
            "epoch 1\nepoch 2, loss 0.1234\n",
            "epoch 1\nepoch 2, loss 0.1267\n",
            """\
stdout, line 2
  stored  epoch 2, loss 0.1234
  now     epoch 2, loss 0.1267
                        ^^^^^^
  0.1234 is now 0.1267: 0.0033 apart, 33 times its last digit""",
        ),
        (
            "准确率 128 个",
            "准确率 129 个",
            """\
stdout, line 1
  stored  准确率 128 个
  now     准确率 129 个
                 ^^^
  128 is now 129: 1 apart""",
        ),
        (
            "a b",
            "a\n  b",
            """\
stdout, line 1
  stored  a b
  now     a
           ^
  ' ' is now '\\n  '""",
        ),
    ],
)
def test_a_difference_is_shown_in_place(stored, now, told):
    assert difference([printed(stored)], [printed(now)], Manner()) == told


@pytest.mark.parametrize(
    ("stored", "now", "said"),
    [
        ("1", "1.5", "1 is now 1.5: 0.5 apart, and one is an integer"),
        ("12.50", "12.5", "12.50 is now 12.5: written in another way"),
        ("loss x", "loss", "x is now nothing"),
        ("1.5e99999", "1.5e-99999", "1.5e99999 is now 1.5e-99999: inf apart, 15 times"),
        ("\x1b[31mred", "\x1b[32mred", r"  stored  \x1b[31mred"),
        ("x" * 300 + " 1", "x" * 300 + " 2", "  now     ..." + "x" * 39 + " 2\n"),
        ("0.5 " * 9, "0.6 " * 9, "and 6 more"),
    ],
)
def test_what_became_of_it_is_said(stored, now, said):
    assert said in difference([printed(stored)], [printed(now)], Manner())


@given(st.text(), st.text())
def test_any_difference_can_be_shown(stored, now):
    difference([shown(text_html=stored)], [shown(text_html=now)], Manner())
