"""The plots of a run's report, drawn with `rlaif.reporting.plots`.

Invariant: a plot without data is None, so that the page names what is missing and shows no empty frame.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from rlaif.reporting import figure_text as words
from rlaif.reporting.collect import PairStatistics
from rlaif.reporting.plots import Canvas, Scale, nice_ticks, padded, short, thinned, whole_ticks
from rlaif.reporting.summary import PolicyState
from rlaif.reporting.timeline import Timeline
from rlaif.store.records.training_record import TrainingRecord

COLOURS = ("c0", "c1", "c2", "c3", "c4")
"""CSS variables of the series' colours, distinguishable with colour blindness."""
_STAGES = {"sample": "sample, judge", "pairs": "pair", "train": "train", "evaluate": "evaluate", "promote": "promote"}
"""The rows of the time plot: each stage of the events and its label."""
_CURVE_POINTS = 400
_ROUND_LABEL = 54.0


@dataclass(frozen=True, slots=True)
class Metric:
    """A held-out metric in the report.

    Attributes:
        name: in `evaluation.json`.
        label, short: titles of its plot and of its column.
        digits: digits after the decimal point.
        neutral: value that means no difference from the initial policy; None is that policy's own value.
    """

    name: str
    label: str
    short: str
    unit: str
    digits: int
    neutral: float | None = None


METRICS = (
    Metric("score", "score", "score", "", 3),
    Metric("exact", "exact match", "exact", "", 3),
    Metric("f1", "token F1", "F1", "", 3),
    Metric("contained", "gold answer within the answer", "contained", "", 3),
    Metric("test_score", "score on the test questions, unseen by the gate", "test score", "", 3),
    Metric("refused", "refusals where the evidence was not withheld", "refused", "", 3),
    Metric("refused_withheld", "refusals where the evidence was withheld", "refused, withheld", "", 3),
    Metric("win_rate", "win rate against the initial policy", "win rate", "", 3, neutral=0.5),
    Metric("length", "answer length", "tokens", "tokens", 1),
    Metric("kl", "KL to the initial policy", "KL", "nats an answer", 2, neutral=0.0),
)


def metric_chart(metric: Metric, policies: Sequence[PolicyState]) -> Markup | None:
    """Draw a metric of all policies with its intervals: promoted ones joined and filled, others hollow."""
    known = [(policy, policy.metrics[metric.name]) for policy in policies if metric.name in policy.metrics]
    if not known:
        return None
    canvas = Canvas(f"{metric.label} by policy")
    initial = policies[0].metrics.get(metric.name)
    compare = metric.neutral if metric.neutral is not None else initial.value if initial else None
    ends = [value for _, found in known for value in (found.value, found.low, found.high) if value is not None]
    y = canvas.y_scale(*padded([*ends, *([] if compare is None else [compare])]))
    count = policies[-1].number + 1
    x = canvas.x_scale(0, max(count - 1, 1), inset=16)
    canvas.y_axis(y)
    canvas.x_axis([(x(number), str(number)) for number in whole_ticks(count)])
    if compare is not None:
        canvas.rule(y(compare))
    canvas.path([(x(p.number), y(found.value or 0.0)) for p, found in known if p.promoted], "c0")
    for policy, found in known:
        colour, state = ("c0", "") if policy.promoted else ("faint", ", not promoted")
        hint = f"policy {policy.number}: {words.span(found, metric.digits)} on {found.n} questions{state}"
        canvas.estimate((x(policy.number), y), found, colour, hint, hollow=not policy.promoted)
    return canvas.svg()


def margin_chart(statistics: PairStatistics, colours: Mapping[str, str], most: int) -> Markup:
    """Draw one round's margins, stacked by judge; `most` is the largest bin of all rounds, for one scale."""
    canvas = Canvas(f"preference margins of round {statistics.round}", height=160)
    edges = statistics.edges
    x, y = canvas.x_scale(edges[0], edges[-1]), canvas.y_scale(0, most * 1.05)
    canvas.y_axis(y, 3)
    for index in range(len(edges) - 1):
        below = 0
        for judge, counts in statistics.margins.items():
            if not counts[index]:
                continue
            top = y(below + counts[index])
            left, right = x(edges[index]) + 0.6, x(edges[index + 1]) - 0.6
            hint = f"{judge}: {counts[index]} pairs with a margin of {edges[index]:.2f} to {edges[index + 1]:.2f}"
            canvas.bar(left, top, right - left, y(below) - top, colour=colours[judge], hint=hint)
            below += counts[index]
    steps = [edges[0] + (edges[-1] - edges[0]) * share for share in (0, 0.25, 0.5, 0.75, 1)]
    canvas.x_axis([(x(step), short(step)) for step in steps])
    return canvas.svg()


def length_chart(statistics: Sequence[PairStatistics]) -> Markup | None:
    """Draw medians and quartiles of chosen and rejected answers' lengths, round by round."""
    if not statistics:
        return None
    canvas = Canvas("lengths of chosen and rejected answers by round")
    highest = max(max(entry.chosen.high, entry.rejected.high) for entry in statistics)
    y = canvas.y_scale(0.0, highest * 1.08 or 1.0)
    first, last = statistics[0].round, statistics[-1].round
    x = canvas.x_scale(first - 0.5, last + 0.5)
    canvas.y_axis(y)
    canvas.x_axis([(x(first + index), str(first + index)) for index in whole_ticks(last - first + 1)])
    shift = min(9.0, (x(1) - x(0)) / 5)
    for entry in statistics:
        for found, centre, colour, name in (
            (entry.chosen, x(entry.round) - shift, "c0", "chosen"),
            (entry.rejected, x(entry.round) + shift, "c1", "rejected"),
        ):
            canvas.line((centre, y(found.low)), (centre, y(found.high)), "thick", colour)
            half = f"half of them from {found.low:g} to {found.high:g}"
            hint = f"round {entry.round}, {name}: median {found.median:g} tokens, {half}"
            canvas.dot((centre, y(found.median)), colour, hint, hollow=True)
    return canvas.svg()


def training_chart(name: str, label: str, logs: Mapping[int, TrainingRecord]) -> tuple[Markup, int] | None:
    """Draw a figure of all steps of all rounds; also return the number of steps that a point is the mean of."""
    series = {number: column for number, record in logs.items() if (column := _column(record, name))}
    total = sum(map(len, series.values()))
    if not total:
        return None
    limit = max(2, _CURVE_POINTS // len(series))
    drawn = [(number, *thinned(values, limit), len(values)) for number, values in series.items()]
    canvas = Canvas(f"{label} by step")
    y = canvas.y_scale(*padded([value for _, values, _, _ in drawn for value in values]))
    x = canvas.x_scale(0, total, inset=4)
    canvas.y_axis(y)
    labels, done = [], 0
    for number, values, every, length in drawn:
        if done:
            canvas.line((x(done), y.start), (x(done), y.end), "split")
        points = [(x(done + min(index * every + every / 2, length)), y(value)) for index, value in enumerate(values)]
        canvas.path(points, "c0")
        if len(points) == 1:
            canvas.dot(points[0], "c0", f"round {number}: {values[0]:.4g}", radius=2.5)
        labels.append((x(done + length / 2), f"round {number}"))
        done += length
    canvas.x_axis(labels)
    return canvas.svg(), max(every for _, _, every, _ in drawn)


def _column(record: TrainingRecord, name: str) -> list[float]:
    """Return a figure of all steps, NaN where a step lacks it; empty if every step does."""
    values = [entry.get(name, math.nan) for entry in record.log]
    return [] if all(map(math.isnan, values)) else values


def time_chart(times: Timeline) -> Markup | None:
    """Draw the spans of each stage in a row of its own, with its duration as text beside it."""
    seconds = times.by_stage()
    rows = [(name, label) for name, label in _STAGES.items() if name in seconds]
    if not rows:
        return None
    height, left, right = 26.0, 118.0, 886.0
    base = 30 + height * len(rows)
    canvas = Canvas("stages over time", width=960, height=base + 28, left=left)
    x = Scale(0.0, times.seconds or 1.0, left, right)
    unit, size = _time_unit(times.seconds)
    for tick in nice_ticks(0.0, times.seconds / size, 8):
        canvas.line((x(tick * size), 26), (x(tick * size), base), "grid")
        canvas.text(x(tick * size), base + 16, f"{short(tick)} {unit}", "middle")
    _round_labels(canvas, times, x)
    for index, (name, label) in enumerate(rows):
        top = 30 + height * index
        canvas.text(left - 10, top + 15, label, "end")
        canvas.text(right + 14, top + 15, words.duration(seconds[name]), "start", style="strong")
        for span in [span for span in times.spans if span.stage == name]:
            where = "initial policy" if span.round is None else f"round {span.round}"
            ended = ", cut off" if span.cut else ""
            hint = f"{where}, {label}: {span.end - span.start:.1f} s{ended}"
            colour = "faint" if span.cut else COLOURS[index]
            width = max(x(span.end) - x(span.start), 1.5)
            canvas.bar(x(span.start), top + 3, width, height - 8, colour=colour, hint=hint)
    for pause in times.pauses:
        canvas.line((x(pause.at), 22), (x(pause.at), base), "pause")
    return canvas.svg()


def _round_labels(canvas: Canvas, times: Timeline, x: Scale) -> None:
    """Mark the beginnings of the rounds, and label those that are wide enough."""
    starts: dict[int | None, float] = {}
    for span in times.spans:
        starts.setdefault(span.round, span.start)
    ends = [*starts.values(), times.seconds][1:]
    for (number, start), end in zip(starts.items(), ends, strict=True):
        canvas.line((x(start), 22), (x(start), canvas.height - 24), "split")
        if x(end) - x(start) >= _ROUND_LABEL:
            canvas.text(x(start) + 3, 16, "initial" if number is None else f"round {number}", "start")


def _time_unit(seconds: float) -> tuple[str, float]:
    return ("s", 1.0) if seconds < 180 else ("min", 60.0) if seconds < 3 * 3600 else ("h", 3600.0)
