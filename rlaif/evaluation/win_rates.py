"""One policy's held-out answers compared with another's, by gold answers or else by the judge."""

from collections.abc import Sequence

from rlaif.data.question import Question
from rlaif.evaluation.heldout import HeldoutAnswer
from rlaif.judges.judge import Judge
from rlaif.stats.bootstrap import Estimate, mean_interval, paired_difference, win_rate


async def compare_answers(
    answers: Sequence[HeldoutAnswer],
    others: Sequence[HeldoutAnswer],
    questions: Sequence[Question],
    judge: Judge,
    *,
    confidence: float,
    seed: int,
) -> tuple[Estimate | None, Estimate]:
    """Return the paired difference of the scores, None where the judge decides, and the win rate.

    Args:
        answers: of the policy.
        others: of the policy that it is compared with.
        questions: that both answer, in the same order.
        judge: decides where a question has no gold answer.
        confidence, seed: of the intervals.
    """
    if all(answer.score is not None for answer in answers):
        new = [float(answer.score or 0.0) for answer in answers]
        old = [float(answer.score or 0.0) for answer in others]
        return paired_difference(new, old, confidence, seed), win_rate(new, old, confidence, seed)
    wins = [
        await _judged_win(judge, question, [answer.answer, other.answer])
        for question, answer, other in zip(questions, answers, others, strict=True)
    ]
    return None, mean_interval(wins, confidence, seed)


async def _judged_win(judge: Judge, question: Question, answers: list[str]) -> float:
    """Return 1 if the judge prefers the first answer, 0 if the second, 0.5 if it decides for neither."""
    decisions = judge.decide(question.id, 2, await judge.verdicts(question, answers))
    for decision in decisions:
        if decision.status == "ok" and decision.preference is not None:
            return float(decision.preference > 0.5)
    return 0.5
