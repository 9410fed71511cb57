"""The words in other languages: all there, none stale, and what is compiled is what is written."""

import gettext
import re
import subprocess
import sys

import pytest

import d2lcompute as d2c
from d2lcompute.words import __main__ as catalogues
from d2lcompute.words import language
from d2lcompute.words.language import Part, _, mark, marks, ngettext, parts

every_language = pytest.mark.parametrize(
    "path", sorted(catalogues.FOLDER.glob("*.po")), ids=lambda path: path.stem
)


def pairs(path):
    """Each message of a `.po` file, in English and translated, the plurals one by one."""
    for message in catalogues.read(path):
        if message.id:
            english = catalogues.texts(message.id)
            for text in catalogues.texts(message.string):
                yield english[-1], text


@every_language
def test_every_message_of_the_code_is_translated_and_no_other_is_there(path):
    catalog = catalogues.read(path)
    assert {m.id for m in catalog if m.id} == {message for _, message in catalogues.marked()}
    assert catalogues.untranslated(catalog) == []
    assert not catalog.obsolete


@every_language
def test_the_compiled_file_says_what_the_written_one_says(path):
    with path.with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for message in catalogues.read(path):
        if isinstance(message.id, str) and message.id:
            assert compiled.gettext(message.id) == message.string
        elif message.id:
            assert compiled.ngettext(*message.id, 1) == message.string[0]


@every_language
def test_a_translation_has_the_places_and_the_code_of_its_message(path):
    for english, text in pairs(path):
        assert set(re.findall(r"{\w+[^}]*}", text)) == set(re.findall(r"{\w+[^}]*}", english)), text
        assert set(re.findall("`[^`]+`", text)) == set(re.findall("`[^`]+`", english)), text


def test_chinese_is_chinese_with_its_own_punctuation():
    for english, text in pairs(catalogues.FOLDER / "zh.po"):
        assert re.search("[\u4e00-\u9fff]", text) or not re.search("[a-z]{2} [a-z]{2}", english), (
            text
        )
        assert not re.search("[\u4e00-\u9fff] *[,;:?!]", text), text


def test_updating_what_is_up_to_date_changes_nothing(tmp_path):
    source = catalogues.FOLDER / "zh.po"
    copy = tmp_path / "zh.po"
    copy.write_bytes(source.read_bytes())
    catalogues.update(copy)
    without_version = [re.sub("Generated-By.*", "", p.read_text("utf-8")) for p in (source, copy)]
    assert without_version[0] == without_version[1]


def test_a_new_message_is_added_without_a_translation_and_a_stale_one_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogues, "marked", lambda: [("a.py", "new"), ("b.py", ("one", "many"))])
    path = tmp_path / "zh.po"
    path.write_text('msgid "old"\nmsgstr "旧"\n', encoding="utf-8")
    assert catalogues.untranslated(catalogues.update(path)) == ["new", "('one', 'many')"]
    assert "old" not in path.read_text(encoding="utf-8")


def test_a_message_must_be_one_literal_text(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text('mark("x")\n_(variable)\n_(f"{1}")\n', encoding="utf-8")
    monkeypatch.setattr(catalogues, "PACKAGE", tmp_path)
    with pytest.raises(SystemExit, match=r"a.py, line 3: write the message as one text"):
        list(catalogues.marked())


def test_english_is_spoken_at_first_and_chinese_when_asked(chinese, monkeypatch):
    monkeypatch.setattr(language._chosen[1], "_catalog", {"{n} of {m}": "{m} 之 {n}", "one": "一"})
    assert d2c.language() == "zh"
    assert _("{n} of {m}", n=1, m=2) == "2 之 1"
    assert _(mark("one")) == "一"
    assert marks("one", "two") == ("one", "two")
    d2c.language("en")
    assert (d2c.language(), _("{n} of {m}", n=1, m=2), _("one")) == ("en", "1 of 2", "one")


def test_braces_are_left_alone_where_no_values_are_given():
    assert _("{'a': 1}") == "{'a': 1}"
    assert ngettext("{n} row", "{n} rows", 0) == "0 rows"


def test_an_unknown_language_names_the_known_and_changes_nothing():
    with pytest.raises(ValueError, match="`code` must be one of en, zh, got 'fr'"):
        d2c.language("fr")
    assert d2c.language() == "en"


def test_choosing_a_language_loads_no_torch():
    code = "import sys, d2lcompute as d2c; d2c.language('zh'); print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


TEXT = """# First

A paragraph
in two lines.

1. an item
2. another,
   that goes on
- [x] ticked
- [ ] not ticked

```python right
# no heading
x = 1

1. no item
```
## Second
```
```
"""


def test_headings_items_paragraphs_and_code_are_told_apart():
    assert list(parts(TEXT)) == [
        Part("#", "First"),
        Part("paragraph", "A paragraph in two lines."),
        Part("item", "an item"),
        Part("item", "another, that goes on"),
        Part("item", "ticked", "x"),
        Part("item", "not ticked", " "),
        Part("code", "# no heading\nx = 1\n\n1. no item\n", "right"),
        Part("##", "Second"),
        Part("code", ""),
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "   \n"])
def test_nothing_has_no_parts(text):
    assert list(parts(text)) == []
