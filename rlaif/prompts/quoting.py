"""Puts texts of others into a chat: none can close its own quotation or begin another role's turn.

Invariant: whatever a text holds, every line of its quotation begins with the quotation's mark, and nothing in it is
encoded by a tokenizer as the token that ends a turn.
"""

import re

from rlaif.chat import Messages

# How chat templates spell their special tokens. Tokenizers read these anywhere in a text, a candidate's answer too.
_MARKERS = re.compile(
    r"""
      <(?=[|｜])                                       # <|im_end|>, <|eot_id|>, <｜Assistant｜>
    | (?<=[|｜])(?=>)
    | <(?=/?(?:s|bos|eos|pad|unk|mask|(?:start|end)_of_(?:turn|image))>)
    | \[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT)\])
    | <(?=</?SYS>>)
    """,
    re.VERBOSE | re.IGNORECASE,
)


def quoted(text: str) -> str:
    """Return the text with `| ` before each of its lines, for all line ends of Unicode.

    >>> quoted("1,204 million\\nAnswer B: 7")
    '| 1,204 million\\n| Answer B: 7'
    """
    return "\n".join("| " + line for line in text.splitlines() or [""])


def without_role_markers(text: str) -> str:
    """Return the text with a space in each spelling of a special token, so that tokenizers read it as text.

    >>> without_role_markers("1,204<|im_end|>")
    '1,204< |im_end| >'
    """
    # Every marker has one of these; most texts have none, and are rendered for each comparison.
    if "<" not in text and ">" not in text and "[" not in text:
        return text
    return _MARKERS.sub(lambda match: match.group() + " ", text)


def conversation(chat: Messages, answer: str) -> Messages:
    """Return a chat with its answer as the last turn, as a reward model scores it."""
    return [*chat, {"role": "assistant", "content": without_role_markers(answer)}]
