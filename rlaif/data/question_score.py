"""Scores an answer to a question: by its gold answer, or by whether it is a refusal where the evidence was withheld."""

from rlaif.data.question import Question
from rlaif.grading.figures import TOLERANCE
from rlaif.grading.refusal import score_refusal
from rlaif.grading.score import AnswerScore, score_answer


def score_question(question: Question, answer: str, tolerance: float = TOLERANCE) -> AnswerScore | None:
    """Return the score of an answer; None if the question has no gold answer.

    Args:
        tolerance: see `score_answer`.
    """
    gold = question.gold_answer
    if not gold or (isinstance(gold, str) and not gold.strip()):
        return None
    if question.withheld:
        return score_refusal(answer, gold if isinstance(gold, str) else gold[0], question=question.question)
    return score_answer(answer, gold, tolerance, question=question.question)
