"""Label files: which of two answers people prefer. A judge is measured against them.

Invariant: every row becomes one checked label or an error with the file, the line and the field; no row is skipped,
and no two labels share an id.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from rlaif.data.question import Question
from rlaif.errors import Fault, UserError
from rlaif.io.rows import Row, UniqueIds, read_file
from rlaif.io.validation import pydantic_fault

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
    """One comparison that people decided."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    id: _Filled
    """Unique in its file."""
    question: _Filled
    """What both answers answer."""
    context: _Text = ""
    """The text that the answers should follow from, or ""."""
    gold_answer: _Text | None = None
    """The gold answer, where one is known."""
    answer_a: _Text
    """One answer; may be empty, as a model's can."""
    answer_b: _Text
    """The other."""
    human: Side
    """Which one people prefer, or `tie`."""

    @property
    def prompt(self) -> Question:
        """The question as a judge is given it."""
        return Question(self.id, self.question, self.context, self.gold_answer)

    @property
    def answers(self) -> tuple[str, str]:
        """Both answers, `answer_a` first."""
        return self.answer_a, self.answer_b


_FIELDS = tuple(Label.model_fields)
_OPTIONAL = tuple(name for name, field in Label.model_fields.items() if not field.is_required())
_RENAMED = {"reference": "gold_answer"}


def load_labels(path: str, limit: int | None = None) -> list[Label]:
    """Read a label file: JSONL, or CSV or Parquet with the same columns.

    Args:
        path: local path or fsspec URL.
        limit: read only the first so many.

    Raises:
        UserError: with the file, the line (of Parquet, the row), the field and what was expected.
    """
    labels: list[Label] = []
    ids = UniqueIds()
    for row in read_file(path, _FIELDS, _RENAMED).rows:
        if limit is not None and len(labels) == limit:
            break
        label = _label(row)
        ids.add(row, label.id)
        labels.append(label)
    if not labels:
        raise UserError(Fault(path, "no labels", expected="at least one"))
    return labels


def labels_jsonl(labels: Iterable[Label]) -> bytes:
    """Return labels as the content of a label file: one JSON object a line, without unknown values."""
    return b"".join(label.model_dump_json(exclude_defaults=True).encode() + b"\n" for label in labels)


def _label(row: Row) -> Label:
    # CSV has no null and Parquet no missing column: an optional field that is empty counts as missing.
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
    # Half of a surrogate pair cannot be printed.
    return replace(fault, found="") if "surrogate" in fault.problem else fault
