"""Colours of pictures on light and on dark backgrounds, told apart with any kind of sight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours but for the blue of blocks with parameters and the red of failures.
SHADES = ("#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#B8A800")
TINTS = {"accent": 0.18, "failure": 0.15} | {
    f"shade{number}": 0.25 for number in range(len(SHADES))
}


@dataclass(frozen=True)
class Palette:
    """The colours for one kind of background."""

    paper: str
    ink: str
    faint: str
    border: str
    nest: tuple[str, str]
    accent: str
    failure: str

    def colors(self) -> dict[str, str]:
        """Return the colour of each role: `ink`, `shade0`, `accent tint` and so on."""
        plain = {"paper": self.paper, "ink": self.ink, "faint": self.faint, "border": self.border}
        plain |= {f"nest{number}": color for number, color in enumerate(self.nest)}
        strong = {"accent": self.accent, "failure": self.failure}
        strong |= {f"shade{number}": color for number, color in enumerate(SHADES)}
        tints = {f"{role} tint": tint(strong[role], self.paper, TINTS[role]) for role in strong}
        return plain | strong | tints


LIGHT = Palette(
    paper="#FFFFFF", ink="#1F2933", faint="#5B6875", border="#A9B4C0",
    nest=("#F5F7F9", "#EAEEF2"), accent="#3B78B8", failure="#D55E00",
)  # fmt: skip
DARK = Palette(
    paper="#14191F", ink="#E8EDF2", faint="#9DABB8", border="#5A6876",
    nest=("#1D242C", "#262F39"), accent="#6AA9E9", failure="#FF8A3D",
)  # fmt: skip


def palette_for(ax: Axes) -> Palette:
    """Return the palette for the background that shows behind `ax`."""
    from matplotlib.colors import to_rgba

    red, green, blue, alpha = to_rgba(ax.get_facecolor())
    if not ax.axison or not alpha:
        red, green, blue, alpha = to_rgba(ax.figure.get_facecolor())
    is_light = not alpha or 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
    return LIGHT if is_light else DARK


def tint(color: str, paper: str, share: float) -> str:
    """Return `color` mixed into `paper`, `share` of it."""
    pairs = zip(bytes.fromhex(color[1:]), bytes.fromhex(paper[1:]), strict=True)
    return "#" + "".join(f"{round(share * c + (1 - share) * p):02X}" for c, p in pairs)
