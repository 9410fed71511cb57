"""Bring the `.po` files up to what the code says, and compile them: `python -m d2lcompute.words`.

Run it after a text was added, changed or translated. It needs Babel.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

from babel.messages import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from .language import parts

FOLDER = Path(__file__).parent
PACKAGE = FOLDER.parent
MARKERS = {"_": None, "mark": None, "marks": None, "ngettext": 2}  # how many arguments are texts
UNCHANGING = datetime(2026, 1, 1, tzinfo=timezone.utc)  # a true date would differ in every commit

Message = str | tuple[str, str]  # with its plural, where it has one


def marked() -> Iterator[tuple[str, Message]]:
    """Yield every message of the package, with the file that it is in.

    Code marks its messages; in Markdown all items and paragraphs are some.
    """
    for path in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.md")]):
        name, text = path.relative_to(PACKAGE).as_posix(), path.read_text(encoding="utf-8")
        if path.suffix == ".md":
            yield from ((name, p.text) for p in parts(text) if p.kind in ("item", "paragraph"))
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                yield from ((name, message) for message in _messages(node, node.func.id, name))


def _messages(call: ast.Call, function: str, file: str) -> Iterator[Message]:
    if function not in MARKERS:
        return
    texts = [_literal(argument, file) for argument in call.args[: MARKERS[function]]]
    if function == "ngettext":
        yield texts[0], texts[1]
    else:
        yield from filter(None, texts)


def _literal(argument: ast.expr, file: str) -> str:
    """Return the text of an argument, "" for a variable, whose text is marked elsewhere."""
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return argument.value
    if isinstance(argument, ast.JoinedStr | ast.BinOp):
        where = f"{file}, line {argument.lineno}"
        raise SystemExit(f"{where}: write the message as one text, with {{name}} for what varies")
    return ""


def read(path: Path) -> Catalog:
    """Return the messages of a `.po` file."""
    with path.open(encoding="utf-8") as file:
        return read_po(file, locale=path.stem)


def update(path: Path) -> Catalog:
    """Bring a `.po` file up to the code, compile it, and return its messages."""
    template = Catalog()
    for name, message in marked():
        template.add(message, locations=[(name, 0)])
    catalog = read(path)
    catalog.update(template, no_fuzzy_matching=True)
    catalog.creation_date = catalog.revision_date = UNCHANGING
    with path.open("wb") as file:
        write_po(file, catalog, 100, sort_by_file=True, ignore_obsolete=True, include_lineno=False)
    with path.with_suffix(".mo").open("wb") as file:
        write_mo(file, catalog)
    return catalog


def untranslated(catalog: Catalog) -> list[str]:
    """Return the messages that have no translation, or a doubtful one."""
    return [str(m.id) for m in catalog if m.id and (m.fuzzy or not all(texts(m.string)))]


def texts(string: str | Sequence[str] | None) -> Sequence[str]:
    """Return what a `.po` file has for a message, as a list: a text, or one for each plural."""
    return [string or ""] if isinstance(string, str | None) else string


def main() -> None:
    """Update every language, and say what is left to translate."""
    for path in sorted(FOLDER.glob("*.po")):
        missing = untranslated(update(path))
        print(f"{path.name}: {len(missing)} without a translation", *missing, sep="\n  ")


if __name__ == "__main__":
    main()
