"""What a reward model learns from: label files, preference files and the `pairs.parquet` of a run.

Invariant: every row becomes one pair, a tie that is counted, or one message that names its place; nothing is skipped.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rlaif.chat import Messages
from rlaif.data.labels import Label, load_labels
from rlaif.data.preferences import Preference, read_preferences
from rlaif.errors import UserError
from rlaif.io.rows import read_file
from rlaif.prompts.conversation import conversation, question_chat
from rlaif.prompts.template import PromptTemplate

Form = Literal["labels", "preferences"]


@dataclass(frozen=True, slots=True)
class RewardPair:
    """A question with the answer that was preferred and the other one.

    Attributes:
        id: of the label or pair.
        question: what the pair belongs to; pairs of one question are trained on or held out together.
        context: the text in the question's chat that may lose its beginning where the conversation is too long.
        put: gives the question's chat for a context.
        chosen, rejected: the answers.
        source: `human` or `ai`.
    """

    id: str
    question: str
    context: str
    put: Callable[[str], Messages] = field(repr=False, compare=False)
    chosen: str
    rejected: str
    source: str

    def conversations(self, context: str | None = None) -> tuple[Messages, Messages]:
        """Return what the reward model reads of the chosen and of the rejected answer.

        Args:
            context: in place of the whole one.
        """
        chat = self.put(self.context if context is None else context)
        return conversation(chat, self.chosen), conversation(chat, self.rejected)


@dataclass(frozen=True, slots=True)
class RewardPairs:
    """All pairs of a file.

    Attributes:
        form: what the file was.
        pairs: in the file's order.
        ties: labels on which people see none better; they teach nothing here.
        labels: of a label file, all of it, ties too; else empty.
    """

    form: Form
    pairs: tuple[RewardPair, ...]
    ties: int
    labels: tuple[Label, ...]


def read_pairs(path: str, prompt: PromptTemplate) -> RewardPairs:
    """Read a file of labels or of preferences; its columns tell which.

    Args:
        path: JSONL, CSV or Parquet, a path or fsspec URL; see `load_labels` and `read_preferences`.
        prompt: puts the question of a label, or of a preference whose prompt is a text; of kind `answer`. A prompt that
            is a chat is taken as it is.

    Raises:
        UserError: with the file, the line or row, and what was expected.
    """
    if _form(path) == "preferences":
        pairs = tuple(_of_preference(preference, prompt) for preference in read_preferences(path))
        return RewardPairs("preferences", pairs, 0, ())
    labels = tuple(load_labels(path))
    pairs = tuple(_of_label(label, prompt) for label in labels if label.human != "tie")
    if not pairs:
        raise UserError(f"{path}: people see a tie in every label; expected some on which they prefer an answer")
    return RewardPairs("labels", pairs, len(labels) - len(pairs), labels)


def pairs_sha(pairs: Sequence[RewardPair]) -> str:
    """Return the sha256 of what pairs say, in their order: ids and conversations."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(json.dumps([pair.id, *pair.conversations()]).encode() + b"\n")
    return digest.hexdigest()


def _form(path: str) -> Form:
    row = next(iter(read_file(path, ["chosen", "rejected", "answer_a"]).rows), None)
    return "preferences" if row is not None and {"chosen", "rejected"} & set(row.columns) else "labels"


def _of_label(label: Label, prompt: PromptTemplate) -> RewardPair:
    chosen, rejected = label.answers if label.human == "a" else label.answers[::-1]
    question = label.question
    return RewardPair(
        label.id, question, label.context, lambda context: question_chat(prompt, question, context), chosen, rejected,
        "human",
    )  # fmt: skip


def _of_preference(preference: Preference, prompt: PromptTemplate) -> RewardPair:
    chosen, rejected = _answer(preference, "chosen"), _answer(preference, "rejected")
    if isinstance(preference.prompt, str):
        question = preference.prompt
        return RewardPair(
            preference.id, question, "", lambda _: question_chat(prompt, question, ""), chosen.strip(),
            rejected.strip(), preference.source,
        )  # fmt: skip
    *before, last = preference.prompt
    return RewardPair(
        preference.id,
        json.dumps(preference.prompt),
        last["content"],
        lambda context: [*before, {**last, "content": context}],
        chosen,
        rejected,
        preference.source,
    )


def _answer(preference: Preference, side: Literal["chosen", "rejected"]) -> str:
    answer = preference.chosen if side == "chosen" else preference.rejected
    if isinstance(answer, str):
        return answer
    if len(answer) != 1 or answer[0]["role"] != "assistant":
        raise UserError(
            f"pair {preference.id}: {side}: {len(answer)} messages of {', '.join(m['role'] for m in answer) or 'none'};"
            " a reward model scores one answer: expected one message of the assistant"
        )
    return answer[0]["content"]
