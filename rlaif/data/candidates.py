"""Reads candidates that another system sampled, with one or several candidates in a row.

Invariant: every row becomes candidates of one validated question, or an error with the file, the line and the field. No
row is skipped, and no two questions share an id.
"""

from dataclasses import dataclass

from rlaif.data.question import Question
from rlaif.errors import shown
from rlaif.io.renamed import Renamed
from rlaif.io.rows import Row, read_file, with_unique_ids

_COLUMNS = ("id", "question", "context", "gold_answer", "answers", "answer")
_RENAMED = {"reference": Renamed("gold_answer")}


@dataclass(frozen=True, slots=True)
class Candidates:
    """A question with the texts of the candidates that were sampled for it, in the order of the file."""

    as_question: Question
    answers: tuple[str, ...]


def read_candidates(path: str) -> list[Candidates]:
    """Read a file of candidates.

    Args:
        path: JSONL, CSV or Parquet. A row has `question`, either `answers` (a list of texts) or `answer` (one text),
            and optionally `id`, `context` and `gold_answer`. Rows with the same question and context are merged into
            one question with the id of the first row. A question without an id gets its number as its id. Other columns
            are ignored.

    Raises:
        UserError: with the file, the line or row, the field and the expected value.
    """
    groups: dict[tuple[str, str], tuple[Row, Question, list[str]]] = {}
    for row in read_file(path, _COLUMNS, _RENAMED):
        text, context = row.text("question"), row.optional("context") or ""
        gold_answer = row.optional("gold_answer")
        question = Question(_id(row) or str(len(groups) + 1), text, context, gold_answer)
        first, merged, answers = groups.setdefault((text, context), (row, question, []))
        if gold_answer != merged.gold_answer:
            raise row.error("gold_answer", f"differs from the one at {first.location} for the same question")
        answers += _answers(row)
    with_unique_ids(((first, question) for first, question, _ in groups.values()), path, "rows")
    return [Candidates(question, tuple(answers)) for _, question, answers in groups.values()]


def _answers(row: Row) -> list[str]:
    several, one = row.values.get("answers"), row.values.get("answer")
    if several is not None and one is not None:
        raise row.error("", "has both answers and answer", expected="one of the two")
    if one is not None:
        return [row.checked("answer", one)]
    if several is None:
        raise row.error("", "no answers", expected=f"answers (a list) or answer; fields here: {row.shown_columns}")
    if not isinstance(several, list) or not several:
        raise row.error("answers", expected="a list of texts", found=shown(several))
    return [row.checked(f"answers.{index}", answer) for index, answer in enumerate(several)]


def _id(row: Row) -> str | None:
    value = row.values.get("id")
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else row.optional("id")
