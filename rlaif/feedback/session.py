"""One person's way through a round's queue, for the terminal and for pages: blind, in an order of their own.

Invariant: an answer is in the label file before the next comparison is shown, so that nothing is lost however the
session ends. Which comparison comes next, and which answer is shown first, depends on the queue and the person's name
alone, so a session that begins again shows the same.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rlaif.errors import Fault, UserError
from rlaif.feedback.demonstrations import write_demonstrations
from rlaif.feedback.labels import (
    Answer,
    PersonLabel,
    answered_items,
    append_label,
    current_labels,
    read_label_lines,
)
from rlaif.feedback.queue import QueueItem, read_queue
from rlaif.store.events import now
from rlaif.store.rundir import RoundDir, RunDir

Choice = Literal["1", "2", "tie", "both_bad", "skip"]


@dataclass(frozen=True, slots=True)
class Shown:
    """A comparison as a person sees it: without the judge, and with the answers in an order of the person's own.

    Attributes:
        answers: the one shown first, and the other.
        swapped: whether the queue's second answer is shown first.
        demonstration: what the person wrote before, or None.
    """

    item: QueueItem
    answers: tuple[str, str]
    swapped: bool
    demonstration: str | None


class LabelSession:
    """Goes through a round's queue.

    Args:
        who: the person's name.

    Raises:
        UserError: the round has no queue; or, from what stores an answer, its pairs are made.
    """

    def __init__(self, directory: RoundDir, who: str) -> None:
        items = read_queue(directory)
        if items is None:
            expected = "expected a judged round of a run with feedback.people"
            raise UserError(f"{directory.root}: no queue for people; {expected}")
        self.directory, self.who = directory, who
        self._items = {item.id: item for item in sorted(items, key=lambda item: _hash("order", item.id, who))}

    @property
    def size(self) -> int:
        """Comparisons in the queue."""
        return len(self._items)

    @property
    def faults(self) -> Sequence[Fault]:
        """The wrong lines of the label file."""
        return read_label_lines(self.directory, self._items).faults

    def answered(self) -> int:
        """Return how many comparisons this person has answered."""
        return sum(label.label is not None for label in self._own().values())

    def next(self) -> Shown | None:
        """Return a comparison that this person has not answered, those first that nobody has; None at the end."""
        lines = self._lines()
        by_anyone, own = answered_items(current_labels(lines)), self._own(lines)
        left = [item for item in self._items.values() if item.id not in own or own[item.id].label is None]
        left.sort(key=lambda item: item.id in by_anyone)
        return self._shown(left[0].id, own.get(left[0].id)) if left else None

    def answer(self, shown: Shown, choice: Choice) -> None:
        """Store the person's answer; `1` and `2` are the answers in the order in which they were shown."""
        sides: tuple[Answer, Answer] = ("second", "first") if shown.swapped else ("first", "second")
        answer: Answer = sides[0] if choice == "1" else sides[1] if choice == "2" else choice
        self._append(shown.item.id, answer, shown.demonstration)

    def demonstrate(self, shown: Shown, text: str) -> Shown:
        """Store an answer that the person wrote; the comparison is still to be answered."""
        self._append(shown.item.id, None, text)
        return replace(shown, demonstration=text)

    def undo(self) -> Shown | None:
        """Withdraw what this person did last and return its comparison; None where there is nothing.

        Of an answer with a demonstration the answer goes and the demonstration stays, until it is withdrawn too.
        """
        own = list(self._own().values())
        if not own:
            return None
        last = own[-1]
        if last.label is not None and last.demonstration is not None:
            kept = self._append(last.item, None, last.demonstration)
            return self._shown(last.item, kept)
        self._add(last.model_copy(update={"when": now(), "undone": True}))
        return self._shown(last.item, None)

    def close(self) -> str | None:
        """Write the round's demonstrations and return their path, or None; see `write_demonstrations`."""
        return write_demonstrations(self.directory, list(self._items.values()), self._lines())

    def _lines(self) -> list[PersonLabel]:
        return read_label_lines(self.directory, self._items).labels

    def _own(self, lines: Sequence[PersonLabel] | None = None) -> dict[str, PersonLabel]:
        """Return what counts of this person's lines, by item, the latest last."""
        found: dict[str, PersonLabel] = {}
        for label in self._lines() if lines is None else lines:
            if label.who == self.who:
                found.pop(label.item, None)
                if not label.undone:
                    found[label.item] = label
        return found

    def _append(self, item: str, answer: Answer | None, demonstration: str | None) -> PersonLabel:
        label = PersonLabel(item=item, label=answer, who=self.who, demonstration=demonstration, when=now())
        self._add(label)
        return label

    def _add(self, label: PersonLabel) -> None:
        # The round may have gone on since the person began.
        _check_open(self.directory)
        append_label(self.directory, label)

    def _shown(self, name: str, own: PersonLabel | None) -> Shown:
        item = self._items[name]
        swapped = _hash("side", name, self.who) % 2 == 1
        answers = (item.answer_second, item.answer_first) if swapped else (item.answer_first, item.answer_second)
        return Shown(item, answers, swapped, own.demonstration if own else None)


def open_round(run: RunDir, number: int | None) -> RoundDir:
    """Return the round of a run whose queue people can fill: the given one, or the last that has one.

    Raises:
        UserError: there is none, or its pairs are made already.
    """
    if number is not None:
        directory = run.round(number)
    else:
        last = next((entry for entry in reversed(run.rounds()) if read_queue(entry) is not None), None)
        if last is None:
            raise UserError(f"{run.root}: no round has a queue for people; expected a run with feedback.people")
        directory = last
    _check_open(directory)
    return directory


def _check_open(directory: RoundDir) -> None:
    if directory.done("pairs"):
        raise UserError(f"{directory.root}: its pairs are made, so answers no longer count")


def _hash(*parts: str) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:8], "big")
