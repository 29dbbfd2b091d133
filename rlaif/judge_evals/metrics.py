"""The figures that measure a judge, each a function of sums over labels; `rlaif.judge_evals.figures` explains them.

Invariant: exchanging a label's two answers changes only the figures of a single order. A tie, an unreadable verdict and
an error are never right; only `ties_half` gives a tie one half.

The shares are those of LLMBar's `evaluate.py` (Zeng et al. 2023, arXiv:2310.07641) wherever both are defined:
`accuracy_ab` is its `correct_False`, `accuracy_ba` `correct_True`, `orders_agree` `equal`, `ties_half`
`correct_average`, `orders_kappa` `kappa_agreement`, and `accuracy` of a judge that is asked in both orders, or that
rates, is `correct_both`. Two differences: unreadable verdicts agree on nothing here (`equal` counts two of them as
agreement), and `kappa` is Cohen's own (LLMBar's `kappa_False` and `kappa_True` compare codes of different meaning).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import get_args

import numpy as np

from rlaif.chat import visible_text
from rlaif.data.labels import Side
from rlaif.judge_evals.judging import OUTCOMES, JudgedLabel, MemberVerdicts
from rlaif.judges.judge import Order
from rlaif.recipe.judge import Prices
from rlaif.stats.agreement import kappa
from rlaif.stats.bootstrap import Estimate, Estimator, Figure, Floats, divide, ratio

_SIDES: tuple[Side, ...] = get_args(Side)
_LENGTH_BINS = 4
_CALIBRATION_BINS = 10
_MASS_QUANTILES = {"mass_p5": 0.05, "mass_p25": 0.25, "mass_p50": 0.5, "mass_p75": 0.75, "mass_p95": 0.95}


@dataclass(frozen=True, slots=True)
class LengthBin:
    """`prefers_longer` and `people_prefer_longer` of labels whose ratio of lengths is from `low` to `high`."""

    low: float
    high: float
    judge: Estimate
    people: Estimate


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Labels of similar confidence: the bin's ends, their mean confidence, and the share that the judge gets right."""

    low: float
    high: float
    confidence: float
    right: Estimate


def decision_figures(judged: Sequence[JudgedLabel]) -> dict[str, Figure]:
    """Return the figures of a judge's decisions, by name."""
    preferred = np.array([item.label.human != "tie" for item in judged], float)
    right = np.array([item.right for item in judged], float)
    decided = np.array([item.outcome == "ok" for item in judged], float)
    tied = np.array([item.outcome == "tie" for item in judged], float)
    every = np.ones(len(judged))
    figures = {
        "accuracy": ratio(right, preferred),
        "ties_half": ratio(right + 0.5 * tied * preferred, preferred),
        "accuracy_decided": ratio(right, decided * preferred),
        "kappa": kappa([(item.label.human, item.side) for item in judged], _SIDES),
    }
    for outcome in OUTCOMES[1:]:
        figures[outcome] = ratio([item.outcome == outcome for item in judged], every)
    return figures | _length_figures(judged, every)


def _length_figures(judged: Sequence[JudgedLabel], inside: Floats) -> dict[str, Figure]:
    """Return the figures of length in characters, over the labels where `inside` is 1."""
    longer = ["a" if a > b else "b" if b > a else "tie" for a, b in _lengths(judged)]
    differ = np.array([side != "tie" for side in longer], float)
    preferred = np.array([item.label.human != "tie" for item in judged], float) * inside
    decided = np.array([item.outcome == "ok" for item in judged], float) * inside * differ
    judge = np.array([item.side == side for item, side in zip(judged, longer, strict=True)], float) * decided
    people = np.array([item.label.human == side for item, side in zip(judged, longer, strict=True)], float)
    people *= preferred * differ
    return {
        "prefers_longer": ratio(judge, decided),
        "people_prefer_longer": ratio(people, preferred * differ),
        "always_longer": ratio(people + 0.5 * preferred * (1.0 - differ), preferred),
    }


def length_bins(judged: Sequence[JudgedLabel], estimate: Estimator) -> tuple[LengthBin, ...]:
    """Return how much the judge and people prefer the longer answer, in up to four bins of about as many labels."""
    lengths = np.sort(_lengths(judged))
    ratios = np.where(lengths[:, 0] == lengths[:, 1], 1.0, lengths[:, 1] / np.maximum(lengths[:, 0], 1.0))
    unequal = np.sort(ratios[ratios > 1.0])
    if not unequal.size:
        return ()
    edges = np.unique(np.quantile(unequal, np.linspace(0, 1, _LENGTH_BINS + 1), method="nearest"))
    bins = []
    for low, high in pairwise(edges) if edges.size > 1 else [(edges[0], edges[0])]:
        inside = (ratios > low) & (ratios <= high) | (ratios == low) & (low == edges[0])
        figures = _length_figures(judged, inside.astype(float))
        judge, people = estimate([figures["prefers_longer"], figures["people_prefer_longer"]])
        bins.append(LengthBin(float(low), float(high), judge, people))
    return tuple(bins)


def order_figures(members: Sequence[MemberVerdicts]) -> dict[str, Figure]:
    """Return how one judge's verdicts depend on the order, by name; shares of nothing if it rates single answers.

    `first_both` and `second_both` are the two biases of Zheng et al. 2023 (arXiv:2306.05685, table 2).
    """
    preferred = np.array([item.label.human != "tie" for item in members], float)
    sides: dict[Order, list[Side | None]] = {order: [item.side(order) for item in members] for order in ("ab", "ba")}
    both = list(zip(sides["ab"], sides["ba"], strict=True))
    read = np.array([ab is not None and ba is not None for ab, ba in both], float)
    figures = {}
    for order, given in sides.items():
        asked = np.array([item.asked(order) for item in members], float)
        right = np.array([side == item.label.human for side, item in zip(given, members, strict=True)], float)
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


def verdict_figures(members: Sequence[MemberVerdicts], prices: Prices | None = None) -> dict[str, Figure]:
    """Return the statuses and costs of one judge's verdicts, by name; `money` only with prices.

    The costs are means over paid verdicts: one that repeats another, or comes from a cache, has no cost of its own.
    """
    every = [len(item.verdicts) for item in members]
    figures = {
        f"verdict_{status}": ratio([sum(v.status == status for v in item.verdicts) for item in members], every)
        for status in OUTCOMES[1:]
    }
    read = [[v for v in item.verdicts if v.mass is not None] for item in members]
    low = [sum(verdict.status == "unparsed" for verdict in verdicts) for verdicts in read]
    figures["low_mass"] = ratio(low, [len(verdicts) for verdicts in read])
    paid = [[v for v in item.verdicts if v.prompt_tokens or v.completion_tokens or v.seconds] for item in members]
    count = [len(verdicts) for verdicts in paid]
    prompt = np.array([sum(verdict.prompt_tokens for verdict in verdicts) for verdicts in paid], float)
    completion = np.array([sum(verdict.completion_tokens for verdict in verdicts) for verdicts in paid], float)
    figures |= {
        "prompt_tokens": ratio(prompt, count),
        "completion_tokens": ratio(completion, count),
        "seconds": ratio([sum(verdict.seconds for verdict in verdicts) for verdicts in paid], count),
    }
    if prices is not None:
        figures["money"] = ratio(prompt * prices.cost(1, 0) + completion * prices.cost(0, 1), count)
    return figures


def mass_quantiles(members: Sequence[MemberVerdicts]) -> dict[str, Estimate]:
    """Return the distribution of the mass of one judge's choices, by name and without intervals.

    It is empty without verdicts that are read from log-probabilities.
    """
    masses = [verdict.mass for item in members for verdict in item.verdicts if verdict.mass is not None]
    if not masses:
        return {}
    values = np.quantile(masses, list(_MASS_QUANTILES.values()))
    return {
        name: Estimate(float(value), None, None, len(masses))
        for name, value in zip(_MASS_QUANTILES, values, strict=True)
    }


def confusion(judged: Sequence[JudgedLabel]) -> dict[Side, dict[str, int]]:
    """Return the number of labels by people's side and by the judge's side, or by its outcome without one."""
    columns = [*_SIDES, *OUTCOMES[2:]]
    table: dict[Side, dict[str, int]] = {side: dict.fromkeys(columns, 0) for side in _SIDES}
    for item in judged:
        table[item.label.human][item.side or item.outcome] += 1
    return table


def _lengths(judged: Sequence[JudgedLabel]) -> Floats:
    """Return the visible answers' lengths in characters, without the white space around them: (labels, 2)."""
    lengths = [[len(visible_text(answer)) for answer in item.label.answers] for item in judged]
    return np.array(lengths, np.float64).reshape(-1, 2)


def calibrate(
    preferences: Sequence[tuple[Side, float | None]], estimate: Estimator
) -> tuple[dict[str, Estimate], tuple[CalibrationBin, ...]]:
    """Return whether soft preferences are calibrated: of the verdicts with 80% confidence, are 80% right?

    Only labels on which people prefer one answer count. A preference's confidence is that of the answer it prefers.

    Args:
        preferences: people's side of each label, and the judge's P(answer_a is better); None where it has none.

    Returns:
        The figures, and the bins with labels in them, ascending. `ece`, the expected calibration error, is the bins'
        |share right - mean confidence| weighted by their labels (Naeini et al. 2015, AAAI; Guo et al. 2017,
        arXiv:1706.04599); with few labels it is above zero even for a perfect judge. `brier` is the mean of
        (P(answer_a) - [people prefer a])^2 (Brier 1950, Monthly Weather Review 78(1)). Both are empty where no
        preference is soft, that is strictly between 0 and 1 and not one half.
    """
    given = np.array([0.5 if value is None else value for _, value in preferences])
    counts = np.array([human != "tie" and value is not None for human, value in preferences], float)
    if not counts.any() or not ((given > 0.0) & (given < 1.0) & (given != 0.5)).any():
        return {}, ()
    people_a = np.array([human == "a" for human, _ in preferences])
    confidence = np.maximum(given, 1.0 - given)
    # A preference of one half is half right whichever answer people prefer.
    right = np.where(given == 0.5, 0.5, (given > 0.5) == people_a)
    edges = np.linspace(0.5, 1.0, _CALIBRATION_BINS + 1)
    # Right-closed, as in Guo et al.; the lowest bin includes one half.
    number = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, _CALIBRATION_BINS - 1)
    member = (number[:, None] == np.arange(_CALIBRATION_BINS)) * counts[:, None]
    filled = [index for index in range(_CALIBRATION_BINS) if member[:, index].any()]
    shares = estimate([ratio(member[:, index] * right, member[:, index]) for index in filled])
    bins = []
    for index, share in zip(filled, shares, strict=True):
        mean = float((member[:, index] * confidence).sum() / member[:, index].sum())
        bins.append(CalibrationBin(float(edges[index]), float(edges[index + 1]), mean, share))
    brier = ratio(counts * (given - people_a) ** 2, counts)
    ece = Figure(np.hstack([member, member * right[:, None], member * confidence[:, None]]), _ece_of_sums, brier.n)
    return dict(zip(("ece", "brier"), estimate([ece, brier]), strict=True)), tuple(bins)


def _ece_of_sums(sums: Floats) -> Floats:
    counts, right, confidence = np.split(sums, 3, axis=1)
    return divide(np.abs(right - confidence).sum(axis=1), counts.sum(axis=1))
