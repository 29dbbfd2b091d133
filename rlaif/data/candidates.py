"""Reads answers that another system sampled, to be judged: several to a row, or one a row.

Invariant: every row becomes answers to one checked question, or one message that names the file, the line and the
field; no row is skipped, and no two questions have one id.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rlaif.data.question import Question
from rlaif.errors import UserError
from rlaif.io.rows import Row, read_file

_COLUMNS = ["id", "question", "context", "reference", "answers", "answer"]


@dataclass(frozen=True, slots=True)
class Candidates:
    """A question with the answers that were sampled for it.

    Attributes:
        prompt: the question.
        answers: the answers' texts, in the file's order.
    """

    prompt: Question
    answers: tuple[str, ...]


@dataclass(slots=True)
class _Group:
    """A question in the making."""

    place: str
    id: str | None
    reference: str | None
    answers: list[str] = field(default_factory=list)


def read_candidates(path: str) -> list[Candidates]:
    """Read a file of candidates.

    Args:
        path: JSONL, CSV or Parquet. A row has `question` and `answers` (a list of texts) or `answer` (one text), and
            any of `id, context, reference`. Rows of the same question and context are one question, under the id of
            the first of them; a question without an id gets its number. Other columns are left aside.

    Raises:
        UserError: with the file, the line or row, the field and what was expected.
    """
    groups: dict[tuple[str, str], _Group] = {}
    for row in read_file(path, _COLUMNS).rows:
        key = (_text(row, "question"), _optional(row, "context") or "")
        name, reference = _id(row), _optional(row, "reference")
        group = groups.setdefault(key, _Group(row.place, name, reference))
        if reference != group.reference:
            raise UserError(f"{row.place}: reference: another than at {group.place}, for the same question")
        group.answers += _answers(row)
    if not groups:
        raise UserError(f"{path}: no rows; expected at least one")
    places: dict[str, str] = {}
    found = []
    for number, ((question, context), group) in enumerate(groups.items(), start=1):
        name = group.id if group.id is not None else str(number)
        if name in places:
            raise UserError(f"{group.place}: id: {name!r} is also that of another question, at {places[name]}")
        places[name] = group.place
        found.append(Candidates(Question(name, question, context, group.reference), tuple(group.answers)))
    return found


def _answers(row: Row) -> list[str]:
    given: Mapping[str, object] = row.values
    several, one = given.get("answers"), given.get("answer")
    if several is not None and one is not None:
        raise UserError(f"{row.place}: answers and answer; expected one of the two")
    if several is None and one is None:
        there = ", ".join(row.columns) or "none"
        raise UserError(f"{row.place}: no answers; expected answers (a list) or answer; fields here: {there}")
    if one is not None:
        return [_checked(row, "answer", one)]
    if not isinstance(several, list) or not several:
        raise UserError(f"{row.place}: answers: expected a list of texts (got {_shown(several)})")
    return [_checked(row, f"answers.{index}", answer) for index, answer in enumerate(several)]


def _id(row: Row) -> str | None:
    value = row.values.get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _optional(row, "id")


def _text(row: Row, name: str) -> str:
    if name not in row.values:
        raise UserError(f"{row.place}: {name}: missing; fields here: {', '.join(row.columns) or 'none'}")
    text = _checked(row, name, row.values[name])
    if not text.strip():
        raise UserError(f"{row.place}: {name}: empty; expected a text")
    return text


def _optional(row: Row, name: str) -> str | None:
    value = row.values.get(name)
    return None if value is None or value == "" else _checked(row, name, value)


def _checked(row: Row, name: str, value: object) -> str:
    if not isinstance(value, str):
        raise UserError(f"{row.place}: {name}: expected a text (got {_shown(value)})")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UserError(f"{row.place}: {name}: half of a surrogate pair; expected valid Unicode text") from None
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
