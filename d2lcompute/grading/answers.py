"""What a check says to the grader, from inside the kernel."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

UNANSWERED = 100

# Where a grader asks, the answers to one draw of a check.
_given: list[str] | None = None


def answer(value: Any) -> None:
    """Give the value that a check is about; the last line of every check.

    >>> d2c.grading.answer({"loss": 0.123456, "shapes": [torch.Size([2, 3])]})
    {'loss': 0.1235, 'shapes': [[2, 3]]}

    `value` holds tensors or arrays of any shape, numbers, strings, booleans or None, in lists,
    tuples and dicts of any nesting, at most 1 MiB of it. A grader receives it as it is and
    compares it with the reference's; without a grader it is printed with few digits.

    Raises `TypeError` for a value that cannot be sent, `ValueError` for one that is too large.
    """
    text = encode(value)
    if _given is None:
        print(_show(value))
    else:
        _given.append(text)


def seed(number: int) -> None:
    """Seed the random numbers of torch, numpy and Python.

    >>> d2c.grading.seed(0)
    >>> torch.rand(2)
    tensor([0.4963, 0.7682])

    A released check begins with it, so that it shows what the reference shows. The grader puts
    another number in its place each time.
    """
    random.seed(number)
    np.random.seed(number % 2**32)
    if torch.accelerator.is_available():
        torch.manual_seed(number)
    else:  # ten times as fast: it looks for no accelerator
        torch.default_generator.manual_seed(number)


def prepare() -> None:
    """Prepare a kernel for grading, where nobody sits before it.

    `exit`, `quit` and `%reset` do nothing, `breakpoint` does not stop, and `input` gets an empty
    line: what a student left standing costs no more than it does itself.
    """
    from IPython.core.interactiveshell import InteractiveShell

    shell: Any = InteractiveShell.instance()
    shell.run_line_magic("xmode", "Minimal")  # nobody reads the tracebacks, and they take long
    shell.ask_exit = shell.reset = _do_nothing
    for magic in ("reset", "reset_selective"):
        shell.register_magic_function(_do_nothing, "line", magic)
    sys.breakpointhook = _do_nothing
    lines = iter(UNANSWERED * [""])
    shell.kernel.raw_input = shell.kernel.getpass = lambda *_, **__: _read_from(lines)


def put(files: Mapping[str, str]) -> None:
    """Write the files of an assignment, from base64, where its code runs; they can be read only.

    Modules among them can be imported.
    """
    for name, text in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(base64.b64decode(text))
        path.chmod(0o444)
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def put_module(name: str, source: str) -> None:
    """Write a student's module as `put` writes files; raises `SyntaxError` where it is none."""
    put({name: base64.b64encode(source.encode()).decode()})
    compile(source, name, "exec")


def _do_nothing(*_: object, **__: object) -> None: ...


def _read_from(lines: Iterator[str]) -> str:
    for line in lines:
        return line
    raise EOFError("nobody is there to answer")


def ask(seeds: Sequence[int], source: str, go_on: bool = False) -> None:
    """Run a check under each seed and send what it answers: for each seed a list, of one text.

    The check's own names are gone afterwards, so that no other cell can depend on them. `go_on`
    makes a check that fails answer nothing, instead of ending all.
    """
    from IPython.core.interactiveshell import InteractiveShell

    shell: Any = InteractiveShell.instance()
    with asked(shell, source, go_on) as draw:
        answers = [draw(number) for number in seeds]
    shell.display_pub.publish({MIME: json.dumps(answers)})


@contextlib.contextmanager
def asked(shell: Any, source: str, go_on: bool) -> Iterator[Callable[[int], list[str]]]:
    """Give what runs a check under a seed and returns its answers, see `ask`."""
    global _given
    code = compile(shell.transform_cell(source), "<check>", "exec")
    names = dict(shell.user_ns)

    def draw(number: int) -> list[str]:
        global _given
        seed(number)
        _given = given = list[str]()
        try:
            exec(code, shell.user_ns)
        except Exception:
            if not go_on:
                raise
            given.clear()
        return given

    try:
        yield draw
    finally:
        _given = None
        restore(shell.user_ns, names)


def restore(names: dict[str, Any], before: Mapping[str, Any]) -> None:
    """Let a namespace hold what it held `before`, and nothing else."""
    for name in names.keys() - before.keys():
        del names[name]
    names.update(before)


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, torch.Tensor):
        return repr(value.detach().cpu())
    if isinstance(value, list | tuple):
        return _show_items("[", [("", item) for item in value], "]")
    if isinstance(value, Mapping):
        return _show_items("{", [(f"{key!r}: ", item) for key, item in value.items()], "}")
    return repr(value)


def _show_items(begin: str, items: list[tuple[str, Any]], end: str) -> str:
    """Write short items on one line, and else each on lines of its own, indented."""
    texts = [name + _show(item).replace("\n", "\n" + " " * (len(name) + 1)) for name, item in items]
    joint = ",\n " if any("\n" in text for text in texts) else ", "
    return begin + joint.join(texts) + end


MIME = "application/vnd.d2lcompute.answer"
LARGEST = 1 << 20
DEEPEST = 32
LARGEST_KEY = 2**60  # beyond, any number of integers can have the same hash, and a dict takes hours


def encode(value: Any) -> str:
    """Return `value` as text.

    >>> from d2lcompute.grading.answers import decode, encode
    >>> decode(encode({"loss": float("nan"), "shapes": [torch.Size([2, 3])], "w": torch.ones(2)}))
    {'loss': nan, 'shapes': [[2, 3]], 'w': tensor([1., 1.])}

    `value` is a tensor or an array of any shape, a number, a string, a boolean, None, a data type,
    a device (both become strings), or lists, tuples (both become lists) and dicts of these.

    Raises `TypeError` for anything else, `ValueError` for more than 1 MiB of text.
    """
    tensors: dict[str, Tensor] = {}
    tree = _pack(value, tensors, 0)
    size = sum(tensor.nbytes for tensor in tensors.values())
    if size <= LARGEST:
        text = json.dumps({"tree": tree, "tensors": _write(tensors)})
        size = len(text)
    if size > LARGEST:
        raise ValueError(
            f"`value` must take at most {LARGEST:,} bytes, got {size:,}; do answer with less of it"
        )
    return text


def decode(text: object) -> Any:
    """Return the value that `encode` made into `text`, which anyone may have written.

    >>> from d2lcompute.grading.answers import decode
    >>> decode("no answer")
    Traceback (most recent call last):
    ValueError: the answer is malformed: Expecting value: line 1 column 1 (char 0)

    Raises `ValueError` that says why, for anything that `encode` cannot have written.
    """
    if not isinstance(text, str):
        raise ValueError(f"the answer is malformed: {type(text).__name__} instead of text")
    if len(text) > LARGEST:
        raise ValueError(f"the answer is too large: {len(text):,} of at most {LARGEST:,} bytes")
    try:
        parts = json.loads(text)
        tensors = _read(parts["tensors"])
        value = _unpack(parts["tree"], tensors, 0)
    except Exception as error:  # the parsers raise errors of many kinds for what they cannot read
        raise ValueError(f"the answer is malformed: {str(error)[:100]}") from error
    if tensors:
        raise ValueError(f"the answer is malformed: {len(tensors)} tensors are nowhere in it")
    return value


def _pack(value: Any, tensors: dict[str, Tensor], depth: int) -> Any:
    if depth > DEEPEST:
        raise ValueError(f"`value` must be at most {DEEPEST} levels deep; do flatten it")
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Tensor | np.ndarray):
        return _pack_tensor(torch.as_tensor(value), tensors)
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    if isinstance(value, list | tuple):
        return [_pack(item, tensors, depth + 1) for item in value]
    if isinstance(value, Mapping):
        items = [[_key(key), _pack(item, tensors, depth + 1)] for key, item in value.items()]
        return {"dict": items}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        "`value` must be made of tensors, numbers, strings, lists and dicts, got a "
        f"{type(value).__name__}; do answer with what it computes"
    )


def _pack_tensor(tensor: Tensor, tensors: dict[str, Tensor]) -> dict[str, str]:
    if torch.nn.parameter.is_lazy(tensor):
        raise TypeError(
            "`value` must hold no lazy parameter: it has no values yet; do run the net once"
        )
    plain = tensor.detach().cpu().to_dense().resolve_conj().resolve_neg()
    kind = "complex tensor" if plain.is_complex() else "tensor"
    name = str(len(tensors))
    real = torch.view_as_real(plain) if plain.is_complex() else plain
    tensors[name] = real.clone(memory_format=torch.contiguous_format)
    return {kind: name}


def _key(key: Any) -> str | int:
    if isinstance(key, int) and abs(key) > LARGEST_KEY:
        raise ValueError(f"`value` must have keys up to {LARGEST_KEY:,}; do str(key)")
    if isinstance(key, str) or (isinstance(key, int) and not isinstance(key, bool)):
        return key
    raise TypeError(
        f"`value` must have strings or integers as keys, got a {type(key).__name__}; do str(key)"
    )


def _unpack(node: Any, tensors: dict[str, Tensor], depth: int) -> Any:
    if depth > DEEPEST:
        raise ValueError(f"more than {DEEPEST} levels")
    if isinstance(node, list):
        return [_unpack(item, tensors, depth + 1) for item in node]
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensors.pop(content)
    if kind == "complex tensor":
        return torch.view_as_complex(tensors.pop(content))
    if kind == "complex":
        real, imaginary = content
        return complex(real, imaginary)
    if kind == "dict":
        items = {_key(key): _unpack(item, tensors, depth + 1) for key, item in content}
        if len(items) == len(content):
            return items
    raise ValueError(f"a node that is {str(kind)[:20]!r}")


def _write(tensors: dict[str, Tensor]) -> str:
    return base64.b64encode(save(tensors)).decode("ascii")


def _read(text: str) -> dict[str, Tensor]:
    return load(base64.b64decode(text, validate=True))
