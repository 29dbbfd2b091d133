"""Reads files of preferences, as `rlaif` writes them and as data sets are published.

Invariant: every row becomes a preference, is left out for a reason that is counted with its line, or is an error with
the file, the line and the field. No two preferences share an id.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from rlaif.data.left_out import REASONS, LeftOut, reason_to_leave_out, repetitions
from rlaif.data.preference_forms import FORM_FIELDS, read_sides
from rlaif.data.preference_sides import Sides, Text
from rlaif.errors import Fault, UserError, shown
from rlaif.io.column_names import ANY_NAMES, ColumnNames
from rlaif.io.fields import Fields
from rlaif.io.rows import Row, read_file
from rlaif.io.values import is_missing

__all__ = ["Preference", "Preferences", "Text", "read_preferences"]

Source = Literal["ai", "human"]
"""Who prefers."""
_TOKENS = ("prompt_token_ids", "chosen_token_ids", "rejected_token_ids")
_REFERENCE = ("ref_chosen_logp", "ref_rejected_logp")
PREFERENCE_FIELDS: Mapping[str, str] = {
    **FORM_FIELDS,
    "id": "of the pair; the file and its line by default",
    "margin": "by how much the chosen answer is better, a number from 0, for `training.weights: margin`",
    "source": "`ai` or `human`; another value counts as `ai`",
    "score_chosen": "a rating, a number; where a row has both, it is left out unless this is above the other",
    "score_rejected": "a rating of the other answer",
}
"""The fields of a file of preferences."""
_OWN_FIELDS = ("pair_id", *_TOKENS, *_REFERENCE, "policy")
_ASKED = ("prompt", "chosen", "rejected", "conversations", "preferred_output", "non_preferred_output")


@dataclass(frozen=True, slots=True)
class Preference:
    """One row of a preference file.

    Attributes:
        id: by default, the file and the number of its line or row.
        chosen, rejected: the two candidates; as messages, they continue the chat.
        source: `ai` or `human`.
        sampled: token ids and log-probabilities under the reference policy, by column, if a run wrote them.
        policy: id of the policy that sampled the candidates, if known.
        tools: those that the chat offers.
    """

    id: str
    prompt: Text
    chosen: Text
    rejected: Text
    margin: float | None
    source: str
    sampled: Mapping[str, Any] | None
    policy: str | None
    tools: tuple[dict[str, Any], ...] = ()

    @property
    def content(self) -> list[Any]:
        """All that decides what is learned, as plain values."""
        tools = [self.tools] if self.tools else []
        return [self.prompt, self.chosen, self.rejected, self.margin, self.source, *tools]


@dataclass(frozen=True, slots=True)
class Preferences:
    """The preferences of a file in its order, and what was left out."""

    rows: list[Preference]
    left_out: LeftOut


def read_preferences(path: str, columns: ColumnNames = ANY_NAMES, source: Source = "ai") -> Preferences:
    """Read a file of preferences in any form of `rlaif.data.preference_forms`.

    Rows that `rlaif` wrote have a `pair_id`, and each is a preference. Of other rows, those that prefer nothing are
    left out; a `source` other than `ai` or `human` counts as none; an id that repeats is followed by the place.

    Args:
        path: local path or fsspec URL of any of `CONTAINERS`.
        columns: the file's own names.
        source: that of rows without one.

    Raises:
        UserError: a row is of no form, or no preference is left.
    """
    rows: list[tuple[Row, Sides]] = []
    left: dict[str, list[str]] = {}
    count = 0
    for row in read_file(path, Fields((*PREFERENCE_FIELDS, *_OWN_FIELDS), {}, columns, _ASKED)):
        count += 1
        sides, own = read_sides(row), _own(row)
        if reason := reason_to_leave_out(sides, own=own, scores=None if own else _scores(row)):
            left.setdefault(reason, []).append(row.location)
        else:
            rows.append((row, sides))
    found: dict[str, Preference] = {}
    again = repetitions([None if _own(row) else sides for row, sides in rows])
    for (row, sides), reason in zip(rows, again, strict=True):
        if reason:
            left.setdefault(reason, []).append(row.location)
        else:
            one = _preference(row, sides, found, source)
            found[one.id] = one
    left_out = LeftOut(count, {reason: tuple(left[reason]) for reason in REASONS if reason in left})
    if not found:
        problem = f"no preference is left: {left_out.reasons}" if count else "no preferences"
        raise UserError(Fault(path, problem, expected="at least one"))
    return Preferences(list(found.values()), left_out)


def _own(row: Row) -> bool:
    return not all(is_missing(row.values.get(name)) for name in ("pair_id", "prompt_token_ids"))


def _preference(row: Row, sides: Sides, found: Mapping[str, Preference], default: Source) -> Preference:
    values, own = row.values, _own(row)
    source = values.get("source")
    if source not in ("ai", "human"):
        if own and source:
            raise row.error("source", expected="ai or human", found=shown(source))
        source = default
    return Preference(
        id=_id(row, found),
        prompt=sides.prompt,
        chosen=sides.chosen,
        rejected=sides.rejected,
        margin=_margin(row),
        source=source,
        sampled=_sampled(row) if own else None,
        policy=values.get("policy") if own else None,
        tools=sides.tools,
    )


def _sampled(row: Row) -> dict[str, Any] | None:
    tokens = {name: row.read(name, _token_ids) for name in _TOKENS}
    if None in tokens.values():
        return None
    return {**tokens, **{name: row.as_number(name) for name in _REFERENCE}}


def _id(row: Row, found: Mapping[str, Preference]) -> str:
    place = row.location.removeprefix("./")
    name = row.id("pair_id") or row.id() or place
    if name not in found:
        return name
    if _own(row):
        raise row.error("pair_id", f"{name!r} is also that of an earlier row", expected="ids that differ")
    return f"{name} ({place})"


def _margin(row: Row) -> float | None:
    margin = row.as_number("margin")
    if margin is not None and margin < 0:
        raise row.error("margin", expected="a number of at least 0", found=shown(margin))
    return margin


def _scores(row: Row) -> tuple[float, float] | None:
    chosen, rejected = (row.as_number(column) for column in ("score_chosen", "score_rejected"))
    return None if chosen is None or rejected is None else (chosen, rejected)


def _token_ids(value: object) -> list[int] | None:
    """Return token ids, of JSON text too; None where there are none."""
    if value is None:
        return None
    if isinstance(value, str):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    if not isinstance(value, list) or set(map(type, value)) - {int}:
        raise ValueError("expected a list of token ids")
    return value
