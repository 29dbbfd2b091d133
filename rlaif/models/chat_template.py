"""Writes chats as the token ids that a model reads: one way for sampling, judging, scoring and training.

Invariant: every turn of a chat is in what the model reads, or the chat is refused with one line. Where a model's
template takes no system turn, or drops its text in silence, the text begins the next turn of the user; where roles must
alternate, neighbouring turns of one role become one. Both are found by rendering.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from jinja2 import TemplateError

from rlaif.chat import Message, Messages, open_thinking, template_messages
from rlaif.errors import UserError, first_line
from rlaif.models.builtin import BUILTIN
from rlaif.models.resolve import resolve_model, tokenizer_source

_INSTRUCTIONS = ("system", "developer")
_JOINED = "\n\n"
# What templates raise besides Jinja's own errors, such as for a key that a message lacks.
_TEMPLATE_FAULTS = (TemplateError, TypeError, ValueError, LookupError, AttributeError)

_Form = Callable[[Messages], Messages]
Tools = Sequence[dict[str, Any]]
"""Those that a chat offers, as OpenAI's API takes them."""


def with_instructions_in_user_turns(messages: Messages) -> Messages:
    """Return a chat without system turns: the text of each begins the next turn of the user.

    >>> with_instructions_in_user_turns([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}])
    [{'role': 'user', 'content': 'Be brief.\\n\\nHi'}]
    """
    written: Messages = []
    waiting: list[str] = []
    for message in messages:
        if message["role"] in _INSTRUCTIONS:
            waiting.append(message["content"])
            continue
        if waiting and message["role"] == "user":
            message = {**message, "content": _JOINED.join([*waiting, message["content"]])}
        elif waiting:
            written.append({"role": "user", "content": _JOINED.join(waiting)})
        waiting = []
        written.append(message)
    return written + ([{"role": "user", "content": _JOINED.join(waiting)}] if waiting else [])


def with_turns_joined(messages: Messages) -> Messages:
    """Return a chat in which no two neighbouring turns of plain text have the same role: their texts are joined.

    >>> with_turns_joined([{"role": "user", "content": "Hi."}, {"role": "user", "content": "Sales?"}])
    [{'role': 'user', 'content': 'Hi.\\n\\nSales?'}]
    """
    written: Messages = []
    for message in messages:
        before = written[-1] if written else None
        if before and before["role"] == message["role"] and set(before) == set(message) == {"role", "content"}:
            written[-1] = {**before, "content": _JOINED.join([before["content"], message["content"]])}
        else:
            written.append(message)
    return written


_FORMS: tuple[_Form, ...] = (
    lambda messages: messages,
    with_instructions_in_user_turns,
    with_turns_joined,
    lambda messages: with_turns_joined(with_instructions_in_user_turns(messages)),
)


class ChatTemplate:
    """The chat template of a tokenizer, with the arguments that a recipe or a judge file gives it.

    Args:
        tokenizer: of transformers, or vLLM's own copy of one.
        kwargs: arguments of the template, such as `{"enable_thinking": False}`.
    """

    def __init__(self, tokenizer: Any, kwargs: Mapping[str, Any] | None = None) -> None:
        self._tokenizer, self._kwargs = tokenizer, dict(kwargs or {})
        self._forms: dict[tuple[Any, ...], _Form] = {}

    def prompt_ids(self, messages: Messages, tools: Tools = ()) -> list[int]:
        """Return the ids of a chat that a model is to answer; UserError if the template does not take the chat."""
        return self._ids(messages, tools, add_generation_prompt=True)

    def conversation_ids(self, messages: Messages, tools: Tools = ()) -> list[int]:
        """Return the ids of a chat that ends with its answer; UserError if the template does not take the chat."""
        return self._ids(messages, tools, add_generation_prompt=False)

    def check(self, messages: Messages) -> None:
        """Check that the template takes a chat that a model is to answer; UserError if it does not."""
        self._form_of(messages, add_generation_prompt=True)

    @cached_property
    def opened_thinking(self) -> str:
        """What the template writes at the end of a prompt to open the model's thinking, such as `<think>`; else ""."""
        try:
            asked = self._render([{"role": "user", "content": _mark(0)}], add_generation_prompt=True)
        except _TEMPLATE_FAULTS:
            return ""
        return open_thinking(asked.rpartition(_mark(0))[2])

    def left_out(self, conversation: Messages, tools: Tools) -> str:
        """Return what the template leaves out of a chat that ends with its answer: `tools`, `tool_calls` or the
        answer's `reasoning_content`; "" if it leaves out nothing. It is found by rendering with and without."""
        written = self._form_of(conversation, add_generation_prompt=False)(conversation)
        *before, answer = written
        without = {
            "tools": (written, ()) if tools else None,
            "tool_calls": ([_without(message, "tool_calls") for message in written], tools),
            "reasoning_content": ([*before, _without(answer, "reasoning_content")], tools),
        }
        for key, less in without.items():
            if less is not None and (key == "tools" or less[0] != written) and self._same((written, tools), less):
                return key
        return ""

    def _same(self, first: tuple[Messages, Tools], second: tuple[Messages, Tools]) -> bool:
        try:
            texts = [self._render(messages, tools, add_generation_prompt=False) for messages, tools in (first, second)]
        except _TEMPLATE_FAULTS:
            return False
        return texts[0] == texts[1]

    def _ids(self, messages: Messages, tools: Tools, *, add_generation_prompt: bool) -> list[int]:
        written = self._form_of(messages, add_generation_prompt=add_generation_prompt)(messages)
        try:
            return list(
                self._tokenizer.apply_chat_template(
                    template_messages(written),
                    add_generation_prompt=add_generation_prompt,
                    tokenize=True,
                    return_dict=False,
                    **self._arguments(tools),
                )
            )
        except _TEMPLATE_FAULTS as error:
            raise UserError(f"the model's chat template does not take this chat: {first_line(error)}") from None

    def _form_of(self, messages: Messages, *, add_generation_prompt: bool) -> _Form:
        """Return how chats of this shape are written so that the template keeps every turn."""
        # The text of an empty turn cannot be missed, so what is found of it says nothing of one with a text.
        turns = ((message["role"], bool(message["content"]), *sorted(message)) for message in messages)
        shape = (add_generation_prompt, *turns)
        if shape not in self._forms:
            self._forms[shape] = self._find_form(messages, add_generation_prompt=add_generation_prompt)
        return self._forms[shape]

    def _find_form(self, messages: Messages, *, add_generation_prompt: bool) -> _Form:
        marked = messages.copy()
        for index, message in enumerate(messages):
            if message["content"]:
                marked[index] = {**message, "content": _mark(index)}
        problem = ""
        for form in _FORMS:
            try:
                text = self._render(form(marked), add_generation_prompt=add_generation_prompt)
            except _TEMPLATE_FAULTS as error:
                problem = problem or first_line(error)
                continue
            lost = [message for message in marked if message["content"] not in text]
            if not lost:
                return form
            problem = problem or f"it leaves out the text of a turn of the {lost[0]['role']}"
        roles = ", ".join(message["role"] for message in messages)
        raise UserError(f"the model's chat template does not take a chat of {roles}: {problem}")

    def _arguments(self, tools: Tools) -> dict[str, Any]:
        return {**self._kwargs, "tools": list(tools)} if tools else self._kwargs

    def _render(self, messages: Messages, tools: Tools = (), *, add_generation_prompt: bool) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                template_messages(messages),
                add_generation_prompt=add_generation_prompt,
                tokenize=False,
                **self._arguments(tools),
            )
        )


def check_chats(
    model: str, revision: str | None, kwargs: Mapping[str, Any], chats: Iterable[tuple[str, Messages]]
) -> None:
    """Check that a model's chat template takes chats, each given with its name; loads the tokenizer if there are any.

    Raises:
        UserError: there is no such model, or its template does not take a chat.
    """
    template = None
    for name, messages in chats:
        if template is None:
            from transformers import AutoTokenizer

            source, commit = tokenizer_source(model, revision)
            source = resolve_model(source) if source == BUILTIN else source
            try:
                tokenizer = AutoTokenizer.from_pretrained(source, revision=commit or "main")
            except (OSError, ValueError, KeyError) as error:
                raise UserError(f"{model}: its tokenizer cannot be read: {first_line(error)}") from None
            template = ChatTemplate(tokenizer, kwargs)
        try:
            template.check(messages)
        except UserError as error:
            raise UserError(f"{name}: {error} ({model})") from None


def _without(message: Message, key: Literal["tool_calls", "reasoning_content"]) -> Message:
    less = message.copy()
    less.pop(key, None)
    return less


def _mark(index: int) -> str:
    return f"turn-{index}-of-this-chat"
