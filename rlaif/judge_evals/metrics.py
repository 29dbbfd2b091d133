"""What a judge is measured by. Each figure is a function of sums over labels, so that one bootstrap serves all.

Invariant: which answer a label calls `a` changes no figure but those of a single order. A tie, an answer that could
not be read and an error are never right; `ties_half` alone gives a tie half.

The shares are those of LLMBar's `evaluate.py` (Zeng et al. 2023, arXiv:2310.07641) wherever both are defined: its
`correct_False` and `correct_True` are `accuracy_ab` and `accuracy_ba`, `equal` is `orders_agree`, `correct_both` is
`accuracy` of a judge that is asked in both orders, and `correct_average` is `ties_half`. Of a judge that rates, LLMBar
gives two equal ratings to the second output in one count and to the first in the other, so that its `correct_both` is
`accuracy` and its `correct_average` `ties_half` again. Two differences: verdicts that could not be read agree on
nothing here (`equal` counts two of them), and kappa with people is Cohen's own (LLMBar's `kappa_False` and
`kappa_True` compare codes of different meaning; its `kappa_agreement` is `orders_kappa`).
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rlaif.data.labels import Side
from rlaif.judge_evals.outcomes import OUTCOMES, Judged, Spoken
from rlaif.judges.verdict import Order, Status, Verdict
from rlaif.recipe.backend import Prices
from rlaif.stats.agreement import kappa
from rlaif.stats.bootstrap import Figure, ratio

_SIDES: tuple[Side, ...] = ("a", "b", "tie")


def decision_figures(judged: Sequence[Judged]) -> dict[str, Figure]:
    """Return what a judge's decisions are measured by, by name.

    accuracy: labels on which it decides for the answer that people prefer, of those on which people prefer one.
    ties_half: the same, a tie counting one half.
    accuracy_decided: the same of those labels alone that it decided.
    kappa: Cohen's kappa with people over a, b and tie, of the labels that could be read.
    tie, unparsed, error, silent: labels that ended so.
    prefers_longer: decisions for the longer answer, of those between answers of different length in characters.
    people_prefer_longer: the same of people's own choices.
    always_longer: accuracy of whoever always takes the longer answer; equal lengths count one half.
    """
    preferred = np.array([item.label.human != "tie" for item in judged], float)
    right = np.array([item.right for item in judged], float)
    decided = np.array([item.outcome == "ok" for item in judged], float)
    tied = np.array([item.outcome == "tie" for item in judged], float)
    longer = [_longer(item) for item in judged]
    differ = np.array([side != "tie" for side in longer], float)
    takes = np.array([item.side == side for item, side in zip(judged, longer, strict=True)], float) * differ
    people = np.array([item.label.human == side for item, side in zip(judged, longer, strict=True)], float) * differ
    figures = {
        "accuracy": ratio(right, preferred),
        "ties_half": ratio(right + 0.5 * tied * preferred, preferred),
        "accuracy_decided": ratio(right, decided * preferred),
        "kappa": kappa([(item.label.human, item.side) for item in judged], _SIDES),
    }
    for outcome in OUTCOMES[1:]:
        figures[outcome] = ratio([item.outcome == outcome for item in judged], np.ones(len(judged)))
    return figures | {
        "prefers_longer": ratio(takes * decided, decided * differ),
        "people_prefer_longer": ratio(people, preferred * differ),
        "always_longer": ratio(people + 0.5 * preferred * (1.0 - differ), preferred),
    }


def length_bins(judged: Sequence[Judged], wanted: int = 4) -> list[tuple[float, float, Figure, Figure]]:
    """Return how much the judge and people take to length, by how much longer the longer answer is.

    Args:
        judged: what it said of each label.
        wanted: bins of about as many labels each.

    Returns:
        Of each bin, its least and greatest ratio of lengths (longer / shorter), the judge's `prefers_longer` in it and
        people's.
    """
    ratios = np.array([_length_ratio(item) for item in judged])
    unequal = np.sort(ratios[ratios > 1.0])
    if not unequal.size:
        return []
    edges = np.unique(np.quantile(unequal, np.linspace(0, 1, wanted + 1), method="nearest"))
    bins = []
    for low, high in pairwise(edges) if edges.size > 1 else [(edges[0], edges[0])]:
        inside = (ratios > low) & (ratios <= high) | (ratios == low) & (low == edges[0])
        figures = decision_figures([item for item, here in zip(judged, inside, strict=True) if here])
        judge, people = (_spread(figures[name], inside) for name in ("prefers_longer", "people_prefer_longer"))
        bins.append((float(low), float(high), judge, people))
    return bins


def order_figures(said: Sequence[Spoken]) -> dict[str, Figure]:
    """Return how one judge takes the two orders, by name; shares of nothing where it rates answers one by one.

    accuracy_ab, accuracy_ba: labels on which it prefers people's choice where answer_a (or answer_b) is shown first,
        of the labels on which people prefer one and it was asked in that order.
    orders_agree: labels on which both orders name the same answer, or both none, of those read in both.
    orders_kappa: Cohen's kappa of the two orders over the same labels.
    prefers_first: verdicts for the answer that is shown first, of all that prefer one; 0.5 minds no place.
    first_both, second_both: labels on which both orders prefer what is shown first (second), of those read in both:
        the two biases of Zheng et al. 2023 (arXiv:2306.05685, table 2).
    """
    preferred = np.array([item.label.human != "tie" for item in said], float)
    sides: dict[Order, list[Side | None]] = {order: [item.side(order) for item in said] for order in ("ab", "ba")}
    both = list(zip(sides["ab"], sides["ba"], strict=True))
    read = np.array([ab is not None and ba is not None for ab, ba in both], float)
    figures = {}
    for order, given in sides.items():
        asked = np.array([item.asked(order) for item in said], float)
        right = np.array([side == item.label.human for side, item in zip(given, said, strict=True)], float)
        figures[f"accuracy_{order}"] = ratio(right * asked * preferred, asked * preferred)
    first = np.array([(ab == "a") + (ba == "b") for ab, ba in both], float)
    decided = np.array([(ab in ("a", "b")) + (ba in ("a", "b")) for ab, ba in both], float)
    return figures | {
        "orders_agree": ratio([ab == ba and ab is not None for ab, ba in both], read),
        "orders_kappa": kappa(both, _SIDES),
        "prefers_first": ratio(first, decided),
        "first_both": ratio([(ab, ba) == ("a", "b") for ab, ba in both], read),
        "second_both": ratio([(ab, ba) == ("b", "a") for ab, ba in both], read),
    }


def verdict_figures(said: Sequence[Spoken], prices: Prices | None = None) -> dict[str, Figure]:
    """Return what became of one judge's verdicts and what they cost, by name.

    verdict_tie, verdict_unparsed, verdict_error: verdicts of that status, of all.
    prompt_tokens, completion_tokens, seconds: of a verdict that cost anything; one that repeats another, or that a
        cache holds, cost nothing and is not counted. Seconds are from asking to answer, waiting in line included.
    money: of the same verdicts, in the currency of the prices; nothing where there are none.
    """
    every = [len(item.verdicts) for item in said]
    statuses: tuple[Status, ...] = ("tie", "unparsed", "error")
    figures = {
        f"verdict_{status}": ratio([sum(v.status == status for v in item.verdicts) for item in said], every)
        for status in statuses
    }
    paid = [[verdict for verdict in item.verdicts if is_paid(verdict)] for item in said]
    count = [len(verdicts) for verdicts in paid]
    prompt = np.array([sum(verdict.prompt_tokens for verdict in verdicts) for verdicts in paid], float)
    completion = np.array([sum(verdict.completion_tokens for verdict in verdicts) for verdicts in paid], float)
    figures |= {
        "prompt_tokens": ratio(prompt, count),
        "completion_tokens": ratio(completion, count),
        "seconds": ratio([sum(verdict.seconds for verdict in verdicts) for verdicts in paid], count),
    }
    if prices is not None:
        per_prompt, per_completion = prices.cost(1, 0), prices.cost(0, 1)
        figures["money"] = ratio(prompt * per_prompt + completion * per_completion, count)
    return figures


def is_paid(verdict: Verdict) -> bool:
    """Whether a verdict cost tokens or time of its own."""
    return bool(verdict.prompt_tokens or verdict.completion_tokens or verdict.seconds)


def confusion(judged: Sequence[Judged]) -> dict[Side, dict[str, int]]:
    """Return labels by what people say (a, b, tie) and by the judge's decision (a, b, tie or how else it ended)."""
    columns = [*_SIDES, *OUTCOMES[2:]]
    table: dict[Side, dict[str, int]] = {side: dict.fromkeys(columns, 0) for side in _SIDES}
    for item in judged:
        table[item.label.human][item.side or item.outcome] += 1
    return table


def _spread(figure: Figure, places: NDArray[np.bool_]) -> Figure:
    """Return a figure of some labels as one of all, which the others add nothing to."""
    columns = np.zeros((len(places), figure.columns.shape[1]))
    columns[places] = figure.columns
    return Figure(columns, figure.statistic, figure.n)


def _lengths(item: Judged) -> tuple[int, int]:
    """Return both answers' lengths in characters, without the white space around them."""
    a, b = item.label.answers
    return len(a.strip()), len(b.strip())


def _length_ratio(item: Judged) -> float:
    lengths = _lengths(item)
    return 1.0 if lengths[0] == lengths[1] else max(lengths) / max(1, min(lengths))


def _longer(item: Judged) -> Side:
    a, b = _lengths(item)
    return "a" if a > b else "b" if b > a else "tie"
