"""One request to an endpoint of a test, through `OpenAIServer`, and a judge file that asks one."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlaif.inference.limits import Spending
from rlaif.inference.openai_server import OpenAIServer
from rlaif.inference.requests import ChatReply, ChatRequest, ChoiceReply, ChoiceRequest
from rlaif.recipe.judge import OpenAIBackend
from tests.endpoint import Endpoint, Exchange, endpoint

KEY = "sk-do-not-tell-4711"
MESSAGES = [{"role": "user", "content": "Which?"}]
REQUEST = ChatRequest(MESSAGES, 64)
CHOICES = ChoiceRequest(MESSAGES, ("A", "B"))


def backend(server: Endpoint, **options: Any) -> OpenAIBackend:
    return OpenAIBackend(type="openai", model="m", base_url=server.url, **options)


def ask(
    answer: Callable[[Exchange, int], None],
    request: ChatRequest = REQUEST,
    spending: Spending | None = None,
    **options: Any,
) -> tuple[ChatReply, Endpoint]:
    async def chat(server: Endpoint) -> ChatReply:
        client = OpenAIServer(backend(server, **options), spending or Spending())
        try:
            (reply,) = await client.chats([request])
        finally:
            await client.close()
        return reply

    with endpoint(answer) as server:
        return asyncio.run(chat(server)), server


def ask_choices(answer: Callable[[Exchange, int], None], **options: Any) -> ChoiceReply:
    async def choices(server: Endpoint) -> ChoiceReply:
        client = OpenAIServer(backend(server, **options), Spending())
        (reply,) = await client.choices([CHOICES])
        await client.close()
        return reply

    with endpoint(answer) as server:
        return asyncio.run(choices(server))


def logprobs(given: dict[str, float]) -> dict[str, Any]:
    entries = [{"token": token, "logprob": value, "bytes": None} for token, value in given.items()]
    return {"content": [{**entries[0], "top_logprobs": entries}]}


def judge_file(folder: Path, server_url: str, extra: str = "") -> str:
    (folder / "p.md").write_text(
        "---\nkind: pairwise\nverdict: label\npattern: '\\[\\[([AB])\\]\\]'\nchoices: [A, B]\n---\n{% block user %}\n"
        "{{ question }}\n{{ answer_a | quoted }}\n{{ answer_b | quoted }}\n{% endblock %}\n",
        encoding="utf-8",
    )
    path = folder / "remote.yaml"
    path.write_text(
        "kind: llm\nprompt: ./p.md\nbackend:\n  type: openai\n  model: m\n  retries: 1\n"
        f"  base_url: {server_url}\n{extra}",
        encoding="utf-8",
    )
    return str(path)
