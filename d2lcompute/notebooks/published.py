"""Where the project can be had: two facts that a person gives, and what is made from them."""

from __future__ import annotations

# The address of the public repository, such as "https://github.com/someone/d2lcompute".
REPOSITORY = ""
# "checkout" until the package is on the Python Package Index, then "published".
STATE = "checkout"


def install_command(extras: str = "notebooks") -> str:
    """Return what comes behind `pip install` where there is no copy of the repository, "" if none.

    >>> from d2lcompute.notebooks.published import install_command
    >>> install_command()
    ''
    """
    if STATE == "published":
        return f'"d2lcompute[{extras}]"'
    return f'"d2lcompute[{extras}] @ git+{REPOSITORY}"' if REPOSITORY else ""
