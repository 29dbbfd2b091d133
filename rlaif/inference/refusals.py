"""A provider's error, and what is sent instead of a parameter that a model refuses.

Invariant: a parameter is left out or replaced only where a provider's error names it, and only one without which an
answer still means the same: never a log-probability, nor what the judge file asks for by a key of its own backend.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NO_MONEY = "insufficient_quota"
"""OpenAI's code of an account that is used up, which it reports as a rate limit."""

_OTHER_LIMIT = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_NAMES = {
    "max_tokens": r"max[_ ]?tokens|max_?output_?tokens",
    "max_completion_tokens": r"max[_ ]?completion[_ ]?tokens|max_?output_?tokens",
    "temperature": r"temperature",
    "seed": r"(?:random_)?seed",
    "response_format": r"response[_ ]?format|json[_ ](?:schema|object|mode)|structured[_ ]outputs?",
    "top_logprobs": r"(?:top[_ ]?)?log[_ -]?prob(?:s|abilities)",
    "logprobs": r"log[_ -]?prob(?:s|abilities)",
}
"""Parameters that can be left out or replaced, with what providers call them."""

_REFUSED = re.compile(
    r"not (?:\w+ )?(?:support|permit|allow|enabled|available|implemented|recogni[sz]ed)|n't (?:support|allow)"
    r"|unsupported|unrecogni[sz]ed|unknown|unexpected|unavailable|cannot find|extra (?:inputs|fields)|extra_forbidden"
    r"|not a valid|no longer|deprecated|disallowed|invalid (?:argument|parameter|field)|\binstead\b|only the default"
    r"|does ?n[o']t (?:accept|take|recogni[sz]e)|cannot both|must be (?:omitted|removed|unset|null)",
    re.I,
)
_VALUE = re.compile(r"too (?:large|small|high|big)|at (?:most|least)|m(?:ax|in)imum|less than|greater than|\brange\b"
    r"|exceed|between|positive|>=|<=|≤|≥|\bmust be\b", re.I)  # fmt: skip
_MOST = re.compile(
    r"(?:<=|≤|less than or equal to|at most|up to|no more than|max(?:imum)?(?: (?:allowed|value|of|is|number)){0,3})"
    r"\s*:?\s*(?P<most>\d+)|between \d+ and (?P<between>\d+)"
    r"|(?<![\w-])\d+\s*(?:-|–|to|\.\.)\s*(?P<to>\d+)(?![\w-])"
    r"|[\[(]\s*\d+\s*,\s*(?P<closed>\d+)\s*\]|[\[(]\s*\d+\s*,\s*(?P<open>\d+)\s*\)|(?:less than|<) ?(?P<below>\d+)",
    re.I,
)
_CONTENT = re.compile(
    r"context[_ ](?:length|window|size)|(?:prompt|input|messages?|request|text) (?:\w+ ){0,3}too (?:long|large)"
    r"|reduce the length|string_above_max|too many (?:input )?tokens|content[_ ](?:filter|management|policy)"
    r"|responsibleai|inappropriate|flagged|moderation|was filtered|data_inspection|json_validate_failed"
    r"|failed_generation|(?:usage|safety) polic",
    re.I,
)
_LEAST = re.compile(r"(?:>=|≥|at least|greater than or equal to|minimum(?: value)?(?: is| of)?)\s*:?\s*(\d+)", re.I)
_MOST_TO_RAISE_TO = 64
"""A longest answer that a request for one token may be raised to."""
_CUT = re.compile(r"output limit was reached|(?:higher|increase|larger) max_(?:completion_)?tokens", re.I)
_REFUSING = (400, 403, 404, 405, 422, 501)
_STATUS_OF = {
    401: r"api_key|authentication|unauthori[sz]ed|unauthenticated",
    402: r"insufficient_(?:quota|credits?|balance|funds)|payment|billing",
    403: r"permission|forbidden",
    404: r"not_found",
    429: r"rate_?limit|resource_exhausted|too_many_requests",
    400: r"invalid|bad_?request|unsupported|context_length|content_filter|content_policy",
}
"""The HTTP status that an error inside a 200 would have had, by its code or type."""

_FEW_ALTERNATIVES, _FEWEST_ALTERNATIVES = 5, 2
"""Likeliest tokens that are asked for where a limit is not named, and without which two choices cannot be compared."""


@dataclass(frozen=True, slots=True)
class ProviderError:
    """An error as a provider words it.

    Attributes:
        status: the HTTP status, or the one that its code stands for; None where nothing says.
        code: the provider's own.
        param: the parameter that it names, or "".
        words: its message.
    """

    status: int | None
    code: str
    param: str
    words: str

    @property
    def about_content(self) -> bool:
        """Whether it is about the text of this one request: too long, or stopped by a filter."""
        about = f"{self.code} {self.words}"
        return self.status == 413 or (self.status in (400, 403, 422, 500) and bool(_CONTENT.search(about)))

    @property
    def cut(self) -> bool:
        """Whether the model came to the end of its tokens before it answered, which OpenAI may report as a 400."""
        return self.status == 400 and bool(_CUT.search(self.words))

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed in a moment."""
        return self.status is None or self.status in (408, 409, 425, 429) or self.status >= 500

    @property
    def line(self) -> str:
        """Code and words."""
        return f"HTTP {self.status}: {self.words}" if self.status else f"error {self.code}: {self.words}"


def read_error(status: int | None, body: object) -> ProviderError:
    """Return the error in the body of a response, in whichever form its provider sends it.

    Args:
        status: of the response; None for an error inside a 200.
        body: the JSON value, or the text where it is none.
    """
    while isinstance(body, list) and body:
        body = body[0]
    outer = body if isinstance(body, dict) else {}
    error = outer.get("error") or body
    inner = error if isinstance(error, dict) else {}
    message = next((value for key in ("message", "msg", "detail") if (value := inner.get(key))), None) or error
    details = message.get("detail", message) if isinstance(message, dict) else message
    metadata = inner.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    words = "; ".join(_plain(value) for value in (message, raw) if value)
    code = str(inner.get("code") or inner.get("type") or inner.get("status") or "")
    if status is None:
        about = f"{code} {inner.get('type') or ''} {inner.get('status') or ''}".lower()
        named = (number for number, words in _STATUS_OF.items() if re.search(words, about))
        status = int(code) if re.fullmatch(r"[45]\d\d", code) else next(named, None)
    return ProviderError(status, code, _param(inner.get("param"), details), words or "no message")


def change_for(body: Mapping[str, Any], error: ProviderError) -> "Change | None":
    """Return what to change of a request that was refused; None where nothing that it may do without is named."""
    if error.status not in _REFUSING or error.about_content or error.cut:
        return None
    for name in _named(body, error):
        if change := _change(name, body, error):
            return change
    return None


def refuses_logprobs(body: Mapping[str, Any], error: ProviderError) -> bool:
    """Whether a request for log-probabilities was refused for them."""
    named = next(iter(_named(body, error)), "")
    return error.status in _REFUSING and not error.about_content and named in ("logprobs", "top_logprobs")


@dataclass(frozen=True, slots=True)
class Change:
    """One parameter that is sent under another name, with another value, or not at all."""

    parameter: str
    name: str = ""
    value: Any = None
    least: bool = False
    """Whether `value` is sent only in the place of a smaller one."""

    def apply(self, body: dict[str, Any]) -> None:
        """Change a request that has the parameter."""
        if self.parameter in body:
            value = body.pop(self.parameter)
            if self.name or self.value is not None:
                new = value if self.value is None else max(value, self.value) if self.least else self.value
                body[self.name or self.parameter] = new

    @property
    def instead(self) -> str:
        """What is sent instead, in words."""
        if self.name:
            return f"{self.name} is sent instead"
        if self.value is None:
            return "it is left out"
        return f"{self.value['type'] if isinstance(self.value, dict) else self.value} is sent instead"


@dataclass(slots=True)
class Accepted:
    """What one model at one endpoint takes, as far as its refusals say.

    Attributes:
        answered: whether it has answered any request.
    """

    answered: bool = False
    _changes: dict[str, Change] = field(default_factory=dict)

    def fitted(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a request without what the model refuses."""
        fitted = dict(body)
        for change in self._changes.values():
            change.apply(fitted)
        return fitted

    def learn(self, change: Change) -> bool:
        """Remember a change; returns whether it is new."""
        if self._changes.get(change.parameter) == change:
            return False
        if change.name:
            self._changes.pop(change.name, None)
        self._changes[change.parameter] = change
        return True


def _named(body: Mapping[str, Any], error: ProviderError) -> list[str]:
    """Return the parameters of a request that an error is about, the first one first."""
    ours = [name for name in _NAMES if name in body]
    if exact := [name for name in ours if re.search(rf"(?<![a-z_]){name}(?![a-z_])", error.param.lower())]:
        return exact
    found = {name: re.search(rf"(?<![a-z_])(?:{_NAMES[name]})(?![a-z_])", error.words, re.I) for name in ours}
    return sorted((name for name, match in found.items() if match), key=lambda name: found[name].start())  # type: ignore[union-attr]


def _change(name: str, body: Mapping[str, Any], error: ProviderError) -> Change | None:
    refused = bool(_REFUSED.search(error.words) or "unsupported" in error.code)
    value = bool(_VALUE.search(error.words))
    if name in _OTHER_LIMIT:
        other, least = _OTHER_LIMIT[name], _LEAST.search(error.words)
        if least and body[name] < int(least[1]) <= _MOST_TO_RAISE_TO:
            return Change(name, value=int(least[1]), least=True)
        return Change(name, other) if refused and (not value or other in error.words) else None
    if name == "response_format":
        schema = body[name].get("type") == "json_schema"
        return Change(name, value={"type": "json_object"}) if schema else Change(name)
    if name in ("logprobs", "top_logprobs"):
        asked = body.get("top_logprobs", 0)
        if limits := _limits(error.words):
            fewer = [most for most in limits if _FEWEST_ALTERNATIVES <= most < asked]
        else:
            fewer = [_FEW_ALTERNATIVES] if not refused and asked > _FEW_ALTERNATIVES else []
        return Change("top_logprobs", value=fewer[0]) if fewer else None
    if name == "temperature" and value and not refused and body[name] > 1:
        # A value that the file asks for and the model does not know is for the user to change.
        return None
    return Change(name) if refused or value or error.param or "invalid" in error.words.lower() else None


def _limits(words: str) -> list[int]:
    """Return the greatest values that an error allows, in its words' order."""
    kinds = [(match.lastgroup or "", match) for match in _MOST.finditer(words)]
    return [int(match[kind]) - (kind in ("open", "below")) for kind, match in kinds]


def _param(param: object, details: object) -> str:
    """Return the name of the parameter, from the error or from the place in the body that it names."""
    if isinstance(param, str) and param:
        return param
    first = details[0] if isinstance(details, list) and details else None
    place = first.get("loc") if isinstance(first, dict) else None
    return ".".join(map(str, place)) if isinstance(place, list) else ""


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
