"""Tables in notebooks: readable, foldable, the same each time, safe."""

import re

import pytest

from d2lcompute.tables import Table
from d2lcompute.tables.html import folded
from d2lcompute.words.language import marks

TABLE = Table(
    (*marks("name", "count"), "c"),
    [("a<b", 1234, "x\ny"), ("`b`", None, "z")],
    "T & Co",
    ["do `f(x)`"],
)
TREE = Table(
    marks("name", "count"),
    [("net: A", 3), ("0: B", 2), ("weight", 2), ("1: C", 1), ("end", None)],
    "net",
    depths=[0, 1, 2, 1, 0],
    paths=["", "0", "0.weight", "1", "end"],
)


def test_names_are_escaped_and_backticks_are_code():
    html = TABLE.html()
    assert "a&lt;b" in html
    assert "<caption>T &amp; Co</caption>" in html
    assert "<p>do <code>f(x)</code></p>" in html
    assert "<code>b</code>" in html
    assert "x<br/>y" in html


def test_columns_and_rows_have_heads_that_a_screen_reader_tells():
    html = TABLE.html()
    assert re.findall(r'<th scope="col"[^>]*>([^<]*)', html) == ["name", "count", "c"]
    assert html.count('<th scope="row"') == 2


def test_a_row_without_a_name_has_no_empty_head():
    html = Table(("name", "count"), [("a", 1), ("", 2)]).html()
    assert html.count('<th scope="row"') == 1
    assert "<tr><td></td><td" in html


def test_heads_are_in_the_readers_language(chinese):
    assert ">名称</th>" in TABLE.html()
    assert '<span class="h">个数 </span>3' in TREE.html()


@pytest.mark.parametrize("table", [TABLE, TREE])
def test_every_element_is_closed_and_nothing_runs_or_is_fetched(table, closes_every_element):
    html = table.html()
    assert closes_every_element(html)
    assert not re.search(r"<script|https?:|url\(|@import|\bid=|#[0-9a-f]{3}", html)
    assert html == table.html()


def test_rows_with_parts_fold_and_say_where_a_part_is():
    html = TREE.html()
    assert html.count("<details open><summary") == 2
    assert html.count("<li>") == 5
    assert '<span>weight <code class="p">0.weight</code></span>' in html
    assert '<code class="p">end</code>' not in html  # the name says it all


def test_each_cell_of_a_tree_names_its_column_where_there_is_no_style_sheet():
    plain = re.sub(r"<style>.*?</style>|<[^>]+>", "", TREE.html())
    assert "0: B 0count 2" in plain


def test_parts_below_a_title_unfold(closes_every_element):
    table = Table(("", ""), [("why", "a<b")])
    html = folded("2 things", [("1. one", "0.weight", table), ("2. two", "", table)])
    assert closes_every_element(html)
    assert "<summary>1. one <code" in html
    assert "<summary>2. two</summary><table><tbody><tr>" in html  # no head that says nothing


def test_of_many_parts_the_last_ones_are_folded():
    html = folded("20 things", [("thing", "", Table(("",), [("x",)]))] * 20)
    assert (html.count("<details open>"), html.count("<details>")) == (6, 14)


def test_a_large_tree_is_folded_as_far_as_needed():
    depths = [0] + [1, *[2] * 9] * 10
    table = Table(("name",), [(str(i),) for i in range(len(depths))], depths=depths)
    assert table.html().count("<details open>") == 1
    assert table.html().count("<details>") == 10


def test_in_text_a_tree_has_guides():
    assert TREE.text().splitlines()[3:] == [
        "net: A            3",
        "│ 0: B            2",
        "│ │ weight        2",
        "│ 1: C            1",
        "end",
    ]


def test_hidden_columns_are_not_shown():
    table = Table(("a", "b"), [("x", "secret")], hidden=["b"])
    assert "secret" not in table.html() + table.text()


def test_an_empty_table_is_still_a_table(closes_every_element):
    assert closes_every_element(Table(("a",), []).html())
    assert Table((), (), "only a title").html().count("<caption>") == 1
