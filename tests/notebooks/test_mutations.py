"""What `pytest --d2l` notices and forgives, counted; docs/notebooks-compare.md has the counts."""

import itertools
from collections import Counter
from pathlib import Path

import pytest
import torch
from computed import ORDINARY, WAYS, printed
from mutations import CHANGES, mutations, texts_in_kind, texts_of
from nbformat.v4 import new_output

from d2lcompute.notebooks import chapter
from d2lcompute.notebooks.outputs import Manner, difference

PAGE = Path(__file__).parents[2] / "docs" / "notebooks-compare.md"


def noticed(texts):
    """Count the mutations of texts by kind, those noticed and all."""
    found, tried = Counter(), Counter()
    for text in texts:
        stored = text.outputs()
        assert difference(stored, text.outputs(), Manner()) is None
        for kind, changed in mutations(text):
            tried[kind] += 1
            found[kind] += difference(stored, text.outputs(changed), Manner()) is not None
    return found, tried


def test_every_mutation_of_what_notebooks_show_is_noticed(request):
    texts = [*itertools.chain(*texts_in_kind().values())]
    found, tried = noticed(texts)
    assert found == tried
    assert set(tried) == set(CHANGES)
    counts = "".join(f"| {kind} | {tried[kind]:,} | all |\n" for kind in CHANGES)
    counts += f"| together, in {len(texts)} outputs | {sum(tried.values()):,} | all |\n"
    page = PAGE.read_text(encoding="utf-8")
    head, rule, rest = page.partition("| change | places | noticed |\n|---|---|---|\n")
    table, blank, tail = rest.partition("\n\n")
    if request.config.getoption("--golden-rewrite"):
        PAGE.write_text(head + rule + counts.rstrip("\n") + blank + tail, encoding="utf-8")
        return
    assert table + "\n" == counts


@pytest.mark.parametrize("notebook", chapter.find(languages=["en"]), ids=lambda path: path.stem)
def test_every_mutation_of_the_chapter_is_noticed(notebook):
    found, tried = noticed(texts_of(notebook))
    assert found == tried
    assert tried


other_ways = pytest.mark.parametrize("way", [way for way in WAYS if way != ORDINARY])


@other_ways
def test_what_another_machine_computes_passes_wherever_four_digits_are_printed(way):
    ordinary, other = printed(ORDINARY), printed(way)
    if way != "one thread" or torch.get_num_threads() > 1:
        assert other != ordinary
    for name in set(ordinary) - {"short"}:
        one, two = ([new_output("stream", text=shown[name])] for shown in (ordinary, other))
        assert difference(one, two, Manner()) is None
        assert difference(two, one, Manner()) is None


@other_ways
def test_few_short_numbers_cross_a_rounding(way):
    """This is not promised; the page has the counts."""
    short, other = (printed(each)["short"].split() for each in (ORDINARY, way))
    pairs = zip(short, other, strict=True)
    crossed = [abs(float(one) - float(two)) for one, two in pairs if one != two]
    assert len(crossed) < 20
    assert max(crossed, default=0) < 0.011
