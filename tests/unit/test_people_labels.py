"""The label file of a round: any tool adds lines, wrong ones are named, and waiting reads it until it is enough."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rlaif.data.demonstrations import read_demonstrations
from rlaif.data.question import Question, Turn, chat_tree
from rlaif.errors import UserError
from rlaif.feedback.demonstrations import write_demonstrations
from rlaif.feedback.labels import PersonLabel, append_label, labels_path, read_label_lines
from rlaif.feedback.people import ask_people
from rlaif.feedback.queue import queue_item
from rlaif.feedback.waiting import await_labels
from rlaif.recipe import FeedbackSection, PeopleSection
from rlaif.recipe.recipe import parse_overrides
from rlaif.store.records.people_record import PEOPLE_FILE, PeopleRecord
from tests.unit.queued_run import QueuedRun

START = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)


class Said:
    """A progress that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.done = 0

    def stage(self, title: str, total: int, done: int = 0) -> None:
        self.lines.append(f"{title}: {done}/{total}")

    def advance(self, units: int = 1, **figures: float | str) -> None:
        self.done += units

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture
def queued(tmp_path: Path) -> QueuedRun:
    return QueuedRun(tmp_path / "run", share=0.05)


def add(queued: QueuedRun, text: str) -> None:
    with open(labels_path(queued.directory), "a", encoding="utf-8") as file:
        file.write(text)


def line(item: str, label: str | None = "first", who: str = "ann", **rest: object) -> str:
    return json.dumps({"item": item, "label": label, "who": who, **rest}) + "\n"


def test_wrong_lines_are_named_and_count_for_nothing(queued: QueuedRun) -> None:
    name = queued.items[0].id
    add(queued, line(name) + "first!\n" + line(name, "better") + line("other") + line(name, who=" ") + "\n")
    add(queued, json.dumps({"label": "tie", "who": "ann"}) + "\n" + line(name, "tie", of="a tool of its own"))
    add(queued, '{"item": "' + name)
    found = read_label_lines(queued.directory, {item.id for item in queued.items})
    assert [label.label for label in found.labels] == ["first", "tie"]
    path = labels_path(queued.directory)
    assert [str(fault) for fault in found.faults] == [
        f"{path}:2: not JSON; expected one JSON object per line",
        f"{path}:3: label: expected 'first', 'second', 'tie', 'both_bad' or 'skip' (got 'better')",
        f"{path}:4: item: expected the id of an item of queue.jsonl (got 'other')",
        f"{path}:5: who: empty; expected the person's name (got ' ')",
        f"{path}:7: item: missing; expected a value",
    ]


def test_a_label_of_other_answers_fits_no_comparison(queued: QueuedRun) -> None:
    """Such as one of another run of the recipe, which sampled other answers to the same questions."""
    question = queued.questions[queued.items[0].prompt_id]
    why = queued.items[0].why
    ids = {
        queue_item(number, question, (0, first), (1, second), random=False, why=why).id
        for number, first, second in ((0, "five", "six"), (1, "five", "six"), (0, "six", "five"), (0, "five", "seven"))
    }
    assert len(ids) == 4


def test_a_line_that_was_cut_off_does_not_swallow_the_next(queued: QueuedRun) -> None:
    name = queued.items[0].id
    add(queued, '{"item": "' + name)
    append_label(queued.directory, PersonLabel(item=name, label="tie", who="ann"))
    append_label(queued.directory, PersonLabel(item=name, label="second", who="bob"))
    found = read_label_lines(queued.directory, {name})
    assert [label.who for label in found.labels] == ["ann", "bob"]
    assert [fault.line for fault in found.faults] == [1]


def test_labels_are_put_whole_to_an_object_store() -> None:
    from rlaif.store.rundir import RoundDir

    directory = RoundDir("memory://people-labels", 0)
    for who in ("ann", "bob"):
        append_label(directory, PersonLabel(item="i", label="tie", who=who))
    assert [label.who for label in read_label_lines(directory, {"i"}).labels] == ["ann", "bob"]


def wait(queued: QueuedRun, said: Said, seconds: float, now: datetime = START) -> list[PersonLabel]:
    return asyncio.run(
        await_labels(
            queued.directory, queued.items, since=START.isoformat(), wait=seconds, how="ask them",
            progress=said, clock=lambda: now, every=0.01,
        )
    )  # fmt: skip


def test_a_round_goes_on_at_once_without_a_limit_to_wait_for(queued: QueuedRun) -> None:
    said = Said()
    assert wait(queued, said, 0) == []
    assert said.lines == []
    # A start after the limit does not wait either; what is there counts.
    add(queued, line(queued.items[0].id))
    assert len(wait(queued, said, 60, START + timedelta(minutes=2))) == 1
    assert said.lines == []


def test_a_round_goes_on_when_each_comparison_has_an_answer(queued: QueuedRun) -> None:
    said = Said()
    first, *others = queued.items

    async def both() -> list[PersonLabel]:
        waiting = asyncio.create_task(
            await_labels(
                queued.directory, queued.items, since=START.isoformat(), wait=3600, how="ask them",
                progress=said, clock=lambda: START, every=0.01,
            )
        )  # fmt: skip
        await asyncio.sleep(0.05)
        add(queued, line(first.id, "skip") + "oops\n" + line(others[0].id, None, demonstration="mine"))
        await asyncio.sleep(0.05)
        # A skip is an answer; a demonstration alone is none yet.
        assert not waiting.done()
        assert said.done == 1
        add(queued, "".join(line(item.id) for item in others))
        return await asyncio.wait_for(waiting, 5)

    assert len(asyncio.run(both())) == len(queued.items) + 1
    count = len(queued.items)
    assert said.lines == [
        f"round 0: {count} comparisons wait for people, until 2026-01-31 10:00 UTC: ask them",
        f"round 0: wait for people: 0/{count}",
        f"{labels_path(queued.directory)}:2: not JSON; expected one JSON object per line; the line does not count",
    ]


def test_a_round_goes_on_without_people_at_the_limit(queued: QueuedRun) -> None:
    said, times = Said(), iter([START, START, START, START, START + timedelta(seconds=60)])
    last = START + timedelta(seconds=60)
    labels = asyncio.run(
        await_labels(
            queued.directory, queued.items, since=START.isoformat(), wait=60, how="ask them",
            progress=said, clock=lambda: next(times, last), every=0.01,
        )
    )  # fmt: skip
    assert labels == []
    assert said.lines[-1] == f"round 0: goes on without people on {len(queued.items)} comparisons"


def test_an_interrupted_wait_changes_nothing(queued: QueuedRun) -> None:
    before = PeopleRecord.read(queued.directory.path(PEOPLE_FILE))

    async def stopped() -> None:
        section = PeopleSection(wait=3600)
        task = asyncio.create_task(ask_people(queued.directory, section, run="r", seed=0, progress=Said()))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(stopped())
    assert PeopleRecord.read(queued.directory.path(PEOPLE_FILE)) == before


def test_what_came_of_the_queue_is_recorded(queued: QueuedRun) -> None:
    one, other, *_ = queued.items
    add(queued, line(one.id, "second", demonstration="It was $5.") + line(other.id, "skip", "bob"))
    said = Said()
    section = PeopleSection(wait=0)
    found = asyncio.run(ask_people(queued.directory, section, run="r", seed=0, progress=said))
    assert {key: list(value) for key, value in found.items()} == {one.prompt_id: [(one.first, one.second)]}
    record = PeopleRecord.read(queued.directory.path(PEOPLE_FILE))
    assert record is not None
    assert record.ended is not None
    assert (record.answered, record.outcomes) == (2, {"second": 1, "undecided": 1})
    assert (record.labels, record.demonstrations) == ({"ann": 1, "bob": 1}, 1)
    assert said.lines == [f"round 0: people decided 1 of {len(queued.items)} comparisons"]
    (demonstration,) = read_demonstrations(queued.directory.path("demonstrations.jsonl")).rows
    assert isinstance(demonstration.prompt, Question)
    assert (demonstration.prompt.question, demonstration.prompt.context) == (one.question, one.context)
    assert demonstration.answer == "It was $5."


def test_demonstrations_of_chats_are_chats(queued: QueuedRun) -> None:
    chat = (Turn("user", "Sales?"), Turn("assistant", "When?"), Turn("user", "2023"))
    item = queued.items[0].model_copy(update={"messages": chat, "context": ""})
    label = PersonLabel(item=item.id, label="tie", who="ann", demonstration="$5")
    path = write_demonstrations(queued.directory, [item], [label])
    assert path is not None
    (demonstration,) = read_demonstrations(path).rows
    assert demonstration.prompt == chat_tree(chat)
    assert demonstration.answer == [{"role": "assistant", "content": "$5"}]
    # What is undone since is no longer in the file.
    assert write_demonstrations(queued.directory, [item], [label.model_copy(update={"undone": True})]) == path
    assert Path(path).read_bytes() == b""


@pytest.mark.parametrize(("text", "seconds"), [("24h", 86400), ("90", 90), ("30m", 1800), ("2d", 172800), ("0", 0)])
def test_the_limit_is_seconds_or_a_time(text: str, seconds: float) -> None:
    section = parse_overrides(FeedbackSection, ["people={}", f"people.wait={text}"])
    assert section.people is not None
    assert section.people.wait == seconds


def test_a_limit_that_is_no_time_is_named() -> None:
    with pytest.raises(UserError, match=r"people\.wait: expected seconds, or a time such as 90s, 30m, 24h or 2d"):
        parse_overrides(FeedbackSection, ["people={}", "people.wait=soon"])
