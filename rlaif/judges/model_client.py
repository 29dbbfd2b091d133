"""Asks a judge's model and reads its replies, whatever the kind of prompt.

Invariant: each prompt gets its number of replies, in order, and a reply is `ok` only if it was read as the template's
front matter says. A failure of the backend is an `error`; a text that its limit cut is `unparsed`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rlaif.chat import Messages
from rlaif.data.criteria import Criterion, Mark
from rlaif.inference.requests import ChatReply, ChatRequest, ChoiceReply, ChoiceRequest, ModelBackend
from rlaif.judges.judge import Status
from rlaif.judges.llm import LlmSpec
from rlaif.prompts.front_matter import LogprobFrontMatter, MarksReader, PointwiseMarks, TextFrontMatter
from rlaif.prompts.reading import mass_of


@dataclass(frozen=True, slots=True)
class ReadReply:
    """One reply of a judge's model, read.

    Attributes:
        value: for `ok` alone, P(the answer shown first is better) or a rating.
        text: word for word; of log-probabilities, the choices with theirs; for an error, what went wrong.
        mass: of log-probabilities, the probability that the choices have together.
        marks: of a rating by criteria, the mark by each.
    """

    status: Status
    value: float | None
    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    mass: float | None = None
    marks: tuple[Mark, ...] = ()

    def repeated(self) -> "ReadReply":
        """Return the same reply for another comparison, which costs nothing."""
        return replace(self, prompt_tokens=0, completion_tokens=0, seconds=0.0)


@dataclass(frozen=True, slots=True)
class LogprobClient:
    """Asks for the log-probabilities of a template's choices: one reply a prompt."""

    front_matter: LogprobFrontMatter
    backend: ModelBackend = field(repr=False)
    chat_template_kwargs: dict[str, Any] | None = None

    async def ask(self, prompts: Sequence[Messages]) -> list[list[ReadReply]]:
        """Return the replies to each prompt, in order."""
        replies = await self.backend.choices([self.request(messages) for messages in prompts])
        return [[self._read(reply)] for reply in replies]

    def request(self, messages: Messages) -> ChoiceRequest:
        """Return what is asked of the backend for a prompt."""
        return ChoiceRequest(messages, self.front_matter.choices, self.front_matter.prefix, self.chat_template_kwargs)

    def _read(self, reply: ChoiceReply) -> ReadReply:
        cost = (reply.prompt_tokens, reply.completion_tokens, reply.seconds)
        choices = self.front_matter.choices
        if reply.failure is not None:
            return ReadReply("error", None, reply.failure, *cost)
        if len(reply.logprobs) != len(choices):
            return ReadReply(
                "error", None, f"{len(reply.logprobs)} log-probabilities for {len(choices)} choices", *cost
            )
        reading = self.front_matter.of_logprobs(reply.logprobs)
        best = [choice for choice, value in zip(choices, reply.logprobs, strict=True) if value == max(reply.logprobs)]
        values = ", ".join(f"{choice} {value:.4f}" for choice, value in zip(choices, reply.logprobs, strict=True))
        text = f"{best[0] if len(best) == 1 else 'neither'} ({values})"
        mass = mass_of(reply.logprobs)
        if reading.status == "unparsed" and mass is not None:
            text += f"; the choices hold {mass:.3g} of the probability, {self.front_matter.min_mass:g} is the least"
            if reply.text_logprob is not None:
                text += f"; the likeliest beginning is {reply.text!r} with {math.exp(reply.text_logprob):.3g}"
        return ReadReply(reading.status, reading.value, text, *cost, mass=mass)


@dataclass(frozen=True, slots=True)
class TextClient:
    """Asks for a text and reads its verdict, once or several times a prompt."""

    front_matter: TextFrontMatter | MarksReader
    spec: LlmSpec
    backend: ModelBackend = field(repr=False)

    async def ask(self, prompts: Sequence[Messages]) -> list[list[ReadReply]]:
        """Return the replies to each prompt, in order. Sample i of every prompt is drawn with seed `seed + i`."""
        samples = range(self.spec.samples)
        replies = await self.backend.chats([self.request(messages, i) for messages in prompts for i in samples])
        read = [self._read(reply) for reply in replies]
        return [read[start : start + len(samples)] for start in range(0, len(read), len(samples))]

    def request(self, messages: Messages, sample: int = 0) -> ChatRequest:
        """Return what is asked of the backend for a prompt, for one of its samples."""
        return ChatRequest(
            messages,
            self.spec.max_tokens,
            self.spec.temperature,
            0 if self.spec.temperature == 0 else self.spec.seed + sample,
            self.front_matter.answer_schema,
            self.spec.chat_template_kwargs,
        )

    def _read(self, reply: ChatReply) -> ReadReply:
        cost = (reply.prompt_tokens, reply.completion_tokens, reply.seconds)
        if reply.failure is not None:
            return ReadReply("error", None, reply.failure, *cost)
        if reply.finish_reason == "length":
            return ReadReply("unparsed", None, f"{reply.text}\n[cut at {self.spec.max_tokens} tokens]", *cost)
        reading = self.front_matter.of_text(reply.text)
        return ReadReply(reading.status, reading.value, reply.text, *cost, marks=reading.marks)


ModelClient = LogprobClient | TextClient


def model_client(spec: LlmSpec, backend: ModelBackend, criteria: tuple[Criterion, ...] = ()) -> ModelClient:
    """Return the client that asks and reads as a spec's template says; criteria are for a template that reads marks."""
    if isinstance(spec.front_matter, LogprobFrontMatter):
        return LogprobClient(spec.front_matter, backend, spec.chat_template_kwargs)
    if isinstance(spec.front_matter, PointwiseMarks):
        return TextClient(spec.front_matter.reader(criteria), spec, backend)
    return TextClient(spec.front_matter, spec, backend)
