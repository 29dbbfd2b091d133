"""The conversation that a reward model scores: the chat with the question, and the answer as the last turn.

Invariant: training and judging encode conversations with these same functions, and no text of an answer is encoded as
the token that ends a turn.
"""

from typing import Any

from rlaif.chat import Messages
from rlaif.prompts.quoting import without_role_markers
from rlaif.prompts.template import PromptTemplate


def question_chat(prompt: PromptTemplate, question: str, context: str) -> Messages:
    """Return the chat with a question, as the policy gets it; `prompt` is of kind `answer`."""
    return prompt.render(question=question, context=context)


def conversation(chat: Messages, answer: str) -> Messages:
    """Return a chat with its answer."""
    return [*chat, {"role": "assistant", "content": without_role_markers(answer)}]


def conversation_ids(tokenizer: Any, messages: Messages) -> list[int]:
    """Return a conversation's token ids by the tokenizer's chat template."""
    return list(tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False))
