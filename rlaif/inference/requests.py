"""Requests to models, their replies, and who serves a judge's. Importable without vllm, torch or ray."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rlaif.chat import Messages


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """A prompt for which `n` candidates are sampled.

    Attributes:
        id: the caller's key, returned with the reply.
        n: candidates. Candidate i is drawn with seed `seed + i`; temperature 0 ignores it.
        temperature, top_p, max_tokens: as in vLLM's SamplingParams.
        adapter: True samples with the current LoRA adapter, False with the initial policy.
    """

    id: str
    messages: Messages
    n: int = 1
    seed: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 256
    adapter: bool = True


@dataclass(frozen=True, slots=True)
class Candidate:
    """One sampled answer.

    Attributes:
        text: decoded without special tokens, but for those that mark thinking. Where the prompt ends with the tag that
            opens it, that tag comes first.
        token_ids: as sampled; includes the end token where the model ended the answer.
        logprobs: natural log-probability of each token under the policy, raw (before temperature and top_p).
        finish_reason: `stop`, or `length` where `max_tokens` cut it.
    """

    text: str
    token_ids: list[int]
    logprobs: list[float]
    finish_reason: str
    seed: int


@dataclass(frozen=True, slots=True)
class SampleReply:
    """The `n` candidates of one `SampleRequest`, or the reason why there are none.

    Attributes:
        prompt_token_ids: the chat as the engine encoded it.
        policy: id of the weights that answered.
        failure: one line, or None.
    """

    id: str
    prompt_token_ids: list[int]
    candidates: list[Candidate]
    policy: str
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class ChoiceRequest:
    """A prompt whose next token is one of a few choices.

    Attributes:
        choices: their texts, such as ("A", "B"); the first token of each decides.
        prefix: text that begins the answer, before the choice; "" for none.
        chat_template_kwargs: arguments of the chat template of an engine of ours, or None.
    """

    messages: Messages
    choices: tuple[str, ...]
    prefix: str = ""
    chat_template_kwargs: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ChoiceReply:
    """Natural log-probabilities of the choices of one `ChoiceRequest`, and what they cost.

    Attributes:
        logprobs: in the request's order; empty on a failure.
        seconds: from the request to the reply.
        failure: one line that says why there is no answer, or None.
        text: the token that the model would have begun with, a choice or not: the likeliest one.
        text_logprob: its natural log-probability; None from caches of before it was kept.
    """

    logprobs: list[float]
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    failure: str | None = None
    text: str = ""
    text_logprob: float | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A prompt that a judge's model answers with a text.

    Attributes:
        temperature: 0 is greedy and ignores the seed; None is the server's own, for endpoints that take no other.
        schema: JSON schema that constrains the answer, as JSON; None leaves it free.
        chat_template_kwargs: see `ChoiceRequest`.
    """

    messages: Messages
    max_tokens: int
    temperature: float | None = 0.0
    seed: int = 0
    schema: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ChatReply:
    """The text that answers one `ChatRequest`, word for word, and what it cost; or the reason why there is none.

    Attributes:
        finish_reason: `stop`, or `length` where `max_tokens` cut the text; "" on a failure.
        seconds: from the request to the reply.
        failure: one line that says why there is no answer, or None.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """A sequence whose log-probabilities are wanted from token `start` (at least 1) on; see `SampleRequest`."""

    token_ids: list[int]
    start: int
    adapter: bool = False


class ModelBackend(Protocol):
    """Serves the model of a judge. A reply has its own failure."""

    @property
    def identity(self) -> str:
        """Names the weights that answer, for the response cache; "" keeps replies out of it."""
        ...

    async def choices(self, requests: Sequence[ChoiceRequest]) -> list[ChoiceReply]:
        """Return the log-probabilities of each request's choices, in order."""
        ...

    async def chats(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """Answer each request with a text, in order."""
        ...


class Backends(Protocol):
    """Our engines, as the caller of `build_judge` provides them. Endpoints are opened from the judge's file."""

    def vllm(self, model: str) -> ModelBackend:
        """Return the backend of a model by its name in the judge file: `policy`, a hub id, a directory."""
        ...
