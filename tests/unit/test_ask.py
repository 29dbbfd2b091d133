"""`rlaif ask`: one key an answer, blind, in an order of the person's own, and nothing is lost."""

import json
import os
import pty
import select
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from rlaif.cli.main import app
from rlaif.data.demonstrations import read_demonstrations
from rlaif.errors import UserError
from rlaif.feedback.labels import current_labels, labels_path, read_label_lines
from rlaif.feedback.session import LabelSession
from rlaif.store.records.round_records import PairsStage
from tests.unit.queued_run import QueuedRun


@pytest.fixture
def queued(tmp_path: Path) -> QueuedRun:
    return QueuedRun(tmp_path / "run", share=0.1)


def ask(queued: QueuedRun, keys: str, who: str = "ann", *more: str, **environment: str) -> Result:
    arguments = ["ask", queued.run.root, "--who", who, *more]
    return CliRunner().invoke(app, arguments, input=keys, env={"COLUMNS": "200", **environment})


def lines(queued: QueuedRun) -> list[dict[str, Any]]:
    path = Path(labels_path(queued.directory))
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def test_keys_answer_until_the_queue_is_empty(queued: QueuedRun) -> None:
    assert len(queued.items) == 6
    done = ask(queued, "1 2\n0xs")
    assert done.exit_code == 0, done.output
    assert "5 of 6 comparisons answered by ann" in done.output
    found = lines(queued)
    assert [each["label"] for each in found[2:]] == ["tie", "both_bad", "skip"]
    assert len({each["item"] for each in found}) == 5
    assert all(each["when"] and each["who"] == "ann" for each in found)
    done = ask(queued, "1u2")
    assert "6 of 6 comparisons answered by ann" in done.output
    assert "Nothing is left to answer" in done.output
    assert [each["undone"] for each in lines(queued)[5:]] == [False, True, False]


def test_the_answers_are_shown_blind_and_stored_as_the_queue_names_them(queued: QueuedRun) -> None:
    """`1` is the answer that is shown first, whichever of the queue's it is."""
    sides = set()
    for who in ("ann", "bob", "cid"):
        session = LabelSession(queued.directory, who)
        while shown := session.next():
            session.answer(shown, "1")
            label = current_labels(read_label_lines(queued.directory, {shown.item.id}).labels)[shown.item.id][who]
            chosen = shown.item.answer_first if label.label == "first" else shown.item.answer_second
            assert chosen == shown.answers[0]
            assert sorted(shown.answers) == sorted((shown.item.answer_first, shown.item.answer_second))
            sides.add(label.label)
    assert sides == {"first", "second"}
    orders = [[each["item"] for each in lines(queued) if each["who"] == who] for who in ("ann", "bob")]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])
    shown_text = ask(queued, "", "dan").output
    assert "undecided" not in shown_text
    assert "finance-grounded" not in shown_text


def test_what_nobody_has_answered_comes_first(queued: QueuedRun) -> None:
    ask(queued, "111")
    taken = {each["item"] for each in lines(queued)}
    ask(queued, "222", "bob")
    assert not taken & {each["item"] for each in lines(queued) if each["who"] == "bob"}


def test_an_edit_becomes_a_demonstration(queued: QueuedRun, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho "and more" >> "$1"\n', encoding="utf-8")
    editor.chmod(0o755)
    done = ask(queued, "e1 2 e0 q", EDITOR=str(editor), VISUAL=str(editor))
    assert done.exit_code == 0, done.output
    first, second, third = lines(queued)
    assert (first["label"], second["label"] in ("first", "second"), third["label"]) == (None, True, None)
    assert first["demonstration"] == second["demonstration"]
    assert first["demonstration"].endswith("and more")
    assert third["demonstration"] == "and more"
    # A comparison with a demonstration alone is still to be answered.
    assert "1 of 6 comparisons answered" in done.output
    rows = read_demonstrations(queued.directory.path("demonstrations.jsonl")).rows
    assert sorted(str(row.answer) for row in rows) == sorted([first["demonstration"], "and more"])


def test_an_edit_that_was_not_saved_is_no_demonstration(queued: QueuedRun, tmp_path: Path) -> None:
    """The text that the editor opens with is an answer of the policy."""
    editor = tmp_path / "editor"
    for script, says in (("#!/bin/sh\n", "Nothing was written."), ("#!/bin/sh\nexit 1\n", "Editing failed")):
        editor.write_text(script, encoding="utf-8")
        editor.chmod(0o755)
        done = ask(queued, "e1 q", EDITOR=str(editor), VISUAL=str(editor))
        assert done.exit_code == 0, done.output
        assert says in done.output
    assert lines(queued) == []


def test_undo_withdraws_the_answer_and_then_what_was_written(queued: QueuedRun) -> None:
    session = LabelSession(queued.directory, "ann")
    first = session.next()
    assert first is not None
    session.answer(session.demonstrate(first, "It was $5."), "1")
    again = session.undo()
    assert again is not None
    assert (again.item.id, again.demonstration, session.answered()) == (first.item.id, "It was $5.", 0)
    # Whoever ends here keeps what they wrote.
    path = session.close()
    assert path is not None
    assert len(read_demonstrations(path).rows) == 1
    nothing = session.undo()
    assert nothing is not None
    assert nothing.demonstration is None
    session.answer(nothing, "1")
    session.close()
    assert Path(path).read_bytes() == b""


def test_an_answer_after_the_round_went_on_is_refused(queued: QueuedRun) -> None:
    session = LabelSession(queued.directory, "ann")
    shown = session.next()
    assert shown is not None
    session.answer(shown, "1")
    queued.directory.mark(PairsStage(questions=1, pairs=1, below_margin=0, by_status={}, by_judge={}))
    for late in (lambda: session.answer(shown, "2"), session.undo):
        with pytest.raises(UserError, match="its pairs are made, so answers no longer count"):
            late()
    assert len(lines(queued)) == 1


def test_other_keys_explain_themselves(queued: QueuedRun) -> None:
    done = ask(queued, "z u c q")
    assert done.output.count(", q quit") >= 2
    assert "There is no answer to undo." in done.output
    assert "Other matters follow." in done.output
    assert lines(queued) == []


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--who", " "], "--who: empty; expected your name"),
        (["--round", "3"], "no queue for people"),
    ],
)
def test_what_cannot_be_asked_is_one_line(queued: QueuedRun, more: list[str], says: str) -> None:
    done = ask(queued, "", "ann", *more)
    assert done.exit_code == 2
    assert says in done.output


def test_a_round_whose_pairs_are_made_is_not_asked_about(queued: QueuedRun) -> None:
    queued.directory.mark(PairsStage(questions=1, pairs=1, below_margin=0, by_status={}, by_judge={}))
    done = ask(queued, "1")
    assert done.exit_code == 2
    assert "its pairs are made" in done.output
    assert lines(queued) == []


def test_wrong_lines_of_other_tools_are_named(queued: QueuedRun) -> None:
    Path(labels_path(queued.directory)).write_text("oops\n", encoding="utf-8")
    assert "labels.jsonl:1: not JSON" in ask(queued, "q").output


def test_ctrl_c_at_a_terminal_keeps_every_answer(queued: QueuedRun) -> None:
    """Single keys at a real terminal: no line end is needed, and Ctrl-C ends with what was answered."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "rlaif", "ask", queued.run.root, "--who", "ann"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    try:
        for key in (b"1", b"0", b"\x03"):
            _read_until(ours, b"q quit")
            # What is typed before the terminal reads single keys is discarded.
            while termios.tcgetattr(ours)[3] & termios.ICANON:
                time.sleep(0.01)
            os.write(ours, key)
        _read_until(ours, b"2 of 6 comparisons answered by ann")
        assert process.wait(30) == 0
    finally:
        process.kill()
        os.close(ours)
    assert [each["label"] for each in lines(queued)][1:] == ["tie"]


def _read_until(terminal: int, text: bytes) -> None:
    shown = b""
    while text not in shown:
        ready, _, _ = select.select([terminal], [], [], 60)
        assert ready, shown
        shown += os.read(terminal, 65536)
