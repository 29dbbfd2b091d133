"""From verdicts to decisions, by pure functions.

Invariant: a preference comes only from verdicts that are all `ok` and all on one side. Swapping two candidates turns
a decision around exactly: p becomes 1 - p to the last bit, and the margin stays.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from rlaif.judging.judge import Comparison, Judge
from rlaif.judging.verdict import Decision, Order, Status, Verdict

# What a comparison comes to if one of its verdicts is not ok: the worst first.
_NOT_OK: tuple[Status, ...] = ("error", "unparsed", "tie")


def all_comparisons(count: int) -> list[Comparison]:
    """Return every two of `count` candidates, sorted."""
    return list(combinations(range(count), 2))


def own_verdicts(judge: Judge, prompt_id: str, verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return those verdicts that a judge gave on a prompt."""
    return [verdict for verdict in verdicts if verdict.judge_sha == judge.sha and verdict.prompt_id == prompt_id]


def preference_of(first_logprob: float, second_logprob: float) -> float:
    """Return P(first) among two labels, exp(a) / (exp(a) + exp(b)); NaN where that is undefined.

    Args:
        first_logprob, second_logprob: natural log-probabilities, in [-inf, 0]; not both -inf.
    """
    difference = first_logprob - second_logprob
    if math.isnan(difference) or math.inf in (first_logprob, second_logprob):
        return math.nan
    # Of a number in [0.5, 1], 1 - p is exact: so the two orders of the same log-probabilities add up to 1.
    winner = 1.0 / (1.0 + math.exp(-abs(difference)))
    return winner if difference >= 0 else 1.0 - winner


def decide_by_orders(verdicts: Iterable[Verdict], orders: Sequence[Order]) -> list[Decision]:
    """Decide comparisons that one judge was asked in one order or in both.

    Args:
        verdicts: of one judge on one prompt, on two candidates each.
        orders: in which each comparison was asked.

    Returns:
        One decision for each comparison with a verdict: `error` if any verdict is one, or one of `orders` is missing;
        else `unparsed` if any is; else `tie` if any is or the orders disagree; else `ok` with the mean preference.
    """
    by_comparison: dict[Comparison, dict[Order, Verdict]] = {}
    for verdict in verdicts:
        if verdict.second is not None:
            by_comparison.setdefault((verdict.first, verdict.second), {})[verdict.order] = verdict
    return [_by_orders(comparison, by_comparison[comparison], orders) for comparison in sorted(by_comparison)]


def _by_orders(comparison: Comparison, verdicts: Mapping[Order, Verdict], orders: Sequence[Order]) -> Decision:
    status: Status = "tie"
    preference = margin = None
    given = [verdict.preference for verdict in verdicts.values() if verdict.preference is not None]
    if not_ok := _worst(verdicts.values()):
        status = not_ok
    elif any(order not in verdicts for order in orders):
        status = "error"
    elif all(value > 0.5 for value in given):
        status, preference = "ok", sum(given) / len(given)
    elif all(value < 0.5 for value in given):
        # By the second one's preference, so that swapping the two rounds alike.
        status, preference = "ok", 1.0 - sum(1.0 - value for value in given) / len(given)
    if preference is not None:
        margin = abs(2.0 * preference - 1.0)
    one = next(iter(verdicts.values()))
    return Decision(one.prompt_id, *comparison, status, preference, margin, None, None, one.judge, one.judge_sha)


def _worst(verdicts: Iterable[Verdict]) -> Status | None:
    """Return what a comparison comes to if a verdict is not ok, or None."""
    statuses = {verdict.status for verdict in verdicts}
    return next((status for status in _NOT_OK if status in statuses), None)


def decide_by_scores(verdicts: Iterable[Verdict]) -> list[Decision]:
    """Decide comparisons of candidates that one judge rated one by one.

    Args:
        verdicts: of one judge on one prompt, on one candidate each.

    Returns:
        One decision for every two rated candidates: that of the higher score, with their difference as the margin;
        `tie` of equal scores; `error`, `unparsed` or `tie` where a rating is one.
    """
    ratings = {verdict.first: verdict for verdict in verdicts if verdict.second is None}
    return [_by_scores(ratings[first], ratings[second]) for first, second in combinations(sorted(ratings), 2)]


def _by_scores(first: Verdict, second: Verdict) -> Decision:
    a, b = first.score, second.score
    status: Status = _worst((first, second)) or "tie"
    preference = margin = None
    if a is not None and b is not None and (a > b or a < b):
        status, preference, margin = "ok", float(a > b), abs(a - b)
    return Decision(
        first.prompt_id, first.first, second.first, status, preference, margin, a, b, first.judge, first.judge_sha
    )
