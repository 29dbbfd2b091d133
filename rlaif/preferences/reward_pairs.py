"""The pairs that a reward model learns from: of label files, preference files and a run's `pairs.parquet`.

Invariant: every row becomes one pair, a counted tie, is left out for a named reason, or is an error with its file and
line; no row is skipped.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from rlaif.chat import Messages, visible_answer
from rlaif.data.labels import Label, load_labels
from rlaif.data.left_out import LeftOut
from rlaif.data.preference_forms import is_preference
from rlaif.data.preferences import Preference, read_preferences
from rlaif.errors import UserError
from rlaif.io.column_names import ANY_NAMES, ColumnNames
from rlaif.io.files import names
from rlaif.io.rows import Fields, read_file
from rlaif.prompts.question_prompt import question_prompt, shown_question
from rlaif.prompts.quoting import conversation
from rlaif.prompts.template import PromptTemplate
from rlaif.store.rundir import RoundDir
from rlaif.store.shards import read_table


@dataclass(frozen=True, slots=True)
class RewardPair:
    """A question with the answer that was preferred and the other one.

    Attributes:
        question: pairs of one question are trained on or held out together.
        context: the text in the question's chat that loses its beginning if the conversation is too long.
        render: returns the question's chat for a context.
    """

    id: str
    question: str
    context: str
    render: Callable[[str], Messages] = field(repr=False, compare=False)
    chosen: str
    rejected: str
    source: str

    def conversations(self, context: str | None = None) -> tuple[Messages, Messages]:
        """Return the conversations with the chosen and with the rejected answer; `context` replaces the whole one."""
        chat = self.render(self.context if context is None else context)
        # As judges see them.
        chosen, rejected = (visible_answer(answer) or "" for answer in (self.chosen, self.rejected))
        return conversation(chat, chosen), conversation(chat, rejected)


@dataclass(frozen=True, slots=True)
class RewardPairs:
    """All pairs of a file, in its order.

    Attributes:
        ties: labels without a better answer; no pair comes from them.
        unfinished: ids of labels whose preferred answer is thinking without an end; no pair comes from them.
        labels: all of a label file, with ties; else empty.
        left_out: rows of a preference file that are no preference.
    """

    form: Literal["labels", "preferences"]
    pairs: tuple[RewardPair, ...]
    ties: int
    unfinished: tuple[str, ...]
    labels: tuple[Label, ...]
    left_out: LeftOut = field(default_factory=LeftOut)


def read_pairs(path: str, template: PromptTemplate, columns: ColumnNames = ANY_NAMES) -> RewardPairs:
    """Read a file of labels or of preferences, distinguished by its columns; see `load_labels`, `read_preferences`.

    Args:
        template: renders the question of a label, or of a preference whose prompt is a text; of kind `answer`. A
            prompt that is a chat is used as it is.
        columns: the file's own names.

    Raises:
        UserError: with the file, the line or row, and what was expected.
    """
    first = next(read_file(path, Fields(("chosen", "rejected", "preferred_output"), asked=()), limit=1), None)
    if first is not None and is_preference([*first.columns, *columns.by_field]):
        read = read_preferences(path, columns)
        of_preferences = tuple(_of_preference(row, template) for row in read.rows)
        return RewardPairs("preferences", of_preferences, 0, (), (), read.left_out)
    labels = tuple(load_labels(path, columns=columns))
    decided = [label for label in labels if label.human != "tie"]
    if not decided:
        raise UserError(f"{path}: people see a tie in every label; expected some with a preferred answer")
    pairs, unfinished = _finished(path, (_of_label(label, template) for label in decided))
    return RewardPairs("labels", pairs, len(labels) - len(decided), unfinished, labels)


def run_pairs(rounds: Iterable[RoundDir], judge: str, questions: Mapping[str, str]) -> list[RewardPair]:
    """Return what a run's rounds can teach its reward model: the pairs that people or other judges decided.

    Args:
        judge: name of the reward model, whose own decisions are left out: it would learn from itself.
        questions: texts of the run's questions by id, by which a question is known that people's pairs have too.
    """
    columns = ["pair_id", "prompt_id", "prompt", "chosen", "rejected", "source", "judge", "chosen_candidate"]
    found = []
    for directory in rounds:
        if not names(directory.root, "pairs.parquet"):
            continue
        for row in read_table(directory.path("pairs.parquet"), columns=columns).to_pylist():
            chosen, rejected = row["chosen"][0]["content"], row["rejected"][0]["content"]
            own = row["source"] == "ai" and row["judge"] == judge
            if not own and visible_answer(chosen) is not None:
                pair = _of_chat(row["pair_id"], row["prompt"], chosen, rejected, row["source"])
                if row["chosen_candidate"] is not None:
                    pair = replace(pair, question=questions.get(row["prompt_id"], row["prompt_id"]))
                # Of preferences that people brought, `prompt_id` is their own id and names no question.
                found.append(pair)
    return found


def _finished(path: str, pairs: Iterable[RewardPair]) -> tuple[tuple[RewardPair, ...], tuple[str, ...]]:
    """Return the pairs whose chosen answer can be seen, and the ids of the others."""
    kept, unfinished = [], []
    for pair in pairs:
        if visible_answer(pair.chosen) is None:
            unfinished.append(pair.id)
        else:
            kept.append(pair)
    if not kept:
        raise UserError(f"{path}: every preferred answer is thinking without an end; expected some with an answer")
    return tuple(kept), tuple(unfinished)


def _of_label(label: Label, template: PromptTemplate) -> RewardPair:
    chosen, rejected = label.answers if label.human == "a" else label.answers[::-1]
    question = label.as_question
    return RewardPair(
        label.id, shown_question(question), label.context,
        lambda context: question_prompt(template, replace(question, context=context)),
        chosen, rejected, "human",
    )  # fmt: skip


def _of_preference(preference: Preference, template: PromptTemplate) -> RewardPair:
    chosen, rejected = _answer(preference, "chosen"), _answer(preference, "rejected")
    if isinstance(preference.prompt, str):
        question = preference.prompt
        return RewardPair(
            preference.id, question, "", lambda _: template.render(question=question, context=""), chosen.strip(),
            rejected.strip(), preference.source,
        )  # fmt: skip
    return _of_chat(preference.id, preference.prompt, chosen, rejected, preference.source)


def _of_chat(id_: str, prompt: Messages, chosen: str, rejected: str, source: str) -> RewardPair:
    *before, last = prompt
    return RewardPair(
        id_,
        # A chat of one turn asks the same as its text.
        json.dumps(prompt) if before else last["content"],
        last["content"],
        lambda context: [*before, {**last, "content": context}],
        chosen,
        rejected,
        source,
    )


def _answer(preference: Preference, side: Literal["chosen", "rejected"]) -> str:
    answer = preference.chosen if side == "chosen" else preference.rejected
    if isinstance(answer, str):
        return answer
    if "tool_calls" in answer[0] or preference.tools:
        what = f"{side}: tool_calls" if "tool_calls" in answer[0] else "tools"
        raise UserError(f"pair {preference.id}: {what}: a reward model scores a text; expected an answer without tools")
    return answer[0]["content"]
