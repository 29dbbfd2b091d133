"""Converts published data to labels: pairs in the LLMBar format, or answers that people marked one by one.

Invariant: the same file, seed and limits give the same labels, byte for byte. The better answer comes first in half of
the labels made from marks, so a judge that always prefers the first answer is right half of the time.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rlaif.data.context import read_context
from rlaif.data.criteria import read_criteria
from rlaif.data.gold_answer import read_gold_answer
from rlaif.data.labels import Label
from rlaif.data.question import Chat, Question, chat_tree
from rlaif.data.question_chat import read_question
from rlaif.data.seeded_random import SeededRandom
from rlaif.errors import Fault, UserError, shown
from rlaif.io.column_names import ANY_NAMES, ColumnNames
from rlaif.io.fields import Fields
from rlaif.io.renamed import Renamed
from rlaif.io.rows import Row, read_file

Format = Literal["llmbar", "marks"]

CONVERTED_FIELDS: Mapping[str, str] = {
    "instruction": "llmbar: what was asked",
    "output_1": "llmbar: one answer",
    "output_2": "llmbar: the other answer",
    "question": "marks: the question's text",
    "messages": "marks: the chat of a question that is one; it ends with the user's turn",
    "answer": "marks: an answer to it",
    "label": "llmbar: the better output, 1 or 2; marks: `Correct Answer`, `Incorrect Answer` or `Refusal`, 1 or 0, or "
    "true or false",
    "id": "of the pair, or of the question of a mark",
    "context": "text that the answers should follow from",
    "gold_answer": "the right answer, or a list of several",
    "criteria": "what judges with criteria mark the answers by",
}
"""The fields of files that become labels."""
DETAIL_FIELDS: Mapping[str, str] = {
    "id": "of a question of the marks; required",
    "context": "text that its answers should follow from",
    "gold_answer": "the right answer, or a list of several",
    "criteria": "what judges with criteria mark its answers by",
}
"""The fields of a file with more about the questions of marks."""
_NEEDED: Mapping[Format, tuple[str, ...]] = {
    "llmbar": ("instruction", "output_1", "output_2", "label"),
    "marks": ("question", "answer", "label"),
}
# The marks of FinanceBench (Islam et al. 2023), with and without the word "answer", and the truth values of tables.
_MARKS = {
    "correct answer": "correct", "correct": "correct", "1": "correct", "1.0": "correct", "true": "correct",
    "incorrect answer": "incorrect", "incorrect": "incorrect", "0": "incorrect", "0.0": "incorrect",
    "false": "incorrect", "refusal": "refusal",
}  # fmt: skip
# What all marks of a question say of it, and the column that holds it.
_ABOUT = {"question": "question", "chat": "messages", "context": "context", "gold_answer": "gold_answer",
          "criteria": "criteria"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """One of disjoint parts of a set of questions, counted from 1: one to train a judge on, one to evaluate it."""

    number: int
    parts: int

    def holds(self, question: str) -> bool:
        """Return whether a question belongs to this part. The result depends only on the text of the question."""
        digest = hashlib.sha256(question.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.parts == self.number - 1


def parse_part(text: str) -> Part:
    """Parse a part of the form K/N: `1/2` is the first of two parts."""
    number, slash, parts = text.partition("/")
    if not (slash and number.isascii() and number.isdigit() and parts.isascii() and parts.isdigit()):
        raise UserError(f"--part {text}: expected K/N, such as 1/2 for the first half of the questions")
    part = Part(int(number), int(parts))
    if not 1 <= part.number <= part.parts:
        raise UserError(f"--part {text}: expected a part from 1 to {part.parts or 1}")
    return part


@dataclass(frozen=True, slots=True)
class Conversion:
    """Labels converted from a file.

    Attributes:
        rows: number of rows in the file.
        counts: numbers of labels and, for marks, of rows per mark and of questions, for display.
    """

    format: Format
    labels: list[Label]
    rows: int
    counts: dict[str, int]


def convert_labels(
    path: str,
    *,
    form: Format | None = None,
    questions: str | None = None,
    part: Part | None = None,
    max_pairs_per_question: int | None = None,
    seed: int = 0,
    columns: ColumnNames = ANY_NAMES,
    question_columns: ColumnNames = ANY_NAMES,
) -> Conversion:
    """Convert a file of pairs or of marked answers to labels.

    Args:
        path: local path or fsspec URL of any of `CONTAINERS`, with `CONVERTED_FIELDS`.
        form: `llmbar` or `marks`; None goes by the columns.
        questions: for marks, a file with `DETAIL_FIELDS` of each question, joined by id.
        part: the questions to convert; None converts all.
        max_pairs_per_question: for marks; None keeps all.
        seed: selects which pairs are sampled and which answer comes first.
        columns, question_columns: the names of both files' columns.
    """
    rows = list(read_file(path, Fields(tuple(CONVERTED_FIELDS), columns=columns)))
    if not rows:
        raise UserError(Fault(path, "no rows", expected="at least one"))
    form = form or _format(rows[0])
    if form == "llmbar":
        if questions is not None or max_pairs_per_question is not None:
            problem = "is in the llmbar format; --questions and --max-pairs-per-question apply only to marks"
            raise UserError(Fault(path, problem))
        labels = [label for label in map(_llmbar, rows) if part is None or part.holds(label.question)]
        counts = {"labels": len(labels)}
    else:
        details = {} if questions is None else _details(questions, question_columns)
        marked, marks = _marked_questions(rows, questions, details, part)
        pairs = [
            (question, *pair)
            for question in marked
            for pair in _pairs(question, max_pairs_per_question, SeededRandom(f"{seed} {question.about.id}"))
        ]
        labels = _sided(pairs, SeededRandom(f"{seed} sides"))
        counts = {
            **dict(sorted(marks.items())),
            "questions": len(marked),
            "questions with a pair": len({question.about.id for question, *_ in pairs}),
            "labels": len(labels),
        }
    if not labels:
        expected = "a question with a correct answer and an incorrect one or a refusal"
        raise UserError(Fault(path, "yields no labels", expected=expected))
    return Conversion(form, labels, len(rows), counts)


def _format(row: Row) -> Format:
    # The question of a row may be a chat.
    there = {*row.values, "question"} if "messages" in row.values else set(row.values)
    for form, needed in _NEEDED.items():
        if set(needed) <= there:
            return form
    forms = "; ".join(f"{form} has {', '.join(needed)}" for form, needed in _NEEDED.items())
    raise row.error("", f"neither format: {forms}; columns here: {row.shown_columns}; {row.names.names('question')}")


def _llmbar(row: Row) -> Label:
    better = row.id("label")
    if better not in ("1", "2"):
        raise row.error("label", expected="1 or 2, the better output", found=shown(row.values.get("label")))
    return Label(
        id=row.id() or row.location.removeprefix(f"{row.path}:").strip(),
        question=row.text("instruction"),
        answer_a=row.text("output_1", blank=True),
        answer_b=row.text("output_2", blank=True),
        human="a" if better == "1" else "b",
        context=row.read("context", read_context),
        gold_answer=row.read("gold_answer", read_gold_answer),
        criteria=row.read("criteria", read_criteria),
    )


Answer = tuple[int, str]
"""The number of an answer's row, and its text."""


@dataclass(slots=True)
class _Marked:
    """A question with the answers that people marked."""

    about: Question
    right: list[Answer] = field(default_factory=list)
    wrong: list[Answer] = field(default_factory=list)


def _marked_questions(
    rows: Sequence[Row], questions: str | None, details: Mapping[str, Row], part: Part | None
) -> tuple[list[_Marked], Counter[str]]:
    """Return the questions of a part with their answers, and the number of rows with each mark."""
    marked: dict[str, _Marked] = {}
    marks: Counter[str] = Counter()
    for number, row in enumerate(rows, start=1):
        question, chat = read_question(row)
        if part is not None and not part.holds(question):
            continue
        mark = _mark(row)
        marks[mark] += 1
        name = row.id() or _content_id(question, chat, row.read("context", read_context))
        if details and name not in details:
            raise row.error("id", f"{name!r} is not in {questions}", expected="the id of a question in that file")
        about = _question(name, question, chat, row, details=details.get(name))
        earlier = marked.setdefault(name, _Marked(about)).about
        for known, column in _ABOUT.items():
            if getattr(about, known) != getattr(earlier, known):
                raise row.error(column, f"differs from the one of an earlier row with the id {name!r}")
        answers = marked[name].right if mark == "correct" else marked[name].wrong
        answers.append((number, row.text("answer", blank=True)))
    return list(marked.values()), marks


def _mark(row: Row) -> str:
    """Return the mark of an answer: `correct`, `incorrect` or `refusal`."""
    value = row.values.get("label")
    mark = _MARKS.get((str(value) if isinstance(value, bool) else row.text("label")).strip().lower())
    if mark is None:
        expected = "Correct Answer, Incorrect Answer or Refusal, or 1 or 0, true or false"
        raise row.error("label", expected=expected, found=shown(value))
    return mark


def _content_id(question: str, chat: Chat, context: str) -> str:
    content = question + (json.dumps(chat_tree(chat)) if chat else "") + (f"\n{context}" if context else "")
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _question(name: str, question: str, chat: Chat, row: Row, *, details: Row | None) -> Question:
    """Return a question with what its row says of it, or the file of questions, which goes before."""
    context, gold_answer = row.read("context", read_context), row.read("gold_answer", read_gold_answer)
    criteria = row.read("criteria", read_criteria)
    if details is not None:
        context = details.read("context", read_context) or context
        gold_answer = details.read("gold_answer", read_gold_answer) or gold_answer
        criteria = details.read("criteria", read_criteria) or criteria
    return Question(name, question, context, gold_answer, criteria=criteria, chat=chat)


def _details(path: str, columns: ColumnNames) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in read_file(path, Fields(tuple(DETAIL_FIELDS), {"answer": Renamed("gold_answer")}, columns)):
        name = row.id() or row.text("id")
        if name in found:
            raise row.error("id", f"{name!r} is also that of {found[name].location}", expected="ids that differ")
        found[name] = row
    return found


def _pairs(question: _Marked, most: int | None, rng: SeededRandom) -> list[tuple[Answer, Answer]]:
    """Return pairs of a right and a wrong answer, in the order of the file.

    Different systems often give the same answer. Pairs with the same two texts are returned once, and a text that
    people marked both right and wrong is left out.
    """
    both_ways = {text.strip() for _, text in question.right} & {text.strip() for _, text in question.wrong}
    pairs: dict[tuple[str, str], tuple[Answer, Answer]] = {}
    for right in question.right:
        for wrong in question.wrong:
            texts = (right[1].strip(), wrong[1].strip())
            if not both_ways.intersection(texts):
                pairs.setdefault(texts, (right, wrong))
    found = list(pairs.values())
    return found if most is None else sorted(rng.some(found, most))


def _sided(pairs: Sequence[tuple[_Marked, Answer, Answer]], rng: SeededRandom) -> list[Label]:
    """Return one label for each pair, with the better answer first in half of them, rounded up or down at random."""
    spare = int(rng.chance(0.5)) if len(pairs) % 2 else 0
    sides: list[Literal["a", "b"]] = ["a"] * (len(pairs) // 2 + spare)
    sides += ["b"] * (len(pairs) - len(sides))
    labels = []
    for (marked, right, wrong), side in zip(pairs, rng.some(sides, len(sides)), strict=True):
        first, second = (right, wrong) if side == "a" else (wrong, right)
        labels.append(
            Label(
                # The row numbers trace a label back to the marked answers.
                id=f"{marked.about.id}:{first[0]}-{second[0]}",
                question=marked.about.question,
                context=marked.about.context,
                gold_answer=marked.about.gold_answer,
                answer_a=first[1],
                answer_b=second[1],
                human=side,
                criteria=marked.about.criteria,
                messages=marked.about.chat,
            )
        )
    return labels
