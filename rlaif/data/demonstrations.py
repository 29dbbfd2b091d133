"""Reads demonstrations: answers that a policy is to give as they are, of people or known to be right.

Invariant: every row becomes one demonstration with an answer, or an error with the file, the line and the field. No two
demonstrations share an id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.chat import Message, Messages
from rlaif.data.context import read_context
from rlaif.data.gold_answer import read_gold_answer
from rlaif.data.messages import chat_in, read_messages, read_tools
from rlaif.data.question import Question
from rlaif.io.column_names import ANY_NAMES, ColumnNames
from rlaif.io.fields import Fields
from rlaif.io.renamed import Renamed
from rlaif.io.rows import Row, read_file, with_unique_ids
from rlaif.io.values import is_missing

DEMONSTRATION_FIELDS: Mapping[str, str] = {
    "messages": "a chat, of which every turn of the assistant is learned; or a chat that `gold_answer` answers",
    "conversations": "the same, as ShareGPT's files name it",
    "prompt": "what comes before the completion: a text, or a chat",
    "completion": "the answer to the prompt: a text, or messages",
    "question": "a question, which the policy's template asks",
    "context": "text that the question's answer follows from, in any form that question files have",
    "gold_answer": "the answer to the question; of several the first is learned",
    "instruction": "what is asked for, as Alpaca's files name it, with `input` and `output`",
    "input": "text that the instruction is about, or empty",
    "output": "the answer to the instruction",
    "system": "the system's turn before a chat that has none",
    "tools": "those that the chat offers, as OpenAI's API takes them",
    "id": "its own; the file and its line or row by default",
}
"""The fields of a file of demonstrations: a chat, a prompt with its completion, or a question with its gold answer."""
_RENAMED = {"answer": Renamed("gold_answer"), "reference": Renamed("gold_answer")}
_EXPECTED = "messages, prompt and completion, question and gold_answer, or instruction and output"


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One or several answers in one conversation.

    Attributes:
        prompt: a text, a chat or a question, which the policy's template asks; an empty chat has all in the answer.
        answer: a text, or messages that continue the chat, of which those of the assistant are learned.
        tools: those that the chat offers.
    """

    id: str
    prompt: str | Messages | Question
    answer: str | Messages
    tools: tuple[dict[str, Any], ...] = ()


def read_demonstrations(path: str, columns: ColumnNames = ANY_NAMES) -> list[Demonstration]:
    """Read a file of demonstrations: the fields of `DEMONSTRATION_FIELDS`.

    Args:
        path: local path or fsspec URL.
        columns: the file's own names.

    Raises:
        UserError: a row is of no form, or has no answer.
    """
    # Each form leaves the fields of the others out, so only the wrong spelling of a whole form is asked about.
    rows = read_file(path, Fields(tuple(DEMONSTRATION_FIELDS), _RENAMED, columns, asked=("messages", "completion")))
    return with_unique_ids(((row, _demonstration(row)) for row in rows), path, "demonstrations")


def _demonstration(row: Row) -> Demonstration:
    name = row.id() or row.location.removeprefix("./")
    tools = tuple(read_tools(row, "tools", row.values.get("tools")))
    for field in ("messages", "conversations"):
        if not is_missing(row.values.get(field)):
            chat = _checked(row, field, read_messages(row, field, row.values[field]))
            prompt, answer = _of_chat(row, field, _with_system(row, chat))
            return Demonstration(name, prompt, answer, tools)
    if not is_missing(row.values.get("completion")):
        return Demonstration(name, *_of_completion(row, tools), tools)
    if not is_missing(row.values.get("question")):
        _refuse(row, "system", "the policy's template asks a question", "messages, or no system text")
        question = Question(name, row.text("question"), row.read("context", read_context))
        return Demonstration(name, question, _gold_answer(row), tools)
    if not is_missing(row.values.get("instruction")):
        _refuse(row, "context", "belongs to a question", f"`{row.names.written({'input': 'context'})}`")
        asked = [row.text("instruction"), row.optional("input") or ""]
        chat = [_message("user", "\n\n".join(filter(None, asked)))]
        return Demonstration(name, _with_system(row, chat), [_message("assistant", row.text("output"))], tools)
    raise row.error("", "no demonstration", f"{_EXPECTED}; columns here: {row.shown_columns}")


def _of_chat(row: Row, field: str, chat: Messages) -> tuple[Messages, Messages]:
    if chat and chat[-1]["role"] == "user" and not is_missing(row.values.get("gold_answer")):
        return chat, [_message("assistant", _gold_answer(row))]
    if not chat or chat[-1]["role"] != "assistant":
        found = chat[-1]["role"] if chat else "no message"
        raise row.error(field, "has no last answer", "a turn of the assistant at its end, or gold_answer", found)
    return [], chat


def _of_completion(row: Row, tools: Sequence[object]) -> tuple[str | Messages, str | Messages]:
    if "prompt" not in row.values:
        raise row.missing("prompt")
    prompt, completion = (_text_or_chat(row, field) for field in ("prompt", "completion"))
    # As in files of preferences, texts are turns of a chat in a file with system texts.
    if isinstance(prompt, str) and isinstance(completion, str) and "system" not in row.values:
        if tools:
            raise row.error("tools", "a prompt that is a text cannot have it", "the prompt as a chat")
        return prompt, row.text("completion")
    chat = [_message("user", row.text("prompt"))] if isinstance(prompt, str) else read_messages(row, "prompt", prompt)
    if isinstance(completion, str):
        return _with_system(row, chat), [_message("assistant", row.text("completion"))]
    answer = _checked(row, "completion", read_messages(row, "completion", completion))
    if not answer or answer[-1]["role"] != "assistant":
        raise row.error("completion", expected="messages that end with a turn of the assistant")
    return _with_system(row, chat), answer


def _text_or_chat(row: Row, field: str) -> object:
    """Return a field as text, "" for null, or what may be a chat."""
    value = chat_in(row, field, row.values[field])
    if is_missing(value):
        return ""
    return value if isinstance(value, Mapping | list | tuple) else row.checked(field, value)


def _checked(row: Row, field: str, chat: Messages) -> Messages:
    """Return a chat; raise UserError if the assistant says nothing in a turn: its end alone would be learned."""
    for number, turn in enumerate(chat):
        said = turn["content"].strip() or turn.keys() & {"tool_calls", "reasoning_content"}
        if turn["role"] == "assistant" and not said:
            raise row.error(f"{field}.{number}", "an empty answer", expected="a text, or calls of tools")
    return chat


def _refuse(row: Row, field: str, problem: str, expected: str) -> None:
    """Raise UserError if a field has a value that the row's form would not show the policy."""
    if not is_missing(row.values.get(field)):
        none = f"or `{row.names.written({field: ''})}` to read none"
        raise row.error(field, problem, f"{expected}, {none}")


def _gold_answer(row: Row) -> str:
    answer = row.read("gold_answer", read_gold_answer)
    if answer is None:
        raise row.error("gold_answer", "missing", expected="the answer to learn")
    return answer if isinstance(answer, str) else answer[0]


def _with_system(row: Row, chat: Messages) -> Messages:
    system = row.optional("system")
    if system is None or (chat and chat[0]["role"] in ("system", "developer")):
        return chat
    return [_message("system", system), *chat]


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}
