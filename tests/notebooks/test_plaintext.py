import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2lcompute.notebooks.plaintext import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("as it is\n\tin 中文 é 👍", "as it is\n\tin 中文 é 👍"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPdevice\x1b\\text", "text"),
        ("\x1bcreset", "reset"),
        ("over\rwritten\b\b", "overwritten"),
        ("\u202etxet\u202c \u200bzero \ufeffwidth", "txet zero width"),
        ("\ud800lone", "lone"),
        ("\x1b[31", ""),
    ],
)
def test_only_what_can_be_seen_is_kept(text, shown):
    assert plain(text) == shown


def test_long_text_is_cut():
    assert plain("x" * 2000) == "x" * 500 + " ..."
    assert plain("x" * 2000, longest=10) == "x" * 10 + " ..."


@given(st.text())
def test_no_control_character_is_left(text):
    assert all(
        char.isprintable() or char in "\n\t \u3000\xa0" or char.isspace() for char in plain(text)
    )
    assert not set(plain(text)) & set("\x1b\x9b\r\b\0\x7f")
