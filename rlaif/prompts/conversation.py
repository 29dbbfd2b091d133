"""What a reward model reads: the chat that puts a question, and the answer as the last turn, in its own chat template.

Invariant: a reward model is trained on token ids that these functions gave, and judges by token ids that they give; and
no text of an answer is encoded as the token that ends a turn.
"""

from typing import Any

from rlaif.chat import Messages
from rlaif.prompts.quoting import without_role_markers
from rlaif.prompts.template import PromptTemplate


def question_chat(prompt: PromptTemplate, question: str, context: str) -> Messages:
    """Return the chat that puts a question, as the policy is asked it; `prompt` is of kind `answer`."""
    return prompt.render(question=question, context=context)


def conversation(chat: Messages, answer: str) -> Messages:
    """Return a chat with its answer."""
    return [*chat, {"role": "assistant", "content": without_role_markers(answer)}]


def conversation_ids(tokenizer: Any, messages: Messages) -> list[int]:
    """Return a conversation's token ids by the tokenizer's chat template."""
    return list(tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False))
