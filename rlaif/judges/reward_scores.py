"""The reward model itself: scores of conversations, computed in this process in batches.

Invariant: a score is of the whole conversation, exactly as the model's own chat template writes it, read at its last
token in whatever batch. A conversation that is longer than the model takes is an error: cut, it would be the score of
another one.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.chat import Messages
from rlaif.errors import UserError
from rlaif.models.chat_template import ChatTemplate
from rlaif.models.padding import pad_right, padding_of, set_padding


@dataclass(frozen=True, slots=True)
class Reward:
    """The score of one conversation.

    Attributes:
        score: the model's output; None on a failure. The difference of two is the log-odds that the first is better.
        seconds: its share of the batch that it was scored in.
    """

    score: float | None
    tokens: int
    seconds: float
    failure: str | None = None


class RewardModel:
    """An `AutoModelForSequenceClassification` with one output, in this process, loaded at the first use.

    Conversations that arrive while a batch is computed form the next batch, whatever their question.
    """

    def __init__(self, model: str, batch_size: int = 8, device: str = "auto") -> None:
        self._name, self._batch_size, self._wanted = model, batch_size, device
        self._loaded: tuple[Any, Any, str, int] | None = None
        self._waiting: deque[tuple[Messages, asyncio.Future[Reward]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def rewards(self, chats: Sequence[Messages]) -> list[Reward]:
        """Score conversations that end with the answer, in order; UserError if it is not a reward model."""
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in chats]
        self._waiting.extend(zip(chats, futures, strict=True))
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        return list(await asyncio.gather(*futures))

    async def _work(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(self._batch_size, len(self._waiting)))]
            try:
                rewards = await asyncio.to_thread(self._score, [chat for chat, _ in batch])
            except Exception as error:
                # Every caller gets the error; the next batch may be smaller and succeed.
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), reward in zip(batch, rewards, strict=True):
                if not future.done():
                    future.set_result(reward)

    def _score(self, chats: Sequence[Messages]) -> list[Reward]:
        import torch

        started = time.monotonic()
        if self._loaded is None:
            self._loaded = _load(self._name, self._wanted)
        model, tokenizer, device, longest = self._loaded
        chat_template = ChatTemplate(tokenizer)
        encoded = [chat_template.conversation_ids(chat) for chat in chats]
        fitting = [index for index, tokens in enumerate(encoded) if len(tokens) <= longest]
        scores: dict[int, float] = {}
        if fitting:
            rows = [encoded[index] for index in fitting]
            padding = padding_of(tokenizer, {row[-1] for row in rows}, model.get_input_embeddings().num_embeddings)
            set_padding(model, padding)
            ids, mask = (torch.tensor(each, device=device) for each in pad_right(rows, padding))
            with torch.inference_mode():
                logits = model(input_ids=ids, attention_mask=mask).logits
            scores = dict(zip(fitting, logits[:, 0].float().tolist(), strict=True))
        seconds = (time.monotonic() - started) / len(chats)
        return [self._reward(scores.get(index), len(tokens), longest, seconds) for index, tokens in enumerate(encoded)]

    def _reward(self, score: float | None, tokens: int, longest: int, seconds: float) -> Reward:
        if score is None:
            return Reward(None, tokens, seconds, failure=f"{tokens} tokens, but {self._name} takes {longest}")
        if not math.isfinite(score):
            return Reward(None, tokens, seconds, failure=f"{self._name} gave {score}, which is not a score")
        return Reward(score, tokens, seconds)


def _load(name: str, wanted: str) -> tuple[Any, Any, str, int]:
    """Return a reward model, its tokenizer, its device and the longest conversation that it takes, in tokens."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from rlaif.models.dtype import weights_dtype
    from rlaif.models.resolve import resolve_model

    folder = resolve_model(name)
    device = ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"{name}: device is {device}, but there is no GPU here")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model, info = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=getattr(torch, weights_dtype("auto", device != "cpu")), output_loading_info=True
        )
    except (ValueError, OSError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(f"{name}: transformers cannot load it as a sequence classifier: {reason}") from None
    if missing := info["missing_keys"]:
        # transformers fills them with random numbers and only warns.
        raise UserError(f"{name}: not a reward model: it has no weights for {', '.join(sorted(missing))}")
    if model.config.num_labels != 1:
        raise UserError(f"{name}: {model.config.num_labels} outputs; expected a reward model with one")
    if not tokenizer.chat_template:
        raise UserError(f"{name}: its tokenizer has no chat template; expected one that writes a conversation")
    limits = [tokenizer.model_max_length, getattr(model.config.get_text_config(), "max_position_embeddings", None)]
    longest = min(int(limit) for limit in limits if limit)
    return model.to(device).eval(), tokenizer, device, longest
