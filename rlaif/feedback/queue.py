"""A round's `queue.jsonl`: the comparisons that people are asked to decide, one a line.

Invariant: the file is written once, after judging, and depends only on the recipe's seed, the candidates and the
verdicts. Its order says nothing about why a comparison was chosen.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import ConfigDict, ValidationError

from rlaif.data.question import Chat, Question
from rlaif.errors import Fault, UserError
from rlaif.io.files import read_bytes, write_bytes
from rlaif.judges.uncertainty import Reason
from rlaif.preferences.pairs import pair_id
from rlaif.prompts.question_prompt import shown_question
from rlaif.store.records.record import RecordPart
from rlaif.store.rundir import RoundDir


class Why(RecordPart):
    """Why a comparison is worth a person's answer. Whoever shows the comparison keeps this back."""

    reason: Reason
    """`undecided`: no preference of the judge; `split`: verdicts that point both ways; `margin`: its margin."""
    status: Literal["ok", "tie", "unparsed", "error"] | None
    """Of the judge's decision; None where it is silent."""
    preference: float | None
    """The judge's probability that the first answer is better."""
    margin: float | None
    """Of the judge's decision."""


class QueueItem(RecordPart):
    """One comparison."""

    model_config = ConfigDict(extra="ignore")

    id: str
    """Of these two answers to the question in this round: no label of other answers fits it."""
    prompt_id: str
    """Id of the question."""
    question: str
    """The question, or the transcript of a chat."""
    context: str
    """Text that the answers should follow from, or ""."""
    first: int
    """Index of the first candidate, the smaller one."""
    second: int
    answer_first: str
    answer_second: str
    random: bool
    """Whether it was drawn at random; the judge is measured on these."""
    why: Why
    messages: Chat = ()
    """The turns of a question that is a chat."""


def queue_item(
    round_number: int, question: Question, first: tuple[int, str], second: tuple[int, str], *, random: bool, why: Why
) -> QueueItem:
    """Return the item of two candidates of a question, each given by its index and its text."""
    return QueueItem(
        id=pair_id("people", round_number, question.id, *first, *second),
        prompt_id=question.id,
        question=shown_question(question),
        context=question.context,
        first=first[0],
        second=second[0],
        answer_first=first[1],
        answer_second=second[1],
        random=random,
        why=why,
        messages=question.chat,
    )


def write_queue(directory: RoundDir, items: Sequence[QueueItem]) -> None:
    """Write the queue of a round, sorted by question and candidates."""
    ordered = sorted(items, key=lambda item: (item.prompt_id, item.first, item.second))
    write_bytes(_path(directory), b"".join(item.model_dump_json().encode() + b"\n" for item in ordered))


def read_queue(directory: RoundDir) -> list[QueueItem] | None:
    """Return the queue of a round, or None where there is none.

    Raises:
        UserError: a line is no item, with file and line.
    """
    data = read_bytes(_path(directory))
    if data is None:
        return None
    items = []
    for line, text in enumerate(data.splitlines(), start=1):
        try:
            items.append(QueueItem.model_validate_json(text))
        except ValidationError as error:
            field = ".".join(map(str, error.errors()[0]["loc"]))
            expected = "an item as the run wrote it; delete the file to have it written again"
            raise UserError(Fault(_path(directory), "", line, field=field, expected=expected)) from None
    return items


def _path(directory: RoundDir) -> str:
    return directory.path("queue.jsonl")
