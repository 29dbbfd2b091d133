"""What a judge of the user's own is asked about a question, and how its answer is read.

Invariant: an answer is read whole or refused with one line. A number that is missing is no verdict; one that is not
finite, a preference outside [0, 1] and a wrong count refuse the answer.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlaif.errors import shown

Candidates = tuple[int, int]
"""Indices of two candidates, the one that is shown or named first before the other."""

LARGEST_ANSWER = 1 << 20
"""Most bytes of an answer."""


@dataclass(frozen=True, slots=True)
class OwnRequest:
    """A question with all its candidates, as a function is called with it or a URL is sent it.

    Attributes:
        id: of the question; it decides nothing.
        question: its text, or the transcript of its chat.
        gold_answer: the right answer, or None.
        context: "" for a question without one.
    """

    id: str
    question: str
    candidates: tuple[str, ...]
    gold_answer: Any
    context: str


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """An answer that was read.

    Attributes:
        scores: by candidate; of those that have one.
        preferences: P(first is better than second), by the two candidates in the order in which they are named.
    """

    scores: Mapping[int, float] = field(default_factory=dict)
    preferences: Mapping[Candidates, float] = field(default_factory=dict)


def read_answer(answer: Any, count: int) -> OwnAnswer:
    """Read `{"scores": [...]}` or `{"preferences": ...}` about a number of candidates.

    Scores are a list with a number or null for each candidate. Preferences are a list of such lists, of which the
    diagonal is not read, or an object of objects with candidates' indices as keys: `{"0": {"1": 0.7}}`.

    Raises:
        ValueError: the answer is something else; one line says what.
    """
    try:
        return _read_answer(answer, count)
    except RecursionError:
        raise ValueError("nested too deep") from None


def judgment_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is read of an answer, without its other keys."""
    return {key: answer[key] for key in ("scores", "preferences") if key in answer}


def _read_answer(answer: Any, count: int) -> OwnAnswer:
    if not isinstance(answer, Mapping) or ("scores" in answer) == ("preferences" in answer):
        raise ValueError(f"expected either scores or preferences, found {shown(answer)}")
    if "scores" in answer:
        return OwnAnswer(scores=_scores(answer["scores"], count))
    given = answer["preferences"]
    rows = _rows(given, count) if isinstance(given, Mapping) else _matrix(given, count)
    return OwnAnswer(preferences=rows)


def _scores(given: Any, count: int) -> dict[int, float]:
    found = {index: _number(value, f"scores[{index}]") for index, value in enumerate(_list(given, "scores", count))}
    return {index: value for index, value in found.items() if value is not None}


def _matrix(given: Any, count: int) -> dict[Candidates, float]:
    rows = [_list(row, f"preferences[{index}]", count) for index, row in enumerate(_list(given, "preferences", count))]
    return _preferences({(i, j): value for i, row in enumerate(rows) for j, value in enumerate(row) if i != j})


def _rows(given: Mapping[Any, Any], count: int) -> dict[Candidates, float]:
    found: dict[Candidates, Any] = {}
    for first, row in given.items():
        if not isinstance(row, Mapping):
            raise ValueError(f"preferences[{first}]: expected preferences over other candidates, found {shown(row)}")
        for second, value in row.items():
            found[_index(first, count), _index(second, count)] = value
    return _preferences({both: value for both, value in found.items() if both[0] != both[1]})


def _preferences(given: Mapping[Candidates, Any]) -> dict[Candidates, float]:
    found = {}
    for (first, second), value in given.items():
        where = f"preferences[{first}][{second}]"
        number = _number(value, where)
        if number is not None and not 0 <= number <= 1:
            raise ValueError(f"{where}: expected a probability from 0 to 1, found {number:g}")
        if number is not None:
            found[first, second] = number
    return found


def _list(value: Any, where: str, count: int) -> Sequence[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{where}: expected a list of {count}, found {shown(value)}")
    if len(value) != count:
        raise ValueError(f"{where}: expected {count} values, one for each candidate, found {len(value)}")
    return value


def _number(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{where}: expected a number or null, found {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{where}: expected a finite number, found {number}")
    return number


def _index(value: Any, count: int) -> int:
    text = str(value)
    if text not in map(str, range(count)):
        raise ValueError(f"preferences: expected indices of candidates from 0 to {count - 1}, found {shown(value)}")
    return int(text)
