"""The walls of the house: what a newcomer finds, and which room may lean on which."""

import ast
from pathlib import Path

HOUSE = Path(__file__).parents[1] / "d2lcompute"
MODULES = sorted(HOUSE.rglob("*.py"))
# An import goes towards the front: a room leans on those before it.
ROOMS = (
    "arguments", "words", "tables", "parameters", "passes", "initializers", "blocks", "lazy",
    "layers", "files", "devices", "seeing", "exercises",
)  # fmt: skip
# Rooms of their own: they run notebooks and make marks, and know nothing of the library.
APART = {"notebooks": {"words"}, "grading": {"words", "notebooks"}, "d2l": {"devices", "notebooks"}}


def imported_rooms(module):
    """The rooms that a module imports something from."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = module.relative_to(HOUSE).parts[: -node.level]
            full = [*above, *(node.module or "").split(".")]
            yield full[0] or node.names[0].name


def test_a_newcomer_reads_no_more_than_sixteen_names_at_the_top():
    names = {path.name for path in HOUSE.iterdir()} - {"__init__.py", "__init__.pyi", "__main__.py"}
    assert len(names - {"py.typed", "__pycache__"}) <= 16


def test_no_module_is_long():
    assert [m.name for m in MODULES if len(m.read_text(encoding="utf-8").splitlines()) > 400] == []


def test_modules_are_so_few_that_one_finds_ones_way():
    assert len([m for m in MODULES if m.name != "__init__.py"]) <= 147  # merge before you add


def test_every_room_leans_only_on_those_before_it():
    for module in MODULES:
        room = module.relative_to(HOUSE).parts[0].removesuffix(".py")
        if room in ("__init__", "__main__"):
            continue
        may = APART[room] if room in APART else set(ROOMS[: ROOMS.index(room)])
        assert set(imported_rooms(module)) - {room} <= may, module
