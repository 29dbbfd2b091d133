"""Judges: what serves one, which one a run uses, what may be changed of its file, and how verdicts become pairs.

Invariants: `identity` holds what decides the answers, and nothing about speed, retries or prices. No record holds the
value of a header. Wherever a judge is named, NAME:KEY=VALUE,... and a former name read as the name of a file with
overrides.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, field_serializer, field_validator, model_validator

from rlaif.errors import SecretError
from rlaif.io.renamed import current_name
from rlaif.recipe.base import Section

OPENAI_URL = "https://api.openai.com/v1"
NOT_STORED = "***"
"""What a record shows of a header's value."""

ENVIRONMENT_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""A reference to an environment variable in a header's value."""

_OF_THE_REQUEST = ("model", "messages", "stream", "n")
_OF_THE_FILE = {
    **dict.fromkeys(("max_tokens", "max_completion_tokens"), "max_tokens of the judge file"),
    **dict.fromkeys(("temperature", "seed"), "the key of that name in the judge file"),
    **dict.fromkeys(("top_p", "reasoning_effort"), "the key of that name in the backend"),
}

_HEADER_NAME, HEADER_VALUE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"), re.compile(r"[\x20-\x7e\t]+")


def check_headers(headers: object) -> object:
    """Return headers if they can be sent, or raise SecretError."""
    if not isinstance(headers, dict):
        raise SecretError("expected a value by name, such as {X-Team: research}")
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise SecretError(f"{name!r} is no header's name; expected one such as X-Team")
        if not isinstance(value, str) or not HEADER_VALUE.fullmatch(value):
            raise SecretError(f"{name}: expected a text of printable ASCII characters; put a number in quotes")
    return headers


def check_url(url: str, *, such_as: str, secret: str) -> str:
    """Return a URL if it can be stored and sent to, or raise ValueError, with an example and the place for a secret.

    Raises:
        ValueError: it is no URL.
        SecretError: it holds a credential or a query.
    """
    try:
        parts = urlsplit(url)
        plain = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        # What cannot be taken apart may hold a credential anywhere.
        raise SecretError(f"expected a URL such as {such_as}, with a port of 1 to 65535 if any") from None
    if not plain:
        raise ValueError(f"expected a URL such as {such_as}")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise SecretError(f"holds a credential or a query; expected the plain URL, and {secret}")
    return url


class VllmBackend(Section):
    """Our own vLLM engines."""

    type: Literal["vllm"]
    model: str = Field(default="policy", min_length=1)
    """`policy` is the initial policy (outside a run, the command's `--model`); else a hub id or a local directory."""
    chat_template_kwargs: dict[str, JsonValue] = Field(default={})
    """Arguments of the model's chat template, such as `{enable_thinking: false}`. One that the template does not use is
    refused."""

    @property
    def identity(self) -> dict[str, Any]:
        """What decides who answers."""
        identity: dict[str, Any] = {"type": self.type, "model": self.model}
        return identity | ({"chat_template_kwargs": self.chat_template_kwargs} if self.chat_template_kwargs else {})


class Prices(Section):
    """What an endpoint charges."""

    prompt: float = Field(ge=0, allow_inf_nan=False)
    """For a million tokens of prompt."""
    completion: float = Field(ge=0, allow_inf_nan=False)
    """For a million tokens of answer."""
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    """ISO 4217 code of the currency: three capital letters."""

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the cost of an answer, in the currency."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


class OpenAIBackend(Section):
    """An endpoint that speaks OpenAI's protocol: OpenAI's own, another provider's, or a server of your own."""

    type: Literal["openai"]
    model: str = Field(min_length=1)
    """The model's name at the endpoint."""
    base_url: str = OPENAI_URL
    """URL of the endpoint, without a credential or a query. It is part of the judge's identity; the environment's
    `OPENAI_BASE_URL` is not read."""
    api_key_env: str | None = Field(default="OPENAI_API_KEY", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Environment variable that holds the key; null for a server that needs none. The key itself is never written."""
    concurrency: int = Field(default=8, ge=1, le=1024)
    """Most requests on their way at once."""
    timeout: float = Field(default=120.0, gt=0, le=3600)
    """Seconds without an answer after which a request is given up and tried again."""
    retries: int = Field(default=5, ge=0, le=100)
    """Tries after the first, on 429, 5xx, time-outs, dropped connections and malformed responses; then the verdict is
    an error."""
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The endpoint's name for the longest answer; where the model refuses it, the other one is sent."""
    reasoning_effort: str | None = Field(default=None, min_length=1, max_length=32)
    """Of a reasoning model, such as `none`, `low` or `high`; null leaves it to the endpoint. Log-probabilities often
    need `none`."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Of a judge that answers with a text: only the likeliest tokens, up to this probability together, are drawn."""
    extra_body: dict[str, JsonValue] = Field(default={})
    """More keys of each request, such as `{chat_template_kwargs: {enable_thinking: false}}` for vLLM. They are stored
    with a run."""
    headers: dict[str, str] = Field(default={}, repr=False)
    """More headers of each request. `${NAME}` in a value is the environment variable NAME, the place for a secret.
    Values are neither shown nor stored, and are no part of the judge's identity."""
    max_error_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the last 100 requests that may fail, counted from 20 on; above it the work stops. A request that a
    content filter or the length of its own text stops is not counted. 1 never stops."""
    prices: Prices | None = None
    """Prices; null leaves money out of every report."""

    @field_validator("base_url")
    @classmethod
    def _is_a_plain_url(cls, url: str) -> str:
        return check_url(url, such_as=OPENAI_URL, secret="the key in an environment variable").rstrip("/")

    @field_validator("extra_body")
    @classmethod
    def _has_no_key_of_ours(cls, body: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for name in body:
            if name in _OF_THE_REQUEST:
                raise ValueError(f"{name} is set with each request; remove it")
            if name in _OF_THE_FILE:
                raise ValueError(f"{name} has a key of its own; expected {_OF_THE_FILE[name]}")
        return body

    @field_validator("headers", mode="before")
    @classmethod
    def _can_be_sent(cls, headers: object) -> object:
        return check_headers(headers)

    @field_serializer("headers", when_used="json")
    def _without_values(self, headers: dict[str, str]) -> dict[str, str]:
        """Keep a value that names a variable, and no other."""
        return {name: value if ENVIRONMENT_VARIABLE.search(value) else NOT_STORED for name, value in headers.items()}

    @property
    def identity(self) -> dict[str, Any]:
        """What decides who answers, and how it is asked wherever that is not the default."""
        asked = {"reasoning_effort": self.reasoning_effort, "top_p": self.top_p, "extra_body": self.extra_body}
        return {
            "type": self.type,
            "model": self.model,
            "base_url": self.base_url,
            **{key: value for key, value in asked.items() if value not in (None, {})},
        }


Backend = Annotated[VllmBackend | OpenAIBackend, Field(discriminator="type")]


class JudgeOverrides(Section):
    """Values that replace those of a judge file; null keeps the file's. A panel passes them on to its members."""

    model: str | None = Field(default=None, min_length=1)
    """The model that judges of kind `llm` ask, on the backends of their files; null keeps the files'."""
    backend: Backend | None = None
    """The backend of judges of kind `llm`, with its model; null keeps the files'."""
    reasoning: bool | None = None
    """Whether judges of kind `llm` give reasons before a verdict; null keeps what the files say."""
    skip_when_both_below: float | None = None
    """That of a panel; null keeps the file's."""

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        if self.model is not None and self.backend is not None:
            raise ValueError("model and backend are both given; expected the model in the backend")
        return self

    def given(self) -> dict[str, Any]:
        """Return the values that are not null."""
        return {key: value for key in JudgeOverrides.model_fields if (value := getattr(self, key)) is not None}


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of both; where both set a key, or the model in two ways, `above` wins."""
    if above.keys() & {"model", "backend"}:
        below = {key: value for key, value in below.items() if key not in ("model", "backend")}
    return {**below, **above}


def split_judge_name(name: str) -> tuple[str, Mapping[str, Any]]:
    """Return the name or path of a judge file, and the overrides of a name such as `finance-grounded:reasoning`.

    >>> split_judge_name("finance-panel:model=some/model,reasoning")
    ('finance-panel', {'model': 'some/model', 'reasoning': True})
    """
    file, _, suffix = current_name("judges", name).partition(":")
    pairs = (part.partition("=") for part in suffix.split(",") if part)
    return file, {key.strip(): value if equals else True for key, equals, value in pairs}


class GoldSetSection(Section):
    """Pairs that people decided, judged along with every round."""

    path: str = Field(min_length=1)
    """A label file; see `rlaif judge labels`. Labels on which people see a tie are left out."""
    columns: dict[str, str | None] = Field(default_factory=dict)
    """The file's own names of columns, by field: `{human: better}`; null reads none."""
    min_agreement: float = Field(default=0.7, gt=0, le=1)
    """Share of the labels that the judge must decide as people did; below it the round stops before it samples. Ties,
    unreadable verdicts and errors count as disagreement."""
    limit: int | None = Field(default=None, ge=1)
    """Take only the first so many labels; null takes all."""


class JudgeSection(JudgeOverrides):
    """The judge of a run."""

    name: str = Field(min_length=1)
    """A name in `judges/`, or the path of a judge file; `NAME:reasoning` and `NAME:model=MODEL` set those keys too."""
    max_cost: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Money, in the currency of the judge file's prices, at which the run stops before it asks an endpoint again. Raise
    it and run the same command to go on; null sets no limit."""
    gold_set: GoldSetSection | None = None
    """Pairs that people decided, on which the judge is checked in every round; null checks none."""

    @model_validator(mode="before")
    @classmethod
    def _of_the_name(cls, tree: Any) -> Any:
        """Give a name's overrides keys of their own, where the section does not set them."""
        if not isinstance(tree, dict) or not isinstance(tree.get("name"), str):
            return tree
        name, overrides = split_judge_name(tree["name"])
        return {**merged(overrides, {key: value for key, value in tree.items() if value is not None}), "name": name}


class PairsSection(Section):
    """How decisions become preference pairs."""

    per_question: Literal["all", "best-worst"] = "all"
    """`all` keeps every decided comparison; `best-worst` keeps the one with the widest margin."""
    min_margin: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Least margin of a decision: the distance of 2p - 1 from 0 of a preference p, which is at most 1; or the
    difference of two ratings on the judge's scale."""
    max_per_question: int | None = Field(default=None, ge=1)
    """With `all`, the most pairs of one question, widest margins first; null keeps all."""
    truncated: Literal["never_chosen", "allow", "leave_out"] = "never_chosen"
    """Candidates of a run that `sampling.max_tokens` cut: `never_chosen` makes no pair in which one is preferred, since
    the policy would learn not to end; `leave_out` makes none with one on either side; `allow` treats them as any
    other."""
