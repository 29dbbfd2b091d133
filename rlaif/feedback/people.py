"""People's part in a round, between judging and pairing: the queue is written, answers are awaited and recorded.

Invariant: each step leaves whole files, so a start after a kill goes on with the same queue and the same limit.
"""

from collections.abc import Mapping, Sequence

from rlaif.data.question import Question
from rlaif.errors import UserError
from rlaif.feedback.choosing import choose_comparisons
from rlaif.feedback.demonstrations import write_demonstrations
from rlaif.feedback.outcomes import PeopleDecisions, people_decisions, people_record
from rlaif.feedback.queue import QueueItem, read_queue, write_queue
from rlaif.feedback.waiting import await_labels
from rlaif.judges.judge import Judge
from rlaif.progress import Progress
from rlaif.recipe import PeopleSection
from rlaif.store.events import now
from rlaif.store.records.people_record import PEOPLE_FILE, PeopleRecord
from rlaif.store.rundir import RoundDir


def queue_for_people(
    directory: RoundDir,
    questions: Mapping[str, Question],
    judge: Judge,
    section: PeopleSection,
    *,
    seed: int,
    earlier: Sequence[RoundDir] = (),
) -> list[QueueItem]:
    """Return the queue of a sampled and judged round, which is written unless it is there; see `choose_comparisons`."""
    items = read_queue(directory)
    if items is None or PeopleRecord.read(directory.path(PEOPLE_FILE)) is None:
        items = choose_comparisons(directory, questions, judge, section, seed=seed, earlier=earlier)
        write_queue(directory, items)
        drawn = sum(item.random for item in items)
        record = PeopleRecord(round=directory.number, since=now(), queued=len(items), random=drawn)
        record.write(directory.path(PEOPLE_FILE))
    return read_queue(directory) or []


async def ask_people(
    directory: RoundDir, section: PeopleSection, *, run: str, seed: int, progress: Progress
) -> PeopleDecisions:
    """Wait for people's answers to a round's queue, record what came of them, and return their decisions.

    Args:
        run: path or URL of the run.
        seed: of the recipe.
    """
    path = directory.path(PEOPLE_FILE)
    items, record = read_queue(directory), PeopleRecord.read(path)
    if items is None or record is None:
        raise UserError(f"{directory.root}: no queue; expected one after judging")
    labels = await await_labels(
        directory, items, since=record.since, wait=section.wait, how=f"`rlaif ask {run}` asks them", progress=progress
    )
    ended = people_record(record, items, labels, ended=now(), seed=seed)
    ended.write(path)
    write_demonstrations(directory, items, labels)
    if items:
        progress.say(ended.summary)
    return people_decisions(items, labels)
