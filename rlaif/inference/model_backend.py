"""The interface to a judge's model, served by our engines or an endpoint."""

from collections.abc import Sequence
from typing import Protocol

from rlaif.inference.requests import ChatReply, ChatRequest, ChoiceReply, ChoiceRequest


class ModelBackend(Protocol):
    """Serves the model of a judge."""

    @property
    def identity(self) -> str:
        """Names the weights that answer, for the response cache; "" keeps replies out of it."""
        ...

    async def choices(self, requests: Sequence[ChoiceRequest]) -> list[ChoiceReply]:
        """Return the log-probabilities of each request's choices, in order; a reply has its own failure."""
        ...

    async def chats(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """Answer each request with a text, in order; a reply has its own failure."""
        ...


class Backends(Protocol):
    """Our engines, as the caller of `build_judge` provides them. Endpoints are opened from the judge's file."""

    def vllm(self, model: str) -> ModelBackend:
        """Return the backend of a model by its name in the judge file: `policy`, a hub id, a directory."""
        ...
