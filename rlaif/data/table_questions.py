"""Questions on the tables of a context, made from their cells, with the answers that the tables give.

Reading the right cell of a table is most of what questions on filings ask for, and a table holds far more such
questions than people write. Each is known to be right, and shares its context with the question that brought it.

Invariant: an answer is a cell, or the year in a column's head, word for word. No question is made that has two right
answers: none of two rows with one label, of two columns with one head, or of equal figures.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rlaif.chat import Messages
from rlaif.data.demonstrations import Demonstration
from rlaif.data.question import Question
from rlaif.data.seeded_random import SeededRandom
from rlaif.documents.figures import is_figure
from rlaif.documents.tables import with_heads
from rlaif.grading.quantities import parse_quantities

_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_DAY = re.compile(r"[^\W\d_]{3,}\.? \d{1,2}\b|\b\d{1,2} [^\W\d_]{3}")
_NOTE = re.compile(r"\s*\(\w{1,2}\)\s*$")
_LETTERS = re.compile(r"[^\W\d_]{3}")
_LOOKUPS = ("What was the {label} in {head}?", "What is the {head} {label}?", "How much was the {label} in {head}?")
_LOOKUPS_ON_A_DAY = ("What was the {label} as of {head}?", "What is the {label} at {head}?")
_OTHER_LOOKUPS = ("What is the {head} of {label}?", "What was the {head} for {label}?")
_COMPARED = {
    "larger": ("In which year was the {label} larger?", "In which year was {label} higher?"),
    "smaller": ("In which year was the {label} smaller?", "In which year was {label} lower?"),
    "largest": ("In which year was the {label} the largest?", "Which year has the highest {label}?"),
    "smallest": ("In which year was the {label} the smallest?", "Which year has the lowest {label}?"),
}
_COMPARISONS = 0.3
"""Share of the questions that compare a row's figures over years, where a table has years."""


@dataclass(frozen=True, slots=True)
class TableQuestion:
    """A question on a context, and its answer."""

    question: str
    answer: str


def table_questions(context: str, count: int, seed: str) -> list[TableQuestion]:
    """Return at most so many questions on the tables of a context, each on another cell or row.

    Args:
        context: any text; its tables are those that `with_heads` reads, or has shown.
        seed: decides which questions; the same seed gives the same ones.

    Example:
        >>> table = "| | 2023 | 2022 |\\n|---|---|---|\\n| Net sales | 10,208 | 8,631 |"
        >>> sorted(each.answer for each in table_questions(table, 9, "0"))
        ['10,208', '2023', '8,631']
    """
    random = SeededRandom(f"table-questions-{seed}")
    lookups, comparisons = list[TableQuestion](), list[TableQuestion]()
    for row in _rows(context):
        lookups += _of_cells(row, random)
        comparisons += _of_years(row, random)
    compared = min(len(comparisons), max(round(count * _COMPARISONS), count - len(lookups)))
    return [*random.some(comparisons, compared), *random.some(lookups, count - compared)]


def table_demonstrations(
    questions: Sequence[Question], count: int, *, seed: str, render: Callable[[Question], Messages]
) -> list[tuple[Question, Demonstration]]:
    """Return at most `count` demonstrations on the tables of each context, each with the first question that has it.

    A chat gives none.

    Args:
        render: returns the chat that asks the policy a question.
    """
    first = {each.context: each for each in reversed(questions) if count and not each.chat}
    return [
        (of, Demonstration(f"{of.id}/table-{number}", render(replace(of, question=made.question)), made.answer))
        for of in reversed(first.values())
        for number, made in enumerate(table_questions(of.context, count, f"{seed}-{of.id}"))
    ]


@dataclass(frozen=True, slots=True)
class _Row:
    """A row with a label of its own, and its figures by the heads that no other of its figures has."""

    label: str
    cells: Sequence[tuple[str, str]]


def _rows(context: str) -> Iterator[_Row]:
    # A line that shows heads is a label and cells, each `head: cell`.
    lines = [line.split(" | ") for line in with_heads(context).splitlines() if " | " in line]
    labels = Counter(_label(line[0]) for line in lines)
    for line in lines:
        label = _label(line[0])
        if labels[label] > 1 or not _LETTERS.search(label):
            continue
        split = [(head, cell) for head, _, cell in (part.rpartition(": ") for part in line[1:]) if head]
        heads = Counter(head for head, _ in split)
        if cells := [(head, cell) for head, cell in split if heads[head] == 1 and is_figure(cell)]:
            yield _Row(label, cells)


def _label(text: str) -> str:
    return _NOTE.sub("", text).strip().rstrip(":").strip()


def _of_cells(row: _Row, random: SeededRandom) -> Iterator[TableQuestion]:
    for head, cell in row.cells:
        if any(character.isdigit() for character in cell):
            forms = _LOOKUPS_ON_A_DAY if _DAY.search(head) else _LOOKUPS
            asked = random.one(*(forms if _YEAR.search(head) else _OTHER_LOOKUPS))
            yield TableQuestion(asked.format(label=row.label, head=head), cell)


def _of_years(row: _Row, random: SeededRandom) -> Iterator[TableQuestion]:
    """Yield a question which of the years has the row's largest or smallest figure."""
    years = [found[0] for head, _ in row.cells if len(found := _YEAR.findall(head)) == 1]
    # Whether a loss of 5 is smaller than one of 3 is a matter of taste.
    figures = [amount for _, cell in row.cells if (amount := _amount(cell)) > 0]
    distinct = len(set(years)) == len(set(figures)) == len(row.cells)
    if len(row.cells) < 2 or not distinct:
        return
    kind = random.one(*(("larger", "smaller") if len(figures) == 2 else ("largest", "smallest")))
    wanted = max(figures) if kind.startswith("larg") else min(figures)
    yield TableQuestion(random.one(*_COMPARED[kind]).format(label=row.label), years[figures.index(wanted)])


def _amount(cell: str) -> float:
    """Return the one amount of a cell, or 0."""
    quantities = parse_quantities(cell)
    return quantities[0].number if len(quantities) == 1 else 0.0
