"""Solutions as students write them: right in other ways than the reference's, and wrong ones.

They stand in the reference, where `d2lcompute examine` tries them too.
"""

from pathlib import Path

from d2lcompute.grading.assignment import ALSO_RIGHT, WRONG, parse, read_notebook

REFERENCE = Path(__file__).parents[2] / "chapters" / "assignment" / "reference.md"


def answers(tag):
    """Return the source of each solution's answer with a tag, without the line that says what."""
    others = parse(read_notebook(REFERENCE)).others
    return {
        cell.id: f"\n{cell.source.partition(chr(10))[2]}\n" for cell in others if cell.tag == tag
    }


RIGHT = answers(ALSO_RIGHT)
# Each of these misses something that the chapter warns of.
WRONG = answers(WRONG)
