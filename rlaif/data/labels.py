"""Reads and writes label files, which record the answer that people prefer of two. They serve to evaluate judges.

Invariant: every row becomes one validated label or an error with the file, the line and the field. No row is skipped,
and no two labels share an id.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from rlaif.data.criteria import Criterion, criteria_tree, read_criteria
from rlaif.data.gold_answer import GoldAnswer, read_gold_answer
from rlaif.data.question import Question
from rlaif.errors import Fault, UserError
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
    context: _Text = ""
    """Text that the answers should follow from, or ""."""
    gold_answer: Annotated[GoldAnswer | None, BeforeValidator(read_gold_answer)] = None
    """The right answer, if known, or a list of several of which each is right. A number is read as text."""
    answer_a: _Text
    """The first answer. It may be empty, because a model can return an empty text."""
    answer_b: _Text
    """The second answer; it may be empty too."""
    human: Side
    """The answer that people prefer, `a` or `b`, or `tie`."""
    criteria: Annotated[tuple[Criterion, ...], BeforeValidator(read_criteria), PlainSerializer(criteria_tree)] = ()
    """What judges with criteria mark the answers by, by name; none takes those of the judge file."""

    @property
    def as_question(self) -> Question:
        """The question in the form that a judge takes."""
        return Question(self.id, self.question, self.context, self.gold_answer, criteria=self.criteria)

    @property
    def answers(self) -> tuple[str, str]:
        """Both answers, `answer_a` first."""
        return self.answer_a, self.answer_b


_FIELDS = tuple(Label.model_fields)
_OPTIONAL = tuple(name for name, field in Label.model_fields.items() if not field.is_required())
_RENAMED = {"reference": Renamed("gold_answer")}


def load_labels(path: str, limit: int | None = None) -> list[Label]:
    """Read a label file (JSONL, or CSV or Parquet with the same columns), up to `limit` labels of it."""
    rows = islice(read_file(path, _FIELDS, _RENAMED), limit)
    return with_unique_ids(((row, _label(row)) for row in rows), path, "labels")


def labels_jsonl(labels: Iterable[Label]) -> bytes:
    """Return the content of a label file: one JSON object per line, without fields at their default."""
    return b"".join(label.model_dump_json(exclude_defaults=True).encode() + b"\n" for label in labels)


def _label(row: Row) -> Label:
    # CSV has no null and a Parquet row no missing field, so an empty optional field counts as missing.
    values = {name: value for name, value in row.values.items() if value not in ("", None) or name not in _OPTIONAL}
    try:
        return Label.model_validate(values)
    except ValidationError as error:
        faults: list[Fault | str] = [_fault(row, item) for item in error.errors()]
        if any(columns <= set(row.columns) for columns in ({"output_1", "output_2"}, {"answer", "label"})):
            faults.append("`rlaif judge labels FROM -o FILE` converts this file to a label file")
        raise UserError(*faults) from None


def _fault(row: Row, item: Any) -> Fault:
    fault = replace(pydantic_fault(item), path=row.path, line=row.line, row=row.number, field=str(item["loc"][0]))
    if item["type"] == "extra_forbidden":
        return replace(fault, problem=f"unknown field; a label has {', '.join(_FIELDS)}", found="")
    # Half of a surrogate pair cannot be printed, so the message leaves out the value.
    return replace(fault, found="") if "surrogate" in fault.problem else fault
