"""The queue of a round: what is queued for people, why, and what the random part says of the judge."""

import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlaif.cli.main import app
from rlaif.errors import UserError
from rlaif.feedback.labels import PersonLabel
from rlaif.feedback.outcomes import people_decisions, people_record
from rlaif.feedback.people import queue_for_people
from rlaif.feedback.queue import read_queue
from rlaif.recipe import PeopleSection
from rlaif.store.records.people_record import PEOPLE_FILE, PeopleRecord
from tests.unit.queued_run import Compares, QueuedRun


@pytest.fixture
def queued(tmp_path: Path) -> QueuedRun:
    return QueuedRun(tmp_path / "run")


def label(item: str, said: str, who: str = "ann", **rest: object) -> PersonLabel:
    return PersonLabel.model_validate({"item": item, "label": said, "who": who, **rest})


def people_json(queued: QueuedRun) -> PeopleRecord | None:
    return PeopleRecord.read(queued.directory.path(PEOPLE_FILE))


def test_a_share_of_all_comparisons_is_queued_and_a_share_of_it_is_random(queued: QueuedRun) -> None:
    # Ten questions of four answers that all differ: six comparisons each.
    assert len(queued.items) == 12
    assert sum(item.random for item in queued.items) == 3
    assert len({item.id for item in queued.items}) == 12
    for item in queued.items:
        assert item.first < item.second
        assert item.question == queued.questions[item.prompt_id].question
        assert item.answer_first != item.answer_second
        assert (item.why.preference is None) == (item.why.reason == "undecided")
    # The judge of the run has no decision of the first answer, so those comparisons and its ties come before margins.
    assert {item.why.reason for item in queued.items if not item.random} == {"undecided"}


def test_the_queue_is_written_once_and_depends_on_the_seed_alone(queued: QueuedRun, tmp_path: Path) -> None:
    again, other = QueuedRun(tmp_path / "again"), QueuedRun(tmp_path / "other", seed=1)
    assert [item.id for item in again.items] == [item.id for item in queued.items]
    assert [item.id for item in other.items] != [item.id for item in queued.items]
    path = Path(queued.directory.path("queue.jsonl"))
    written, record = path.read_bytes(), people_json(queued)
    assert queued.queue(seed=7) == queued.items
    assert (path.read_bytes(), people_json(queued)) == (written, record)
    assert record is not None
    assert (record.queued, record.random, record.ended) == (12, 3, None)


def test_without_a_random_share_all_are_ranked(queued: QueuedRun, tmp_path: Path) -> None:
    assert not any(item.random for item in QueuedRun(tmp_path / "ranked", random=0.0).items)
    assert len(QueuedRun(tmp_path / "all", share=1.0).items) == 60


def test_answers_of_earlier_rounds_are_no_longer_new(queued: QueuedRun) -> None:
    """The first of equals is the least like any before it, so what a round before has shown moves back."""
    Path(queued.directory.path("queue.jsonl")).unlink()
    ids = [item.id for item in queued.items]
    section = PeopleSection(share=0.2, random=0.0)
    found = queue_for_people(
        queued.directory, queued.questions, Compares(), section, seed=0, earlier=[queued.directory]
    )  # fmt: skip
    assert len(found) == 12
    assert [item.id for item in found] != ids


def test_a_queue_that_cannot_be_read_is_named(queued: QueuedRun) -> None:
    path = Path(queued.directory.path("queue.jsonl"))
    path.write_text(path.read_text(encoding="utf-8") + '{"id": 1}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"queue\.jsonl:13: id: expected an item"):
        read_queue(queued.directory)


def test_a_majority_decides_and_a_split_does_not(queued: QueuedRun) -> None:
    one, two, three, four, five, six, seven = queued.items[:7]
    labels = [
        label(one.id, "second"),
        label(two.id, "first"), label(two.id, "first", "bob"), label(two.id, "second", "cid"),
        label(three.id, "first"), label(three.id, "second", "bob"),
        label(four.id, "tie"), label(four.id, "skip", "bob"),
        label(five.id, "both_bad"), label(five.id, "both_bad", undone=True),
        label(six.id, "tie"), label(six.id, "both_bad", "bob"), label(six.id, "skip", "cid"),
        label(seven.id, "tie"), label(seven.id, "first", "bob"),
    ]  # fmt: skip
    found = people_decisions(queued.items, labels)
    decided = {
        (item.id): found[item.prompt_id][item.first, item.second]
        for item in queued.items
        if (item.first, item.second) in found.get(item.prompt_id, {})
    }
    assert {name: (each.outcome, each.by) for name, each in decided.items()} == {
        one.id: ("second", ("ann",)),
        two.id: ("first", ("ann", "bob")),
        four.id: ("tie", ("ann",)),
        # Nobody prefers an answer, so neither does the round.
        six.id: ("tie", ("ann", "bob")),
    }


def test_the_last_line_of_a_person_counts(queued: QueuedRun) -> None:
    item = queued.items[0]
    lines = [label(item.id, "first"), label(item.id, "first", undone=True), label(item.id, "second")]
    assert people_decisions(queued.items, lines)[item.prompt_id][item.first, item.second].outcome == "second"
    assert people_decisions(queued.items, lines[:2]) == {}


def test_the_judge_is_measured_on_the_random_part_alone(tmp_path: Path) -> None:
    queued = QueuedRun(tmp_path / "run", share=1.0, random=0.5)
    decided = [item for item in queued.items if item.why.preference is not None and item.random]
    undecided = [item for item in queued.items if item.why.preference is None and item.random]

    def said(item_preference: float | None, agree: bool) -> str:
        return "first" if ((item_preference or 0.0) > 0.5) == agree else "second"

    labels = [label(item.id, said(item.why.preference, True)) for item in decided[:3]]
    labels += [label(item.id, said(item.why.preference, False)) for item in decided[3:4]]
    labels += [label(undecided[0].id, "first"), label(undecided[1].id, "tie")]
    # Those that were ranked for people measure nothing.
    labels += [label(item.id, "first") for item in queued.items if not item.random][:5]
    record = PeopleRecord(round=0, since="2026-01-31T09:00:00+00:00", queued=60, random=30)
    found = people_record(record, queued.items, labels, ended="2026-01-31T10:00:00+00:00", seed=0)
    assert found.agreement is not None
    # An undecided judge disagrees with a preference; a tie of people is no preference.
    assert (found.agreement.value, found.agreement.n) == (3 / 5, 5)
    assert found.agreement.low is not None
    assert found.agreement.high is not None
    assert found.agreement.low < 0.6 < found.agreement.high
    assert found.answered == len(labels) == 11
    assert Counter(found.outcomes).total() == 11
    assert found.labels == {"ann": 11}
    assert "people decided 11 of 60 comparisons; on 5 drawn at random the judge agrees with them in 0.600 [" in (
        found.summary
    )
    path = str(tmp_path / "people.json")
    found.write(path)
    assert PeopleRecord.read(path) == found


def test_a_report_shows_what_people_decided(queued: QueuedRun) -> None:
    runner = CliRunner()
    waiting = runner.invoke(app, ["report", queued.run.root])
    assert waiting.exit_code == 0, waiting.output
    assert "round 0: 12 comparisons wait for people since 20" in waiting.stdout
    labels = [label(item.id, "first", "<ann>") for item in queued.items]
    record = people_json(queued)
    assert record is not None
    ended = people_record(record, queued.items, labels, ended="2026-01-31T10:00:00+00:00", seed=0)
    ended.write(queued.directory.path(PEOPLE_FILE))
    shown = runner.invoke(app, ["report", queued.run.root, "--json"])
    assert json.loads(shown.stdout)["people"][0]["outcomes"] == {"first": 12}
    page = Path(queued.run.path("report.html")).read_text(encoding="utf-8")
    assert "12 first" in page
    assert "&lt;ann&gt; 12" in page
    assert "of 3 drawn at random" in page
