"""Reads the candidates of other systems: one or several of a question, or two of which one is preferred.

Invariant: every row becomes candidates or a preference, or an error with the file, the line and the field. No row is
skipped, and no two questions or preferences share an id.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rlaif.chat import Messages
from rlaif.data.context import read_context
from rlaif.data.criteria import read_criteria
from rlaif.data.gold_answer import read_gold_answer
from rlaif.data.question import Question
from rlaif.errors import shown
from rlaif.io.column_names import ANY_NAMES, ColumnNames
from rlaif.io.fields import Fields
from rlaif.io.renamed import Renamed
from rlaif.io.rows import Row, read_file, with_unique_ids
from rlaif.io.values import is_missing

Text = str | Messages
"""Text, or the messages of a chat."""

_RENAMED = {"reference": Renamed("gold_answer")}
CANDIDATE_FIELDS: Mapping[str, str] = {
    "question": "the question's text; required",
    "answers": "list of the answers: texts, or objects with a `text`, `response` or `content`",
    "answer": "one answer, where each row has one",
    "id": "of the question; its number by default",
    "context": "text that the answers must follow from, in any form that question files have",
    "gold_answer": "the right answer, or a list of several of which each is right",
    "criteria": "what judges with criteria mark the answers by: an object by name",
}
"""The fields of a file of candidates: `answers` or `answer`, and what is known of the question."""
_TOKENS = ("prompt_token_ids", "chosen_token_ids", "rejected_token_ids")
_REFERENCE = ("ref_chosen_logp", "ref_rejected_logp")
_PREFERENCE_COLUMNS = (
    "pair_id", "id", "prompt", "chosen", "rejected", *_TOKENS, *_REFERENCE, "margin", "source", "policy",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Candidates:
    """A question with the texts of the candidates that were sampled for it, in the order of the file."""

    as_question: Question
    answers: tuple[str, ...]


def read_candidates(path: str, columns: ColumnNames = ANY_NAMES) -> list[Candidates]:
    """Read a file of candidates: the fields of `CANDIDATE_FIELDS`.

    Rows with the same question and context are merged into one question with the id of the first row. A question
    without an id gets its number as its id.

    Args:
        path: local path or fsspec URL of any of `CONTAINERS`.
        columns: the file's own names.
    """
    groups: dict[tuple[str, str], tuple[Row, Question, list[str]]] = {}
    for row in read_file(path, Fields(tuple(CANDIDATE_FIELDS), _RENAMED, columns)):
        text, context = row.text("question"), row.read("context", read_context)
        gold_answer = row.read("gold_answer", read_gold_answer)
        criteria = row.read("criteria", read_criteria)
        question = Question(row.id() or str(len(groups) + 1), text, context, gold_answer, criteria=criteria)
        first, merged, answers = groups.setdefault((text, context), (row, question, []))
        if gold_answer != merged.gold_answer:
            raise row.error("gold_answer", f"differs from the one at {first.location} for the same question")
        if criteria != merged.criteria:
            raise row.error("criteria", f"differ from those at {first.location} for the same question")
        answers += _answers(row)
    with_unique_ids(((first, question) for first, question, _ in groups.values()), path, "rows")
    return [Candidates(question, tuple(answers)) for _, question, answers in groups.values()]


def _answers(row: Row) -> list[str]:
    one = row.values.get("answer")
    several = row.read("answers", _several)
    if several is None and not ("answer" in row.values and (one == "" or not is_missing(one))):
        raise row.error("", "no answers", expected=f"answers (a list) or answer; columns here: {row.shown_columns}")
    if several is None:
        return [row.checked("answer", one)]
    if not is_missing(one):
        raise row.error("", "has both answers and answer", expected="one of the two")
    return [row.checked(f"answers.{index}", answer) for index, answer in enumerate(several)]


def _several(value: object) -> list[object] | None:
    """Return the answers of a list, or of its JSON: texts and numbers, or objects with the answer as text."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = json.loads(value)
    if value is None:
        return None
    if not isinstance(value, list) or not value:
        raise ValueError("expected a list of texts")
    return [_object_text(item) if isinstance(item, Mapping) else item for item in value]


def _object_text(item: Mapping[str, object]) -> object:
    """Return the answer of an object; UltraFeedback calls it `response`."""
    return next((item[key] for key in ("text", "response", "content") if key in item), item)


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
    """
    return with_unique_ids(
        ((row, _preference(row)) for row in read_file(path, _PREFERENCE_COLUMNS)), path, "preferences"
    )


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
    sampled = {column: values.get(column) for column in (*_TOKENS, *_REFERENCE)}
    return Preference(
        id=str(values.get("pair_id") or values.get("id") or row.location.removeprefix("./")),
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        margin=_margin(row),
        source=source,
        sampled=None if any(sampled[column] is None for column in _TOKENS) else sampled,
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
