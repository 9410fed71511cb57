"""Changes of outputs that a reader would see, each of one kind, in every place.

What is a number, an array or a version is said here anew: these are the oracle of the comparison.
"""

import json
import re
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from pathlib import Path

import nbformat
from nbformat.v4 import new_output

SHOWN = Path(__file__).parents[1] / "notebooks" / "shown"
FLOAT = re.compile(
    r"(?<![\w.])[-+]?\d+\.\d*(?:e[-+]?\d+)?(?=j\b|(?![\w.]))|(?<=\d)[-+]\d+\.\d*(?=j)"
)
INTEGER = re.compile(r"(?<![\w.:/])[-+]?\d+(?![\w.:/])")
ARRAY = re.compile(r"\[[\[\]\d\s.,+\-einfaj]*\]")
VERSION = re.compile(r"\d+(?:\.\d+){2,}")
WORD = re.compile(r"(?<![\dA-Za-z_])[^\W\d_]{2,}(?![\d_])")
RESIDUE = re.compile("⟨(.*?)⟩")
LONG = 4  # digits


@dataclass(frozen=True)
class Text:
    """An output: its kind, what it says, and where the residues in it stand."""

    kind: str
    text: str
    residues: frozenset[int] = frozenset()

    def outputs(self, text=None):
        return [_output(self.kind, self.text if text is None else text)]


def texts_in_kind():
    """Return what notebooks of many kinds show, by the name of its file; residues are in ⟨⟩."""
    return {path.stem: [*_read(path)] for path in sorted(SHOWN.glob("*.txt"))}


def texts_of(notebook):
    """Return what a notebook shows, without its pictures."""
    texts = []
    for cell in nbformat.read(notebook, as_version=4).cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":
                texts.append(Text(output.name, output.text))
            elif output.output_type == "error":
                texts.append(Text("error", f"{output.ename}: {output.evalue}"))
            else:
                kinds = [kind for kind in output.data if not kind.startswith("image/")]
                texts += [Text(kind, output.data[kind]) for kind in kinds]
    return [text for text in texts if text.kind != "stderr"]


def _read(path):
    for section in path.read_text(encoding="utf-8").split("%% ")[1:]:
        kind, _, marked = section.partition("\n")
        pieces = RESIDUE.split(marked if kind == "stdout" else marked.rstrip("\n"))
        starts, text = set(), ""
        for place, piece in enumerate(pieces):
            starts |= {len(text)} if place % 2 else set()
            text += piece
        yield Text(kind, text, frozenset(starts))


def _output(kind, text):
    if kind == "stdout":
        return new_output("stream", name=kind, text=text)
    if kind == "error":
        name, _, said = text.partition(": ")
        return new_output("error", ename=name, evalue=said, traceback=[])
    return new_output("display_data", {kind: json.loads(text) if "json" in kind else text})


def mutations(text):
    """Yield (kind of change, changed text) for each place in a `Text`."""
    with localcontext(Context(prec=80)):
        changes = [(kind, place) for kind, change in CHANGES.items() for place in change(text)]
    for kind, (start, end, new) in changes:
        yield kind, text.text[:start] + new + text.text[end:]


def _floats(text):
    for match in FLOAT.finditer(text.text):
        if match.start() not in text.residues:
            yield match, _digits(match[0]), _is_in_long_array(text.text, match)


def _digits(number):
    return len(re.sub(r"[^\d]", "", number.partition("e")[0]).lstrip("0"))


def _is_in_long_array(text, number):
    for array in ARRAY.finditer(text):
        if array.start() <= number.start() < array.end():
            floats = FLOAT.findall(array[0])
            return _digits(max(floats, key=lambda each: abs(float(each)))) >= LONG
    return False


def _moved(number, units):
    mantissa, e, exponent = number.partition("e")
    _, _, fraction = mantissa.partition(".")
    moved = Decimal(mantissa) + units * Decimal(10) ** -len(fraction)
    sign = "+" if number.startswith("+") else ""
    dot = "" if fraction else "."
    return f"{sign}{moved:f}{dot}{e}{exponent}"


def integers(text):
    taken = {place for match in FLOAT.finditer(text.text) for place in range(*match.span())}
    for match in re.finditer(r"\d+", text.text, re.ASCII):
        if match.start() not in taken:
            yield *match.span(), f"{int(match[0]) + 1:0{len(match[0])}d}"


def signs(text):
    numbers = [match for match, _, _ in _floats(text)] + [*INTEGER.finditer(text.text)]
    for match in numbers:
        # A zero of four figures is a residue.
        if float(match[0]) == 0 and len(match[0].strip("-+")) > LONG:
            continue
        flipped = match[0][1:] if match[0][0] == "-" else "-" + match[0].lstrip("+")
        yield *match.span(), flipped


def short_floats(text):
    for match, digits, in_long_array in _floats(text):
        if digits < LONG and not in_long_array:
            yield *match.span(), _moved(match[0], 1)


def long_floats(text):
    for match, digits, in_long_array in _floats(text):
        if digits < LONG and not in_long_array:
            continue
        last = abs(Decimal(_moved(match[0], 0)) - Decimal(_moved(match[0], 1)))
        units = 3 if digits < 7 else int(abs(Decimal(match[0])) * Decimal("1.1e-5") / last) + 3
        yield *match.span(), _moved(match[0], units)


def exponents(text):
    for match in re.finditer(r"(?<=\d)e([-+]?\d+)(?!\w)", text.text):
        number = FLOAT.search(text.text, text.text.rfind(" ", 0, match.start()) + 1)
        if number is None or number.start() not in text.residues:
            sign = match[1][0] if match[1][0] in "-+" else ""
            digits = match[1].lstrip("-+")
            yield *match.span(), f"e{sign}{int(digits) + 1:0{len(digits)}d}"


def kinds(text):
    for match in INTEGER.finditer(text.text):
        yield *match.span(), match[0] + ".0"
    for match, _, _ in _floats(text):
        whole, _, fraction = match[0].partition(".")
        if not fraction.strip("0"):
            yield *match.span(), whole


def words(text):
    for match in WORD.finditer(text.text):
        other = "x" if match[0][0] != "x" else "y"
        yield match.start(), match.start() + 1, other


def line_breaks(text):
    for match in re.finditer("\n", text.text):
        yield *match.span(), " "


def indentation(text):
    for match in re.finditer(r"^[ \t]+(?=\S)", text.text, re.MULTILINE):
        yield *match.span(), ""


def version_parts(text):
    for match in VERSION.finditer(text.text):
        parts = match[0].split(".")
        for place, part in enumerate(parts):
            changed = [*parts[:place], str(int(part) + 1), *parts[place + 1 :]]
            yield *match.span(), ".".join(changed)


CHANGES = {
    "integer + 1": integers,
    "sign": signs,
    "last digit of three and fewer": short_floats,
    "more than two units of the last digit": long_floats,
    "exponent + 1": exponents,
    "kind of number": kinds,
    "letter of a word": words,
    "line break": line_breaks,
    "indentation": indentation,
    "part of a version": version_parts,
}
