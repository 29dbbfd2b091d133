"""The judge that asks a model to rate one answer at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rlaif.data.question import Question
from rlaif.judges.decisions import decide_by_scores, own_verdicts
from rlaif.judges.judge import Comparison, SpecJudge
from rlaif.judges.llm import LlmSpec
from rlaif.judges.model_client import ModelClient, ReadReply
from rlaif.judges.rating import rate_distinct
from rlaif.judges.verdict import Decision, Verdict


@dataclass(frozen=True, slots=True)
class PointwiseJudge(SpecJudge):
    """Asks a model for the rating of one answer at a time.

    Args:
        spec: the judge's file.
        client: asks its model.
    """

    spec: LlmSpec
    client: ModelClient = field(repr=False)

    async def verdicts(
        self, question: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        """Rate the candidates of the comparisons, in one call of the backend; see `Judge`.

        Texts that are equal after stripping are rated once; a repetition has the same rating and costs nothing.
        """

        async def rate(texts: list[str]) -> list[list[ReadReply]]:
            return await self.client.ask(
                [
                    self.spec.template.render(
                        question=question.question,
                        context=question.context,
                        reference=question.gold_answer or "",
                        rubric=self.spec.rubric,
                        answer=text,
                    )
                    for text in texts
                ]
            )

        rated = await rate_distinct([answer.strip() for answer in answers], comparisons, rate)
        return [
            self._verdict(question.id, index, reply, paid=paid) for index, replies, paid in rated for reply in replies
        ]

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        """Decide by the ratings; see `Judge`."""
        return decide_by_scores(own_verdicts(self, prompt_id, verdicts))

    def _verdict(self, prompt_id: str, index: int, reply: ReadReply, *, paid: bool) -> Verdict:
        return Verdict(
            prompt_id,
            index,
            None,
            reply.status,
            None,
            reply.value,
            reply.text,
            self.name,
            self.sha,
            self.spec.template.sha,
            prompt_tokens=reply.prompt_tokens if paid else 0,
            completion_tokens=reply.completion_tokens if paid else 0,
            seconds=reply.seconds if paid else 0.0,
        )
