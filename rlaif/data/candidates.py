"""Reads the candidates of other systems: one or several of a question.

Invariant: every row becomes candidates, or an error with the file, the line and the field. No row is skipped, and no
two questions share an id.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from rlaif.data.context import read_context
from rlaif.data.criteria import read_criteria
from rlaif.data.gold_answer import read_gold_answer
from rlaif.data.question import Chat, Question
from rlaif.data.question_chat import read_question
from rlaif.io.column_names import ANY_NAMES, ColumnNames
from rlaif.io.fields import Fields
from rlaif.io.renamed import Renamed
from rlaif.io.rows import Row, read_file, with_unique_ids
from rlaif.io.values import is_missing

_RENAMED = {"reference": Renamed("gold_answer")}
CANDIDATE_FIELDS: Mapping[str, str] = {
    "question": "the question's text; required, or `messages`",
    "messages": "the chat of a question that is one; it ends with the user's turn",
    "answers": "list of the answers: texts, or objects with a `text`, `response` or `content`",
    "answer": "one answer, where each row has one",
    "id": "of the question; its number by default",
    "context": "text that the answers must follow from, in any form that question files have",
    "gold_answer": "the right answer, or a list of several of which each is right",
    "criteria": "what judges with criteria mark the answers by: an object by name",
}
"""The fields of a file of candidates: `answers` or `answer`, and what is known of the question."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """A question with the texts of the candidates that were sampled for it, in the order of the file."""

    as_question: Question
    answers: tuple[str, ...]


def read_candidates(path: str, columns: ColumnNames = ANY_NAMES) -> list[Candidates]:
    """Read a file of candidates: the fields of `CANDIDATE_FIELDS`.

    Rows with the same question and context are merged into one question with the id of the first row. A question
    without an id gets its number as its id.

    Args:
        path: local path or fsspec URL of any of `CONTAINERS`.
        columns: the file's own names.
    """
    groups: dict[tuple[str, Chat, str], tuple[Row, Question, list[str]]] = {}
    for row in read_file(path, Fields(tuple(CANDIDATE_FIELDS), _RENAMED, columns)):
        text, chat = read_question(row)
        context = row.read("context", read_context)
        gold_answer = row.read("gold_answer", read_gold_answer)
        criteria = row.read("criteria", read_criteria)
        question = Question(row.id() or str(len(groups) + 1), text, context, gold_answer, criteria=criteria, chat=chat)
        first, merged, answers = groups.setdefault((text, chat, context), (row, question, []))
        if gold_answer != merged.gold_answer:
            raise row.error("gold_answer", f"differs from the one at {first.location} for the same question")
        if criteria != merged.criteria:
            raise row.error("criteria", f"differ from those at {first.location} for the same question")
        answers += _answers(row)
    with_unique_ids(((first, question) for first, question, _ in groups.values()), path, "rows")
    return [Candidates(question, tuple(answers)) for _, question, answers in groups.values()]


def _answers(row: Row) -> list[str]:
    one = row.values.get("answer")
    several = row.read("answers", _several)
    if several is None and not ("answer" in row.values and (one == "" or not is_missing(one))):
        raise row.error("", "no answers", expected=f"answers (a list) or answer; columns here: {row.shown_columns}")
    if several is None:
        return [row.checked("answer", one)]
    if not is_missing(one):
        raise row.error("", "has both answers and answer", expected="one of the two")
    return [row.checked(f"answers.{index}", answer) for index, answer in enumerate(several)]


def _several(value: object) -> list[object] | None:
    """Return the answers of a list, or of its JSON: texts and numbers, or objects with the answer as text."""
    if isinstance(value, str):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    if value is None:
        return None
    if not isinstance(value, list) or not value:
        raise ValueError("expected a list of texts")
    return [_object_text(item) if isinstance(item, Mapping) else item for item in value]


def _object_text(item: Mapping[str, object]) -> object:
    """Return the answer of an object; UltraFeedback calls it `response`."""
    return next((item[key] for key in ("text", "response", "content") if key in item), item)
