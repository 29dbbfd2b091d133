"""Which rows of a file teach nothing, and how a person is told of them.

Invariant: a row that is left out has one reason and its place; a tie, an empty answer or a contradiction is never a
preference, an empty answer or thinking without an end is never a demonstration, and an answer is never both good and
bad.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rlaif.chat import visible_answer
from rlaif.data.preference_sides import Sides, Text

_SHOWN = 3

REASONS: Mapping[str, str] = {
    "unrated": "without a rating",
    "undecided": "whose rating is neither good nor bad",
    "empty": "with an empty answer",
    "no_prompt": "without a prompt",
    "no_answer": "whose answer does not end with the assistant",
    "several_turns": "whose answer is more than one turn",
    "unasked": "whose prompt ends with the assistant",
    "different_prompts": "whose answers continue different prompts",
    "equal": "with equal answers",
    "tied": "whose scores do not prefer the chosen answer",
    "unfinished": "whose answer to learn is thinking without an end",
    "repeated": "that repeat another",
    "contradicting": "that contradict another",
}
"""Why rows are left out, as the command line says it; the keys are those of `training.json`."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The rows of a file that teach nothing.

    Attributes:
        rows: how many the file has in all.
        by_reason: locations of the rows left out, by the keys of `REASONS`; only those that occurred.
    """

    rows: int = 0
    by_reason: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """All of it in one line for a person, with the first places of each reason; "" if nothing was left out."""
        if not self.by_reason:
            return ""
        count = sum(map(len, self.by_reason.values()))
        return f"{count:,} of {self.rows:,} rows were left out: {self.reasons}"

    @property
    def reasons(self) -> str:
        parts = []
        for reason, places in self.by_reason.items():
            more = ", ..." if len(places) > _SHOWN else ""
            parts.append(f"{len(places):,} {REASONS[reason]} ({', '.join(places[:_SHOWN])}{more})")
        return ", ".join(parts)


def reason_to_leave_out(sides: Sides, *, own: bool, scores: tuple[float, float] | None) -> str | None:
    """Return the key of `REASONS` for which a row is left out; None if it is a preference.

    Args:
        own: `rlaif` wrote the row, so a judge has seen its answers.
        scores: of the chosen and of the rejected answer, where the row has both.
    """
    if not own and (_empty(sides.chosen) or _empty(sides.rejected)):
        return "empty"
    if not sides.prompt:
        return "different_prompts"
    if reason := _wrong_turns(sides):
        return reason
    last = sides.chosen if isinstance(sides.chosen, str) else sides.chosen[-1]["content"]
    if visible_answer(last) is None:
        return "unfinished"
    if own:
        return None
    if _visible(sides.chosen) == _visible(sides.rejected):
        return "equal"
    return "tied" if scores and scores[0] <= scores[1] else None


def reason_to_leave_out_demonstration(answer: Text) -> str | None:
    """Return the key of `REASONS` for which a demonstration is left out; None if all that it teaches is an answer.

    Args:
        answer: a text, or messages of which each of the assistant's is learned.
    """
    turns = [answer] if isinstance(answer, str) else [[turn] for turn in answer if turn["role"] == "assistant"]
    if any(_empty(turn) for turn in turns):
        return "empty"
    texts = (turn if isinstance(turn, str) else turn[0]["content"] for turn in turns)
    return "unfinished" if any(visible_answer(text) is None for text in texts) else None


def reason_to_leave_out_rating(prompt: Text | None, answer: Text, *, desirable: bool) -> str | None:
    """Return the key of `REASONS` for which a rated answer is left out; None if something can be learned from it.

    Args:
        prompt: None for a question, which a template asks.
    """
    if _empty(answer):
        return "empty"
    if prompt is not None:
        if not prompt:
            return "no_prompt"
        if reason := _wrong_turns(Sides(prompt, answer, answer)):
            return reason
    last = answer if isinstance(answer, str) else answer[-1]["content"]
    return "unfinished" if desirable and visible_answer(last) is None else None


def _wrong_turns(sides: Sides) -> str | None:
    if isinstance(sides.prompt, str):
        return None
    answers = [side for side in (sides.chosen, sides.rejected) if not isinstance(side, str)]
    if any(not side or side[0]["role"] != "assistant" for side in answers):
        return "different_prompts"
    if sides.prompt[-1]["role"] == "assistant":
        return "unasked"
    if any(side[-1]["role"] != "assistant" for side in answers):
        return "no_answer"
    return "several_turns" if any(len(side) > 1 for side in answers) else None


def _empty(side: Text) -> bool:
    if isinstance(side, str):
        return _blank(side)
    return not side or (
        side[-1]["role"] == "assistant" and _blank(side[-1]["content"]) and "tool_calls" not in side[-1]
    )


def _blank(answer: str) -> bool:
    """Return whether nothing is left of an answer without its thinking; thinking without an end is not blank."""
    visible = visible_answer(answer)
    return visible is not None and not visible.strip()


def _visible(side: Text) -> object:
    """Return what a judge would see of an answer."""
    if isinstance(side, str):
        return (visible_answer(side) or "").strip()
    return [
        (message["role"], (visible_answer(message["content"]) or "").strip(), message.get("tool_calls"))
        for message in side
    ]


def repetitions(rows: Sequence[Sides | None]) -> list[str | None]:
    """Return for each row why it is left out beside the others: it repeats one, or another prefers its other answer.

    Of equal rows the first is kept; of contradicting ones none is. None in place of a row leaves it alone.
    """
    said: list[tuple[object, object] | None] = []
    for sides in rows:
        if sides is None:
            said.append(None)
        else:
            chosen, rejected = _digest(sides.chosen), _digest(sides.rejected)
            said.append(([sides.prompt, sides.tools, *sorted((chosen, rejected))], chosen))
    return contradictions(said)


def contradictions(said: Sequence[tuple[object, object] | None]) -> list[str | None]:
    """Return for each row why it is left out beside the others, as `repetitions` does.

    Args:
        said: of each row, as plain values, what it is about and what it says of it; None leaves it alone.
    """
    reasons: list[str | None] = [None] * len(said)
    same: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, row in enumerate(said):
        if row is not None:
            about, says = row
            same[_digest(about)][_digest(says)].append(number)
    for by_saying in same.values():
        for numbers in by_saying.values():
            for number in numbers if len(by_saying) > 1 else numbers[1:]:
                reasons[number] = "contradicting" if len(by_saying) > 1 else "repeated"
    return reasons


def repeated(rows: Iterable[object]) -> list[bool]:
    """Return for each row, as plain values, whether it is equal to an earlier one."""
    seen: set[str] = set()
    again = []
    for row in rows:
        digest = _digest(row)
        again.append(digest in seen)
        seen.add(digest)
    return again


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
