"""Scores the answer to a question whose evidence was withheld: only a refusal is right.

Invariant: no answer is left open. A figure that the question lacks is invented, also beside a refusal, so that hedging
earns nothing.
"""

from rlaif.chat import visible_answer
from rlaif.grading.quantities import parse_quantities
from rlaif.grading.score import AnswerScore
from rlaif.grading.text import gold_tokens, normalized_tokens, token_f1, without_markup
from rlaif.grading.wording import refusals


def is_refusal(answer: str, refusal: str, question: str) -> bool:
    """Return whether an answer says that it does not know, and gives no figure of its own.

    Args:
        answer: any text, with or without thinking before it.
        refusal: the phrase of a plain refusal.
        question: whose figures an answer may repeat.

    Example:
        >>> is_refusal("The documents do not say.", "Not disclosed.", "What was revenue in 2023?")
        True
        >>> is_refusal("The documents do not say, but some $5 million.", "Not disclosed.", "What was revenue in 2023?")
        False
    """
    visible = without_markup(visible_answer(answer) or "")
    phrase = " ".join(gold_tokens(refusal))
    refuses = refusals(visible) or (phrase and f" {phrase} " in f" {' '.join(normalized_tokens(visible))} ")
    return bool(refuses) and _amounts(visible) <= _amounts(question) | _amounts(refusal)


def score_refusal(answer: str, refusal: str, *, question: str = "") -> AnswerScore:
    """Score an answer where a refusal is right; see `is_refusal`."""
    given = normalized_tokens(without_markup(visible_answer(answer) or ""))
    refuses = is_refusal(answer, refusal, question)
    exact, f1 = tuple(given) == gold_tokens(refusal), token_f1(given, gold_tokens(refusal))
    reason = "a refusal, as the evidence was withheld" if refuses else "no refusal, though the evidence was withheld"
    return AnswerScore("right" if refuses else "wrong", float(refuses), float(refuses), False, exact, f1, reason)


def _amounts(text: str) -> frozenset[float]:
    return frozenset(abs(quantity.value) for quantity in parse_quantities(text) if not quantity.year)
