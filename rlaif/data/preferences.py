"""Reads existing preferences from a file in TRL's format or the `pairs.parquet` of a run.

Invariant: every row becomes one preference or an error with its location and the expected value. If both candidates
repeat the prompt, it is split off as in TRL.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlaif.errors import shown
from rlaif.io.rows import Row, read_file, with_unique_ids

Text = str | list[dict[str, str]]
"""Text, or the messages of a chat."""

_SAMPLED = ("prompt_token_ids", "chosen_token_ids", "rejected_token_ids")
_REFERENCE = ("ref_chosen_logp", "ref_rejected_logp")
_COLUMNS = ("pair_id", "id", "prompt", "chosen", "rejected", *_SAMPLED, *_REFERENCE, "margin", "source", "policy")


@dataclass(frozen=True, slots=True)
class Preference:
    """One row of a preference file.

    Attributes:
        id: by default, the file and the number of its line or row.
        chosen, rejected: the two candidates; as messages, they continue the chat.
        source: `ai` or `human`.
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
        UserError: with the file, the line or row, and the expected value.
    """
    return with_unique_ids(((row, _preference(row)) for row in read_file(path, _COLUMNS)), path, "preferences")


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
    sampled = {column: values.get(column) for column in (*_SAMPLED, *_REFERENCE)}
    return Preference(
        id=str(values.get("pair_id") or values.get("id") or row.location.removeprefix("./")),
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        margin=_margin(row),
        source=source,
        sampled=None if any(sampled[column] is None for column in _SAMPLED) else sampled,
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
    """Split off the prompt that two candidates start with; the last item of the shorter one is never part of it."""
    if type(chosen) is not type(rejected):
        raise row.error("", expected="chosen and rejected to be both texts or both lists of messages")
    most = min(len(chosen), len(rejected))
    shared = next((index for index in range(most) if chosen[index] != rejected[index]), max(0, most - 1))
    # As in TRL, the space after the last shared word belongs to the candidates rather than to the prompt.
    if chosen[:shared][-1:] == " ":
        shared -= 1
    return chosen[:shared], chosen[shared:], rejected[shared:]
