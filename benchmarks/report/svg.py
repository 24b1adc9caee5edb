"""Charts as SVG text: rows of values with their quartiles, and curves on logarithmic axes. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.measure.statistics import Spread

_WIDTH: Final = 760
_INK: Final = "#24292f"
_FAINT: Final = "#d0d7de"
_PLAIN: Final = "#8c959f"
#: The sidecar first, then others; readable for the colour-blind on white.
_COLOURS: Final = ("#0969da", "#8c959f", "#bc4c00", "#1a7f37")


@dataclass(frozen=True)
class Bar:
    """One row of a chart."""

    label: str
    spread: Spread
    #: Ours are coloured.
    ours: bool = False


@dataclass(frozen=True)
class Series:
    """One line of a chart: its name, and its points by rising x."""

    name: str
    points: Sequence[tuple[float, float]]


def bars(title: str, unit: str, rows: Sequence[Bar], *, logarithmic: bool = False) -> str:
    """Return a chart of one row a value, each with a whisker from the lower to the upper quartile.

    The rows are bars from zero; on a logarithmic axis, which has no zero, they are points.
    """
    left, right, top, step = 150, 110, 52, 30
    height = top + step * len(rows) + 14
    most = max(row.spread.high for row in rows)
    least = min(row.spread.low for row in rows) / 1.5 if logarithmic else 0.0
    place = _scale(least, most, left, _WIDTH - right, logarithmic=logarithmic)
    parts = [_text(left, 34, f"{unit}{', logarithmic' if logarithmic else ''}", colour=_PLAIN, size=12)]
    for number, row in enumerate(rows):
        y = top + step * number
        middle = y + 11
        end, low, high = place(row.spread.median), place(row.spread.low), place(row.spread.high)
        parts.append(_text(left - 8, middle + 4, row.label, anchor="end"))
        colour = _COLOURS[0] if row.ours else _FAINT
        if logarithmic:
            parts.append(_line((left, middle), (_WIDTH - right, middle), _FAINT))
            parts.append(f'<circle cx="{end:.1f}" cy="{middle}" r="7" fill="{_COLOURS[0] if row.ours else _PLAIN}"/>')
        else:
            parts.append(f'<rect x="{left}" y="{y}" width="{end - left:.1f}" height="22" fill="{colour}"/>')
        parts.append(_line((low, middle), (high, middle), _INK))
        parts += [_line((x, middle - 4), (x, middle + 4), _INK) for x in (low, high)]
        parts.append(
            _text(_WIDTH - right + 14 if logarithmic else max(end, high) + 8, middle + 4, _number(row.spread.median))
        )
    return _document(title, height, parts)


def curves(title: str, x_title: str, y_title: str, series: Sequence[Series]) -> str:
    """Return a chart of lines; both axes are logarithmic. Points at zero are put to the left of all others.

    Where x is bytes, as its title says, places are named by powers of 1,024.
    """
    name = _size if "bytes" in x_title else "{:,.0f}".format
    left, right, top, bottom, height = 70, 120, 52, 48, 360
    drawn = [Series(each.name, [(x, y) for x, y in each.points if y > 0]) for each in series]
    xs = sorted({x for each in drawn for x, _ in each.points})
    ys = [y for each in drawn for _, y in each.points]
    if not ys:
        return _document(title, 80, [_text(20, 50, "nothing to draw: it does not grow")])
    first = min((x for x in xs if x > 0), default=1.0)
    origin = first / 4 if 0 in xs else first
    across = _scale(origin, max(xs[-1], first * 2), left, _WIDTH - right, logarithmic=True)
    floor, ceiling = 10 ** math.floor(math.log10(min(ys))), 10 ** math.ceil(math.log10(max(ys) * 1.001))
    up = _scale(floor, ceiling, height - bottom, top, logarithmic=True)
    parts = [_text(left, 34, y_title, colour=_PLAIN, size=12)]
    for exponent in range(round(math.log10(floor)), round(math.log10(ceiling)) + 1):
        y = up(10.0**exponent)
        parts.append(_line((left, y), (_WIDTH - right, y), _FAINT))
        parts.append(_text(left - 8, y + 4, _number(10.0**exponent), anchor="end", size=12))
    parts += [_text(across(x or origin), height - bottom + 18, name(x), anchor="middle", size=12) for x in xs]
    parts.append(_text((left + _WIDTH - right) / 2, height - 8, x_title, anchor="middle", colour=_PLAIN, size=12))
    ends: list[float] = []
    for number, each in enumerate(drawn):
        if each.points:
            placed = [(across(x or origin), up(y)) for x, y in each.points]
            colour = _COLOURS[number % len(_COLOURS)]
            parts += _curve(placed, colour)
            ends.append(_free(placed[-1][1], ends))
            parts.append(_text(placed[-1][0] + 10, ends[-1] + 4, each.name, colour=colour))
    return _document(title, height, parts)


def _curve(placed: list[tuple[float, float]], colour: str) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed]
    return [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>', *dots]


def _free(wanted: float, taken: list[float]) -> float:
    """Return a place for a label, a line's height away from those that are there."""
    for place in sorted(taken):
        if abs(wanted - place) < 15:
            wanted = place + 15
    return wanted


def _scale(low: float, high: float, start: float, end: float, *, logarithmic: bool) -> Callable[[float], float]:
    """Return a function from values between ``low`` and ``high`` to places between ``start`` and ``end``."""
    if logarithmic:
        return lambda value: start + (end - start) * math.log(value / low) / math.log(high / low)
    return lambda value: start + (end - start) * (value - low) / ((high - low) or 1.0)


def _document(title: str, height: int, parts: list[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" '
        'role="img" font-family="system-ui, sans-serif" font-size="13">'
    )
    background = f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>'
    heading = _text(20, 18, title, size=14, weight="600")
    return "\n".join([head, f"<title>{escape(title)}</title>", background, heading, *parts, "</svg>"]) + "\n"


def _text(
    x: float, y: float, said: str, *, anchor: str = "start", colour: str = _INK, size: int = 13, weight: str = "400"
) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}" font-size="{size}" font-weight="{weight}">{escape(said)}</text>'


def _line(start: tuple[float, float], end: tuple[float, float], colour: str) -> str:
    places = f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'
    return f'<line {places} stroke="{colour}"/>'


def _number(value: float) -> str:
    """Return three significant digits at least, with separators."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _size(value: float) -> str:
    """Return a number of bytes briefly."""
    for factor, suffix in ((1024**2, "Mi"), (1024, "Ki")):
        if value >= factor:
            return f"{value / factor:.0f}{suffix}"
    return f"{value:.0f}"
