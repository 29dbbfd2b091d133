"""The judge that rates an answer by the words that it shares with the gold answer.

Invariant: the rating depends on the gold answer and the candidate's text alone; a question without a gold answer has
none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from rlaif.chat import visible_answer
from rlaif.data.question import Question
from rlaif.data.question_score import score_question
from rlaif.grading.text import gold_tokens, normalized_tokens, token_f, without_markup
from rlaif.judges.decisions import candidates_of, decide_by_scores, own_verdicts
from rlaif.judges.judge import Comparison, Decision, SpecJudge, Verdict
from rlaif.judges.spec import JudgeSpec


class OverlapSpec(JudgeSpec):
    """Token overlap with the gold answer, without a model; for questions whose answers are spans of their contexts."""

    kind: Literal["overlap"]
    beta: float = Field(default=1.0, gt=0, le=10)
    """How many times recall counts as much as precision (van Rijsbergen 1979): 1 is token F1. Above 1 an answer that
    says too little loses more than one that says too much."""

    def _deciding(self) -> dict[str, Any]:
        return {"kind": self.kind, "beta": self.beta}


@dataclass(frozen=True, slots=True)
class OverlapJudge(SpecJudge):
    """Rates an answer by `token_f`, from 0 to 1; of two the one with the higher rating wins.

    Of several gold answers the nearest counts. An answer without words is rated 0. Where the evidence was withheld, a
    refusal is rated 1 and any other answer 0.
    """

    spec: OverlapSpec

    async def verdicts(
        self, question: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        gold = question.gold_answer
        golds = [tokens for each in ([gold] if isinstance(gold, str) else gold or []) if (tokens := gold_tokens(each))]
        if not golds:
            return []
        wanted = range(len(answers)) if comparisons is None else candidates_of(comparisons, len(answers))
        return [self._verdict(question, index, answers[index], golds) for index in wanted]

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        return decide_by_scores(own_verdicts(self, prompt_id, verdicts))

    def _verdict(self, question: Question, index: int, answer: str, golds: Sequence[tuple[str, ...]]) -> Verdict:
        # An invented answer shares words with the phrase of a refusal too.
        refusal = score_question(question, answer) if question.withheld else None
        if refusal is not None:
            rating, reason = refusal.score, refusal.reason
        else:
            given = normalized_tokens(without_markup(visible_answer(answer) or ""))
            rating = max(token_f(given, gold, self.spec.beta) for gold in golds)
            reason = f"overlap {rating:.3f} with the gold answer"
        return Verdict(question.id, index, None, "ok", None, rating, reason, self.name, self.sha)
