import html.parser

from hypothesis import given
from hypothesis import strategies as st

from d2lcompute.grading.markup import tag, to_html


class Reader(html.parser.HTMLParser):
    """Collects tags, attributes and text as a browser would."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text = [], [], ""

    def handle_starttag(self, name, attributes):
        self.tags.append(name)
        self.attributes += attributes

    def handle_data(self, data):
        self.text += data


# What `plain` leaves of a student's text; a carriage return would be read as a new line.
texts = st.text(st.characters(exclude_categories=["C"]))


@given(texts, texts)
def test_no_text_is_taken_for_markup(text, value):
    reader = Reader()
    reader.feed(to_html(tag("p", text, tag("b", text), text, data_name=value)))
    reader.close()
    assert reader.tags == ["p", "b"]
    assert reader.attributes == [("data-name", value)]
    assert reader.text == text * 3


def test_none_is_left_out():
    assert to_html(tag("p", None, "a", None, class_=None, hidden="")) == '<p hidden="">a</p>'


def test_names_may_be_attributes():
    assert to_html(tag("meta", name="x", http_equiv="y")) == '<meta name="x" http-equiv="y">'
