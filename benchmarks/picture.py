"""The picture of a run: what each peer and limit takes over what ours takes."""

from __future__ import annotations

from pathlib import Path

from .harness import Result, Series, quartiles, ratios

ROW, MARGIN = 0.66, 1.3  # inches
# Points over a marker, and the side of it, where its name may stand, best first.
PLACES = [(level, side) for side in ("center", "left", "right") for level in (6, -12, 16, -22)]
PLACES += [(26, "center"), (-32, "center")]
COLORS = {"peer": "tab:blue", "limit": "tab:red"}


def draw(results: list[Result], path: Path) -> None:
    """Draw a row for each way of ours, on a logarithmic scale."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [(result, one) for result in results for one in result.of("ours") if one.values]
    height = MARGIN + ROW * len(rows)
    figure = Figure(figsize=(11, height), facecolor="white")
    FigureCanvasAgg(figure)
    figure.subplots_adjust(0.36, 0.6 / height, 0.98, 1 - 0.5 / height)
    ax = figure.subplots()
    ax.set(xscale="log", ylim=(len(rows) - 0.5, -0.5), xlim=limits(rows))
    names: list = []
    for place, (result, one) in enumerate(rows):
        for other in in_order(result, one):
            draw_ratio(ax, place, other, ratios(other, one))
            name_it(ax, place, other, ratios(other, one), names)
    decorate(ax, rows)
    figure.savefig(path, dpi=120)


def in_order(result: Result, one: Series) -> list[Series]:
    others = [other for other in result.of("peer", "limit") if other.values]
    return sorted(others, key=lambda other: quartiles(ratios(other, one))[1])


def limits(rows: list[tuple[Result, Series]]) -> tuple[float, float]:
    found = [1.0, *(r for row in rows for other in in_order(*row) for r in ratios(other, row[1]))]
    return min(0.1, min(found) / 2), max(10, max(found) * 3)


def draw_ratio(ax, place: int, other: Series, values: list[float]) -> None:
    low, middle, high = quartiles(values)
    color = COLORS[other.role]
    marker = (
        {"marker": "o", "ms": 5} if other.role == "peer" else {"marker": "|", "ms": 11, "mew": 2}
    )
    ax.plot([low, high], [place, place], color=color, alpha=0.5)
    ax.plot(middle, place, color=color, **marker)


def name_it(ax, place: int, other: Series, values: list[float], taken: list) -> None:
    """Write the name where no other name stands."""
    middle = quartiles(values)[1]
    for level, side in PLACES:
        text = ax.annotate(
            other.name, (middle, place), (0, level), textcoords="offset points",
            ha=side, fontsize=6, color=COLORS[other.role],
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.3, "alpha": 0.8},
        )  # fmt: skip
        box = text.get_window_extent(ax.figure.canvas.get_renderer())
        if not any(box.padded(3).overlaps(another) for another in taken):
            break
        if (level, side) != PLACES[-1]:
            text.remove()
    taken.append(box)


def label(result: Result, one: Series) -> str:
    several = len(result.of("ours")) > 1
    return f"{result.subject}: {result.case}" + (f", {one.name}" if several else "")


def decorate(ax, rows: list[tuple[Result, Series]]) -> None:
    ax.axvline(1, color="0.2", linewidth=1)
    ax.set_yticks(range(len(rows)), [label(*row) for row in rows])
    ax.tick_params(axis="y", labelsize=8)
    for place in range(1, len(rows)):
        new = rows[place][0].subject != rows[place - 1][0].subject
        ax.axhline(place - 0.5, color="0.6" if new else "0.93", linewidth=0.8, zorder=0)
    ax.set_xlabel("times ours, log scale: right of 1, ours takes less")
    ax.xaxis.set_major_formatter("{x:g} x")
    ax.xaxis.set_minor_formatter("")
    ax.grid(axis="x", color="0.9")
    ax.set_axisbelow(True)
    ax.plot([], [], "o", color=COLORS["peer"], label="peer, with its quartiles")
    ax.plot([], [], "|", color=COLORS["limit"], markersize=12, mew=2, label="limit")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
