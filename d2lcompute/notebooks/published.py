"""Where the project can be had: two facts that a person gives, and what is made from them."""

from __future__ import annotations

import re

# The address of the public repository, such as "https://github.com/someone/d2lcompute".
REPOSITORY = ""
# "checkout" until the package is on the Python Package Index, then "published".
STATE = "checkout"

_LINK = re.compile(r'(\]\(|src="|href=")(?!#|[a-z]+:)([^)"]+)')
_PICTURE = re.compile(r"\.(svg|png)$")


def install_command(extras: str = "notebooks") -> str:
    """Return what comes behind `pip install` where there is no copy of the repository, "" if none.

    >>> from d2lcompute.notebooks.published import install_command
    >>> install_command()
    ''
    """
    if STATE == "published":
        return f'"d2lcompute[{extras}]"'
    return f'"d2lcompute[{extras}] @ git+{REPOSITORY}"' if REPOSITORY else ""


def way_to_get(extra: str) -> str:
    """Return what to type to install an extra of the package, as it can be had today.

    >>> from d2lcompute.notebooks.published import way_to_get
    >>> way_to_get("lab")
    'pip install ".[lab]" in a copy of the repository'
    """
    behind = install_command(extra)
    return (
        f"pip install {behind}"
        if behind
        else f'pip install ".[{extra}]" in a copy of the repository'
    )


def site() -> str:
    """Return the address of the documentation: the pages of the repository, "" without one."""
    owner, _, name = REPOSITORY.removeprefix("https://github.com/").partition("/")
    return f"https://{owner.lower()}.github.io/{name}/" if name else ""


def urls() -> dict[str, str]:
    """Return the links of the package's metadata."""
    if not REPOSITORY:
        return {}
    return {
        "Documentation": site(),
        "Source": REPOSITORY,
        "Issues": f"{REPOSITORY}/issues",
        "Changelog": f"{REPOSITORY}/blob/main/CHANGELOG.md",
    }


def badges() -> str:
    """Return the lines below the title of the README, "" as long as nothing is known."""
    shown = []
    if STATE == "published":
        shown.append(_badge("PyPI", "pypi/v/d2lcompute", "https://pypi.org/project/d2lcompute/"))
        shown.append(
            _badge("Python", "pypi/pyversions/d2lcompute", "https://pypi.org/project/d2lcompute/")
        )
    if REPOSITORY:
        workflow = f"{REPOSITORY}/actions/workflows/ci.yml"
        shown.append(f"[![CI]({workflow}/badge.svg)]({workflow})")
        shown.append(_badge("documentation", "badge/documentation-here-blue", site()))
    return "\n".join(shown)


def notebook_badges(path: str) -> str:
    """Return the links that open a notebook on Colab and Binder, "" without a repository."""
    if not REPOSITORY:
        return ""
    project = REPOSITORY.removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{project}/blob/main/{path}"
    binder = f"https://mybinder.org/v2/gh/{project}/main?labpath={path.replace('/', '%2F')}"
    return (
        f"[![Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}) "
        f"[![Binder](https://mybinder.org/badge_logo.svg)]({binder})"
    )


def absolute(text: str) -> str:
    """Return Markdown with its links into the repository made absolute, as the package index needs.

    Where the repository has no address yet, the links become plain text, for they would be dead.
    """
    if REPOSITORY:
        return _LINK.sub(lambda found: found[1] + _address(found[2]), text)
    text = re.sub(r"<img [^>]*src=\"(?![a-z]+:)[^>]*>\s*", "", text)
    return re.sub(r"(?<!!)\[([^\]]*)\]\((?!#|[a-z]+:)[^)]+\)", r"\1", text)


def _address(path: str) -> str:
    kind = "raw" if _PICTURE.search(path) else "blob"
    return f"{REPOSITORY}/{kind}/main/{path}"


def _badge(name: str, picture: str, link: str) -> str:
    return f"[![{name}](https://img.shields.io/{picture})]({link})"
