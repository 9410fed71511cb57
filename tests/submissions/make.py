"""Write the sample submissions from the released notebook: `python tests/submissions/make.py`."""

import copy
import json
from pathlib import Path

from answers import RIGHT, WRONG

HERE = Path(__file__).parent
RELEASED = HERE.parent.parent / "chapters" / "assignment" / "en" / "assignment.ipynb"


def fill(answers):
    """Return the released notebook with answers in place of the stubs."""
    notebook = json.loads(RELEASED.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        name = cell["metadata"].get("d2lcompute", {}).get("id")
        if name in answers:
            cell["source"] = answers[name].strip().splitlines(keepends=True)
    return notebook


def mess_up(notebook):
    """Do to a right submission what students do: split, delete, reorder, tidy, retype."""
    notebook = copy.deepcopy(notebook)
    cells = [cell for cell in notebook["cells"] if "check" not in cell["metadata"].get("tags", [])]
    gated = next(cell for cell in cells if cell["metadata"].get("d2lcompute") == {"id": "gated"})
    rest = copy.deepcopy(gated)
    gated["source"], rest["source"] = gated["source"][:3], ["print(Gated)\n"]
    whole = copy.deepcopy(gated)
    whole["source"] = RIGHT["gated"]
    notebook["cells"] = [*cells[::-1], whole, rest]
    for cell in notebook["cells"]:
        cell["metadata"]["tags"] = ["hide-input"]
        cell.pop("id", None)
        if cell["cell_type"] == "code":
            cell["execution_count"], cell["outputs"] = 7, []
    notebook["metadata"] = {"colab": {"name": "Copy of assignment.ipynb"}}
    return notebook


def samples():
    """Yield the name and the text of every sample."""
    half = {name: (WRONG if place % 2 else RIGHT)[name] for place, name in enumerate(RIGHT)}
    notebooks = {
        "honest": fill(RIGHT),
        "messy": mess_up(fill(RIGHT)),
        "partly": fill(half),
        "mistaken": fill(WRONG),
        "empty": fill({}),
        "unfinished": fill(
            {"gated": RIGHT["gated"], "settle": "class Settle(nn.Module:\n    pass"}
        ),
    }
    for name, notebook in notebooks.items():
        yield name, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    yield "broken", json.dumps(notebooks["honest"])[:5000]


def main():
    for name, text in samples():
        (HERE / f"{name}.ipynb").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
