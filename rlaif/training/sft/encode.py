"""Encodes demonstrations: the token ids of each conversation, and which of them are learned.

Invariant: exactly the tokens that the assistant writes are learned, with the token that ends each turn; a conversation
that is longer than the model's context is left out and reported, never cut.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from rlaif.chat import Messages
from rlaif.data.demonstrations import Demonstration
from rlaif.data.question import Question
from rlaif.data.ratings import Rating
from rlaif.errors import UserError
from rlaif.models.chat_template import ChatTemplate, Tools
from rlaif.prompts.question_prompt import question_prompt
from rlaif.prompts.template import PromptTemplate
from rlaif.training.answer_tokens import answer_start, answered_ids, common_length

R = TypeVar("R", Demonstration, Rating)

Span = tuple[int, int]
"""The indices [start, end) of tokens."""


@dataclass(frozen=True, slots=True)
class LearnedSequence:
    """One conversation as token ids.

    Attributes:
        id: of its demonstration.
        learned: the spans of the assistant's tokens, in order; the last one ends where the ids do.
    """

    id: str
    token_ids: tuple[int, ...]
    learned: tuple[Span, ...]

    @property
    def learned_tokens(self) -> int:
        """How many tokens are learned."""
        return sum(end - start for start, end in self.learned)


@dataclass(frozen=True, slots=True)
class EncodedDemonstrations:
    """Sequences to learn, and the ids of the demonstrations that have more tokens than the model's context."""

    sequences: list[LearnedSequence]
    too_long: list[str]


def encode_demonstrations(
    demonstrations: Sequence[Demonstration],
    tokenizer: Any,
    chat_template: ChatTemplate,
    context: int | None,
) -> EncodedDemonstrations:
    """Encode demonstrations with a policy's tokenizer.

    A conversation of several answers is one sequence, unless the chat template writes its earlier turns otherwise once
    later ones follow, as those of thinking models do; then each answer has a sequence of its own, as it is sampled.

    Args:
        demonstrations: of which none is a question; see `asked`.
        context: the policy's longest sequence, in tokens; None is unlimited.

    Raises:
        UserError: the chat template does not take a chat, leaves a part of it out, or would train turns of others.
    """
    sequences: list[LearnedSequence] = []
    too_long: list[str] = []
    for demonstration in demonstrations:
        try:
            found = _sequences(demonstration, tokenizer, chat_template)
        except UserError as error:
            raise UserError(f"{demonstration.id}: {error}") from None
        if context is not None and any(len(sequence.token_ids) > context for sequence in found):
            too_long.append(demonstration.id)
        else:
            sequences += found
    return EncodedDemonstrations(sequences, too_long)


def asked(rows: Iterable[R], template: PromptTemplate) -> list[R]:
    """Return demonstrations or ratings in which a template of kind `answer` has asked the questions."""
    return [
        replace(each, prompt=question_prompt(template, each.prompt)) if isinstance(each.prompt, Question) else each
        for each in rows
    ]


def _sequences(demonstration: Demonstration, tokenizer: Any, chat_template: ChatTemplate) -> list[LearnedSequence]:
    prompt, answer = demonstration.prompt, demonstration.answer
    if isinstance(prompt, str):
        return [_of_text(demonstration.id, prompt, str(answer), tokenizer)]
    assert not isinstance(prompt, Question), "a template asks the questions first"
    messages: Messages = [{"role": "assistant", "content": answer}] if isinstance(answer, str) else answer
    return _of_chat(demonstration.id, prompt, messages, chat_template, demonstration.tools)


def _of_text(name: str, prompt: str, answer: str, tokenizer: Any) -> LearnedSequence:
    end = tokenizer.eos_token or ""
    before = list(tokenizer(prompt)["input_ids"])
    whole = list(tokenizer(prompt + answer + ("" if answer.endswith(end) else end))["input_ids"])
    return LearnedSequence(name, tuple(whole), (_span(common_length(before, whole), whole),))


def _of_chat(
    name: str, prompt: Messages, answer: Messages, chat_template: ChatTemplate, tools: Tools
) -> list[LearnedSequence]:
    chat = [*prompt, *answer]
    found: list[LearnedSequence] = []
    for index in range(len(prompt), len(chat)):
        if chat[index]["role"] != "assistant":
            continue
        whole = answered_ids(chat_template, chat[: index + 1], tools)
        span = _span(answer_start(chat_template, chat[:index], tools, whole) if index else 0, whole)
        earlier = found[-1] if found else None
        if earlier and tuple(whole[: len(earlier.token_ids)]) == earlier.token_ids:
            found[-1] = LearnedSequence(name, tuple(whole), (*earlier.learned, span))
        else:
            found.append(LearnedSequence(name, tuple(whole), (span,)))
    return found


def _span(start: int, whole: Sequence[int]) -> Span:
    # Nothing predicts the first token of a sequence.
    return max(1, start), len(whole)
