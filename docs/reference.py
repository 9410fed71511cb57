"""The pages of the reference, made from docstrings, signatures and the command line."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from types import ModuleType

import typer.main

import d2lcompute as d2c
from d2lcompute.__main__ import app

PACKAGE = Path(d2c.__file__).parent
# The pages, in the order of the book, and the rooms whose names stand there.
PAGES = {
    "blocks": ("Blocks", ("blocks",)),
    "parameters": ("Parameters and ties", ("parameters",)),
    "initializers": ("Initializers", ("initializers",)),
    "lazy": ("Deferred initialization", ("lazy",)),
    "layers": ("Layers", ("layers",)),
    "files": ("Files", ("files",)),
    "devices": ("Devices", ("devices",)),
    "seeing": ("Seeing inside", ("seeing", "tables")),
    "exercises": ("Exercises and language", ("exercises", "words", "notebooks")),
    "grading": ("Answers of assignments", ("grading",)),
}


def write(folder: Path) -> None:
    """Write every page of the reference."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (title, rooms) in PAGES.items():
        _write(folder / f"{name}.md", page(title, rooms))
    _write(folder / "commands.md", commands())


def page(title: str, rooms: tuple[str, ...]) -> str:
    """Return a page with the public names that live in these rooms."""
    modules = {name: getattr(d2c, name) for name in d2c.__all__ if name in rooms}
    names = [(name, "d2lcompute") for name, home in homes() if home in rooms]
    names += [
        (name, f"d2lcompute.{room}") for room, module in modules.items() for name in within(module)
    ]
    parts = [f"# {title}"]
    for name, module in names:
        value = getattr(modules.get(module.rpartition(".")[2], d2c), name)
        if not isinstance(value, ModuleType):
            parts.append(entry(name, value, module))
    return "\n\n".join(parts) + "\n"


def homes() -> list[tuple[str, str]]:
    """Return every public name with the room that it comes from, as `__init__.pyi` says."""
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    found = [
        (alias.asname or alias.name, (node.module or alias.name).partition(".")[0])
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    return sorted(found, key=lambda pair: (inspect.isclass(getattr(d2c, pair[0])), pair[0].lower()))


def within(module: ModuleType) -> list[str]:
    """Return the names that a public module has beside those at the top of the package."""
    listed = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", "").startswith(module.__name__) and name[0] != "_"
    ]
    return sorted(name for name in listed if name not in d2c.__all__)


def entry(name: str, value: object, module: str) -> str:
    """Return what the reference says of one function or class."""
    kind = "class" if inspect.isclass(value) else "function"
    head = f"`````{{py:{kind}}} {name}{signature(value)}\n:module: {module}"
    parts = [head, described(value), parameters(value)]
    if inspect.isclass(value):
        parts += [member(key, each) for key, each in members(value)]
    return "\n\n".join(part for part in parts if part) + "\n`````"


def members(kind: type) -> list[tuple[str, object]]:
    """Return the public methods and properties that a class documents itself."""
    ours = [base for base in reversed(kind.__mro__) if base.__module__.startswith("d2lcompute")]
    found = {key: value for base in ours for key, value in vars(base).items() if key[0] != "_"}
    return [
        (key, value) for key, value in found.items() if inspect.getdoc(value) and _is_member(value)
    ]


def _is_member(value: object) -> bool:
    return inspect.isfunction(value) or isinstance(value, property | classmethod | staticmethod)


def member(name: str, value: object) -> str:
    """Return what the reference says of a method or a property."""
    if isinstance(value, property):
        return f"````{{py:property}} {name}\n\n{described(value)}\n````"
    function = getattr(value, "__func__", value)
    head = f"````{{py:method}} {name}{signature(function, bound=True)}"
    return "\n\n".join(filter(None, [head, described(value), parameters(function)])) + "\n````"


def signature(value: object, bound: bool = False) -> str:
    """Return the signature as a person writes it."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return "()"
    shown, starred = [], False
    for parameter in list(found.parameters.values())[bound:]:
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            shown.append("*")
        starred |= parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        shown.append(f"{parameter}".partition(":")[0].partition("=")[0] + default)
    return f"({', '.join(shown)})"


def parameters(value: object) -> str:
    """Return a table of the parameters: type, default, and what the docstring says of each."""
    try:
        found = inspect.signature(value).parameters
    except (TypeError, ValueError):
        return ""
    sentences = _sentences(_prose(value))
    rows = []
    for parameter in found.values():
        if parameter.name in ("self", "cls"):
            continue
        told = " ".join(text for text in sentences if text.startswith(f"`{parameter.name}`"))
        told = told or next((text for text in sentences if f"`{parameter.name}`" in text), "")
        default = "" if parameter.default is parameter.empty else f"`{parameter.default!r}`"
        rows.append([f"`{parameter.name}`", _type(parameter), default, told])
    return _table(("parameter", "type", "default", "what it is"), rows) if rows else ""


def _type(parameter: inspect.Parameter) -> str:
    if parameter.annotation is parameter.empty:
        return ""
    kind = parameter.annotation
    return f"`{kind if isinstance(kind, str) else inspect.formatannotation(kind)}`"


def described(value: object) -> str:
    """Return the docstring as Markdown, with its examples as code."""
    lines: list[str] = []
    inside = False
    text = re.sub(r"\s+(?=Source: D2L)", "\n\n", inspect.getdoc(value) or "")
    for line in text.splitlines():
        if line.startswith(">>>") and not inside:
            lines.append("```pycon")
            inside = True
        elif not line.strip() and inside:
            lines.append("```")
            inside = False
        lines.append(line)
    return "\n".join([*lines, "```"] if inside else lines)


def _prose(value: object) -> str:
    kept = re.sub(r"^```pycon$.*?^```$", "", described(value), flags=re.M | re.S)
    return re.sub(r"^Source: .*", "", kept, flags=re.M)


def _sentences(text: str) -> list[str]:
    """Return the sentences of prose, each on one line; a semicolon before a name parts them too."""
    flat = re.sub(r"\n(?=\n)|\n\* ", "\x00", text).replace("\n", " ")
    ends = re.sub(r"(?<=[.!?])\s+(?=[A-Z`])", "\x00", flat)
    return [sentence.strip() for sentence in ends.split("\x00") if sentence.strip()]


def _table(headers: tuple[str, ...], rows: list[list[str]]) -> str:
    cells = [list(headers), ["---"] * len(headers), *rows]
    lines = [" | ".join(cell.replace("|", r"\|") for cell in row) for row in cells]
    return "\n".join(f"| {line} |" for line in lines)


def commands() -> str:
    """Return the page of the command line."""
    group = typer.main.get_command(app)
    parts = ["# Commands", group.help or ""]
    for name, command in group.commands.items():
        text = inspect.cleandoc(command.help or "")
        usage = " ".join(
            ["d2lcompute", name, *command.collect_usage_pieces(typer.Context(command))]
        )
        parts += [f"## `d2lcompute {name}`", text, f"```console\n$ {usage}\n```"]
        rows = [_option(parameter) for parameter in command.params]
        parts.append(_table(("argument or option", "default", "what it is"), rows))
    return "\n\n".join(parts) + "\n"


def _option(parameter: typer.core.TyperArgument | typer.core.TyperOption) -> list[str]:
    names = [*parameter.opts, *parameter.secondary_opts]
    if parameter.param_type_name == "argument":
        names = [parameter.name.upper()]
    default = "" if parameter.default in (None, "", False) else f"`{parameter.default}`"
    help_text = getattr(parameter, "help", None) or ""
    return [", ".join(f"`{name}`" for name in names), default, help_text]


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
