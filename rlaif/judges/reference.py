"""The judge without a model: each answer against the prompt's reference."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlaif.data.question import Question
from rlaif.grading.match import AnswerScore, score_answer
from rlaif.judges.decisions import decide_by_scores, own_verdicts
from rlaif.judges.judge import Comparison
from rlaif.judges.spec import ReferenceSpec
from rlaif.judges.verdict import Decision, Verdict


@dataclass(frozen=True, slots=True)
class ReferenceJudge:
    """Rates an answer in [0, 1] by `score_answer`; a prompt without a reference gets no verdict."""

    spec: ReferenceSpec

    @property
    def name(self) -> str:
        """See `Judge`."""
        return self.spec.name

    @property
    def sha(self) -> str:
        """See `Judge`."""
        return self.spec.sha

    async def verdicts(
        self, prompt: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        """Rate the candidates that stand in a comparison; see `Judge`."""
        reference = (prompt.gold_answer or "").strip()
        if not reference:
            return []
        wanted = (
            range(len(answers)) if comparisons is None else sorted({index for pair in comparisons for index in pair})
        )
        scores = {index: score_answer(answers[index], reference, self.spec.tolerance) for index in wanted}
        return [
            Verdict(prompt.id, index, None, "ok", None, score.score, _said(score), self.name, self.sha)
            for index, score in scores.items()
        ]

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        """Decide by the scores; see `Judge`."""
        return decide_by_scores(own_verdicts(self, prompt_id, verdicts))


def _said(score: AnswerScore) -> str:
    if score.exact:
        return "the reference"
    if score.numeric:
        return "the reference's quantity" if score.score else "not the reference's quantity"
    return f"token F1 {score.f1:.3f}"
