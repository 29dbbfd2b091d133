"""Which columns of figures a line of heads is over, by the rules that are drawn below it or by where its words are.

Invariant: a head is over neighbouring columns, and two heads of a line share no column.
"""

import re
from collections.abc import Sequence

from rlaif.documents.figures import YEAR
from rlaif.documents.layout.head_rules import SAME_MIDDLE, Column, Span, by_rules
from rlaif.documents.layout.lines import Segment
from rlaif.documents.layout.words import Rule

_SAME_EDGE = 2.0
"""Points between the edges of heads of one column."""
_BRACKET = 3.0
"""Points by which a closing bracket is right of the figures that heads end with."""
_GOES_ON = re.compile(r"\(?[a-z]")
_PERIOD = re.compile(
    r"\b(?:ended|ending|months?|weeks?|years?|quarters?|fiscal|as of|at|(?:19|20)\d\d"
    r"|(?:jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)[a-z]*\.? \d{1,2})\b", re.IGNORECASE,
)  # fmt: skip
"""A period, which is over the columns of its years or of its figures."""

_WITHOUT_HEAD, _WITHOUT_COLUMN, _WITHOUT_FINER = 12.0, 1_000.0, 8.0
"""What it costs, in points, to leave a column without a head, a head without a column, and a column of a spanning head
without a head of its own below."""
_NOT_UNDERLINED = 40.0
_APART = 14.0
"""Points that a head may be beside its column."""
_MOST_COLUMNS, _MOST_HEADS = 40, 24
"""Beyond these, heads take the nearest column: the search grows with their product."""


def spans(
    heads: Sequence[Segment],
    columns: Sequence[Column],
    rules: Sequence[Rule],
    below: Sequence[tuple[Segment, Span | None]],
    *,
    underlined: bool,
    tight: bool,
) -> list[Span | None]:
    """Return the columns that each head of a line is over, or None for one that is over none.

    Args:
        rules: those between this line and the next.
        below: the heads of the next line, with the columns that they are over; none for the lowest line.
        underlined: whether rules are drawn below heads, so that one without is hardly over several columns.
        tight: whether the next line is as near as one of the same cell.
    """
    finer = [head for head, _ in below]
    ruled = by_rules(heads, columns, rules, lowest=not below)
    if not any(ruled):
        if _is_parallel(heads, below):
            return [span for _, span in below]
        if grouped := _at_right_of_groups(heads, columns, finer):
            return [*grouped]
    found: list[Span | None] = [None] * len(heads)
    taken: set[int] = set()
    for number, head in enumerate(heads):
        span = ruled[number] or _continued(head, below, columns if tight else ())
        if span is not None and taken.isdisjoint(range(span[0], span[1] + 1)):
            found[number] = span
            taken.update(range(span[0], span[1] + 1))
    # What no rule decides is placed between its neighbours.
    start = 0
    while start < len(heads):
        if found[start] is not None:
            start += 1
            continue
        end = start
        while end < len(heads) and found[end] is None:
            end += 1
        left, right = found[start - 1] if start else None, found[end] if end < len(heads) else None
        first = left[1] + 1 if left is not None else 0
        last = right[0] if right is not None else len(columns)
        placed = _placed(heads[start:end], columns[first:last], finer, _NOT_UNDERLINED if underlined else 0.0)
        found[start:end] = [None if span is None else (span[0] + first, span[1] + first) for span in placed]
        start = end
    return found


def _continued(head: Segment, below: Sequence[tuple[Segment, Span | None]], columns: Sequence[Column]) -> Span | None:
    """Return the columns of the head right below, if that goes on: "Increase" above "(decrease)" is one head.

    Args:
        columns: given if the lines are as near as those of one cell; a period is over several columns all the same.
    """
    for lower, span in below:
        if not _is_above(head, lower) or span is None:
            continue
        if _GOES_ON.match(lower.text):
            return span
        if columns and not _PERIOD.search(head.text) and head.x1 - head.x0 < _width(columns, span) + 4:
            return span
    return None


def _width(columns: Sequence[Column], span: Span) -> float:
    return columns[span[1]].x1 - columns[span[0]].x0


def _at_right_of_groups(heads: Sequence[Segment], columns: Sequence[Column], finer: Sequence[Segment]) -> list[Span]:
    """Return the columns of periods that end where every second, third, ... column does, or [] if they do not.

    "Three Months Ended" that ends where the second column does, and "Six Months Ended" where the fourth does, are over
    two columns each.
    """
    size = len(columns) // len(heads)
    if size < 2 or size * len(heads) != len(columns) or not all(_PERIOD.search(head.text) for head in heads):
        return []
    # One period alone may be of the last column.
    if len(heads) == 1 and not (len(finer) == len(columns) and all(YEAR.fullmatch(head.text) for head in finer)):
        return []
    ends = [columns[(number + 1) * size - 1].x1 for number in range(len(heads))]
    if any(abs(head.x1 - end) > _SAME_EDGE + _BRACKET for head, end in zip(heads, ends, strict=True)):
        return []
    return [(number * size, (number + 1) * size - 1) for number in range(len(heads))]


def _is_parallel(heads: Sequence[Segment], below: Sequence[tuple[Segment, Span | None]]) -> bool:
    """Whether a line's heads are the upper parts of those of the next: one above the other, and of the same columns."""
    if len(heads) != len(below) or not all(
        _is_above(head, lower) for head, (lower, _) in zip(heads, below, strict=True)
    ):
        return False
    # One head above that of one column may be of others too.
    return len(heads) > 1 or any(span is not None and span[0] < span[1] for _, span in below)


def _is_above(head: Segment, lower: Segment) -> bool:
    edges = abs(head.x0 - lower.x0), abs(head.x1 - lower.x1)
    return abs(head.middle - lower.middle) < SAME_MIDDLE or min(edges) < _SAME_EDGE


def _placed(
    heads: Sequence[Segment], columns: Sequence[Column], finer: Sequence[Segment], spanning: float
) -> list[Span | None]:
    """Return the cheapest way to place heads, in their order, over runs of neighbouring columns.

    Args:
        spanning: what it costs that a head is over several columns.
    """
    if not columns:
        return [None] * len(heads)
    if len(columns) > _MOST_COLUMNS or len(heads) > _MOST_HEADS:
        return _nearest(heads, columns)
    count = len(columns)
    # best[c] is the cost of placing the heads from the current one on over the columns from c on, with its choice.
    best: list[tuple[float, tuple[Span | None, ...]]] = [(_WITHOUT_HEAD * (count - c), ()) for c in range(count + 1)]
    for head in reversed(heads):
        costs = [[_cost(head, columns, a, b, finer) + spanning * (a != b) for b in range(count)] for a in range(count)]
        now: list[tuple[float, tuple[Span | None, ...]]] = []
        for c in range(count + 1):
            choice = (_WITHOUT_COLUMN + best[c][0], (None, *best[c][1]))
            for a in range(c, count):
                for b in range(a, count):
                    cost = costs[a][b] + _WITHOUT_HEAD * (a - c) + best[b + 1][0]
                    if cost < choice[0]:
                        choice = (cost, ((a, b), *best[b + 1][1]))
            now.append(choice)
        best = now
    return list(best[0][1])


def _cost(head: Segment, columns: Sequence[Column], a: int, b: int, finer: Sequence[Segment]) -> float:
    """Return how far a head is from being over the columns a to b, in points."""
    x0, x1 = columns[a].x0, columns[b].x1
    if min(x1, head.x1) - max(x0, head.x0) < -_APART:
        return 2 * _WITHOUT_COLUMN
    middle = abs((x0 + x1) / 2 - head.middle)
    if a == b:
        return min(middle, 0.8 * abs(x1 - head.x1), 0.9 * abs(x0 - head.x0))
    if not finer:
        # The lowest heads are of one column each; words that span several have heads of their own below.
        return middle + _WITHOUT_FINER * (b - a)
    missing = max(0, b - a + 1 - sum(x0 - _APART <= segment.middle <= x1 + _APART for segment in finer))
    return middle + _WITHOUT_FINER * missing


def _nearest(heads: Sequence[Segment], columns: Sequence[Column]) -> list[Span | None]:
    found: list[Span | None] = []
    start = 0
    for head in heads:
        near = min(range(start, len(columns)), key=lambda c: abs(columns[c].middle - head.middle), default=None)
        found.append(None if near is None else (near, near))
        start = start if near is None else near + 1
    return found
