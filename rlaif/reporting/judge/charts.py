"""The judge report's plots, drawn with `rlaif.reporting.plots`.

Invariant: a plot without data is None, so that the page can name what is missing.
"""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from rlaif.judge_evals.figures import FIGURES
from rlaif.judge_evals.judge_report import MemberMeasurement
from rlaif.judge_evals.metrics import CalibrationBin, LengthBin
from rlaif.reporting.judge.figure_text import format_interval, format_value
from rlaif.reporting.plots import Canvas
from rlaif.stats.bootstrap import Estimate

_ROW = 30.0
_COMPARED = ("accuracy", "ties_half", "accuracy_decided", "always_longer")
_ORDERS = (
    ("orders_agree", "c0", "both orders agree"),
    ("first_both", "c1", "both prefer the first shown"),
    ("second_both", "c4", "both prefer the second shown"),
)
ORDER_LEGEND = [*((colour, text) for _, colour, text in _ORDERS), ("faint", "one prefers, the other ties")]
LENGTH_LEGEND = [("c0", "judge"), ("c1", "people")]


def accuracy_chart(figures: Mapping[str, Estimate]) -> Markup | None:
    """Draw the accuracies with their intervals and a line at chance, a row each."""
    rows = [(FIGURES[name].title, figures[name]) for name in _COMPARED if name in figures]
    if not rows:
        return None
    canvas = Canvas("accuracy against people", width=640, height=20 + _ROW * len(rows) + 24, left=190)
    x = canvas.x_scale(0.0, 1.0)
    base = canvas.height - 24
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        canvas.line((x(tick), 10), (x(tick), base), "rule" if tick == 0.5 else "grid")
        canvas.text(x(tick), base + 15, f"{100 * tick:.0f}%", "middle")
    for index, (title, found) in enumerate(rows):
        y = 20 + _ROW * (index + 0.5)
        colour = "c1" if title == FIGURES["always_longer"].title else "c0"
        canvas.text(canvas.left - 10, y + 4, title, "end")
        if found.low is not None and found.high is not None:
            canvas.line((x(found.low), y), (x(found.high), y), "whisker", colour)
        canvas.dot((x(found.value or 0.0), y), colour, _hint(title, found))
    return canvas.svg()


def position_chart(members: Sequence[MemberMeasurement]) -> Markup | None:
    """Draw how often each judge's two orders agree, a row each."""
    rows = [member for member in members if "orders_agree" in member.figures]
    if not rows:
        return None
    canvas = Canvas("agreement of the two orders", width=640, height=10 + _ROW * len(rows) + 24, left=190)
    x = canvas.x_scale(0.0, 1.0)
    base = canvas.height - 24
    for index, member in enumerate(rows):
        top, start = 10 + _ROW * index, 0.0
        canvas.text(canvas.left - 10, top + 18, _shortened(member.name), "end")
        for name, colour, text in _ORDERS:
            share = member.figures[name].value or 0.0
            hint = _hint(text, member.figures[name])
            canvas.bar(x(start), top + 5, x(start + share) - x(start), _ROW - 10, colour=colour, hint=hint)
            start += share
        if start < 1.0 - 1e-9:
            hint = f"one prefers, the other ties: {format_value(1.0 - start, 'share')}"
            canvas.bar(x(start), top + 5, x(1.0) - x(start), _ROW - 10, colour="faint", hint=hint)
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        canvas.line((x(tick), base), (x(tick), base + 4), "axis")
        canvas.text(x(tick), base + 16, f"{100 * tick:.0f}%", "middle")
    return canvas.svg()


def length_chart(lengths: Sequence[LengthBin]) -> Markup | None:
    """Draw how often the judge and people prefer the longer answer, by the ratio of lengths."""
    if not lengths:
        return None
    canvas = Canvas("share that prefers the longer answer, by the ratio of lengths", width=640, height=220)
    y = canvas.y_scale(0.0, 1.0)
    x = canvas.x_scale(-0.5, len(lengths) - 0.5)
    canvas.y_axis(y)
    canvas.rule(y(0.5))
    canvas.x_axis([(x(index), f"{entry.low:.2g}–{entry.high:.2g} times") for index, entry in enumerate(lengths)])
    for index, entry in enumerate(lengths):
        for found, colour, shift, who in ((entry.judge, "c0", -8.0, "judge"), (entry.people, "c1", 8.0, "people")):
            canvas.estimate((x(index) + shift, y), found, colour, _hint(f"longer answer preferred by {who}", found))
    return canvas.svg()


def reliability_chart(bins: Sequence[CalibrationBin]) -> Markup | None:
    """Draw the share that is right by confidence; a calibrated judge follows the dashed line."""
    if not bins:
        return None
    canvas = Canvas("share right by confidence", width=420, height=300)
    x, y = canvas.x_scale(0.5, 1.0, inset=8), canvas.y_scale(0.0, 1.0)
    canvas.y_axis(y)
    canvas.x_axis([(x(tick), f"{100 * tick:.0f}%") for tick in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)])
    canvas.line((x(0.5), y(0.5)), (x(1.0), y(1.0)), "rule")
    canvas.path([(x(entry.confidence), y(entry.right.value or 0.0)) for entry in bins], "c0")
    for entry in bins:
        title = f"confidence {format_value(entry.confidence, 'share')}, right"
        canvas.estimate((x(entry.confidence), y), entry.right, "c0", _hint(title, entry.right))
    return canvas.svg()


def _hint(title: str, found: Estimate) -> str:
    interval = format_interval(found, "share")
    return f"{title}: {format_value(found.value, 'share')} {interval} of {found.n:,} labels"


def _shortened(name: str) -> str:
    return name if len(name) <= 26 else f"{name[:25]}…"
