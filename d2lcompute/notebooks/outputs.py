"""What a reader sees of a cell's outputs, and how two cells differ in it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import islice, zip_longest
from typing import Any

from nbformat import NotebookNode
from PIL import Image

from .compare import NOT_WIDER, TOKEN, Difference, Widening, differences
from .floats import ARITHMETIC, Float, floats_in

WIDGET = "application/vnd.jupyter.widget-view+json"  # names the widget at random
MARKUP = ("text/html", "image/svg+xml")
UNSEEN = re.compile(r"<!--.*?(?:-->|\Z)|<metadata\b.*?(?:</metadata>|\Z)", re.DOTALL)
TAG_OR_REFERENCE = re.compile(r"<[^<>]*>|#[\w-]+")
IDENTITY = re.compile(r"""\bid\s*=\s*["']([^"']*)""")
# So pandas, matplotlib and plotly name the parts of what they draw, anew each time.
RANDOM = re.compile(r"[0-9a-f]{4,}(?:-[0-9a-f]{4,})*")
LEAST_RANDOM = 5
EMBEDDED = re.compile(r"(data:image/(?:png|jpeg|gif|webp);base64,)([A-Za-z0-9+/=\s]+)")
SIZE = re.compile(r"(\d+) x (\d+) pixels")
MOST_PIXELS = 2  # by which the letters of another font are longer or higher
INTEGER = re.compile(r"[-+]?[0-9]{1,40}")
MOST_SHOWN = 3
BEFORE, AFTER, LONGEST = 40, 50, 60  # how much is shown of a line and of a word


@dataclass(frozen=True)
class Manner:
    """How outputs are compared, apart from the rule: as the options of `pytest --d2l` say."""

    widening: Widening = NOT_WIDER
    stderr: bool = False
    pictures: bool = False  # to the byte
    clean: Callable[[str], str] = str  # the user's own replacements


def difference(
    stored: Sequence[NotebookNode], shown: Sequence[NotebookNode], manner: Manner
) -> str | None:
    """Return how the outputs of a cell differ from those that are `stored`, None if they do not."""
    stored = _without_authors_words(stored, shown)
    parts = [*_parts(stored, manner)], [*_parts(shown, manner)]
    for old, new in zip_longest(*parts):
        if old is None or new is None or old[0] != new[0]:
            kinds = [", ".join(kind for kind, _ in each) or "nothing" for each in parts]
            text = _visible((new or old)[1].strip()[:LONGEST])
            return f"stored  {kinds[0]}\nnow     {kinds[1]}\n  {text}"
        found = differences(old[1], new[1], manner.widening)
        if found and not (old[0].startswith("image/") and _is_cropped_alike(old[1], new[1])):
            return _explain(old[0], old[1], new[1], found)
    return None


def _without_authors_words(
    stored: Sequence[NotebookNode], shown: Sequence[NotebookNode]
) -> Sequence[NotebookNode]:
    """Leave out the alternative texts that no code gives: the author wrote them into the file."""
    if _has_words(shown) or not _has_words(stored):
        return stored
    stored = deepcopy([*stored])
    for output in stored:
        for more in _of_pictures(output):
            more.pop("alt", None)
    return stored


def _has_words(outputs: Sequence[NotebookNode]) -> bool:
    return any("alt" in more for output in outputs for more in _of_pictures(output))


def _of_pictures(output: NotebookNode) -> list[dict[str, Any]]:
    """Return what the metadata of an output say of its pictures."""
    about = output.get("metadata", {}).items()
    return [more for kind, more in about if kind.startswith("image/") and isinstance(more, dict)]


def _parts(outputs: Sequence[NotebookNode], manner: Manner) -> Iterator[tuple[str, str]]:
    """Yield kind and text of what is shown, in its order, however streams were split."""
    printed = ""
    for output in outputs:
        if output.output_type == "stream":
            printed += output.text if output.name == "stdout" else ""
            continue
        if printed:
            yield "stdout", manner.clean(on_screen(printed))
            printed = ""
        if output.output_type == "error":
            yield "error", manner.clean(f"{output.ename}: {output.evalue}")
        for kind in sorted(output.get("data", ())):
            yield kind, manner.clean(_text(kind, output, manner.pictures))
    if printed:
        yield "stdout", manner.clean(on_screen(printed))
    streams = [output for output in outputs if output.output_type == "stream"]
    errors = "".join(stream.text for stream in streams if stream.name == "stderr")
    if manner.stderr and errors:
        yield "stderr", manner.clean(on_screen(errors))


def on_screen(text: str) -> str:
    r"""Return what is left to read where carriage returns and backspaces overwrite.

    >>> from d2lcompute.notebooks.outputs import on_screen
    >>> on_screen("10 %\r20 %\rdone, 1 s\ncat\b\bar\n")
    'done, 1 s\ncar\n'
    """
    if "\r" not in text and "\b" not in text:
        return text
    return "\n".join(map(_last_state, text.split("\n")))


def _last_state(line: str) -> str:
    # From the last to the first, so that each character is looked at once.
    state = ""
    for written in reversed(line.split("\r")):
        state += _erased(written)[len(state) :]
    return state


def _erased(text: str) -> str:
    kept: list[str] = []
    for char in text if "\b" in text else "":
        if char != "\b":
            kept.append(char)
        elif kept:
            kept.pop()
    return "".join(kept) if "\b" in text else text


def _text(kind: str, output: NotebookNode, to_the_byte: bool) -> str:
    data = output.data[kind]
    if kind == WIDGET:
        return ""
    if kind in MARKUP:
        return _markup(data, to_the_byte)
    if kind.startswith("image/") or kind == "application/pdf":
        more = output.get("metadata", {}).get(kind, {})  # the alternative text and the size on page
        return f"{_picture(data, to_the_byte)} {json.dumps(more, sort_keys=True)}"
    if isinstance(data, str):
        return data
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False)


def _markup(text: str, to_the_byte: bool) -> str:
    """Return HTML or SVG without what no reader sees, and with names instead of random ones."""
    text = UNSEEN.sub("", text)
    text = EMBEDDED.sub(lambda found: found[1] + _picture(found[2], to_the_byte), text)
    found = (name[0] for identity in IDENTITY.findall(text) for name in RANDOM.finditer(identity))
    random = [name for name in found if len(name) >= LEAST_RANDOM and not name.isalpha()]
    names = {name: f"name{number}" for number, name in enumerate(dict.fromkeys(random))}
    if not names:
        return text
    renamed = partial(RANDOM.sub, lambda name: names.get(name[0], name[0]))
    return TAG_OR_REFERENCE.sub(lambda part: renamed(part[0]), text)


def _picture(data: str, to_the_byte: bool) -> str:
    raw = base64.b64decode(data)
    digest = hashlib.sha256(raw).hexdigest()
    try:
        with Image.open(io.BytesIO(raw)) as picture:
            size = "{} x {} pixels".format(*picture.size)
    except Exception:  # Pillow raises errors of many kinds
        size = "a page" if raw.startswith(b"%PDF") else digest
    return f"{size}, {digest}" if to_the_byte else size


def _is_cropped_alike(stored: str, shown: str) -> bool:
    """Say whether two pictures differ by no more than figures that are cropped at their letters."""
    old, new = SIZE.match(stored), SIZE.match(shown)
    if old is None or new is None or stored[old.end() :] != shown[new.end() :]:
        return False
    sides = zip(map(int, old.groups()), map(int, new.groups()), strict=True)
    return all(abs(one - other) <= min(MOST_PIXELS, one // 100) for one, other in sides)


def _explain(kind: str, old: str, new: str, found: list[Difference]) -> str:
    """Show the first differences in place."""
    blocks = []
    for each in found[:MOST_SHOWN]:
        line, stored, _ = _spot(old, each)
        _, shown, mark = _spot(new, each)
        blocks += [f"{kind}, line {line}", f"  stored  {stored}", f"  now     {shown}"]
        blocks += [f"          {mark}", f"  {_said(each)}"]
    more = len(found) - MOST_SHOWN
    return "\n".join([*blocks, f"and {more} more"] if more > 0 else blocks)


def _spot(text: str, each: Difference) -> tuple[int, str, str]:
    """Return number and text of the line with a difference, and a line that marks it."""
    token = next(islice(TOKEN.finditer(text), each.place, None))
    start, end = token.span(1 if each.kind == "blank" and token[1] else 2)
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", start)
    last = len(text) if last < 0 else last
    left, right = max(first, start - BEFORE), min(last, end + AFTER, start + BEFORE + AFTER)
    before = ("..." if left > first else "") + _visible(text[left:start])
    marked = _visible(text[start : min(end, right)])
    after = _visible(text[min(end, right) : right]) + ("..." if right < last else "")
    mark = " " * _width(before) + "^" * max(1, _width(marked))
    return text.count("\n", 0, start) + 1, before + marked + after, mark


def _visible(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _width(text: str) -> int:
    return sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


def _said(each: Difference) -> str:
    """Say what became of what, and how far apart two numbers are."""
    if each.kind == "blank":
        return f"{each.stored[:LONGEST]!r} is now {each.shown[:LONGEST]!r}"
    names = [_visible(text[:LONGEST]) or "nothing" for text in (each.stored, each.shown)]
    said = "{} is now {}".format(*names)
    old, new = _number(each.stored), _number(each.shown)
    if old is None or new is None:
        return said
    apart = ARITHMETIC.abs(ARITHMETIC.subtract(old, new))
    floats = [*floats_in(each.stored)[0], *floats_in(each.shown)[0]]
    if apart == 0 and len(floats) == 2:
        return f"{said}: written in another way"
    said = f"{said}: {float(apart):.3g} apart"
    if len(floats) == 1:
        return f"{said}, and one is an integer"
    if not floats:
        return said
    units = ARITHMETIC.scaleb(apart, Float(floats[0]).decimals)
    return f"{said}, {float(units):.3g} times its last digit"


def _number(word: str) -> Decimal | None:
    floats = floats_in(word)[0]
    if len(floats) == 1:
        return Decimal(floats[0])
    return Decimal(word) if INTEGER.fullmatch(word) else None
