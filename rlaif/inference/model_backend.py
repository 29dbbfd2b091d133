"""What serves the model of a judge: engines of ours or an endpoint."""

from collections.abc import Sequence
from typing import Protocol

from rlaif.inference.requests import ChatReply, ChatRequest, ChoiceReply, ChoiceRequest


class ModelBackend(Protocol):
    """Serves the model of a judge."""

    @property
    def identity(self) -> str:
        """What names the weights that answer, for the verdict cache; "" keeps replies out of it."""
        ...

    async def choices(self, requests: Sequence[ChoiceRequest]) -> list[ChoiceReply]:
        """Answer questions on one prompt with one choice each, in order; one that fails has a reply that says why."""
        ...

    async def chats(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """Answer questions on one prompt with a text each, in order; one that fails has a reply that says why."""
        ...


class Backends(Protocol):
    """What a caller of `build_judge` provides: engines of ours. Remote endpoints come from the judge's file alone."""

    def vllm(self, model: str) -> ModelBackend:
        """Return what serves a model, by its name in the judge file: `policy`, a hub id, a directory."""
        ...
