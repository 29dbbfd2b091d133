"""Reads demonstrations: answers that a policy is to give as they are, of people or known to be right.

Invariant: every row becomes one demonstration with an answer, is left out for a reason that is counted with its line,
or is an error with the file, the line and the field. No two demonstrations share an id.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlaif.chat import Messages
from rlaif.data.completion import read_completion, refuse, turn, with_system
from rlaif.data.context import read_context
from rlaif.data.gold_answer import read_gold_answer
from rlaif.data.left_out import REASONS, LeftOut, reason_to_leave_out_demonstration, repeated
from rlaif.data.messages import read_messages, read_tools
from rlaif.data.question import Question
from rlaif.errors import Fault, UserError
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

    @property
    def content(self) -> list[Any]:
        """All of it but the id, as plain values."""
        prompt = [self.prompt.question, self.prompt.context] if isinstance(self.prompt, Question) else self.prompt
        return [prompt, self.answer, *self.tools]


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """The demonstrations of a file in its order, and what was left out."""

    rows: list[Demonstration]
    left_out: LeftOut


def read_demonstrations(path: str, columns: ColumnNames = ANY_NAMES) -> Demonstrations:
    """Read a file of demonstrations: the fields of `DEMONSTRATION_FIELDS`.

    Rows that teach nothing are left out: an empty answer, thinking without an end, and a repetition.

    Args:
        path: local path or fsspec URL.
        columns: the file's own names.

    Raises:
        UserError: a row is of no form, two have one id, or no demonstration is left.
    """
    # Each form leaves the fields of the others out, so only the wrong spelling of a whole form is asked about.
    fields = Fields(tuple(DEMONSTRATION_FIELDS), _RENAMED, columns, asked=("messages", "completion"))
    read = [(row, _demonstration(row)) for row in read_file(path, fields)]
    again = repeated(each.content for _, each in read)
    kept: list[tuple[Row, Demonstration]] = []
    left: dict[str, list[str]] = {}
    for (row, each), repeats in zip(read, again, strict=True):
        if reason := reason_to_leave_out_demonstration(each.answer) or ("repeated" if repeats else None):
            left.setdefault(reason, []).append(row.location)
        else:
            kept.append((row, each))
    left_out = LeftOut(len(read), {reason: tuple(left[reason]) for reason in REASONS if reason in left})
    if read and not kept:
        raise UserError(Fault(path, f"no demonstration is left: {left_out.reasons}", expected="at least one"))
    return Demonstrations(with_unique_ids(kept, path, "demonstrations"), left_out)


def _demonstration(row: Row) -> Demonstration:
    name = row.id() or row.location.removeprefix("./")
    tools = tuple(read_tools(row, "tools", row.values.get("tools")))
    for field in ("messages", "conversations"):
        if not is_missing(row.values.get(field)):
            chat = with_system(row, read_messages(row, field, row.values[field]))
            prompt, answer = _of_chat(row, field, chat)
            return Demonstration(name, prompt, answer, tools)
    if not is_missing(row.values.get("completion")):
        return Demonstration(name, *read_completion(row, tools), tools)
    if not is_missing(row.values.get("question")):
        refuse(row, "system", "the policy's template asks a question", "messages, or no system text")
        question = Question(name, row.text("question"), row.read("context", read_context))
        return Demonstration(name, question, _gold_answer(row), tools)
    if not is_missing(row.values.get("instruction")):
        refuse(row, "context", "belongs to a question", f"`{row.names.written({'input': 'context'})}`")
        asked = [row.text("instruction"), row.optional("input") or ""]
        chat = [turn("user", "\n\n".join(filter(None, asked)))]
        if "output" not in row.values:
            raise row.missing("output")
        return Demonstration(name, with_system(row, chat), [turn("assistant", row.optional("output") or "")], tools)
    if "completion" in row.values and not is_missing(row.values.get("prompt")):
        return Demonstration(name, *read_completion(row, tools), tools)
    raise row.error("", "no demonstration", f"{_EXPECTED}; columns here: {row.shown_columns}")


def _of_chat(row: Row, field: str, chat: Messages) -> tuple[Messages, Messages]:
    if chat and chat[-1]["role"] == "user" and "gold_answer" in row.values:
        return chat, [turn("assistant", _gold_answer(row))]
    if not chat or chat[-1]["role"] != "assistant":
        found = chat[-1]["role"] if chat else "no message"
        raise row.error(field, "has no last answer", "a turn of the assistant at its end, or gold_answer", found)
    return [], chat


def _gold_answer(row: Row) -> str:
    """Return the gold answer, "" where the row has none; raise UserError if the file has no such column."""
    if "gold_answer" not in row.values:
        raise row.missing("gold_answer")
    answer = row.read("gold_answer", read_gold_answer) or ""
    return answer if isinstance(answer, str) else answer[0]
