"""The two answers of a preference and the prompt that both continue, from the parts that a row has.

Invariant: an answer holds nothing of its prompt, whether the row repeats it in the answers or has it nowhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.chat import Messages

Text = str | Messages
"""Text, or the messages of a chat."""

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
"""The turns of Anthropic's HH, in which whole dialogues are texts."""


@dataclass(frozen=True, slots=True)
class Sides:
    """One preference. All three are texts, or all are chats; `tools` are those that a chat offers.

    An empty prompt means that the answers have no beginning in common.
    """

    prompt: Text
    chosen: Text
    rejected: Text
    tools: tuple[dict[str, Any], ...] = ()


def from_parts(prompt: Text, chosen: Text, rejected: Text) -> Sides:
    """Return the sides of a row with a prompt of its own, which its answers may repeat.

    A text prompt of answers that are chats is a turn of the user, and a text answer to a chat one of the assistant.
    Answers that are texts repeat their prompt only as whole dialogues: others may begin with its words by themselves.
    """
    if isinstance(prompt, str) and isinstance(chosen, str) and isinstance(rejected, str):
        repeated = ASSISTANT in prompt and chosen.startswith(prompt) and rejected.startswith(prompt)
        begin = len(prompt) if repeated else 0
        return Sides(prompt, chosen[begin:], rejected[begin:])
    sides = _as_chat(chosen), _as_chat(rejected)
    whole = split(*sides)
    if isinstance(prompt, str):
        if all(side[0]["role"] == "assistant" for side in sides if side):
            return Sides([{"role": "user", "content": prompt}], *sides)
        questions = [" ".join(message["content"].split()) for message in whole.prompt if not isinstance(message, str)]
        return whole if " ".join(prompt.split()) in questions else Sides([], *sides)
    if whole.prompt and _without_system(whole.prompt) == _without_system(prompt):
        return whole if len(whole.prompt) > len(prompt) else Sides(prompt, whole.chosen, whole.rejected)
    return Sides(prompt, without_prompt(prompt, sides[0]), without_prompt(prompt, sides[1]))


def as_turns(sides: Sides) -> Sides:
    """Return sides that are texts as a chat: a turn of the user, and those of the assistant; "" is no turn."""
    prompt = [{"role": "user", "content": str(sides.prompt)}]
    chosen, rejected = (_as_chat(side) if side else [] for side in (sides.chosen, sides.rejected))
    return Sides(prompt, chosen, rejected, sides.tools)  # type: ignore[arg-type]  # messages


def split(chosen: Text, rejected: Text) -> Sides:
    """Split off the prompt that two answers begin with, as TRL does; the last item of the shorter is never part of it.

    Of two dialogues of Anthropic's HH the prompt ends where the assistant's last turn begins.
    """
    most = min(len(chosen), len(rejected))
    shared = next((index for index in range(most) if chosen[index] != rejected[index]), max(0, most - 1))
    if isinstance(chosen, str) and isinstance(rejected, str) and ASSISTANT in chosen and ASSISTANT in rejected:
        shared = chosen.rfind(ASSISTANT, 0, shared) + len(ASSISTANT)
        if shared < len(ASSISTANT) or HUMAN in chosen[shared:] or HUMAN in rejected[shared:]:
            shared = 0
    # As in TRL, the space after the last shared word belongs to the answers rather than to the prompt.
    elif chosen[:shared][-1:] == " ":
        shared -= 1
    return Sides(chosen[:shared], chosen[shared:], rejected[shared:])


def _as_chat(side: Text) -> Messages:
    return [{"role": "assistant", "content": side}] if isinstance(side, str) else side


def without_prompt(prompt: Messages, side: Messages) -> Messages:
    """Return an answer without the prompt that it may begin with, with or without the prompt's system message."""
    for beginning in (prompt, _without_system(prompt)):
        if beginning and side[: len(beginning)] == beginning:
            return side[len(beginning) :]
    return side


def _without_system(chat: Sequence[Any]) -> Messages:
    return [message for message in chat if message["role"] not in ("system", "developer")]
