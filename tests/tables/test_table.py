from d2lcompute.tables import Table

TABLE = Table(
    ("name", "count"), [("0.weight", 1234), ("a<b", 5)], title="A & B", notes=["at least 1,239"]
)


def test_text_aligns_numbers_right_and_groups_their_digits():
    assert TABLE.text().splitlines() == [
        "A & B",
        "name        count",
        "--------  -------",
        "0.weight    1,234",
        "a<b             5",
        "at least 1,239",
    ]


def test_a_number_may_be_left_out():
    assert Table(("a", "b"), [("x", 1000), ("y", "")]).text().splitlines()[1:] == [
        "---  -----",
        "x    1,000",
        "y",
    ]


def test_text_has_no_trailing_space():
    wide = Table(("a", "long header"), [("x", "")])
    assert all(line == line.rstrip() for line in wide.text().splitlines())


def test_text_lines_up_under_wide_letters_and_accents():
    lines = Table(("名", "b"), [("层", 1), ("e\u0301", 2), ("abcd", 3)]).text().splitlines()
    assert lines == ["名      b", "----  ---", "层      1", "e\u0301       2", "abcd    3"]


def test_cells_may_have_several_lines():
    lines = Table(("a", "b"), [("x\nyy", 1), ("z", "p\nq")]).text().splitlines()
    assert lines == ["a    b", "---  ---", "x    1", "yy", "z    p", "     q"]


def test_text_keeps_number_like_strings_as_they_are():
    assert "1e3" in Table(("a",), [("1e3",)]).text()
    assert "True" in Table(("a",), [(True,)]).text()


def test_html_escapes_what_a_net_may_be_called():
    assert "a&lt;b" in TABLE.html()
    assert "A &amp; B" in TABLE.html()


def test_html_closes_every_element(closes_every_element):
    assert closes_every_element(TABLE.html())


def test_a_table_without_rows_shows_its_headers():
    assert Table(("a", "b"), []).text().split() == ["a", "b", "---", "---"]


def test_a_table_shows_itself_in_a_shell_and_in_a_notebook():
    table = Table(("a",), [(1,)])
    assert repr(table) == str(table) == table.text()
    assert table._repr_html_() == table.html()
