"""What a run says: a table, a picture, and what became slower since another run."""

from __future__ import annotations

from pathlib import Path

from .harness import Result, Series, Target, quartiles, ratios

SLOWER = 1.1
SECONDS = ((1e-6, 1e9, "ns"), (1e-3, 1e6, "µs"), (1, 1e3, "ms"), (float("inf"), 1, "s"))


def markdown(results: list[Result]) -> str:
    """Return one row for each way of ours, with what each other way takes beside it."""
    lines = [
        "| subject | ours | peers | limit | to reach | reached |",
        "|---|---|---|---|---|---|",
        *(row(result, one) for result in results for one in result.of("ours")),
    ]
    return "\n".join([*heading(results), "", *lines, "", READING, ""])


READING = (
    "Medians of at least seven rounds in which the candidates take turns; in brackets the "
    "quartiles of ours, and behind each peer and limit how many times ours it takes, round by "
    "round. A target is reached if the median ratio is within it, and unclear if only the lower "
    "quartile is."
)


def heading(results: list[Result]) -> list[str]:
    """Return when, where and with what the results were measured, one line for each such set."""
    places: dict[str, list[str]] = {}
    for result in results:
        place = f"{result.date}, {result.machine.split(', load')[0]}, {described(result.versions)}"
        places.setdefault(place, []).append(result.subject)
    return [
        f"{place}" + (f" ({', '.join(dict.fromkeys(subjects))})" if len(places) > 1 else "")
        for place, subjects in places.items()
    ]


def described(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {v}" for name, v in versions.items() if v != "not installed")


def row(result: Result, one: Series) -> str:
    peers, limits = result.of("peer"), result.of("limit")
    cells = (
        f"{result.subject}: {result.case}",
        own_cell(one, result.unit),
        "<br>".join(other_cell(one, other, result.unit) for other in peers),
        "<br>".join(other_cell(one, other, result.unit) for other in limits),
        "<br>".join(wanted(target, result.unit) for target in targets_of(result, one)),
        "<br>".join(verdict(result, target) for target in targets_of(result, one)),
    )
    return "| " + " | ".join(cells) + " |"


def targets_of(result: Result, one: Series) -> list[Target]:
    return [target for target in result.targets if target.name == one.name]


def own_cell(one: Series, unit: str) -> str:
    if one.problem:
        return f"{one.name} {one.problem}"
    low, middle, high = (shown(value, unit) for value in quartiles(one.values))
    return f"{one.name} **{middle}** ({low} to {high})"


def other_cell(one: Series, other: Series, unit: str) -> str:
    if other.problem or one.problem:
        return f"{other.name} {other.problem or shown(other.median, unit)}"
    times = quartiles(ratios(other, one))[1]
    return f"{other.name} {shown(other.median, unit)} ({times:.3g} x)"


def wanted(target: Target, unit: str) -> str:
    if target.against is None:
        return f"at most {shown(target.most, unit)}"
    return f"at most {target.most:g} of {target.against}"


def verdict(result: Result, target: Target) -> str:
    one = result.named(target.name)
    other = None if target.against is None else result.named(target.against)
    if one.problem:
        return "no"
    if other is not None and other.problem:
        return other.problem
    low, middle, _ = quartiles(one.values if other is None else ratios(one, other))
    reached = "yes" if middle <= target.most else "unclear" if low <= target.most else "no"
    return reached if other is None else f"{reached}, {middle:.3g}"


def shown(value: float, unit: str) -> str:
    if unit != "s":
        return f"{value:,.3g} {unit}"
    factor, name = next((factor, name) for below, factor, name in SECONDS if value < below)
    return f"{value * factor:.3g} {name}"


def picture(results: list[Result], path: Path) -> None:
    """Draw what each peer and limit takes over what ours takes, a row for each way of ours."""
    from matplotlib.figure import Figure

    rows = [(result, one) for result in results for one in result.of("ours") if one.values]
    figure = Figure(figsize=(10, 1.4 + 0.34 * len(rows)), layout="constrained")
    ax = figure.subplots()
    for height, (result, one) in enumerate(rows):
        for other in result.of("peer", "limit"):
            if other.values:
                draw_ratio(ax, height, other, ratios(other, one))
    ax.axvline(1, color="0.2", linewidth=1)
    ax.set(xscale="log", ylim=(len(rows) - 0.5, -0.5))
    ax.set_yticks(range(len(rows)), [f"{r.subject}: {r.case}, {one.name}" for r, one in rows])
    ax.set_xlabel("times ours, log scale: right of 1, ours takes less")
    ax.xaxis.set_major_formatter("{x:g} x")
    ax.xaxis.set_minor_formatter("")
    low, high = ax.get_xlim()
    ax.set_xlim(min(low / 1.2, 0.1), max(high * 1.2, 10))
    ax.grid(axis="x", color="0.9")
    ax.set_axisbelow(True)
    ax.plot([], [], "o", color="tab:blue", label="peer, with its quartiles")
    ax.plot([], [], "|", color="tab:red", markersize=12, markeredgewidth=2, label="limit")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    figure.savefig(path, dpi=120)


def draw_ratio(ax, height: int, other: Series, values: list[float]) -> None:
    low, middle, high = quartiles(values)
    is_peer = other.role == "peer"
    color, marker = ("tab:blue", "o") if is_peer else ("tab:red", "|")
    ax.plot([low, high], [height, height], color=color, alpha=0.5)
    ax.plot(middle, height, marker, color=color, ms=5 if is_peer else 12, mew=1 if is_peer else 2)
    ax.annotate(
        other.name, (middle, height), (0, 4 if is_peer else -9), textcoords="offset points",
        ha="center", fontsize=5.5, color=color,
    )  # fmt: skip


def slower(results: list[Result], saved: list[Result]) -> list[str]:
    """Return a line for each way of ours that takes more than before, by more than noise.

    What is compared is the time over that of a limit or a peer of the same round, since the
    machine may be another, or busier.
    """
    before = {(result.subject, result.case): result for result in saved}
    lines = []
    for result in results:
        old = before.get((result.subject, result.case))
        for one in result.of("ours") if old else ():
            lines += worse(result, old, one.name)
    return lines


def worse(new: Result, old: Result, name: str) -> list[str]:
    if name not in {series.name for series in old.of("ours")} or not old.named(name).values:
        return []
    where = f"{new.subject}: {new.case}, {name}"
    if new.named(name).problem:
        return [f"{where}: {new.named(name).problem}, and did not before"]
    yardstick = common_yardstick(new, old)
    now, then = (quartiles(relative(result, name, yardstick)) for result in (new, old))
    if now[0] <= then[2] or now[1] <= SLOWER * then[1]:
        return []
    unit = f"times {yardstick}" if yardstick else new.unit
    return [f"{where}: {now[1]:.3g} {unit}, was {then[1]:.3g}"]


def common_yardstick(new: Result, old: Result) -> str | None:
    """Return the first limit, or else the first peer, that both runs have measured."""
    measured = {series.name for series in old.series if series.values}
    candidates = [s.name for s in [*new.of("limit"), *new.of("peer")] if s.values]
    return next((name for name in candidates if name in measured), None)


def relative(result: Result, name: str, yardstick: str | None) -> list[float]:
    one = result.named(name)
    return list(one.values) if yardstick is None else ratios(one, result.named(yardstick))
