"""Puts a judge's questions to its model and reads the answers, whatever the kind of prompt.

Invariant: each question gets its number of answers, in order, and an answer is `ok` only if it was read as the prompt's
front matter says. A failure of the backend is an `error`; a text that its limit cut has not come to its verdict and is
`unparsed`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rlaif.chat import Messages
from rlaif.inference.model_backend import ModelBackend
from rlaif.inference.requests import ChatReply, ChatRequest, ChoiceReply, ChoiceRequest
from rlaif.judges.spec import Sampling
from rlaif.judges.verdict import Status
from rlaif.prompts.front_matter import LogprobFrontMatter, TextFrontMatter
from rlaif.prompts.parsing import UNPARSED, Reading


@dataclass(frozen=True, slots=True)
class Said:
    """One answer of a judge's model, read.

    Attributes:
        status: as of a verdict.
        value: for `ok` alone, P(the answer shown first is better) or a rating.
        text: word for word; of log-probabilities, the labels with theirs; for an error, what went wrong.
        prompt_tokens, completion_tokens, seconds: what it cost.
    """

    status: Status
    value: float | None
    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float


class Asker(Protocol):
    """Puts questions on one prompt to a judge's model."""

    async def ask(self, questions: Sequence[Messages]) -> list[list[Said]]:
        """Return the answers to each question, in order."""
        ...


@dataclass(frozen=True, slots=True)
class LogprobAsker:
    """Asks for the log-probabilities of a prompt's labels: one answer a question."""

    front: LogprobFrontMatter
    backend: ModelBackend = field(repr=False)

    async def ask(self, questions: Sequence[Messages]) -> list[list[Said]]:
        """See `Asker`."""
        labels, prefix = self.front.labels, self.front.prefix
        replies = await self.backend.choices([ChoiceRequest(messages, labels, prefix) for messages in questions])
        return [[self._read(reply)] for reply in replies]

    def _read(self, reply: ChoiceReply) -> Said:
        cost = (reply.prompt_tokens, reply.completion_tokens, reply.seconds)
        labels = self.front.labels
        if reply.failure is not None:
            return Said("error", None, reply.failure, *cost)
        if len(reply.logprobs) != len(labels):
            return Said("error", None, f"{len(reply.logprobs)} log-probabilities for {len(labels)} labels", *cost)
        reading = self.front.of_logprobs(reply.logprobs)
        best = [label for label, value in zip(labels, reply.logprobs, strict=True) if value == max(reply.logprobs)]
        values = ", ".join(f"{label} {value:.4f}" for label, value in zip(labels, reply.logprobs, strict=True))
        text = f"{best[0] if len(best) == 1 else 'neither'} ({values})"
        if reading == UNPARSED and reply.text:
            text += f"; it began with {reply.text!r}"
        return Said(reading.status, reading.value, text, *cost)


@dataclass(frozen=True, slots=True)
class TextAsker:
    """Asks for a text and reads its verdict, once or several times a question."""

    front: TextFrontMatter
    sampling: Sampling
    seed: int
    backend: ModelBackend = field(repr=False)

    async def ask(self, questions: Sequence[Messages]) -> list[list[Said]]:
        """See `Asker`. Sample i of every question is drawn with seed `seed + i`."""
        each = range(self.sampling.samples)
        replies = await self.backend.chats([self._request(messages, i) for messages in questions for i in each])
        said = [self._read(reply) for reply in replies]
        return [said[start : start + len(each)] for start in range(0, len(said), len(each))]

    def _request(self, messages: Messages, sample: int) -> ChatRequest:
        return ChatRequest(
            messages,
            self.sampling.max_tokens,
            self.sampling.temperature,
            0 if self.sampling.temperature == 0 else self.seed + sample,
            self.front.answer_schema,
        )

    def _read(self, reply: ChatReply) -> Said:
        cost = (reply.prompt_tokens, reply.completion_tokens, reply.seconds)
        if reply.failure is not None:
            return Said("error", None, reply.failure, *cost)
        if reply.finish_reason == "length":
            return Said("unparsed", None, f"{reply.text}\n[cut at {self.sampling.max_tokens} tokens]", *cost)
        reading: Reading = self.front.of_text(reply.text)
        return Said(reading.status, reading.value, reply.text, *cost)
