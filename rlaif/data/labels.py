"""Reads and writes label files, which record the answer that people prefer of two. They serve to evaluate judges.

Invariant: every row becomes one validated label or an error with the file, the line and the field. No row is skipped,
and no two labels share an id.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from rlaif.data.context import read_context
from rlaif.data.criteria import Criterion, criteria_tree, read_criteria
from rlaif.data.gold_answer import GoldAnswer, read_gold_answer
from rlaif.data.question import Chat, Question
from rlaif.data.question_chat import read_question
from rlaif.errors import Fault, UserError
from rlaif.io.column_names import ANY_NAMES, ColumnNames
from rlaif.io.fields import Fields
from rlaif.io.renamed import Renamed
from rlaif.io.rows import Row, read_file, with_unique_ids
from rlaif.io.yaml_file import pydantic_fault

Side = Literal["a", "b", "tie"]


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair; expected valid Unicode text") from None
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("empty; expected a text")
    return text


_Text = Annotated[str, AfterValidator(_encodable)]
_Filled = Annotated[_Text, AfterValidator(_not_blank)]


class Label(BaseModel):
    """One comparison of two answers, decided by people."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    id: _Filled
    """Unique in its file."""
    question: _Filled
    """The question's text, or `messages`."""
    context: _Text = ""
    """Text that the answers should follow from, or ""."""
    gold_answer: Annotated[GoldAnswer | None, BeforeValidator(read_gold_answer)] = None
    """The right answer, if known, or a list of several of which each is right. A number is read as text."""
    answer_a: _Text
    """The first answer. It may be empty, because a model can return an empty text."""
    answer_b: _Text
    """The second answer; it may be empty too."""
    messages: Chat = ()
    """The chat of a question that is one: it ends with the user's turn, which is the question."""
    human: Side
    """The answer that people prefer, `a` or `b`, or `tie`."""
    criteria: Annotated[tuple[Criterion, ...], BeforeValidator(read_criteria), PlainSerializer(criteria_tree)] = ()
    """What judges with criteria mark the answers by, by name; none takes those of the judge file."""

    @property
    def as_question(self) -> Question:
        """The question in the form that a judge takes."""
        return Question(
            self.id, self.question, self.context, self.gold_answer, criteria=self.criteria, chat=self.messages
        )

    @property
    def answers(self) -> tuple[str, str]:
        """Both answers, `answer_a` first."""
        return self.answer_a, self.answer_b


LABEL_FIELDS: Mapping[str, str] = {
    name: f"{field.description}{' Required.' if field.is_required() else ''}"
    for name, field in Label.model_fields.items()
}
"""The fields of a label file, with what they hold."""
_RENAMED = {"reference": Renamed("gold_answer")}


def load_labels(path: str, limit: int | None = None, columns: ColumnNames = ANY_NAMES) -> list[Label]:
    """Read a label file, up to `limit` labels of it; other columns are ignored.

    Args:
        path: local path or fsspec URL of any of `CONTAINERS`.
        columns: the file's own names of `LABEL_FIELDS`.
    """
    rows = read_file(path, Fields(tuple(LABEL_FIELDS), _RENAMED, columns), limit=limit)
    return with_unique_ids(((row, _label(row)) for row in rows), path, "labels")


def labels_jsonl(labels: Iterable[Label]) -> bytes:
    """Return the content of a label file: one JSON object per line, without fields at their default."""
    return b"".join(label.model_dump_json(exclude_defaults=True).encode() + b"\n" for label in labels)


def _label(row: Row) -> Label:
    try:
        question, chat = read_question(row)
        values = {
            "id": row.id() or row.text("id"),
            "question": question,
            "messages": chat,
            "context": row.read("context", read_context),
            "gold_answer": row.read("gold_answer", read_gold_answer),
            "answer_a": row.text("answer_a", blank=True),
            "answer_b": row.text("answer_b", blank=True),
            "human": row.text("human").strip().lower(),
            "criteria": row.read("criteria", read_criteria),
        }
    except UserError as error:
        if any(columns <= set(row.columns) for columns in ({"output_1", "output_2"}, {"answer", "label"})):
            raise UserError(
                *error.faults, "`rlaif judge labels FROM -o FILE` converts this file to a label file"
            ) from None
        raise
    try:
        return Label.model_validate(values)
    except ValidationError as error:
        raise UserError(*(_fault(row, item) for item in error.errors())) from None


def _fault(row: Row, item: Any) -> Fault:
    name = str(item["loc"][0])
    column = row.by_field.get(name, name)
    return replace(pydantic_fault(item), path=row.path, line=row.line, row=row.number, field=column)
