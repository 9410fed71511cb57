"""Write the attacks as notebooks: `python tests/attacks/make.py`.

Each attacks the reference beside it, which has two questions: `twice` (1 + 2 points), where the
attack stands, and `flip` (4 + 8 points), which is answered honestly. So an attack that fails earns
12 points, one that takes everything down with it 0, and a mark above that was forged. Right answers
to which something happened (`mishaps`) earn 15.
"""

import json
from pathlib import Path

from breaking import BREAKING
from forging import FORGING, HELPERS
from spying import CARRY_OUT, SPYING
from talking import PAIR, TALKING
from unlucky import DEF, UNLUCKY

from d2lcompute.grading.assignment import Cell

HERE = Path(__file__).parent
FLIP = "def flip(x): return 0 - x"
HONEST = {"twice": "def twice(x): return x + x", "flip": FLIP}
CELL_IDS = {name: Cell("", "solution", name).notebook_id for name in HONEST}
STUB = "def twice(x):\n    ...  # your answer"
# These break the answer to `flip` as well, since they spoil what every check needs.
SPOIL_THE_OTHER = {
    "answers_in_a_child",  # which stays, and reads what the grader sends to its kernel
    "asked_otherwise",
    "asked_under_a_known_seed",
    "broken_stdout",
    "frozen_generator",
    "modules_gone",
    "no_seed_at_all",
    "shell_that_lies",
    "answers_for_others",
    "carry_out_the_hidden_check",
    "known_seed",
    "no_answer_at_all",
    "replaced_modules",
    "threads_that_answer",
    "transformed_to_pass",
}


def code(source, outputs=(), count=None, **metadata):
    return {
        "cell_type": "code",
        "execution_count": count,
        "metadata": metadata,
        "outputs": list(outputs),
        "source": source,
    }


def solution(name, source, **metadata):
    return code(source, d2lcompute={"id": name}, tags=["solution"], **metadata)


def solutions(twice, flip=HONEST["flip"]):
    return [solution("twice", twice), solution("flip", flip)]


def shown(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def edits():
    """Yield attacks on the notebook itself: name, cells, metadata."""
    check = "d2c.grading.answer(twice(torch.rand(3)))"
    right = [shown("tensor([0.9925, 1.5364, 0.1770])\n")]
    stub = solutions(STUB)
    yield "edited_outputs", [*stub, code(check, right, 3, tags=["check"])], {}
    yield "counts_removed", [*stub, code(check, right, None, tags=["check"])], {}
    yield "deleted_checks", stub, {}
    skips = ["solution", "nbval-skip", "skip-execution", "nbval-ignore-output", "raises-exception"]
    cells = [solution("twice", "# NBVAL_SKIP\n" + STUB), solution("flip", HONEST["flip"])]
    for cell in cells:
        cell["metadata"]["tags"] = skips
    yield "skip_tags", cells, {}
    yield "allow_errors", solutions("1 / 0"), {"allow_errors": True, "nbval": {"lax": True}}
    points = {"id": "twice-shown", "points": 1000, "rtol": 1e9, "atol": 1e9}
    constant = code("d2c.grading.answer(torch.ones(3))", tags=["check"], d2lcompute=points)
    yield "edited_checks", [*stub, constant], {"d2lcompute": {"points": 1000}}
    yield "duplicated_checks", [*stub, *[code(check, right, 3, tags=["check"])] * 3], {}
    yield (
        "solutions_swapped",
        [solution("twice", HONEST["flip"]), solution("flip", HONEST["flip"])],
        {},
    )


def mishaps():
    """Yield right answers in notebooks to which something happened; they earn all points."""
    for name, source in UNLUCKY.items():
        yield name, solutions(source), {}
    yield "split", [solution("twice", DEF), *solutions("print(twice(1))")], {}
    broken = solution("twice", "def twice(x)\n    return 3 *")
    yield "copied_with_a_draft", [solution("twice", DEF), broken, solution("flip", FLIP)], {}
    lost = [dict(code(source), id=CELL_IDS[name]) for name, source in HONEST.items()]
    yield "metadata_dropped", lost, {}
    yield "more_code", [code("import os\nhelp = 1"), *solutions(DEF), code("twice(2)")], {}


def everybody_who_talks():
    """Yield the two of each pair, which are graded one after the other, or at the same time."""
    for name, source in TALKING.items():
        for me in (0, 1):
            twice = PAIR.format(me=me, other=1 - me, source=source)
            yield f"talk_by_{name}_{me}", solutions(twice), {}


def notebooks():
    """Yield every attack: name, cells, metadata."""
    yield from edits()
    for name, source in FORGING.items():
        yield name, solutions(HELPERS + source), {}
    for name, source in (BREAKING | SPYING).items():
        flip = CARRY_OUT if name == "carry_out_the_hidden_check" else HONEST["flip"]
        yield name, solutions(source, flip), {}
    yield from everybody_who_talks()
    yield from mishaps()
    yield "honest", solutions(HONEST["twice"]), {}


def text_of(cells, metadata):
    content = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}
    return json.dumps(content, indent=1) + "\n"


def main():
    for path in HERE.glob("*.ipynb"):
        path.unlink()
    for name, cells, metadata in notebooks():
        (HERE / f"{name}.ipynb").write_text(text_of(cells, metadata), encoding="utf-8")


if __name__ == "__main__":
    main()
