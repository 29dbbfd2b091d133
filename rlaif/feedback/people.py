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
from rlaif.store.records.people_record import PeopleRecord
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
    if items is None or read_people_record(directory) is None:
        items = choose_comparisons(directory, questions, judge, section, seed=seed, earlier=earlier)
        write_queue(directory, items)
        drawn = sum(item.random for item in items)
        record = PeopleRecord(round=directory.number, since=now(), queued=len(items), random=drawn)
        record.write(_record_path(directory))
    return read_queue(directory) or []


async def ask_people(
    directory: RoundDir, section: PeopleSection, *, run: str, seed: int, progress: Progress
) -> PeopleDecisions:
    """Wait for people's answers to a round's queue, record what came of them, and return their decisions.

    Args:
        run: path or URL of the run.
        seed: of the recipe.
    """
    items, record = read_queue(directory), read_people_record(directory)
    if items is None or record is None:
        raise UserError(f"{directory.root}: no queue; expected one after judging")
    labels = await await_labels(
        directory, items, since=record.since, wait=section.wait, how=f"`rlaif ask {run}` asks them", progress=progress
    )
    ended = people_record(record, items, labels, ended=now(), seed=seed)
    ended.write(_record_path(directory))
    write_demonstrations(directory, items, labels)
    if items:
        progress.say(people_line(ended))
    return people_decisions(items, labels)


def people_line(record: PeopleRecord) -> str:
    """Return what people decided in a round, and how far the judge agrees with them, in one line."""
    decided = record.answered - record.outcomes.get("undecided", 0)
    line = f"round {record.round}: people decided {decided} of {record.queued} comparisons"
    found = record.agreement
    if found is None or found.value is None or found.low is None or found.high is None:
        return line
    interval = f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
    return f"{line}; on {found.n} drawn at random the judge agrees with them in {interval}"


def read_people_record(directory: RoundDir) -> PeopleRecord | None:
    """Return `people.json` of a round, or None where there is none."""
    return PeopleRecord.read(_record_path(directory))


def _record_path(directory: RoundDir) -> str:
    return directory.path("people.json")
