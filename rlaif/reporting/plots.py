"""Inline SVG: scales, axes and marks without scripts, in the colours of the page's CSS variables.

Invariant: every text of a run is escaped, and every coordinate is finite.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from markupsafe import Markup, escape

from rlaif.stats.bootstrap import Estimate

Point = tuple[float, float]
_RIGHT, _TOP, _BOTTOM = 10.0, 10.0, 24.0
_LABEL_WIDTH = 7.0


def nice_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Return about `wanted` round numbers in [low, high], in steps of 1, 2, 2.5 or 5 times a power of ten."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low] if math.isfinite(low) else []
    raw = (high - low) / max(wanted, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((factor * power for factor in (1, 2, 2.5, 5) if factor * power >= raw * 0.999), 10 * power)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    # Several indices give the same number if the range is narrower than the kept digits.
    return list(dict.fromkeys(float(f"{index * step:.10g}") for index in range(first, last + 1)))


def whole_ticks(count: int) -> range:
    """Return at most eight evenly spaced numbers of 0 .. count - 1."""
    return range(0, count, max(1, math.ceil(count / 8)))


def short(value: float) -> str:
    """Return a number in the short form of an axis."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:g}M"
    if size >= 1e4:
        return f"{value / 1e3:g}k"
    if size and size < 1e-3:
        return f"{value:.2g}".replace("e-0", "e-")
    return f"{value:.6g}"


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map of values to coordinates; a range without width maps to its middle."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        if self.high == self.low:
            return (self.start + self.end) / 2
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


@dataclass(slots=True)
class Canvas:
    """A plot under construction, in CSS pixels; later marks are drawn over earlier ones.

    Attributes:
        title: description of the plot for screen readers.
        left: width of the y axis's labels.
    """

    title: str
    width: float = 340.0
    height: float = 190.0
    left: float = 42.0
    parts: list[str] = field(default_factory=list)

    def x_scale(self, low: float, high: float, inset: float = 0.0) -> Scale:
        """Return the horizontal scale of a range, `inset` pixels in from both sides."""
        return Scale(low, high, self.left + inset, self.width - _RIGHT - inset)

    def y_scale(self, low: float, high: float) -> Scale:
        """Return the vertical scale of a range, upwards."""
        return Scale(low, high, self.height - _BOTTOM, _TOP)

    def y_axis(self, scale: Scale, wanted: int = 5) -> None:
        """Draw horizontal lines with their values."""
        for tick in nice_ticks(scale.low, scale.high, wanted):
            y = scale(tick)
            self.line((self.left, y), (self.width - _RIGHT, y), "grid")
            self.text(self.left - 6, y + 3.5, short(tick), "end")

    def x_axis(self, labels: Sequence[tuple[float, str]]) -> None:
        """Draw the base line with labels below, without those that would touch their neighbour."""
        base = self.height - _BOTTOM
        self.line((self.left, base), (self.width - _RIGHT, base), "axis")
        taken = -math.inf
        for x, label in labels:
            half = len(label) * _LABEL_WIDTH / 2
            if x - half > taken:
                self.text(x, base + 15, label, "middle")
                taken = x + half

    def line(self, start: Point, end: Point, style: str, colour: str = "") -> None:
        """Draw a straight line of a CSS class, optionally in a colour of the page."""
        ink = f' style="stroke:var(--{colour})"' if colour else ""
        (x1, y1), (x2, y2) = start, end
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"{ink}/>')

    def rule(self, y: float) -> None:
        """Draw a dashed line across, at a value to compare with."""
        self.line((self.left, y), (self.width - _RIGHT, y), "rule")

    def text(self, x: float, y: float, text: str, anchor: str, *, style: str = "") -> None:
        kind = f' class="{style}"' if style else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(text)}</text>')

    def dot(self, at: Point, colour: str, hint: str, *, hollow: bool = False, radius: float = 4.0) -> None:
        """Draw a point with a text on hovering."""
        x, y = at
        fill = "var(--paper)" if hollow else f"var(--{colour})"
        self.parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" style="fill:{fill};stroke:var(--{colour})" '
            f'stroke-width="1.6"><title>{escape(hint)}</title></circle>'
        )

    def estimate(
        self, at: tuple[float, Scale], found: Estimate, colour: str, hint: str, *, hollow: bool = False
    ) -> None:
        """Draw a value with its interval at an x coordinate, on a y scale; nothing for an unknown value."""
        x, y = at
        if found.value is None:
            return
        if found.low is not None and found.high is not None:
            self.line((x, y(found.low)), (x, y(found.high)), "whisker", colour)
        self.dot((x, y(found.value)), colour, hint, hollow=hollow)

    def bar(self, x: float, y: float, width: float, height: float, *, colour: str, hint: str) -> None:
        """Draw a rectangle with a text on hovering."""
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" '
            f'style="fill:var(--{colour})"><title>{escape(hint)}</title></rect>'
        )

    def path(self, points: Sequence[Point], colour: str) -> None:
        """Draw a line through points, broken at those that are not finite."""
        parts = groupby(points, key=lambda point: all(map(math.isfinite, point)))
        lines = ["M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in part) for finite, part in parts if finite]
        if lines:
            self.parts.append(f'<path d="{" ".join(lines)}" class="curve" style="stroke:var(--{colour})"/>')

    def svg(self) -> Markup:
        return Markup(
            f'<svg viewBox="0 0 {self.width:g} {self.height:g}" role="img" aria-label="{escape(self.title)}">'
            f"{''.join(self.parts)}</svg>"
        )


def padded(values: Sequence[float]) -> tuple[float, float]:
    """Return a range around the finite values with a margin; (0, 1) without any."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    air = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return low - air, high + air


def thinned(values: Sequence[float], limit: int) -> tuple[list[float], int]:
    """Return at most `limit` means of neighbouring values, and the number of values in each mean."""
    every = max(1, math.ceil(len(values) / limit))
    groups = [values[start : start + every] for start in range(0, len(values), every)]
    return [sum(group) / len(group) for group in groups], every
