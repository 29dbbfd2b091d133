"""Converts published files to labels: pairs in the LLMBar format, and answers that people marked one by one.

Invariant: the same file, seed and limits give the same labels, byte for byte; the better answer comes first in half
of the labels made from marks, so that a judge that always says "the first" scores one half.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rlaif.data.labels import Label
from rlaif.data.seeded_random import SeededRandom
from rlaif.errors import Fault, UserError, shown
from rlaif.io.rows import Row, read_file

Format = Literal["llmbar", "marks"]

_COLUMNS: Mapping[Format, tuple[str, ...]] = {
    "llmbar": ("id", "instruction", "output_1", "output_2", "label"),
    "marks": ("id", "question", "context", "gold_answer", "answer", "label"),
}
_NEEDED: Mapping[Format, tuple[str, ...]] = {
    "llmbar": ("instruction", "output_1", "output_2", "label"),
    "marks": ("question", "answer", "label"),
}
# FinanceBench's marks (Islam et al. 2023), and the same without the second word.
_MARKS = {"correct answer": True, "correct": True, "incorrect answer": False, "incorrect": False, "refusal": False}


@dataclass(frozen=True, slots=True)
class Part:
    """One of several parts of a file's questions: a judge is trained on one and measured on another.

    Attributes:
        number: which part, from 1.
        parts: how many there are.
    """

    number: int
    parts: int

    def holds(self, question: str) -> bool:
        """Return whether a question belongs to the part; only its text decides, in whatever file it is."""
        digest = hashlib.sha256(question.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.parts == self.number - 1


@dataclass(frozen=True, slots=True)
class Conversion:
    """Labels made from a file.

    Attributes:
        format: of the file.
        labels: made from it.
        rows: rows read.
        counts: the rows by mark and the labels made from them, for a person to read.
    """

    format: Format
    labels: list[Label]
    rows: int
    counts: dict[str, int] = field(default_factory=dict)


def convert_labels(
    path: str,
    *,
    form: Format | None = None,
    questions: str | None = None,
    part: Part | None = None,
    max_pairs_per_question: int | None = None,
    seed: int = 0,
) -> Conversion:
    """Make labels from a file of pairs or of marked answers.

    Args:
        path: JSONL, CSV or Parquet.
        form: `llmbar` has an instruction, two outputs and a label of 1 or 2; `marks` has a question, an answer and a
            label of `Correct Answer`, `Incorrect Answer` or `Refusal` a row. None decides by the columns.
        questions: for marks, a file with `id`, `context` and `gold_answer` of the questions, joined by id.
        part: of the questions; None takes all.
        max_pairs_per_question: for marks, the most pairs drawn for each question; None takes all.
        seed: decides which pairs are drawn and which answer comes first.

    Raises:
        UserError: with the file, the line, the field and what was expected.
    """
    rows = list(_rows(path, form))
    if not rows:
        raise UserError(Fault(path, "no rows", expected="at least one"))
    form = form or _format(rows[0])
    if form == "llmbar":
        if questions is not None or max_pairs_per_question is not None:
            problem = "has the llmbar format; --questions and --max-pairs-per-question are for marks"
            raise UserError(Fault(path, problem))
        labels = [label for label in map(_llmbar, rows) if part is None or part.holds(label.question)]
        counts = {"labels": len(labels)}
    else:
        labels, counts = _from_marks(path, rows, questions, part, most=max_pairs_per_question, seed=seed)
    if not labels:
        expected = "a question with a correct and another answer"
        raise UserError(Fault(path, "yields no labels", expected=expected))
    return Conversion(form, labels, len(rows), counts)


def _rows(path: str, form: Format | None) -> Iterator[Row]:
    forms: Sequence[Format] = ("llmbar", "marks") if form is None else (form,)
    return read_file(path, sorted({column for name in forms for column in _COLUMNS[name]})).rows


def _format(row: Row) -> Format:
    for form, needed in _NEEDED.items():
        if set(needed) <= set(row.columns):
            return form
    forms = "; ".join(f"{form} has {', '.join(needed)}" for form, needed in _NEEDED.items())
    raise row.error("", f"neither format: {forms}. Columns here: {row.shown_columns}")


def _llmbar(row: Row) -> Label:
    better = str(row.values.get("label"))
    if better not in ("1", "2"):
        raise row.error("label", expected="1 or 2, the better output", found=shown(row.values.get("label")))
    return Label(
        id=str(row.values.get("id") or row.place.rpartition(":")[2].strip()),
        question=row.text("instruction"),
        answer_a=row.text("output_1", blank=True),
        answer_b=row.text("output_2", blank=True),
        human="a" if better == "1" else "b",
    )


@dataclass(slots=True)
class _Marked:
    """A question with the answers that people marked, each with its number in the file."""

    id: str
    question: str
    context: str
    gold_answer: str | None
    right: list[tuple[int, str]] = field(default_factory=list)
    wrong: list[tuple[int, str]] = field(default_factory=list)


def _from_marks(
    path: str, rows: Sequence[Row], questions: str | None, part: Part | None, *, most: int | None, seed: int
) -> tuple[list[Label], dict[str, int]]:
    details = _details(questions) if questions is not None else {}
    marked: dict[str, _Marked] = {}
    marks: Counter[str] = Counter()
    for number, row in enumerate(rows, start=1):
        question = row.text("question")
        if part is not None and not part.holds(question):
            continue
        mark = row.text("label").strip().lower()
        if mark not in _MARKS:
            expected = "Correct Answer, Incorrect Answer or Refusal"
            raise row.error("label", expected=expected, found=shown(row.values["label"]))
        marks[mark.removesuffix(" answer")] += 1
        name = str(row.values.get("id") or hashlib.sha256(question.encode()).hexdigest()[:16])
        if name not in marked:
            if details and name not in details:
                raise row.error("id", f"{name!r} is not in {questions}", expected="each question there")
            marked[name] = _question(name, question, row, details.get(name))
        elif marked[name].question != question:
            raise row.error("question", f"differs from that of an earlier row with the id {name!r}")
        answer = (number, row.text("answer", blank=True))
        (marked[name].right if _MARKS[mark] else marked[name].wrong).append(answer)
    pairs = [
        (question, *pair)
        for question in marked.values()
        for pair in _pairs(question, most, SeededRandom(f"{seed} {question.id}"))
    ]
    labels = _sided(pairs, SeededRandom(f"{seed} sides"))
    counts = dict(sorted(marks.items())) | {
        "questions": len(marked),
        "questions with a pair": len({question.id for question, *_ in pairs}),
        "labels": len(labels),
    }
    return labels, counts


def _question(name: str, question: str, row: Row, details: Mapping[str, Any] | None) -> _Marked:
    context, gold_answer = row.values.get("context"), row.values.get("gold_answer")
    if details is not None:
        context, gold_answer = details.get("context"), details.get("gold_answer") or gold_answer
    return _Marked(name, question, context or "", None if gold_answer in (None, "") else str(gold_answer))


def _details(path: str) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for row in read_file(path, ("id", "context", "gold_answer"), {"answer": "gold_answer"}).rows:
        name = row.text("id")
        row.optional("context")
        found[name] = row.values
    return found


def _pairs(question: _Marked, most: int | None, rng: SeededRandom) -> list[tuple[tuple[int, str], tuple[int, str]]]:
    """Return pairs of a right and a wrong answer, in the file's order.

    Systems often give the same answer: the same two texts make one pair, and a text that people marked both right and
    wrong makes none.
    """
    both_ways = {text.strip() for _, text in question.right} & {text.strip() for _, text in question.wrong}
    pairs: dict[tuple[str, str], tuple[tuple[int, str], tuple[int, str]]] = {}
    for right in question.right:
        for wrong in question.wrong:
            texts = (right[1].strip(), wrong[1].strip())
            if not both_ways.intersection(texts):
                pairs.setdefault(texts, (right, wrong))
    found = list(pairs.values())
    return found if most is None else sorted(rng.some(found, most))


def _sided(pairs: Sequence[tuple[_Marked, tuple[int, str], tuple[int, str]]], rng: SeededRandom) -> list[Label]:
    """Return the labels with the better answer first in half of them (for an odd number, one more or one less)."""
    spare = int(rng.chance(0.5)) if len(pairs) % 2 else 0
    sides: list[Literal["a", "b"]] = ["a"] * (len(pairs) // 2 + spare)
    sides += ["b"] * (len(pairs) - len(sides))
    labels = []
    for (question, right, wrong), side in zip(pairs, rng.some(sides, len(sides)), strict=True):
        first, second = (right, wrong) if side == "a" else (wrong, right)
        labels.append(
            Label(
                # The two rows of the file, so that a label leads back to what people marked.
                id=f"{question.id}:{first[0]}-{second[0]}",
                question=question.question,
                context=question.context,
                gold_answer=question.gold_answer,
                answer_a=first[1],
                answer_b=second[1],
                human=side,
            )
        )
    return labels


def parse_part(text: str) -> Part:
    """Read `1/2` as the first of two parts.

    Raises:
        UserError: malformed.
    """
    number, slash, parts = text.partition("/")
    if not (slash and number.isascii() and number.isdigit() and parts.isascii() and parts.isdigit()):
        raise UserError(f"--part {text}: expected K/N, such as 1/2 for the first half of the questions")
    part = Part(int(number), int(parts))
    if not 1 <= part.number <= part.parts:
        raise UserError(f"--part {text}: expected a part from 1 to {part.parts or 1}")
    return part
