"""What a run says: its tables, and what became slower since another run."""

from __future__ import annotations

from .harness import ENDLESS, RATE, ROUNDS, Result, Series, Target, quartiles, ratios

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


def short(results: list[Result]) -> str:
    """Return the table for a README: the headlines, by their medians."""
    chosen = [result for result in results if result.headline]
    dates = sorted({result.date for result in chosen})
    kinds = sorted({f"{result.machine.split(',')[0]}, CPU only" for result in chosen})
    lines = [
        f"Medians, {' and '.join(dates)}, {' and '.join(kinds)}:",
        "",
        "| | ours | beside it |",
        "|---|---|---|",
        *(short_row(result, one) for result in chosen for one in result.of("ours")),
    ]
    return "\n".join(lines)


def short_row(result: Result, one: Series) -> str:
    own = one.problem or f"{shown(one.median, result.unit)}"
    others = [
        f"{other.name} {shown(other.median, result.unit)}"
        for other in result.of("peer", "limit")
        if other.values
    ]
    return f"| {result.headline} | `{one.name}` **{own}** | {', '.join(others)} |"


READING = (
    "Medians of at least seven rounds in which the candidates take turns, of fewer where it says "
    "so; in brackets the quartiles of ours, and behind each peer and limit how many times ours it "
    "takes, round by round. A target is reached if the median ratio is within it, and unclear if "
    "only the lower quartile is."
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
    return f"{one.name} **{middle}** ({low} to {high}{runs(one)})"


def other_cell(one: Series, other: Series, unit: str) -> str:
    if other.problem or one.problem:
        return f"{other.name} {other.problem or shown(other.median, unit)}"
    times = quartiles(ratios(other, one))[1]
    fewer = runs(other) if len(other.values) != len(one.values) else ""
    return f"{other.name} {shown(other.median, unit)} ({times:.3g} x{fewer})"


def runs(one: Series) -> str:
    count = len(one.values)
    return "" if count >= ROUNDS else f", {count} run{'s' * (count > 1)}"


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
        return f"yes, {other.problem}" if other.problem.startswith(ENDLESS) else other.problem
    low, middle, _ = quartiles(one.values if other is None else ratios(one, other))
    reached = "yes" if middle <= target.most else "unclear" if low <= target.most else "no"
    figure = "" if other is None else f", {middle:.3g}"
    return reached + figure + (f": {target.why}" if target.why and reached != "yes" else "")


def shown(value: float, unit: str) -> str:
    if unit == RATE:
        return f"{60 / value:,.3g} {unit}"
    if unit != "s":
        return f"{value:,.3g} {unit}"
    factor, name = next((factor, name) for below, factor, name in SECONDS if value < below)
    return f"{value * factor:.3g} {name}"


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
