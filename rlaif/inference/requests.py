"""Requests to an engine and its replies: plain frozen data, importable without vllm, torch or ray."""

from dataclasses import dataclass

from rlaif.chat import Messages


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """A prompt for which `n` candidates are sampled.

    Attributes:
        id: the caller's key, returned with the reply.
        messages: the chat, `{"role", "content"}` each.
        n: candidates. Candidate i is drawn with seed `seed + i`.
        seed: of the first candidate; ignored at temperature 0.
        temperature, top_p, max_tokens: as in vLLM's SamplingParams.
        adapter: True samples with the current LoRA adapter, False with the base model.
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
        text: decoded without special tokens.
        token_ids: as sampled; includes the end token where the model ended the answer.
        logprobs: natural log-probability of each token under the policy, raw (before temperature and top_p).
        finish_reason: `stop`, or `length` where `max_tokens` cut it.
        seed: what it was drawn with.
    """

    text: str
    token_ids: list[int]
    logprobs: list[float]
    finish_reason: str
    seed: int


@dataclass(frozen=True, slots=True)
class SampleReply:
    """The candidates of one `SampleRequest`, or the reason why there are none.

    Attributes:
        id: the request's.
        prompt_token_ids: the chat as the engine encoded it.
        candidates: `n` of them; empty on a failure.
        policy: id of the weights that answered.
        failure: one line that says why nothing was sampled, or None.
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
        messages: the chat; the choice is the first token of the answer.
        choices: their texts, such as ("A", "B"); the first token of each decides.
        prefix: text that begins the answer, before the choice; "" for none.
    """

    messages: Messages
    choices: tuple[str, ...]
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class ChoiceReply:
    """Log-probabilities of the choices of one `ChoiceRequest`.

    Attributes:
        logprobs: natural log-probability of each choice, in the request's order; empty on a failure.
        prompt_tokens, completion_tokens: what it cost.
        seconds: from the request to the reply.
        failure: one line that says why there is no answer, or None.
        text: the likeliest choice, for the record.
    """

    logprobs: list[float]
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    failure: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A prompt that a judge's model answers with a text.

    Attributes:
        messages: the chat.
        max_tokens: longest answer.
        temperature: 0 is greedy; None is the server's own, for endpoints that take no other.
        seed: of the answer; ignored at temperature 0.
        schema: JSON schema that constrains the answer, as JSON; None leaves it free.
    """

    messages: Messages
    max_tokens: int
    temperature: float | None = 0.0
    seed: int = 0
    schema: str | None = None


@dataclass(frozen=True, slots=True)
class ChatReply:
    """The text that answers one `ChatRequest`, or the reason why there is none.

    Attributes:
        text: as the model wrote it; "" on a failure.
        finish_reason: `stop`, or `length` where `max_tokens` cut it; "" on a failure.
        prompt_tokens, completion_tokens: what it cost.
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
    """A token sequence of which the log-probabilities are wanted, from token `start` (at least 1) on.

    Attributes:
        token_ids: the whole sequence, prompt and answer.
        start: index of the first token.
        adapter: True scores with the current LoRA adapter, False with the base model.
    """

    token_ids: list[int]
    start: int
    adapter: bool = False
