"""Label files: which of two answers people prefer. What a judge is measured against.

Invariant: every row becomes one checked label or one message that names the file, the line and the field; no row is
skipped, and no two labels have one id.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from rlaif.data.question import Question
from rlaif.errors import UserError
from rlaif.io.rows import Row, read_file

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
    reference: _Text | None = None
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
        return Question(self.id, self.question, self.context, self.reference)

    @property
    def answers(self) -> tuple[str, str]:
        """Both answers, `answer_a` first."""
        return self.answer_a, self.answer_b


_FIELDS = tuple(Label.model_fields)
_OPTIONAL = tuple(name for name, field in Label.model_fields.items() if not field.is_required())


def load_labels(path: str, limit: int | None = None) -> list[Label]:
    """Read a label file: JSONL, or CSV or Parquet with the same columns.

    Args:
        path: local path or fsspec URL.
        limit: read the first so many alone.

    Raises:
        UserError: with the file, the line (of Parquet, the row), the field and what was expected.
    """
    labels: list[Label] = []
    places: dict[str, str] = {}
    for row in read_file(path, list(_FIELDS)).rows:
        if limit is not None and len(labels) == limit:
            break
        label = _label(row)
        if label.id in places:
            raise UserError(
                f"{row.place}: id: {label.id!r} is also that of {places[label.id]}; expected ids that differ"
            )
        places[label.id] = row.place
        labels.append(label)
    if not labels:
        raise UserError(f"{path}: no labels; expected at least one")
    return labels


def labels_jsonl(labels: Iterable[Label]) -> bytes:
    """Return labels as a label file has them: one JSON object a line, what is not known left out."""
    return b"".join(label.model_dump_json(exclude_defaults=True).encode() + b"\n" for label in labels)


def _label(row: Row) -> Label:
    # CSV has no null and Parquet no missing column: an optional field that is empty is one that is not there.
    values = {name: value for name, value in row.values.items() if value not in ("", None) or name not in _OPTIONAL}
    try:
        return Label.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(_fault(row, item) for item in error.errors())
        raise UserError(f"{faults}{_hint(row)}") from None


def _fault(row: Row, item: Any) -> str:
    name = str(item["loc"][0])
    if item["type"] == "extra_forbidden":
        return f"{row.place}: {name}: unknown field; a label has {', '.join(_FIELDS)}"
    if item["type"] == "missing":
        return f"{row.place}: {name}: missing; expected a value"
    text = str(item["msg"]).removeprefix("Value error, ").replace("Input should be ", "expected ")
    given = repr(item["input"])
    shown = "" if "surrogate" in text else f" (got {given if len(given) <= 60 else given[:60] + '...'})"
    return f"{row.place}: {name}: {text}{shown}"


def _hint(row: Row) -> str:
    known = {"output_1", "output_2"}, {"answer", "label"}
    convertible = any(fields <= set(row.columns) for fields in known)
    return ". `rlaif judge labels FROM -o FILE` makes a label file of this one" if convertible else ""
