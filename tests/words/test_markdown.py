import pytest

from d2lcompute.words.markdown import Part, parts

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
