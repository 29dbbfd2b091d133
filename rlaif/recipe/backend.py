"""The `backend` section of a judge file: what serves the judge's model, and its prices.

Invariant: `identity` holds what decides who answers, and nothing about speed, retries or prices.
"""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from rlaif.recipe.base import Section

OPENAI_URL = "https://api.openai.com/v1"


class VllmBackend(Section):
    """Our own vLLM engines."""

    type: Literal["vllm"]
    model: str = Field(default="policy", min_length=1)
    """`policy` is the initial policy (outside a run, the command's `--model`); else a hub id or a local directory."""

    @property
    def identity(self) -> dict[str, Any]:
        """What decides who answers."""
        return {"type": self.type, "model": self.model}


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
    """The endpoint's name for the longest answer; OpenAI's reasoning models need the second."""
    prices: Prices | None = None
    """Prices; null leaves money out of every report."""

    @field_validator("base_url")
    @classmethod
    def _is_a_plain_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected a URL such as https://api.openai.com/v1")
        if parts.username or parts.password or parts.query:
            raise ValueError(
                "holds a credential or a query; expected the plain URL, and the key in an environment variable"
            )
        return url.rstrip("/")

    @property
    def identity(self) -> dict[str, Any]:
        """What decides who answers."""
        return {"type": self.type, "model": self.model, "base_url": self.base_url}


Backend = Annotated[VllmBackend | OpenAIBackend, Field(discriminator="type")]
