"""The judge without a model: it checks each answer against the gold answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from rlaif.data.question import Question
from rlaif.grading.match import TOLERANCE, AnswerScore, score_answer
from rlaif.judges.decisions import candidates_of, decide_by_scores, own_verdicts
from rlaif.judges.judge import Comparison, SpecJudge
from rlaif.judges.spec import JudgeSpec
from rlaif.judges.verdict import Decision, Verdict


class ReferenceSpec(JudgeSpec):
    """The exact check against the gold answer; it does not apply to questions without one."""

    kind: Literal["reference"]
    tolerance: float = Field(default=TOLERANCE, ge=0, lt=1)
    """Relative difference within which two quantities are equal."""

    def _deciding(self) -> dict[str, Any]:
        return {"kind": self.kind, "tolerance": self.tolerance}


@dataclass(frozen=True, slots=True)
class ReferenceJudge(SpecJudge):
    """Rates an answer in [0, 1] by `score_answer`; a question without a gold answer gets no verdict."""

    spec: ReferenceSpec

    async def verdicts(
        self, question: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        """Rate the candidates of the comparisons; see `Judge`."""
        gold = (question.gold_answer or "").strip()
        if not gold:
            return []
        scores = {
            index: score_answer(answers[index], gold, self.spec.tolerance)
            for index in (range(len(answers)) if comparisons is None else candidates_of(comparisons, len(answers)))
        }
        return [
            Verdict(question.id, index, None, "ok", None, score.score, _reason(score), self.name, self.sha)
            for index, score in scores.items()
        ]

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        """Decide by the scores; see `Judge`."""
        return decide_by_scores(own_verdicts(self, prompt_id, verdicts))


def _reason(score: AnswerScore) -> str:
    if score.exact:
        return "the reference"
    if score.numeric:
        return "the reference's quantity" if score.score else "not the reference's quantity"
    return f"token F1 {score.f1:.3f}"
