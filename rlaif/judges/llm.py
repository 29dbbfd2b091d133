"""LLM judges: one compares two answers, in one order or both; the other rates one.

Invariant: an answer under judgment reaches the model as a prompt's variable alone, and a verdict is read from what the
model said as the prompt's front matter says; so nothing that an answer holds can be taken for the verdict.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from rlaif.chat import Messages
from rlaif.data.question import Question
from rlaif.judges.asking import Asker, Said
from rlaif.judges.decisions import all_comparisons, decide_by_orders, decide_by_scores, own_verdicts
from rlaif.judges.judge import Comparison
from rlaif.judges.spec import LlmSpec, Orders
from rlaif.judges.verdict import Decision, Order, Verdict

_ASKED: dict[Orders, tuple[Order, ...]] = {"both": ("ab", "ba"), "given": ("ab",)}
_IDENTICAL = Said("tie", None, "identical answers", 0, 0, 0.0)


@dataclass(frozen=True, slots=True)
class PairwiseJudge:
    """Asks a model which of two answers is better, in one order or both.

    Args:
        spec: the judge's file.
        asker: puts the questions to its model.
    """

    spec: LlmSpec
    asker: Asker = field(repr=False)

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
                verdicts.append(self._verdict(prompt.id, (first, second), "ab", _IDENTICAL, "", paid=True))
                continue
            for order in _ASKED[self.spec.orders]:
                shown = (first, second) if order == "ab" else (second, first)
                question = (original[shown[0]], original[shown[1]])
                asked.setdefault(question, []).append(((first, second), order))
        questions = sorted(asked)
        principles = [principle_for(self.spec, prompt, texts[a], texts[b]) for a, b in questions]
        chats = [
            self._render(prompt, texts[a], texts[b], principle)
            for (a, b), principle in zip(questions, principles, strict=True)
        ]
        answered = await self.asker.ask(chats) if chats else []
        for question, principle, samples in zip(questions, principles, answered, strict=True):
            for repetition, (comparison, order) in enumerate(asked[question]):
                verdicts += [
                    self._verdict(prompt.id, comparison, order, said, principle, paid=repetition == 0)
                    for said in samples
                ]
        return sorted(verdicts, key=lambda verdict: (verdict.first, verdict.second, verdict.order))

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        """Decide by the agreement of the orders; see `Judge`."""
        return decide_by_orders(own_verdicts(self, prompt_id, verdicts), _ASKED[self.spec.orders])

    def _render(self, prompt: Question, answer_a: str, answer_b: str, principle: str) -> Messages:
        return self.spec.prompt.render(
            question=prompt.question,
            context=prompt.context,
            reference=prompt.gold_answer or "",
            rubric=self.spec.rubric,
            principle=principle,
            answer_a=answer_a,
            answer_b=answer_b,
        )

    def _verdict(
        self, prompt_id: str, comparison: Comparison, order: Order, said: Said, principle: str, *, paid: bool
    ) -> Verdict:
        preference = said.value if said.value is None or order == "ab" else 1.0 - said.value
        return Verdict(
            prompt_id,
            *comparison,
            said.status,
            preference,
            None,
            f"[principle: {principle}]\n{said.text}" if principle else said.text,
            self.name,
            self.sha,
            self.spec.prompt.sha,
            order,
            prompt_tokens=said.prompt_tokens if paid else 0,
            completion_tokens=said.completion_tokens if paid else 0,
            seconds=said.seconds if paid else 0.0,
        )


@dataclass(frozen=True, slots=True)
class PointwiseJudge:
    """Asks a model for the rating of one answer at a time.

    Args:
        spec: the judge's file.
        asker: puts the questions to its model.
    """

    spec: LlmSpec
    asker: Asker = field(repr=False)

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
        """Rate the candidates that stand in a comparison, in one call of the backend; see `Judge`.

        Equal texts, outer white space aside, are rated once; a repetition has the same rating and costs nothing.
        """
        texts = [answer.strip() for answer in answers]
        pairs = all_comparisons(len(texts)) if comparisons is None else comparisons
        wanted = sorted({index for pair in pairs for index in pair})
        distinct = list(dict.fromkeys(texts[index] for index in wanted))
        chats = [self._render(prompt, text) for text in distinct]
        answered = dict(zip(distinct, await self.asker.ask(chats) if chats else [], strict=True))
        paid: set[str] = set()
        verdicts = []
        for index in wanted:
            text = texts[index]
            verdicts += [self._verdict(prompt.id, index, said, paid=text not in paid) for said in answered[text]]
            paid.add(text)
        return verdicts

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        """Decide by the ratings; see `Judge`."""
        return decide_by_scores(own_verdicts(self, prompt_id, verdicts))

    def _render(self, prompt: Question, answer: str) -> Messages:
        return self.spec.prompt.render(
            question=prompt.question,
            context=prompt.context,
            reference=prompt.gold_answer or "",
            rubric=self.spec.rubric,
            answer=answer,
        )

    def _verdict(self, prompt_id: str, index: int, said: Said, *, paid: bool) -> Verdict:
        return Verdict(
            prompt_id,
            index,
            None,
            said.status,
            None,
            said.value,
            said.text,
            self.name,
            self.sha,
            self.spec.prompt.sha,
            prompt_tokens=said.prompt_tokens if paid else 0,
            completion_tokens=said.completion_tokens if paid else 0,
            seconds=said.seconds if paid else 0.0,
        )


def principle_for(spec: LlmSpec, prompt: Question, answer: str, other: str) -> str:
    """Return the principle that two answers to a prompt are compared by, or "" where the judge has none.

    It is drawn by the judge's seed, the prompt and the two texts: the same in both orders, whenever and wherever.
    """
    if not spec.principles:
        return ""
    key = "\0".join([str(spec.seed), prompt.id, *sorted((answer, other))])
    return spec.principles[
        int.from_bytes(hashlib.sha256(key.encode(errors="surrogatepass")).digest()[:8], "big") % len(spec.principles)
    ]
