"""Reads existing preferences from a file in TRL's format or the `pairs.parquet` of a run.

Invariant: every row becomes one preference or an error with its location and the expected value. If both candidates
repeat the prompt, it is split off as in TRL.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.errors import Fault, UserError, shown
from rlaif.io.rows import Row, UniqueIds, read_file

Text = str | list[dict[str, str]]
"""Text, or the messages of a chat."""

_SAMPLED = ("prompt_token_ids", "chosen_token_ids", "rejected_token_ids")
_COLUMNS = [
    "pair_id", "id", "prompt", "chosen", "rejected", *_SAMPLED, "ref_chosen_logp", "ref_rejected_logp",
    "margin", "source", "policy",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Preference:
    """One row of a preference file.

    Attributes:
        id: id of the pair in the file; by default, the file and the number of its line or row.
        prompt: text, or the messages of a chat.
        chosen, rejected: the two candidates: text, or the messages that continue the chat.
        margin: margin of the pair, if the file has one.
        source: `ai` or `human`; `ai` by default.
        sampled: token ids and log-probabilities under the reference policy, by column, if a run wrote them.
        policy: id of the policy that sampled the candidates, if known.
    """

    id: str
    prompt: Text
    chosen: Text
    rejected: Text
    margin: float | None
    source: str
    sampled: Mapping[str, Any] | None
    policy: str | None


def read_preferences(path: str) -> list[Preference]:
    """Read a file of preferences.

    Args:
        path: a `.jsonl`, `.csv` or `.parquet` file, as a local path or fsspec URL. Its columns `prompt`, `chosen` and
            `rejected` hold texts or lists of chat messages. `prompt` is optional if `chosen` and `rejected` repeat it.

    Raises:
        UserError: the file is not valid; the error names the file, the line or row, and the expected value.
    """
    preferences = []
    ids = UniqueIds()
    for row in read_file(path, _COLUMNS):
        preference = _preference(row)
        ids.add(row, preference.id)
        preferences.append(preference)
    if not preferences:
        raise UserError(Fault(path, "no preferences", expected="at least one"))
    return preferences


def _preference(row: Row) -> Preference:
    values = row.values
    for column in ("chosen", "rejected"):
        if column not in values:
            expected = f"prompt, chosen and rejected; columns here: {row.shown_columns}"
            raise row.error("", f"no column {column!r}", expected)
    chosen, rejected = _text(row, "chosen"), _text(row, "rejected")
    prompt = _text(row, "prompt") if values.get("prompt") is not None else None
    if prompt is None:
        prompt, chosen, rejected = _split(row, chosen, rejected)
    if not prompt:
        raise row.error("prompt", "empty", expected="a text or messages")
    if len({isinstance(part, str) for part in (prompt, chosen, rejected)}) > 1:
        raise row.error("", expected="prompt, chosen and rejected to be all texts or all lists of messages")
    source = values.get("source") or "ai"
    if source not in ("ai", "human"):
        raise row.error("source", expected="ai or human", found=shown(source))
    complete = all(values.get(column) is not None for column in _SAMPLED)
    name = values.get("pair_id") or values.get("id") or row.location.removeprefix("./")
    return Preference(
        id=str(name),
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        margin=_margin(row),
        source=source,
        sampled={name: values.get(name) for name in (*_SAMPLED, "ref_chosen_logp", "ref_rejected_logp")}
        if complete
        else None,
        policy=values.get("policy"),
    )


def _margin(row: Row) -> float | None:
    value = row.values.get("margin")
    if value is None or value == "":
        return None
    try:
        margin = float(value)
    except (TypeError, ValueError):
        margin = -1.0
    if not margin >= 0:
        raise row.error("margin", expected="a number of at least 0", found=shown(value))
    return margin


def _text(row: Row, column: str) -> Text:
    value = row.values[column]
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(
        isinstance(message, dict) and isinstance(message.get("role"), str) and isinstance(message.get("content"), str)
        for message in value
    ):
        return [{"role": message["role"], "content": message["content"]} for message in value]
    raise row.error(column, expected="a text, or a list of messages with role and content")


def _split(row: Row, chosen: Text, rejected: Text) -> tuple[Text, Text, Text]:
    """Split off the prompt that two candidates start with."""
    shared = _common(chosen, rejected)
    if isinstance(chosen, str) and isinstance(rejected, str):
        # As in TRL, the space after the last shared word belongs to the candidates rather than to the prompt.
        if shared and chosen[shared - 1 : shared] == " ":
            shared -= 1
        return chosen[:shared], chosen[shared:], rejected[shared:]
    if isinstance(chosen, list) and isinstance(rejected, list):
        return chosen[:shared], chosen[shared:], rejected[shared:]
    raise row.error("", expected="chosen and rejected to be both texts or both lists of messages")


def _common(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Return the length of the common prefix of two sequences; the last item of the shorter one never counts."""
    most = min(len(one), len(other))
    return next((index for index in range(most) if one[index] != other[index]), max(0, most - 1))
