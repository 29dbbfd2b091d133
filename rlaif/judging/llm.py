"""An LLM judge that compares two answers and says which is better with one label.

Invariant: a verdict is read from the log-probabilities of exactly the labels at the first token of the judge's
answer. No text is parsed, so nothing that an answer under judgment holds can be taken for the verdict.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from rlaif.engines.requests import LabelReply, LabelRequest
from rlaif.judging.decide import all_comparisons, decide_by_orders, own_verdicts, preference_of
from rlaif.judging.judge import Comparison, ModelBackend
from rlaif.judging.spec import LlmSpec, Orders
from rlaif.judging.verdict import Decision, Order, Status, Verdict
from rlaif.questions.prompt import Prompt

_ASKED: dict[Orders, tuple[Order, ...]] = {"both": ("ab", "ba"), "given": ("ab",)}


@dataclass(frozen=True, slots=True)
class PairwiseLabelJudge:
    """Asks a model which of two answers is better, in one order or both.

    Args:
        spec: the judge's file.
        backend: serves its model.
    """

    spec: LlmSpec
    backend: ModelBackend = field(repr=False)

    @property
    def name(self) -> str:
        """See `Judge`."""
        return self.spec.name

    @property
    def sha(self) -> str:
        """See `Judge`."""
        return self.spec.sha

    async def verdicts(
        self, prompt: Prompt, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        """Ask all comparisons in one call of the backend; see `Judge`.

        Equal texts, outer white space aside, tie without a question. Candidates often repeat each other, so the same
        two texts in the same order are asked once; a repetition has the same verdict and costs nothing. Questions
        come sorted by the answer shown first, so that neighbours share the longest beginning in a prefix cache.
        """
        texts = [answer.strip() for answer in answers]
        wanted = all_comparisons(len(texts)) if comparisons is None else sorted(comparisons)
        # A text stands for all its repetitions under the index of the first.
        original = [texts.index(text) for text in texts]
        asked: dict[tuple[int, int], list[tuple[Comparison, Order]]] = {}
        verdicts = []
        for first, second in wanted:
            if original[first] == original[second]:
                verdicts.append(self._verdict(prompt.id, (first, second), "ab", "tie", None, "identical answers"))
                continue
            for order in _ASKED[self.spec.orders]:
                shown = (first, second) if order == "ab" else (second, first)
                question = (original[shown[0]], original[shown[1]])
                asked.setdefault(question, []).append(((first, second), order))
        questions = sorted(asked)
        requests = [self._request(prompt, texts[a], texts[b]) for a, b in questions]
        replies = await self.backend.labels(requests) if requests else []
        for question, reply in zip(questions, replies, strict=True):
            for repetition, (comparison, order) in enumerate(asked[question]):
                verdicts.append(self._read(prompt.id, comparison, order, reply, paid=repetition == 0))
        return sorted(verdicts, key=lambda verdict: (verdict.first, verdict.second, verdict.order))

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        """Decide by the agreement of the orders; see `Judge`."""
        return decide_by_orders(own_verdicts(self, prompt_id, verdicts), _ASKED[self.spec.orders])

    def _request(self, prompt: Prompt, answer_a: str, answer_b: str) -> LabelRequest:
        messages = self.spec.prompt.render(
            question=prompt.question,
            context=prompt.context,
            reference=prompt.reference or "",
            rubric=self.spec.rubric,
            answer_a=answer_a,
            answer_b=answer_b,
        )
        return LabelRequest(messages, self.spec.front.labels, self.spec.front.prefix)

    def _read(self, prompt_id: str, comparison: Comparison, order: Order, reply: LabelReply, *, paid: bool) -> Verdict:
        cost = (reply.prompt_tokens, reply.completion_tokens, reply.seconds) if paid else (0, 0, 0.0)
        labels = self.spec.front.labels
        if reply.failure is not None:
            return self._verdict(prompt_id, comparison, order, "error", None, reply.failure, cost)
        if len(reply.logprobs) != len(labels):
            text = f"{len(reply.logprobs)} log-probabilities for {len(labels)} labels"
            return self._verdict(prompt_id, comparison, order, "error", None, text, cost)
        shown_first, shown_second = reply.logprobs
        of_first, of_second = (shown_first, shown_second) if order == "ab" else (shown_second, shown_first)
        preference = preference_of(of_first, of_second)
        said = labels[0] if shown_first > shown_second else labels[1] if shown_second > shown_first else "neither"
        text = f"{said} ({labels[0]} {shown_first:.4f}, {labels[1]} {shown_second:.4f})"
        if math.isnan(preference):
            return self._verdict(prompt_id, comparison, order, "unparsed", None, text, cost)
        if preference == 0.5:
            return self._verdict(prompt_id, comparison, order, "tie", None, text, cost)
        return self._verdict(prompt_id, comparison, order, "ok", preference, text, cost)

    def _verdict(
        self, prompt_id: str, comparison: Comparison, order: Order, status: Status, preference: float | None, text: str,
        cost: tuple[int, int, float] = (0, 0, 0.0),
    ) -> Verdict:  # fmt: skip
        return Verdict(
            prompt_id,
            *comparison,
            status,
            preference,
            None,
            text,
            self.name,
            self.sha,
            self.spec.prompt.sha,
            order,
            prompt_tokens=cost[0],
            completion_tokens=cost[1],
            seconds=cost[2],
        )
