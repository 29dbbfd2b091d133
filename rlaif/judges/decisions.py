"""Decides comparisons from verdicts, by pure functions.

Invariant: a preference comes only from orders that are all `ok` and all on one side. Swapping two candidates reverses
a decision exactly: p becomes 1 - p to the last bit, and the margin stays the same.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from rlaif.judges.judge import Comparison, Decision, Judge, Order, Status, Verdict
from rlaif.prompts.reading import preference_of

# A comparison takes the worst status of its verdicts; the worst comes first.
_NOT_OK: tuple[Status, ...] = ("error", "unparsed", "tie")


def all_comparisons(count: int) -> list[Comparison]:
    """Return every two of `count` candidates, sorted."""
    return list(combinations(range(count), 2))


def candidates_of(comparisons: Sequence[Comparison] | None, count: int) -> list[int]:
    """Return the candidates that some comparisons name, sorted; None is every two of `count` candidates."""
    pairs = all_comparisons(count) if comparisons is None else comparisons
    return sorted({index for pair in pairs for index in pair})


def own_verdicts(judge: Judge, prompt_id: str, verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return the verdicts of a judge on a question."""
    return [verdict for verdict in verdicts if verdict.judge_sha == judge.sha and verdict.prompt_id == prompt_id]


def mean_preference(preferences: Sequence[float]) -> float:
    """Return the mean of preferences in [0, 1]; the mean of their complements is exactly its complement."""
    mean = math.fsum(preferences) / len(preferences)
    # Computed for the winner, so that swapping the two candidates rounds in the same way.
    return mean if mean > 0.5 else 1.0 - math.fsum(1.0 - value for value in preferences) / len(preferences)


def decide_by_orders(verdicts: Iterable[Verdict], orders: Sequence[Order]) -> list[Decision]:
    """Decide comparisons that one judge was asked in one order or both, once or several times in each.

    Several verdicts in one order are samples of one judgment. The order's preference is their mean, a tie counting
    0.5, if more than half of them are readable; else the order has the worst status of the others.

    Each comparison with a verdict gets one decision: `error` if an order is one, or one of `orders` is missing; else
    `unparsed` if one is; else `tie` if one is or the orders disagree; else `ok` with the mean preference.
    """
    by_comparison: dict[Comparison, dict[Order, list[Verdict]]] = {}
    for verdict in verdicts:
        if verdict.second is not None:
            comparison = by_comparison.setdefault((verdict.first, verdict.second), {})
            comparison.setdefault(verdict.order, []).append(verdict)
    return [_by_orders(comparison, by_comparison[comparison], orders) for comparison in sorted(by_comparison)]


def _by_orders(
    comparison: Comparison, verdicts: Mapping[Order, Sequence[Verdict]], orders: Sequence[Order]
) -> Decision:
    settled = [_preference_in(given) for given in verdicts.values()]
    preferences = [value for _, value in settled if value is not None]
    status: Status = "tie"
    preference = None
    if not_ok := worst_status(status for status, _ in settled):
        status = not_ok
    elif any(order not in verdicts for order in orders):
        status = "error"
    elif all(value > 0.5 for value in preferences) or all(value < 0.5 for value in preferences):
        status, preference = "ok", mean_preference(preferences)
    one = next(iter(verdicts.values()))[0]
    return Decision(
        one.prompt_id, *comparison, status, preference, margin_of(preference), None, None, one.judge, one.judge_sha
    )


def margin_of(preference: float | None) -> float | None:
    """Return |2p - 1| of a preference p."""
    return None if preference is None else abs(2.0 * preference - 1.0)


def _preference_in(verdicts: Sequence[Verdict]) -> tuple[Status, float | None]:
    """Return the status and preference of one order's samples; a preference is never 0.5."""
    read = [verdict for verdict in verdicts if verdict.status in ("ok", "tie")]
    if 2 * len(read) <= len(verdicts):
        return worst_status(verdict.status for verdict in verdicts) or "error", None
    preference = mean_preference([0.5 if verdict.preference is None else verdict.preference for verdict in read])
    # NaN is on no side.
    return ("ok", preference) if preference > 0.5 or preference < 0.5 else ("tie", None)


def worst_status(statuses: Iterable[Status]) -> Status | None:
    """Return the worst status that is not `ok`, or None."""
    found = set(statuses)
    return next((status for status in _NOT_OK if status in found), None)


def decide_by_scores(verdicts: Iterable[Verdict], *, log_odds: bool = False) -> list[Decision]:
    """Decide comparisons of candidates that one judge rated one by one, once or several times each.

    Several ratings of a candidate are samples of one judgment. Its score is their mean, if more than half of them
    are readable; else it has the worst status of the others. Of every two rated candidates, the higher score wins, with
    the difference as the margin; equal scores tie; if a rating is `error` or `unparsed`, so is the decision.

    Args:
        log_odds: whether the difference of two scores is the log-odds that the first is better, as of a reward model;
            the preference is then its logistic function (Bradley and Terry 1952, Biometrika 39), else 0 or 1.
    """
    ratings: dict[int, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.second is None:
            ratings.setdefault(verdict.first, []).append(verdict)
    return [_by_scores(ratings[first], ratings[second], log_odds) for first, second in combinations(sorted(ratings), 2)]


def _by_scores(first: Sequence[Verdict], second: Sequence[Verdict], log_odds: bool) -> Decision:
    (first_status, a), (second_status, b) = score_of(first), score_of(second)
    status: Status = worst_status((first_status, second_status)) or "tie"
    preference = margin = None
    if a is not None and b is not None and (a > b or a < b):
        preference = preference_of(a, b) if log_odds else float(a > b)
        # Scores whose difference a float preference cannot express are equal.
        status, preference, margin = ("tie", None, None) if preference == 0.5 else ("ok", preference, abs(a - b))
    one, other = first[0], second[0]
    return Decision(one.prompt_id, one.first, other.first, status, preference, margin, a, b, one.judge, one.judge_sha)


def decide_by_checks(verdicts: Iterable[Verdict], *, tie_below: float, silent_rating: float) -> list[Decision]:
    """Decide comparisons of answers that an exact check rated one by one: 0 is wrong, above `silent_rating` right.

    Args:
        verdicts: of one judge on one question, each `ok` or `silent`.
        tie_below: two ratings that differ by less tie.
        silent_rating: what a silent verdict counts as beside a right answer.

    Returns:
        The higher rating wins, with the difference as the margin; a right answer wins over one on which the judge is
        silent. Two silent verdicts, or one and a wrong answer, give no decision.
    """
    rated = sorted((verdict for verdict in verdicts if verdict.second is None), key=lambda verdict: verdict.first)
    found = (_by_checks(*pair, tie_below, silent_rating) for pair in combinations(rated, 2))
    return [decision for decision in found if decision is not None]


def _by_checks(one: Verdict, other: Verdict, tie_below: float, silent_rating: float) -> Decision | None:
    a, b = (silent_rating if verdict.score is None else verdict.score for verdict in (one, other))
    if (one.score is None or other.score is None) and max(a, b) <= silent_rating:
        return None
    status: Status = "tie" if a == b or abs(a - b) < tie_below else "ok"
    preference, margin = (float(a > b), abs(a - b)) if status == "ok" else (None, None)
    scores = (one.score, other.score)
    return Decision(
        one.prompt_id, one.first, other.first, status, preference, margin, *scores, one.judge, one.judge_sha
    )


def score_of(verdicts: Sequence[Verdict]) -> tuple[Status, float | None]:
    """Return the status and the score of one candidate's ratings by one judge; see `decide_by_scores`."""
    scores = [verdict.score for verdict in verdicts if verdict.score is not None]
    if 2 * len(scores) <= len(verdicts):
        return worst_status(verdict.status for verdict in verdicts) or "error", None
    return "ok", math.fsum(scores) / len(scores)
