"""A prompt and its completion, in the forms in which files of demonstrations and of ratings write them.

Invariant: what one kind of file means, the other means: two texts are learned as texts, and beside a chat or a system
text a text is a turn.
"""

from collections.abc import Mapping, Sequence

from rlaif.chat import Message, Messages
from rlaif.data.messages import chat_in, read_messages
from rlaif.io.row import Row
from rlaif.io.values import is_missing


def read_completion(
    row: Row, tools: Sequence[object], field: str = "completion"
) -> tuple[str | Messages, str | Messages]:
    """Return a row's prompt and its completion: both texts, or both chats.

    Args:
        tools: those of the row; texts take none.
        field: that of the completion.

    Raises:
        UserError: the row has no prompt, or its completion is a chat that does not end with the assistant.
    """
    if "prompt" not in row.values:
        raise row.missing("prompt")
    prompt, completion = text_or_chat(row, "prompt"), text_or_chat(row, field)
    # As in files of preferences, texts are turns of a chat in a file with system texts.
    if isinstance(prompt, str) and isinstance(completion, str) and "system" not in row.values:
        if tools:
            raise row.error("tools", "a prompt that is a text cannot have it", "the prompt as a chat")
        return prompt, completion
    chat = [turn("user", row.text("prompt"))] if isinstance(prompt, str) else read_messages(row, "prompt", prompt)
    return with_system(row, chat), answer_turns(row, field, completion)


def answer_turns(row: Row, field: str, completion: object) -> Messages:
    """Return a completion as the messages that continue a chat, of which the last is the assistant's."""
    if isinstance(completion, str):
        return [turn("assistant", completion)]
    answer = read_messages(row, field, completion)
    if not answer or answer[-1]["role"] != "assistant":
        raise row.error(field, expected="messages that end with a turn of the assistant")
    return answer


def text_or_chat(row: Row, field: str) -> object:
    """Return a field as text, "" for null, or what may be a chat."""
    value = chat_in(row, field, row.values[field])
    if is_missing(value):
        return ""
    return value if isinstance(value, Mapping | list | tuple) else row.checked(field, value)


def refuse(row: Row, field: str, problem: str, expected: str) -> None:
    """Raise UserError if a field has a value that the row's form would not show the policy."""
    if not is_missing(row.values.get(field)):
        none = f"or `{row.names.written({field: ''})}` to read none"
        raise row.error(field, problem, f"{expected}, {none}")


def with_system(row: Row, chat: Messages) -> Messages:
    """Return a chat with the row's system text as its first turn, unless it has one."""
    system = row.optional("system")
    if system is None or (chat and chat[0]["role"] in ("system", "developer")):
        return chat
    return [turn("system", system), *chat]


def turn(role: str, content: str) -> Message:
    """Return one message of a chat."""
    return {"role": role, "content": content}
