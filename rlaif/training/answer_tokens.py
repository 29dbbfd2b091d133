"""Where the answer of a chat begins in its token ids.

Invariant: only what the assistant writes after the prompt is trained.
"""

from collections.abc import Sequence
from itertools import takewhile

from rlaif.chat import Messages
from rlaif.errors import UserError
from rlaif.models.chat_template import ChatTemplate, Tools


def common_length(*ids: Sequence[int]) -> int:
    """Return how many tokens lists begin with in common."""
    return len(list(takewhile(lambda each: len(set(each)) == 1, zip(*ids, strict=False))))


def answered_ids(template: ChatTemplate, conversation: Messages, tools: Tools) -> list[int]:
    """Return the ids of a chat that ends with its answer.

    Raises:
        UserError: the chat template leaves out the chat's tools, tool calls or reasoning.
    """
    ids = template.conversation_ids(conversation, tools)
    if key := template.left_out(conversation, tools):
        raise UserError(f"{key}: the model's chat template leaves it out; expected a template that uses it")
    return ids


def answer_start(template: ChatTemplate, prompt: Messages, tools: Tools, *answered: Sequence[int]) -> int:
    """Return how many tokens are the prompt's in the ids of chats that answer it.

    The prompt ends where its ids and those of prompt with answer begin to differ, since a template may render the end
    of a prompt otherwise once an answer follows. How the last turn opens the answer may differ; the turns before it may
    not, but for a token that merges.

    Raises:
        UserError: the chat template writes the prompt's turns otherwise before an answer: they would be trained.
    """
    ids = template.prompt_ids(prompt, tools)
    shared = common_length(ids, *answered)
    try:
        turns = template.conversation_ids(prompt, tools)
    except UserError:
        return shared  # A template that takes no chat without an answer.
    if shared < common_length(turns, ids) - 1:
        raise UserError(
            "prompt: the model's chat template writes its turns otherwise once an answer follows, so that turns "
            "of others would be trained; expected a chat that it writes the same"
        )
    return shared
