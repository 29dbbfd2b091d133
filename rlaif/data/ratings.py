"""Reads ratings: answers that people or a judge found good or bad, each by itself.

Invariant: every row becomes one rating, is left out for a reason that is counted with its line, or is an error with the
file, the line and the field. No two ratings share an id, and no answer is both good and bad.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlaif.chat import Messages
from rlaif.data.completion import answer_turns, read_completion, refuse, text_or_chat, with_system
from rlaif.data.context import read_context
from rlaif.data.left_out import REASONS, LeftOut, contradictions, reason_to_leave_out_rating
from rlaif.data.messages import read_messages, read_tools
from rlaif.data.question import Question
from rlaif.errors import Fault, UserError, shown
from rlaif.io.column_names import ANY_NAMES, ColumnNames
from rlaif.io.fields import Fields
from rlaif.io.rows import Row, read_file, with_unique_ids
from rlaif.io.values import is_missing
from rlaif.recipe import RatingsSection

RATING_FIELDS: Mapping[str, str] = {
    "prompt": "what the answer answers: a text, or a chat",
    "messages": "a chat, of which the last turn of the assistant is rated; or a chat that the answer continues",
    "conversations": "the same, as ShareGPT's files name it",
    "question": "a question, which the policy's template asks",
    "context": "text that the question's answer follows from, in any form that question files have",
    "completion": "the rated answer: a text, or messages",
    "answer": "the same",
    "label": "whether it is good: true or false, 1 or 0, thumbs up or thumbs down; rows without one are left out",
    "rating": "a number instead, of which `ratings.desirable_from` says what is good",
    "source": "`human` or `ai`: who rated it, for `training.human_weight`; `human` by default",
    "system": "the system's turn before a chat that has none",
    "tools": "those that the chat offers, as OpenAI's API takes them",
    "id": "its own; the file and its line or row by default",
}
"""The fields of a file of ratings: TRL's unpaired preferences, rated chats, and rated answers to questions."""
_GOOD = ("true", "1", "1.0", "yes", "good", "desirable", "up", "thumbs up", "\N{THUMBS UP SIGN}")
_BAD = ("false", "0", "0.0", "no", "bad", "undesirable", "down", "thumbs down", "\N{THUMBS DOWN SIGN}")
_LABELS = {**dict.fromkeys(_GOOD, True), **dict.fromkeys(_BAD, False)}
_EXPECTED = "prompt and completion, messages, or question and answer"


@dataclass(frozen=True, slots=True)
class Rating:
    """One answer that was found good or bad.

    Attributes:
        prompt: a text, a chat or a question, which the policy's template asks.
        answer: a text, or the one message that continues the chat.
        score: the number that decided; None where a label did.
        source: `human` or `ai`.
        tools: those that the chat offers.
    """

    id: str
    prompt: str | Messages | Question
    answer: str | Messages
    desirable: bool
    score: float | None = None
    source: str = "human"
    tools: tuple[dict[str, Any], ...] = ()

    @property
    def content(self) -> list[Any]:
        """All of it but the score, as plain values."""
        return [self.id, self.desirable, self.source, *self.asked]

    @property
    def asked(self) -> list[Any]:
        """Prompt, answer and tools as plain values."""
        prompt = [self.prompt.question, self.prompt.context] if isinstance(self.prompt, Question) else self.prompt
        return [prompt, self.answer, *self.tools]


@dataclass(frozen=True, slots=True)
class Ratings:
    """The ratings of a file in its order, and what was left out."""

    rows: list[Rating]
    left_out: LeftOut


def read_ratings(path: str, columns: ColumnNames = ANY_NAMES, bounds: RatingsSection | None = None) -> Ratings:
    """Read a file of ratings: the fields of `RATING_FIELDS`.

    Args:
        path: local path or fsspec URL.
        columns: the file's own names.
        bounds: which numbers are good, where the file has numbers.

    Raises:
        UserError: a row is of no form, two have one id, or no rating is left.
    """
    fields = Fields(tuple(RATING_FIELDS), {}, columns, asked=("messages", "completion", "label", "rating"))
    read: list[tuple[Row, Rating]] = []
    left: dict[str, list[str]] = {}
    count = 0
    for row in read_file(path, fields):
        count += 1
        found = _rating(row, bounds or RatingsSection())
        if isinstance(found, str):
            left.setdefault(found, []).append(row.location)
        else:
            read.append((row, found))
    kept: list[tuple[Row, Rating]] = []
    said = [(rating.asked, rating.desirable) for _, rating in read]
    for (row, rating), reason in zip(read, contradictions(said), strict=True):
        if reason:
            left.setdefault(reason, []).append(row.location)
        else:
            kept.append((row, rating))
    left_out = LeftOut(count, {reason: tuple(left[reason]) for reason in REASONS if reason in left})
    if count and not kept:
        raise UserError(Fault(path, f"no rating is left: {left_out.reasons}", expected="at least one"))
    return Ratings(with_unique_ids(kept, path, "ratings"), left_out)


def _rating(row: Row, bounds: RatingsSection) -> Rating | str:
    """Return a row's rating, or the key of `REASONS` for which it is left out."""
    name = row.id() or row.location.removeprefix("./")
    tools = tuple(read_tools(row, "tools", row.values.get("tools")))
    prompt, answer = _prompt_and_answer(row, name, tools)
    score: float | None = None
    if bounds.desirable_from is None:
        desirable = _label(row)
    else:
        score = _score(row)
        desirable = None if score is None else bounds.is_desirable(score)
    if desirable is None:
        return "unrated" if score is None else "undecided"
    source = row.optional("source") or "human"
    if source not in ("ai", "human"):
        raise row.error("source", expected="ai or human", found=shown(source))
    asked = None if isinstance(prompt, Question) else prompt
    return reason_to_leave_out_rating(asked, answer, desirable=desirable) or Rating(
        name, prompt, answer, desirable, score, source, tools
    )


def _prompt_and_answer(
    row: Row, name: str, tools: tuple[dict[str, Any], ...]
) -> tuple[str | Messages | Question, str | Messages]:
    given = [field for field in ("completion", "answer") if field in row.values]
    if len([field for field in given if not is_missing(row.values[field])]) > 1:
        raise row.error("answer", "the row has a completion too", expected="one of the two")
    field = next((field for field in given if not is_missing(row.values[field])), given[0] if given else "")
    for column in ("messages", "conversations"):
        if not is_missing(row.values.get(column)):
            return _of_chat(row, column, field)
    if field and not is_missing(row.values.get("question")):
        refuse(row, "system", "the policy's template asks a question", "messages, or no system text")
        question = Question(name, row.text("question"), row.read("context", read_context))
        return question, row.optional(field) or ""
    if field and "prompt" in row.values:
        return read_completion(row, tools, field)
    raise row.error("", "no rated answer", f"{_EXPECTED}; columns here: {row.shown_columns}")


def _of_chat(row: Row, column: str, field: str) -> tuple[Messages, Messages]:
    chat = with_system(row, read_messages(row, column, row.values[column]))
    ends = bool(chat) and chat[-1]["role"] == "assistant"
    # In a file of several forms, a chat that ends with its answer has no other one.
    if field and not (ends and is_missing(row.values[field])):
        return chat, answer_turns(row, field, text_or_chat(row, field))
    if not ends:
        found = chat[-1]["role"] if chat else "no message"
        raise row.error(column, "has no last answer", "a turn of the assistant at its end, or completion", found)
    return chat[:-1], chat[-1:]


def _label(row: Row) -> bool | None:
    """Return whether a row's answer is good; None where the row does not say."""
    if "label" not in row.values:
        error = row.missing("label")
        numbers = "; where answers have numbers, --set ratings.desirable_from=NUMBER" if "rating" in row.values else ""
        raise UserError(f"{error}{numbers}")
    value = row.values["label"]
    if is_missing(value):
        return None
    text = str(value).strip().lower()
    found = _LABELS.get(re.sub(r"(?<=thumbs)[\s_-]+", " ", text))
    if found is None:
        raise row.error("label", expected="true or false, 1 or 0, thumbs up or thumbs down", found=shown(value))
    return found


def _score(row: Row) -> float | None:
    if "rating" not in row.values:
        raise row.missing("rating")
    return row.as_number("rating")
