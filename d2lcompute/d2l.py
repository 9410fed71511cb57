"""The book's own package, importable on a current stack: `from d2lcompute import d2l`.

The name `d2l` is then the module `d2l.torch` itself, as `from d2l import torch as d2l` gives it:

    from d2lcompute import d2l
    d2l.Trainer(max_epochs=1).fit(model, data)

That module imports torchvision first, which is missing or broken on many machines and which only
its image sections need. There a stand-in takes its place inside `d2l.torch`, and only there.

The book asks for NVIDIA's devices alone. Here its `num_gpus` and `gpu` are those of this package,
and with them `try_gpu`, `try_all_gpus` and `Trainer(num_gpus=1)` use whatever accelerator torch
knows: NVIDIA's, AMD's, Intel's and Apple's, and practice devices while they are on.

Since pandas 3 columns of text have a type of their own, so that `dtypes != 'object'`, by which
the book's cell of `KaggleHouse` finds the columns of numbers, finds all columns. Write
`features.select_dtypes("number").columns` there.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .devices import devices
from .notebooks.published import way_to_get

PACKAGES = {"IPython": "ipython", "PIL": "pillow", "matplotlib_inline": "matplotlib-inline"}
PINS_EXCLUDE = (3, 12)  # from here on: d2l 1.0.3 pins a numpy that has no release for it


class StandIn(ModuleType):
    """A module that could not be imported: it tries again at the first use, then says why not."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return getattr(importlib.import_module(self.__name__), name)
        except Exception as error:
            torch = importlib.import_module("torch")
            raise ImportError(
                f"`{self.__name__}.{name}` must come from a torchvision that works, got "
                f"{type(error).__name__}: {error}; do install the torchvision that "
                f"pytorch.org/get-started names for torch {torch.__version__}"
            ) from error


@contextmanager
def _torchvision_or_stand_in() -> Iterator[None]:
    try:
        importlib.import_module("torchvision.transforms")
    except Exception:  # a broken one raises RuntimeError, OSError, and more
        stand_ins = _stand_ins()
    else:
        stand_ins = {}
    before = {name: sys.modules[name] for name in stand_ins if name in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]
        sys.modules.update(before)


def _stand_ins() -> dict[str, StandIn]:
    vision, transforms = StandIn("torchvision"), StandIn("torchvision.transforms")
    vars(vision)["transforms"] = transforms
    return {module.__name__: module for module in (vision, transforms)}


def _book() -> ModuleType:
    try:
        with _torchvision_or_stand_in():
            book: Any = importlib.import_module("d2l.torch")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        raise ModuleNotFoundError(
            f"`d2l` must be installed with what it imports, got {error}; do {_command(missing)}",
            name=missing,
        ) from None
    book.num_gpus, book.gpu = devices.num_gpus, devices.gpu
    module: ModuleType = book
    return module


def _command(missing: str) -> str:
    if missing != "d2l":
        return f"pip install {PACKAGES.get(missing, missing)}"
    if sys.version_info < PINS_EXCLUDE:
        return way_to_get("d2l")
    return "pip install --no-deps d2l==1.0.3, then pip install ipython pandas requests scipy"


if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


sys.modules[__name__] = _book()
