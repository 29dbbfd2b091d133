"""Reads what an endpoint sends with status 200: an answer, or why it is none.

Invariant: no body raises. A body that is not plainly an answer has a failure, and what it cost is read all the same.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from rlaif.chat import visible_text
from rlaif.errors import storable
from rlaif.inference.refusals import ProviderError, read_error

FailureKind = Literal["content", "answer", "server", "protocol", "connection"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request has no answer.

    Attributes:
        kind: `content` lies in what this one request asks, such as a text that a filter stops; `answer` in what the
            model said; `server` in an error that the endpoint sent; `protocol` in a response of another form than was
            asked for; `connection` in no word from it.
        reason: one line.
        may_pass: whether the same request may succeed in a moment.
    """

    kind: FailureKind
    reason: str
    may_pass: bool = False


@dataclass(frozen=True, slots=True)
class Completion:
    """What one request came to.

    Attributes:
        text: of the answer, without the model's reasoning; a refusal is its text.
        finish_reason: `stop` or `length`; "" on a failure.
        tokens: of the prompt and of the answer with its reasoning, or None where the endpoint does not say.
        alternatives: log-probability of each likeliest first token, NaN for one that cannot be read ("" if its text
            cannot be); empty where the endpoint gives none.
        error: the provider's own error in the place of an answer.
        failure: why there is no answer, or None.
    """

    text: str = ""
    finish_reason: str = ""
    tokens: tuple[int, int] | None = None
    alternatives: Mapping[str, float] = field(default_factory=dict)
    error: ProviderError | None = None
    failure: Failure | None = None


_CUT = ("length", "max_tokens", "max_output_tokens", "model_length")
_FILTERED = ("content_filter", "safety", "recitation", "blocklist", "prohibited_content", "spii", "sensitive")
_BROKEN = ("error", "insufficient_system_resource", "network_error", "malformed_function_call", "abort")
_TOOLS = ("tool_calls", "function_call", "tool_use")


def read_completion(body: object) -> Completion:
    """Return what the body of a response says."""
    if not isinstance(body, dict):
        return _malformed("protocol", "not a chat completion")
    tokens = _tokens(body.get("usage"))
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    choice = choice if isinstance(choice, dict) else {}
    for holder in (body, choice):
        if holder.get("error") or (holder is body and body.get("object") == "error"):
            return Completion(tokens=tokens, error=read_error(None, holder))
    message = choice.get("message")
    if not isinstance(message, dict):
        return replace(_malformed("protocol", "not a chat completion"), tokens=tokens)
    text = _text(message.get("content"))
    if text is None:
        return replace(_malformed("answer", "the content of the message is no text"), tokens=tokens)
    refusal = message.get("refusal")
    text = storable(text or (refusal if isinstance(refusal, str) else ""))
    reason = str(choice.get("finish_reason") or "").lower()
    if reason in _FILTERED:
        failure = Failure("content", "the endpoint's content filter stopped the answer")
        return Completion(tokens=tokens, failure=failure)
    if reason in _BROKEN:
        failure = Failure("answer", f"the endpoint broke the answer off (finish_reason: {reason})", may_pass=True)
        return Completion(tokens=tokens, failure=failure)
    if not text.strip() and reason in _TOOLS:
        failure = Failure("answer", f"the model called a tool instead of answering (finish_reason: {reason})")
        return Completion(tokens=tokens, failure=failure)
    return Completion(text, "length" if reason in _CUT else "stop", tokens, _alternatives(choice.get("logprobs")))


def without_text(completion: Completion, max_tokens: int) -> Failure | None:
    """Return why an answer holds no text to read, or None where it does."""
    text = completion.text.strip()
    if completion.finish_reason == "length" and not visible_text(text):
        return Failure("answer", f"the answer was cut in its reasoning at {max_tokens} tokens; raise max_tokens of the "
            "judge file")  # fmt: skip
    return None if text else Failure("answer", "the answer is empty")


def _malformed(kind: FailureKind, problem: str) -> Completion:
    return Completion(failure=Failure(kind, f"malformed response: {problem}", may_pass=True))


def _text(content: object) -> str | None:
    """Return the text of a message: "" of none, None of what is neither a text nor parts with texts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    parts = [content] if isinstance(content, dict) else content
    if not isinstance(parts, list):
        return None
    texts = [_part(part) for part in parts]
    return None if any(text is None for text in texts) else "".join(text or "" for text in texts)


def _part(part: object) -> str | None:
    """Return the text of one part; "" of one without, such as the model's reasoning."""
    if part is None or isinstance(part, str):
        return part or ""
    if not isinstance(part, dict):
        return None
    kind = part.get("type", "text")
    if kind not in ("text", "output_text", "refusal"):
        return "" if isinstance(kind, str) else None
    text = part.get("refusal" if kind == "refusal" else "text")
    return text if isinstance(text, str) else "" if text is None else None


def _tokens(usage: object) -> tuple[int, int] | None:
    """Return the tokens that are charged for; a count that is missing follows from the other and the total."""
    if not isinstance(usage, dict):
        return None
    prompt, answer, total = (_count(usage.get(f"{name}_tokens")) for name in ("prompt", "completion", "total"))
    if total is not None:
        prompt = max(total - answer, 0) if prompt is None and answer is not None else prompt
        # Some providers leave the tokens of the reasoning out of the answer's.
        answer = max(total - prompt, answer or 0) if prompt is not None else answer
    return None if prompt is None or answer is None else (prompt, answer)


def _count(value: object) -> int | None:
    number = _number(value)
    return int(number) if math.isfinite(number) and number >= 0 else None


def _number(value: object) -> float:
    """Return a number of JSON; NaN of anything else, and of one that no float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _alternatives(logprobs: object) -> dict[str, float]:
    """Return the log-probabilities of the likeliest first tokens of an answer; see `Completion`."""
    steps: Any = logprobs.get("content") if isinstance(logprobs, dict) else None
    step = steps[0] if isinstance(steps, list) and steps else None
    entries = step.get("top_logprobs") if isinstance(step, dict) else None
    given = dict(map(_entry, entries if isinstance(entries, list) else []))
    if given and (own := _entry(step))[0]:
        given.setdefault(*own)
    return {} if all(map(math.isnan, given.values())) else given


def _entry(entry: object) -> tuple[str, float]:
    token, logprob = (entry.get("token"), entry.get("logprob")) if isinstance(entry, dict) else (None, None)
    if not isinstance(token, str):
        return "", math.nan
    number = _number(logprob)
    return storable(token), math.nan if number == math.inf else number
