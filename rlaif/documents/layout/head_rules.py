"""Which columns a line of heads is over, by the rules that are drawn below it, whole or in parts.

Invariant: a head that no rule settles has no columns here, and two heads by the parts of rules share none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlaif.documents.layout.lines import Segment
from rlaif.documents.layout.words import Rule

SAME_MIDDLE = 5.0
"""Points between the middles of a head and of what it is over."""
_A_HEAD = 100
"""What a head with rules below it is worth, in rules."""
_BETWEEN_PARTS = 14.0
"""Points between the parts of one rule, at most."""
_MOST_HEADS = 24

Span = tuple[int, int]
"""First and last column that a head is over."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of figures, from the left edge of its widest to the right."""

    x0: float
    x1: float

    @property
    def middle(self) -> float:
        return (self.x0 + self.x1) / 2


def by_rules(
    heads: Sequence[Segment], columns: Sequence[Column], rules: Sequence[Rule], lowest: bool
) -> list[Span | None]:
    """Return the columns of each head by the rules that are drawn below the heads."""
    over = [[number for number, column in enumerate(columns) if _is_over(rule, column)] for rule in rules]
    # Browsers print the rule below a head that spans cells in parts, one for each column.
    single = {found[0]: rule for rule, found in zip(rules, over, strict=True) if len(found) == 1}
    in_parts = not lowest and len(single) > 1 and not any(len(found) > 1 for found in over)
    by_parts = _of_parts(heads, single) if in_parts else [None] * len(heads)
    return [span or _ruled(head, heads, columns, rules) for head, span in zip(heads, by_parts, strict=True)]


def _of_parts(heads: Sequence[Segment], parts: Mapping[int, Rule]) -> list[Span | None]:
    """Return the columns of each head that is in the middle of rules side by side, so that most rules have a head.

    Args:
        parts: the rule of each column that has one.
    """
    # The best choice for the heads so far, by the last column taken. It is worth the heads and rules it
    # takes, less the points beside their middles.
    best: dict[int, tuple[float, list[Span | None]]] = {-1: (0.0, [])}
    for head in heads[:_MOST_HEADS]:
        now = {end: (worth, [*chosen, None]) for end, (worth, chosen) in best.items()}
        for (first, last), beside in _runs_below(head, parts).items():
            before = max(
                ((worth, chosen) for end, (worth, chosen) in best.items() if end < first),
                key=lambda choice: choice[0], default=None,
            )  # fmt: skip
            if before is None:
                continue
            worth = before[0] + _A_HEAD + (last - first + 1) - beside / 100
            if worth > now.get(last, (-1.0, []))[0]:
                now[last] = (worth, [*before[1], (first, last)])
        best = now
    chosen = max(best.values(), key=lambda choice: choice[0])[1]
    return [*chosen, *[None] * (len(heads) - len(chosen))]


def _runs_below(head: Segment, parts: Mapping[int, Rule]) -> dict[Span, float]:
    """Return the runs of rules side by side that a head is in the middle of, and how far it is beside, in points."""
    runs: dict[Span, float] = {}
    for first in parts:
        last = first
        while True:
            beside = abs(head.middle - (parts[first].x0 + parts[last].x1) / 2)
            if beside < SAME_MIDDLE:
                runs[first, last] = beside
            if last + 1 not in parts or parts[last + 1].x0 - parts[last].x1 > _BETWEEN_PARTS:
                break
            last += 1
    return runs


def _ruled(head: Segment, heads: Sequence[Segment], columns: Sequence[Column], rules: Sequence[Rule]) -> Span | None:
    """Return the columns over the rule that is drawn below a head alone."""
    for rule in rules:
        if not rule.x0 - 2 <= head.middle <= rule.x1 + 2:
            continue
        if sum(rule.x0 - 2 <= other.middle <= rule.x1 + 2 for other in heads) > 1:
            continue
        over = [number for number, column in enumerate(columns) if _is_over(rule, column)]
        # A rule across the page is not of one head, unless the head is over its middle.
        if over and (len(over) == 1 or abs(head.middle - (rule.x0 + rule.x1) / 2) < 0.25 * (rule.x1 - rule.x0)):
            return over[0], over[-1]
    return None


def _is_over(rule: Rule, column: Column) -> bool:
    shared = min(rule.x1, column.x1) - max(rule.x0, column.x0)
    return shared > 0.5 * (column.x1 - column.x0)
