"""The Deep Learning Computation chapter of Dive into Deep Learning, to import and to poke.

The public names stand in `__init__.pyi`, for people, type checkers and this file. Each is imported
when it is first used, so that importing the package costs next to nothing.
"""

import lazy_loader

_find, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name in __all__ or name.startswith("_"):
        return _find(name)
    from .words.wrong_names import advice

    raise AttributeError(advice(name, __all__, dir(_find("initializers"))), name=name)
