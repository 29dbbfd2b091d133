"""The judge that asks a model which of two answers is better, in one order or both.

Invariant: an answer under judgment reaches the model only as a variable of the template, and a verdict is read from the
model's reply as the template's front matter says; so nothing that an answer holds can be taken for the verdict.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from rlaif.data.question import Question
from rlaif.judges.decisions import all_comparisons, decide_by_orders, own_verdicts
from rlaif.judges.judge import Comparison, Decision, Order, SpecJudge, Verdict
from rlaif.judges.llm import LlmSpec
from rlaif.judges.model_client import ModelClient, ReadReply

_IDENTICAL = ReadReply("tie", None, "identical answers")


@dataclass(frozen=True, slots=True)
class PairwiseJudge(SpecJudge):
    """Asks a model which of two answers is better, in one order or both."""

    spec: LlmSpec
    client: ModelClient = field(repr=False)

    @property
    def _orders(self) -> tuple[Order, ...]:
        return ("ab", "ba") if self.spec.swap_positions else ("ab",)

    async def verdicts(
        self, question: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        """Ask all comparisons in one call of the backend; see `Judge`.

        Texts that are equal after stripping tie without being asked. Candidates often repeat each other, so the same
        two texts in the same order are asked once; a repetition has the same verdict and costs nothing. Prompts are
        sorted by the answer shown first, so that neighbours share the longest beginning in a prefix cache.
        """
        texts = [answer.strip() for answer in answers]
        wanted = all_comparisons(len(texts)) if comparisons is None else sorted(comparisons)
        # The first candidate with a text represents all that repeat it.
        original = [texts.index(text) for text in texts]
        asked: dict[tuple[int, int], list[tuple[Comparison, Order]]] = {}
        verdicts = []
        for first, second in wanted:
            if original[first] == original[second]:
                verdicts.append(self._verdict(question.id, (first, second), "ab", _IDENTICAL))
                continue
            for order in self._orders:
                shown = (first, second) if order == "ab" else (second, first)
                asked.setdefault((original[shown[0]], original[shown[1]]), []).append(((first, second), order))
        shown_texts = [(texts[a], texts[b]) for a, b in sorted(asked)]
        principles = [principle_for(self.spec, question.id, *both) for both in shown_texts]
        prompts = [
            self.spec.render(question, principle=principle, answer_a=answer_a, answer_b=answer_b)
            for (answer_a, answer_b), principle in zip(shown_texts, principles, strict=True)
        ]
        replies = await self.client.ask(prompts) if prompts else []
        for shown, principle, samples in zip(sorted(asked), principles, replies, strict=True):
            for repetition, (comparison, order) in enumerate(asked[shown]):
                given = [reply.repeated() for reply in samples] if repetition else samples
                verdicts += [
                    self._verdict(question.id, comparison, order, reply, principle=principle) for reply in given
                ]
        return sorted(verdicts, key=lambda verdict: (verdict.first, verdict.second, verdict.order))

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        return decide_by_orders(own_verdicts(self, prompt_id, verdicts), self._orders)

    def _verdict(
        self, prompt_id: str, comparison: Comparison, order: Order, reply: ReadReply, *, principle: str = ""
    ) -> Verdict:
        preference = reply.value if reply.value is None or order == "ab" else 1.0 - reply.value
        return Verdict(
            prompt_id,
            *comparison,
            reply.status,
            preference,
            None,
            f"[principle: {principle}]\n{reply.text}" if principle else reply.text,
            self.name,
            self.sha,
            self.spec.template.sha,
            order,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            seconds=reply.seconds,
            mass=reply.mass,
        )


def principle_for(spec: LlmSpec, prompt_id: str, answer: str, other: str) -> str:
    """Return the principle by which two answers to a question are compared, or "" where the judge has none.

    The judge's seed, the question's id and the two texts decide it: it is the same in both orders and in every run.
    """
    if not spec.all_principles:
        return ""
    key = "\0".join([str(spec.seed), prompt_id, *sorted((answer, other))])
    drawn = int.from_bytes(hashlib.sha256(key.encode(errors="surrogatepass")).digest()[:8], "big")
    return spec.all_principles[drawn % len(spec.all_principles)]
