"""What goes into an engine and comes out of it: from chats to token ids, and from token ids to texts."""

import json
from collections.abc import Mapping
from typing import Any

from rlaif.inference.requests import Candidate, ChatRequest, ChoiceRequest, SampleRequest
from rlaif.models.answer_text import AnswerText
from rlaif.models.chat_template import ChatTemplate


class EngineTexts:
    """Encodes the requests to an engine and decodes its outputs, with the tokenizer of its model.

    Args:
        chat_template_kwargs: arguments of the chat template when the policy samples; a judge's requests have their own.
    """

    def __init__(self, tokenizer: Any, chat_template_kwargs: Mapping[str, Any] | None) -> None:
        self._tokenizer = tokenizer
        self._sampling = ChatTemplate(tokenizer, chat_template_kwargs)
        self._judging: dict[str, ChatTemplate] = {}
        self._answer_text = AnswerText(tokenizer)

    def sampling_prompt(self, request: SampleRequest) -> list[int]:
        """Return the ids of a prompt of the policy; UserError if the chat template does not take it."""
        return self._sampling.prompt_ids(request.messages)

    def judging_prompt(self, request: ChoiceRequest | ChatRequest) -> list[int]:
        """Return the ids of a judge's prompt; UserError if the chat template does not take it."""
        return self._template(request).prompt_ids(request.messages)

    def _template(self, request: ChoiceRequest | ChatRequest) -> ChatTemplate:
        kwargs = request.chat_template_kwargs
        return self._judging.setdefault(json.dumps(kwargs), ChatTemplate(self._tokenizer, kwargs))

    def plain_ids(self, text: str) -> list[int]:
        """Return the ids of a text alone."""
        return list(self._tokenizer.encode(text, add_special_tokens=False)) if text else []

    def choice_id(self, choice: str, prefix: str) -> int:
        """Return the first id of a choice as it follows the prefix: many tokenizers give " A" and "A" different ids."""
        return self.plain_ids(prefix + choice)[len(self.plain_ids(prefix)) :][0]

    def token(self, token_id: int) -> str:
        """Return the text of one token."""
        return str(self._tokenizer.decode([token_id]))

    def reply(self, request: ChatRequest, part: Any) -> str:
        """Return a judge's reply of one of vLLM's outputs, from the thinking on that its prompt has opened."""
        # A schema holds from the first token and leaves no room for thinking.
        opened = "" if request.schema else self._template(request).opened_thinking
        return opened + self._answer(part)

    def _answer(self, part: Any) -> str:
        return self._answer_text.of(part.token_ids, part.text)

    def candidate(self, part: Any, seed: int) -> Candidate:
        """Return the candidate of one of vLLM's outputs; `seed` is that of the request."""
        return Candidate(
            text=(self._sampling.opened_thinking + self._answer(part)).strip(),
            token_ids=list(part.token_ids),
            logprobs=[step[token].logprob for token, step in zip(part.token_ids, part.logprobs, strict=True)],
            finish_reason=str(part.finish_reason),
            seed=seed + part.index,
        )
