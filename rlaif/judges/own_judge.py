"""Judges of the user's own making: what a function and a URL have in common.

Invariant: all candidates of a question are judged at once, and its verdicts are of one kind: scores, preferences, or an
error for each candidate if the answer is missing or cannot be read. Equal texts have the same score and no preference.
"""

import hashlib
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from pydantic import Field

from rlaif.data.question import Question
from rlaif.errors import Notice, WorkError, storable
from rlaif.inference.completions import Failure
from rlaif.inference.limits import ErrorShare
from rlaif.inference.response_cache import ResponseCache
from rlaif.judges.decisions import all_comparisons, candidates_of, decide_by_orders, decide_by_scores, own_verdicts
from rlaif.judges.judge import Comparison, Decision, Order, SpecJudge, Status, Verdict
from rlaif.judges.own_answer import OwnAnswer, OwnRequest, read_answer
from rlaif.judges.spec import JudgeSpec
from rlaif.prompts.question_prompt import shown_question

_LONGEST_REASON = 400


@dataclass(frozen=True, slots=True)
class OwnReply:
    """What came of a request.

    Attributes:
        answer: as JSON values; None on a failure.
        failure: why there is no answer, or None.
    """

    answer: Any
    seconds: float
    failure: Failure | None = None


class Asker(Protocol):
    """Asks a function or a URL."""

    async def ask(self, request: OwnRequest) -> OwnReply:
        """Return a readable answer or a failure, within the judge's time limit."""
        ...

    async def close(self) -> None:
        """End processes or connections."""
        ...


class OwnSpec(JudgeSpec):
    """What judges of the user's own have in common."""

    version: str = Field(default="", max_length=200)
    """Any text, part of the judge's identity. Change it when something else that decides the answers changes, such as a
    file that the code reads or the service behind the URL: answers kept for another version are not used."""
    max_error_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the last 100 questions that may fail, counted from 20 on; above it the work stops. 1 never stops."""

    @property
    def asks(self) -> str:
        """The function or URL, for messages."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class OwnJudge(SpecJudge):
    """Rates or compares all candidates of a question by one call of the user's code."""

    spec: OwnSpec
    asker: Asker = field(repr=False)
    cache: ResponseCache | None = field(repr=False)
    errors: ErrorShare = field(repr=False)

    async def try_out(self, questions: Sequence[tuple[Question, Sequence[str]]], *, engines: bool) -> None:
        """Ask one question after another until one is answered, whatever the cache holds, and keep the answer.

        Args:
            questions: with their answers; at least one.
            engines: whether engines would start after it, so that it ends the work as well if none is answered, unless
                `max_error_share` is 1.

        Raises:
            WorkError: the judge cannot answer.
        """
        for question, answers in questions:
            asked = _request(question, answers)
            reply = await self.asker.ask(asked)
            if (failure := reply.failure) is None:
                self._keep(asked, reply)
                return
            reason = one_line(failure.reason)
            if failure.kind in ("connection", "protocol") or (failure.kind == "server" and not failure.may_pass):
                raise WorkError(f"judge {self.name} cannot be asked: {reason}")
        if engines and self.spec.max_error_share < 1:
            raise WorkError(f"judge {self.name} fails before engines start: {reason}")
        warnings.warn(f"judge {self.name} failed before the work began: {reason}", Notice, stacklevel=2)

    async def verdicts(
        self, question: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        pairs = all_comparisons(len(answers)) if comparisons is None else sorted(comparisons)
        if not pairs:
            return []
        asked = _request(question, answers)
        reply = await self._ask(asked)
        if reply.failure is None:
            answer = read_answer(reply.answer, len(answers))
            found = [*self._scored(asked, answer, pairs), *self._compared(asked, answer, pairs)]
        else:
            text = one_line(reply.failure.reason)
            found = [
                Verdict(question.id, index, None, "error", None, None, text, self.name, self.sha)
                for index in candidates_of(pairs, len(answers))
            ]
        # The call is counted once, with the first of its verdicts.
        return [replace(found[0], seconds=reply.seconds), *found[1:]] if found else []

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        own = own_verdicts(self, prompt_id, verdicts)
        decisions = [*decide_by_scores(own), *decide_by_orders(own, ())]
        return sorted(decisions, key=lambda decision: (decision.first, decision.second))

    async def _ask(self, asked: OwnRequest) -> OwnReply:
        """Return the answer kept for the same question and candidates, or ask; only what can be read is kept."""
        if self.cache is None:
            return await self._ask_uncached(asked)
        if kept := self.cache.get(_cache_key(self.sha, asked)):
            reply = OwnReply(kept["answer"], 0.0 if self.cache.free else kept["seconds"])
            with suppress(ValueError):
                read_answer(reply.answer, len(asked.candidates))
                return reply
        reply = await self._ask_uncached(asked)
        if reply.failure is None:
            self._keep(asked, reply)
        return reply

    def _keep(self, asked: OwnRequest, reply: OwnReply) -> None:
        if self.cache is not None:
            self.cache.put(_cache_key(self.sha, asked), {"answer": reply.answer, "seconds": reply.seconds})

    async def _ask_uncached(self, asked: OwnRequest) -> OwnReply:
        reply = await self.asker.ask(asked)
        failure = reply.failure
        self.errors.count(failure and replace(failure, reason=one_line(failure.reason)))
        return reply

    def _scored(self, asked: OwnRequest, answer: OwnAnswer, pairs: Sequence[Comparison]) -> Iterator[Verdict]:
        by_text: dict[str, float] = {}
        for index, score in sorted(answer.scores.items()):
            by_text.setdefault(asked.candidates[index].strip(), score)
        for index in candidates_of(pairs, len(asked.candidates)):
            shared = by_text.get(asked.candidates[index].strip())
            if shared is not None:
                yield Verdict(asked.id, index, None, "ok", None, shared, f"score {shared:g}", self.name, self.sha)

    def _compared(self, asked: OwnRequest, answer: OwnAnswer, pairs: Sequence[Comparison]) -> Iterator[Verdict]:
        if not answer.preferences:
            return
        for first, second in pairs:
            given: dict[Order, float | None] = {
                "ab": answer.preferences.get((first, second)),
                "ba": answer.preferences.get((second, first)),
            }
            for order, value in given.items():
                if value is None:
                    continue
                same = asked.candidates[first].strip() == asked.candidates[second].strip()
                preference = None if same or value == 0.5 else value if order == "ab" else 1.0 - value
                text = "identical answers" if same else f"preference {value:g} for the answer named first"
                status: Status = "tie" if preference is None else "ok"
                yield Verdict(asked.id, first, second, status, preference, None, text, self.name, self.sha, order=order)


def one_line(text: str) -> str:
    """Return the words of another program as one line of bounded length, of text that can be stored."""
    line = " ".join(storable(text).split())
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}..."


def _request(question: Question, answers: Sequence[str]) -> OwnRequest:
    return OwnRequest(question.id, shown_question(question), tuple(answers), question.gold_answer, question.context)


def _cache_key(judge_sha: str, asked: OwnRequest) -> str:
    tree = {**asdict(asked), "judge": judge_sha}
    del tree["id"]
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
