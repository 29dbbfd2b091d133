"""Scores an answer against the gold answers of its question, without a model: right, wrong, or open.

1. Thinking is cut off; what is left is the answer. No answer is wrong.
2. A gold answer that is one quantity, with words that only frame it ("approximately 7%", "$0.84 per share"), is
   compared as a quantity, by `rlaif.grading.figures`. The result is never open.
3. A gold answer that is a date is compared as one.
4. Else, in this order: the same words are right. A refusal is wrong unless the gold answer is one. Yes and no that
   differ are wrong. Right is an answer that agrees in yes or no; that states all figures of the gold answer which the
   question does not have; or that has most words of the gold answer that carry meaning. The rest is open.

Of several gold answers the one that fits best counts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from rlaif.chat import visible_answer
from rlaif.grading.choices import chosen_option, lacks_digits, names_another, names_others
from rlaif.grading.claims import read_claim
from rlaif.grading.dates import Date, dates, only_date, quarters_in_short
from rlaif.grading.figures import TOLERANCE, figure_share, numeric_gold_answer, states
from rlaif.grading.matching import matches
from rlaif.grading.quantities import parse_quantities
from rlaif.grading.stance import asks_yes_or_no, leading_stance, stance
from rlaif.grading.text import content_stems, gold_tokens, normalized_tokens, token_f1, without_markup
from rlaif.grading.wording import denies, negates, refusals

READING = 2
"""Number of this way to read answers. It grows when answers are read differently, so that scores are never compared
with those of another reading."""

Outcome = Literal["right", "wrong", "open"]
_ORDER: tuple[Outcome, ...] = ("wrong", "open", "right")

# Shares of the gold answer's words that make an answer right, fitted on people's marks of answers about filings
# (docs/judges.md). Answers there are much longer than gold answers: a few of its words in common say a lot.
_MOST_WORDS = 0.6
_FEW_WORDS = 0.25
# The grade of the right yes or no with another figure; and what another figure costs an answer that has the words.
_OTHER_FIGURES = 0.7
_OTHER_FIGURES_COST = 0.1
# Characters within which a gold answer is a statement rather than a list, and an answer one rather than a discussion.
_STATEMENT = 160
_SHORT_ANSWER = 200
# What a person who wrote a reference adds about it.
_NOTE = re.compile(
    r"(?<=[.!?])\s+(?:\(?note\b|the (?:answer|reference)(?: here)? assumes\b|assum(?:es|ing)\b).*",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class AnswerScore:
    """Result of comparing an answer with the gold answers of its question.

    Attributes:
        outcome: `right`, `wrong`, or `open`: it cannot be told without reading the texts with understanding.
        score: 1 for right, 0 for wrong, else `f1`.
        grade: how plainly it is right, in (0.5, 1]; 0 for the other outcomes.
        numeric: whether the gold answer is a quantity.
        exact: whether the two texts are equal apart from case, articles and punctuation.
        f1: harmonic mean of token precision and token recall, in [0, 1].
        reason: what decided, in a few words.
    """

    outcome: Outcome
    score: float
    grade: float
    numeric: bool
    exact: bool
    f1: float
    reason: str


class _Finding(NamedTuple):
    outcome: Outcome
    reason: str
    grade: float = 1.0


def score_answer(
    answer: str, gold_answers: str | Sequence[str], tolerance: float = TOLERANCE, *, question: str = ""
) -> AnswerScore:
    """Score an answer against gold answers. The module docstring defines the outcome.

    Args:
        answer: any text, with or without thinking before it.
        gold_answers: one, or several of which each is right.
        tolerance: relative difference within which two quantities are equal.
        question: gives a gold answer its scale, its year, and what yes or no means.

    Example:
        >>> score_answer("It was $1.577 billion.", "1577", question="What was it, in USD millions?").outcome
        'right'
    """
    visible = without_markup(visible_answer(answer) or "")
    golds = [gold_answers] if isinstance(gold_answers, str) else list(gold_answers)
    scores = [_score(visible, gold, tolerance, question) for gold in golds]
    if len(scores) == 1:
        return scores[0]
    best = max(scores, key=lambda score: (_ORDER.index(score.outcome), score.grade, score.exact, score.f1))
    return replace(best, f1=max(score.f1 for score in scores))


def contains_gold_answer(answer: str, gold_answers: str | Sequence[str], tolerance: float = TOLERANCE) -> bool:
    """Return whether a gold answer appears anywhere in the answer. Unlike a score, this check ignores hedging.

    Args:
        answer, gold_answers, tolerance: as in `score_answer`. No answer contains an empty gold answer.
    """
    golds = [gold_answers] if isinstance(gold_answers, str) else gold_answers
    return any(_contains(answer, gold, tolerance) for gold in golds)


def _contains(answer: str, gold_answer: str, tolerance: float) -> bool:
    wanted = numeric_gold_answer(gold_answer)
    if wanted is not None:
        return any(matches(read_claim(answer, quantity), wanted, tolerance) for quantity in parse_quantities(answer))
    gold = " ".join(gold_tokens(gold_answer))
    return bool(gold) and f" {gold} " in f" {' '.join(normalized_tokens(answer))} "


def _score(answer: str, gold: str, tolerance: float, question: str) -> AnswerScore:
    given = normalized_tokens(answer)
    exact = bool(given) and tuple(given) == gold_tokens(gold)
    f1 = token_f1(given, gold_tokens(gold))
    wanted = numeric_gold_answer(gold)
    if wanted is not None:
        right = states(answer, wanted, question, tolerance, gold=gold)
        found = (
            _Finding("right", "the reference's quantity")
            if right
            else _Finding("wrong", "not the reference's quantity")
        )
    elif not given:
        found = _Finding("wrong", "no answer")
    elif exact or _says_the_same(answer, gold):
        found = _Finding("right", "the reference")
    elif (date := only_date(gold)) is not None:
        found = _by_date(answer, date)
    else:
        found = _by_text(answer, _NOTE.sub("", gold) or gold, tolerance, question)
    score = {"right": 1.0, "wrong": 0.0, "open": f1}[found.outcome]
    grade = found.grade if found.outcome == "right" else 0.0
    return AnswerScore(found.outcome, score, grade, wanted is not None, exact, f1, found.reason)


def _says_the_same(answer: str, gold: str) -> bool:
    """Return whether two texts have the same words but for function words and legal forms: "Apple Inc." and "Apple"."""
    if normalized_tokens(quarters_in_short(answer)) == normalized_tokens(quarters_in_short(gold)):
        return True
    words = content_stems(gold)
    same = bool(words) and words == content_stems(answer) and re.findall(r"\d+", answer) == re.findall(r"\d+", gold)
    return same and not names_another(answer, gold, "") and negates(answer, words) is negates(gold, words)


def _by_date(answer: str, gold: Date) -> _Finding:
    given = set(dates(answer))
    if not given:
        return _Finding("wrong", "a refusal") if refusals(answer) else _Finding("open", "no date")
    same = {reading.is_(gold) for readings in given for reading in readings}
    if same == {True}:
        return _Finding("right", "the reference's date")
    if same == {False}:
        return _Finding("wrong", "not the reference's date")
    return _Finding("open", "several dates, a part of one, or one with several readings")


def _by_text(answer: str, gold: str, tolerance: float, question: str) -> _Finding:
    refused = refusals(answer)
    if refusals(gold) and leading_stance(gold) is None:
        return _Finding("right", "a refusal, as the reference") if refused else _Finding("open", "no refusal")
    if found := _by_denial(answer, gold, question):
        return found
    figures = figure_share(answer, gold, question, tolerance)
    wanted = stance(gold, question)
    given = stance(answer, question) if wanted is not None else None
    if wanted is not None and wanted is given:
        if figures == 0.0:
            return _Finding("right", "the reference's yes or no, other figures", _OTHER_FIGURES)
        return _Finding("right", "the reference's yes or no")
    # Who repeats the words of a question has not said yes or no to it.
    only_repeats = wanted is not None and content_stems(gold) <= content_stems(question)
    words = 0.0 if only_repeats else word_share(answer, gold, question)
    says_little = max(figures or 0.0, words) < _FEW_WORDS
    if figures != 1.0 and (refused > 1 or (refused and says_little)):
        return _Finding("wrong", "a refusal")
    if wanted is not None and given is not None:
        return _Finding("wrong", "yes instead of no" if given else "no instead of yes")
    if figures == 1.0:
        return _Finding("right", "the reference's figures")
    chosen = chosen_option(gold, question)
    if chosen and (choice := chosen_option(answer, question)):
        return _Finding("right", "the reference's choice") if chosen == choice else _Finding("wrong", "another choice")
    if only_repeats:
        return _Finding("open", "neither yes nor no")
    return _by_words(answer, gold, question, other_figures=figures == 0.0)


def _by_denial(answer: str, gold: str, question: str) -> _Finding | None:
    """Compare with a gold answer that denies what the question asks for, such as "There are none"; None for others."""
    asked = content_stems(question)
    topic = (asked & content_stems(gold)) or asked
    if not topic or asks_yes_or_no(question) or len(gold) >= _STATEMENT or not denies(gold, topic):
        return None
    if denies(answer, topic):
        return _Finding("right", "none, as the reference")
    return _Finding("wrong", "a refusal") if refusals(answer) else _Finding("open", "not none, unlike the reference")


def _by_words(answer: str, gold: str, question: str, *, other_figures: bool) -> _Finding:
    share, content = word_share(answer, gold, question), content_stems(gold)
    reason = f"{share:.0%} of the reference's words"
    new_words = len(content - content_stems(question) or content)
    is_another = (
        names_others(answer, gold, question)
        or names_another(answer, gold, question)
        or lacks_digits(answer, gold, question)
        or (len(answer) < _SHORT_ANSWER and negates(answer, content) is not negates(gold, content))
    )
    if is_another or share < _needed_share(new_words, refuses=bool(refusals(answer))):
        return _Finding("open", reason)
    return _Finding("right", reason, 0.5 + 0.5 * share - (_OTHER_FIGURES_COST if other_figures else 0.0))


def _needed_share(count: int, *, refuses: bool) -> float:
    """Return the share of `count` words that makes an answer right: all of one or two, fewer of many."""
    if count <= 2:
        return 1.0
    return _MOST_WORDS if refuses or count <= 3 else _FEW_WORDS


def word_share(answer: str, gold: str, question: str) -> float:
    """Return which share of the gold answer's words, without those of the question, an answer has."""
    wanted = content_stems(gold) - content_stems(question) or content_stems(gold)
    return len(wanted & content_stems(answer)) / len(wanted) if wanted else 0.0
