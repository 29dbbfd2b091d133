"""What endpoints send in the place of a plain answer: odd bodies with status 200, and errors in providers' words."""

from dataclasses import dataclass
from typing import Any


def completion(message: Any = None, *, usage: Any = None, **choice: Any) -> dict[str, Any]:
    """Return a completion with a message, or a text as its content."""
    message = {"role": "assistant", "content": message} if isinstance(message, str | None) else message
    return {"choices": [{"index": 0, "finish_reason": "stop", "message": message} | choice], "usage": usage}


@dataclass(frozen=True)
class Odd:
    """A body that is sent with status 200, and what it comes to: a text, or words of a failure."""

    body: Any
    text: str = ""
    failure: str = ""
    tokens: tuple[int, int] = (0, 0)
    tries: int = 1


def _null(**more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, **more}


_USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
_CUT = "cut in its reasoning at 64 tokens; raise max_tokens"

ODD_REPLIES: dict[str, Odd] = {
    "parts": Odd(completion({"content": [{"type": "text", "text": "[["}, {"type": "text", "text": "A]]"}]}), "[[A]]"),
    "a part of thinking": Odd(
        completion({"content": [{"type": "thinking", "thinking": [{"text": "[[B]]"}]}, {"text": "[[A]]"}]}), "[[A]]"
    ),
    "parts that are texts": Odd(completion({"content": ["[[A", "]]"]}), "[[A]]"),
    "a part that refuses": Odd(completion({"content": [{"type": "refusal", "refusal": "I will not."}]}), "I will not."),
    "parts without a text": Odd(completion({"content": [{"type": "image_url"}, None]}), failure="the answer is empty"),
    "parts of nonsense": Odd(completion({"content": [7]}), failure="content of the message is no text", tries=2),
    "a number": Odd(completion({"content": 7}), failure="content of the message is no text", tries=2),
    "reasoning beside the text": Odd(completion({"content": "[[A]]", "reasoning_content": "[[B]]"}), "[[A]]"),
    "reasoning alone": Odd(completion(_null(reasoning_content="[[B]]")), failure="the answer is empty"),
    "reasoning alone, otherwise named": Odd(completion(_null(reasoning="[[B]]")), failure="the answer is empty"),
    "cut in its reasoning": Odd(completion(_null(reasoning_content="so"), finish_reason="length"), failure=_CUT),
    "cut before its text": Odd(completion("", finish_reason="length", usage=_USAGE), failure=_CUT, tokens=(7, 3)),
    "cut in its thinking": Odd(completion("<think>is it [[A]] or", finish_reason="length"), failure=_CUT),
    "cut as others call it": Odd(completion("", finish_reason="MAX_TOKENS"), failure=_CUT),
    "null": Odd(completion(None), failure="the answer is empty"),
    "empty": Odd(completion("", usage=_USAGE), failure="the answer is empty", tokens=(7, 3)),
    "white space": Odd(completion(" \n "), failure="the answer is empty"),
    "no content": Odd(completion({"role": "assistant"}), failure="the answer is empty"),
    "a refusal": Odd(completion(_null(refusal="I will not.")), "I will not."),
    "a filter": Odd(completion("[[A", finish_reason="content_filter"), failure="content filter stopped the answer"),
    "another's filter": Odd(completion(None, finish_reason="SAFETY"), failure="content filter stopped the answer"),
    "a tool": Odd(completion(_null(tool_calls=[{}]), finish_reason="tool_calls"), failure="called a tool"),
    "a tool beside the text": Odd(completion("[[A]]", finish_reason="tool_calls"), "[[A]]"),
    "broken off": Odd(completion("[[A", finish_reason="error"), failure="finish_reason: error", tries=2),
    "broken off, with its error": Odd(
        completion("", finish_reason="error", error={"code": 502, "message": "upstream"}), failure="HTTP 502: upstream",
        tries=2,
    ),
    "no finish_reason": Odd(completion("[[A]]", finish_reason=None), "[[A]]"),
    "an unknown finish_reason": Odd(completion("[[A]]", finish_reason="eos"), "[[A]]"),
    "no choices": Odd({"choices": [], "usage": _USAGE}, failure="malformed response", tokens=(14, 6), tries=2),
    "null choices": Odd({"choices": None}, failure="malformed response", tries=2),
    "missing choices": Odd({"id": "c"}, failure="malformed response", tries=2),
    "a null choice": Odd({"choices": [None]}, failure="malformed response", tries=2),
    "a null message": Odd({"choices": [{"message": None}]}, failure="malformed response", tries=2),
    "an error that may pass": Odd({"error": {"code": 503, "message": "busy"}}, failure="HTTP 503: busy", tries=2),
    "a limited rate": Odd({"error": {"code": "rate_limit", "message": "slow"}}, failure="HTTP 429: slow", tries=2),
    "an error without a code": Odd({"error": "overloaded"}, failure="overloaded", tries=2),
    "an error of vLLM": Odd({"object": "error", "message": "dead", "code": 500}, failure="HTTP 500: dead", tries=2),
    "an error about the text": Odd(
        {"error": {"code": 400, "message": "maximum context length is 8 tokens"}}, failure="maximum context length"
    ),
    "null usage": Odd(completion("[[A]]"), "[[A]]"),
    "null counts": Odd(completion("[[A]]", usage={"prompt_tokens": None, "completion_tokens": None}), "[[A]]"),
    "half the counts": Odd(completion("[[A]]", usage={"prompt_tokens": 7}), "[[A]]"),
    "a total": Odd(completion("[[A]]", usage={"prompt_tokens": 7, "total_tokens": 10}), "[[A]]", tokens=(7, 3)),
    "a total with reasoning": Odd(
        completion("[[A]]", usage={"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 50}), "[[A]]",
        tokens=(7, 43),
    ),
    "counts of nonsense": Odd(completion("[[A]]", usage={"prompt_tokens": "x", "completion_tokens": -1}), "[[A]]"),
    "usage of nonsense": Odd(completion("[[A]]", usage=[1]), "[[A]]"),
}  # fmt: skip


@dataclass(frozen=True)
class Refusal:
    """An error of status 400 or the like, the parameter that it refuses, and what is sent instead: None for nothing."""

    status: int
    body: Any
    parameter: str
    instead: Any = None


def _error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


_OTHER = {"max_completion_tokens": 64}
_OBJECT = {"response_format": {"type": "json_object"}}

REFUSALS: dict[str, Refusal] = {
    "OpenAI: max_tokens": Refusal(400, _error(
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        type="invalid_request_error", param="max_tokens", code="unsupported_parameter"), "max_tokens", _OTHER),
    "OpenAI: temperature": Refusal(400, _error(
        "Unsupported value: 'temperature' does not support 0.7. Only the default (1) value is supported.",
        type="invalid_request_error", param="temperature", code="unsupported_value"), "temperature"),
    "OpenAI: json_schema": Refusal(400, _error(
        "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
        type="invalid_request_error", param=None, code=None), "response_format", _OBJECT),
    "Azure: an old version": Refusal(400, _error(
        "Unrecognized request argument supplied: seed", type="invalid_request_error", param=None, code=None), "seed"),
    "Anthropic: deprecated": Refusal(400, _error(
        "`temperature` is deprecated for this model.", type="invalid_request_error", code="invalid_request_error"),
        "temperature"),
    "Google: unknown name": Refusal(400, [_error(
        'Invalid JSON payload received. Unknown name "max_tokens": Cannot find field.', code=400,
        status="INVALID_ARGUMENT")], "max_tokens", _OTHER),
    "vLLM: extra_forbidden": Refusal(400, {
        "object": "error", "type": "BadRequestError", "param": None, "code": 400,
        "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are not permitted'}]"},
        "seed"),
    "Ollama: a field": Refusal(400, _error(
        "json: unknown field max_tokens", type="invalid_request_error", param=None, code=None), "max_tokens", _OTHER),
    "llama.cpp: not supported": Refusal(501, _error(
        "response_format json_schema is not supported by this server", code=501, type="not_supported_error"),
        "response_format", _OBJECT),
    "Groq: response format": Refusal(400, _error(
        "This model does not support response format `json_schema`. See supported models at https://console.groq.com",
        type="invalid_request_error"), "response_format", _OBJECT),
    "Together: validation": Refusal(422, _error(
        "Input validation error: `seed` must be null", type="invalid_request_error", param="seed", code=None), "seed"),
    "Mistral: detail": Refusal(422, {"object": "error", "message": {"detail": [
        {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": 5}]},
        "type": "invalid_request_error", "param": None, "code": None}, "seed"),
    "FastAPI: detail": Refusal(422, {"detail": [
        {"type": "extra_forbidden", "loc": ["body", "max_tokens"], "msg": "Extra inputs are not permitted"}]},
        "max_tokens", _OTHER),
    "DeepSeek: unavailable": Refusal(400, _error(
        "This response_format type is unavailable now", type="invalid_request_error", param=None,
        code="invalid_request_error"), "response_format", _OBJECT),
    "OpenRouter: a provider's words": Refusal(400, _error("Provider returned error", code=400, metadata={
        "raw": '{"error":{"message":"Unsupported parameter: temperature is not supported with this model."}}',
        "provider_name": "OpenAI"}), "temperature"),
    "DeepInfra: 405": Refusal(405, _error(
        "json_schema response format is not supported for model: m", type="APIError", code="405"), "response_format",
        _OBJECT),
}  # fmt: skip

TOP_LOGPROBS: dict[str, tuple[Any, int]] = {
    "OpenAI": (_error("Invalid value for 'top_logprobs': must be less than or equal to 5.", param="top_logprobs"), 5),
    "vLLM": (_error("Requested sample logprobs of 20, which is greater than max allowed: 5", code=400), 5),
    "Together": (_error("Input validation error: `top_logprobs` must be <= 8"), 8),
    "DeepSeek": (_error("Invalid top_logprobs value, the valid range of top_logprobs is [0, 10]"), 10),
    "Google": (_error("The value of logprobs must be in range [0, 6)."), 5),
    "a limit of its own": (_error("top_logprobs is invalid", param="top_logprobs"), 5),
}
"""Errors about too many alternatives, and how many are asked for then."""

NO_LOGPROBS: dict[str, tuple[int, Any]] = {
    "OpenAI": (403, _error("You are not allowed to request logprobs from this model", type="invalid_request_error")),
    "reasoning": (400, _error("Unsupported parameter: 'logprobs' is not supported with this model.", param="logprobs")),
    "Google": (400, [_error("Logprobs is not enabled for models/m", code=400, status="INVALID_ARGUMENT")]),
    "Together": (400, _error("5 is greater than the maximum of 1 - 'logprobs'", param="logprobs")),
    "Groq": (400, _error("property 'logprobs' is unsupported")),
    "DeepSeek": (400, _error("deepseek-reasoner does not support this logprobs", code="invalid_request_error")),
}
"""Errors of models that give no log-probabilities, or too few."""

SAME_FOR_ALL: dict[str, tuple[int, Any, str]] = {
    "400": (400, _error("max_tokens is too large: 64. This model supports at most 16 completion tokens"), "too large"),
    "402": (402, _error("Insufficient credits", code=402), "Insufficient credits"),
    "403": (403, _error("not your region", code="forbidden"), "not your region"),
    "404": (404, _error("The model `m` does not exist", code="model_not_found"), "does not exist"),
    "404 of FastAPI": (404, {"detail": "Not Found"}, "HTTP 404: Not Found"),
    "422": (422, {"detail": [{"loc": ["body", "model"], "msg": "no such model"}]}, "no such model"),
    "404 inside a 200": (200, _error("no such model", code=404), "HTTP 404: no such model"),
    "no money inside a 200": (200, _error("Insufficient Balance", code="insufficient_balance"), "is used up"),
}
"""Errors that every request would get, with words of the message that ends the work."""

ABOUT_THE_TEXT: dict[str, tuple[int, Any]] = {
    "OpenAI: too long": (400, _error("Maximum context length is 8 tokens.", code="context_length_exceeded")),
    "vLLM: too long": (400, _error(
        "'max_tokens' is too large: 64. This model's maximum context length is 70 tokens, and your request has 9")),
    "llama.cpp: too long": (400, _error("the request exceeds the available context size", code=400)),
    "Anthropic: too long": (400, _error("prompt is too long: 9 tokens > 8 maximum")),
    "Azure: filtered": (400, _error("The response was filtered", code="content_filter")),
    "OpenRouter: flagged": (403, _error("Your chosen model requires moderation and your input was flagged", code=403)),
    "too large": (413, _error("Request too large")),
    "Groq: no JSON": (400, _error("Failed to generate JSON.", code="json_validate_failed")),
}  # fmt: skip
"""Errors about one request, which say nothing of the next."""
