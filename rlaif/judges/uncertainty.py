"""Which comparisons a person should decide: those whose outcome their answer would settle most.

Invariant: the order depends only on the verdicts, the decisions and the answers' texts, never on what people said.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rlaif.judges.judge import Decision, Verdict

Reason = Literal["undecided", "split", "margin"]
"""Why a person is asked: the judge has no decision, its verdicts are split, or there is nothing but its margin."""

REASONS: tuple[Reason, ...] = ("undecided", "split", "margin")
# Words are counted in so many cells, by a hash: enough to tell answers apart, and one small matrix for any vocabulary.
_CELLS = 512
# Rows that others are compared with at a time, so that memory does not grow with their product.
_BLOCK = 1024
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """Two answers with the verdicts of a judge on them, and its decision; None where it is silent."""

    answers: tuple[str, str]
    verdicts: Sequence[Verdict]
    decision: Decision | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A comparison to ask a person about: its index, and why."""

    index: int
    reason: Reason


def ask_first(
    pairs: Sequence[JudgedPair], count: int | None = None, before: Iterable[tuple[str, str]] = ()
) -> list[Asked]:
    """Return the comparisons in the order in which people's answers are worth most, at most `count` of them.

    First come those without a preference, for which a label adds one: silence, ties, orders that disagree, replies
    that could not be read, errors. Then those on which members of a panel or samples point both ways. Then all others
    by their margin, the smallest first; margins of different judges are compared by their rank. Among equals the next
    one is that whose answers are least like any before it (farthest-first traversal, Gonzalez 1985, Theoretical
    Computer Science 38), so that people see new kinds of answers. Likeness is the cosine of the counts of words.

    Args:
        before: pairs of answers that were judged earlier, such as in former rounds.
    """
    ranks = _margin_ranks(pairs)
    reasons = [reason_to_ask(pair) for pair in pairs]
    keys = [(REASONS.index(reason), ranks[index]) for index, reason in enumerate(reasons)]
    ranking = sorted(range(len(pairs)), key=lambda index: (keys[index], index))
    wanted = len(pairs) if count is None else min(count, len(pairs))
    seen = [_words(answers) for answers in before]
    chosen: list[int] = []
    for _, group in groupby(ranking, keys.__getitem__):
        if len(chosen) >= wanted:
            break
        equals = list(group)
        own = [_words(pairs[index].answers) for index in equals]
        rows = _farthest_first(own, seen, wanted - len(chosen))
        chosen += [equals[each] for each in rows]
        seen += own
    return [Asked(index, reasons[index]) for index in chosen]


def _farthest_first(
    equals: Sequence[NDArray[np.float64]], before: Sequence[NDArray[np.float64]], count: int
) -> list[int]:
    """Return at most `count` indices: next always the one least like those before it, of several the first."""
    # Most margins are alone, and nothing need be compared.
    if len(equals) == 1:
        return [0]
    words = np.stack(equals)
    nearest = np.zeros(len(words))
    for start in range(0, len(before), _BLOCK):
        block = np.stack(before[start : start + _BLOCK])
        np.maximum(nearest, _likeness(words, block.T).max(axis=1), out=nearest)
    rows: list[int] = []
    while len(rows) < min(count, len(words)):
        following = int(nearest.argmin())
        rows.append(following)
        np.maximum(nearest, _likeness(words, words[following]), out=nearest)
        nearest[following] = np.inf
    return rows


def _likeness(words: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return cosines; rounded, so that equal ones are equal in whatever order a machine adds."""
    return np.round(words @ others, 9)


def reason_to_ask(pair: JudgedPair) -> Reason:
    """Return why a person would be asked about a comparison."""
    if pair.decision is None or pair.decision.preference is None:
        return "undecided"
    return "split" if len(set(_sides(pair.verdicts))) > 1 else "margin"


def _sides(verdicts: Iterable[Verdict]) -> list[bool]:
    """Return of each reply that compares, and of each member that rates, whether it prefers the first answer."""
    read = [verdict for verdict in verdicts if verdict.status == "ok"]
    sides = [verdict.preference > 0.5 for verdict in read if verdict.preference is not None]
    scores: dict[str, tuple[list[float], list[float]]] = {}
    for verdict in read:
        if verdict.score is not None:
            scores.setdefault(verdict.judge_sha, ([], []))[verdict.first].append(verdict.score)
    means = [(fmean(first), fmean(second)) for first, second in scores.values() if first and second]
    sides += [first > second for first, second in means if first != second]
    return sides


def _margin_ranks(pairs: Sequence[JudgedPair]) -> list[float]:
    """Return each decision's share of smaller margins among those of the same judge; 0 without a margin."""
    margins: dict[str, list[float]] = {}
    for pair in pairs:
        if pair.decision is not None and pair.decision.margin is not None:
            margins.setdefault(pair.decision.judge_sha, []).append(pair.decision.margin)
    ordered = {sha: np.sort(values) for sha, values in margins.items()}
    return [
        float(np.searchsorted(ordered[found.judge_sha], found.margin)) / len(ordered[found.judge_sha])
        if (found := pair.decision) is not None and found.margin is not None
        else 0.0
        for pair in pairs
    ]


def _words(answers: Iterable[str]) -> NDArray[np.float64]:
    """Return the counts of the answers' words by hash, as a vector of length 1; zero without words."""
    counts = np.zeros(_CELLS)
    for word in _WORD.findall(" ".join(answers).lower()):
        counts[int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "big") % _CELLS] += 1.0
    length = float(np.linalg.norm(counts))
    return counts / length if length else counts
