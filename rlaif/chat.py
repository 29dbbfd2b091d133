"""The messages of a chat, and the part of a reply that is the answer."""

import re
from collections.abc import Collection, Sequence
from typing import Any, NotRequired, TypedDict


class Message(TypedDict):
    """One message of a chat, with the keys that chat templates read."""

    role: str
    """`system`, `developer`, `user`, `assistant` or `tool`."""
    content: str
    reasoning_content: NotRequired[str]
    """What the assistant thought before it wrote the content."""
    tool_calls: NotRequired[list[dict[str, Any]]]
    """As OpenAI's API has them, but `arguments` are an object rather than its JSON."""
    name: NotRequired[str]
    tool_call_id: NotRequired[str]


Messages = list[Message]

REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
"""The names by which chat templates know the reasoning of a message."""

_NAMES = (
    r"(?:seed:)?(?:think|thinking|thought|thoughts|reason|reasoning|reflection|analysis|scratchpad|cot"
    r"|chain_of_thought)(?:_\w{1,20})?"
)
# "<think>", "< thinking mode='deep'>", "◁think▷" of Kimi, "[THINK]" of Mistral, "<|begin_of_thought|>" of Sky-T1. Other
# names in square brackets are an answer's own: "because of [reason]".
_ATTRIBUTE = r"""\s+[\w:-]{1,40}\s*=\s*(?:"[^"\n]{0,80}"|'[^'\n]{0,80}'|[^\s"'>▷]{1,80})"""
_OPEN = rf"[<◁]\s*?{_NAMES}(?:{_ATTRIBUTE}){{0,4}}\s*[>▷]|\[think\]|<\|begin_of_{_NAMES}\|>"
_CLOSE = rf"[<◁]\s*/\s*?{_NAMES}\s*[>▷]|\[/think\]|<\|end_of_{_NAMES}\|>"
_TAG = re.compile(rf"(?P<open>{_OPEN})|(?P<close>{_CLOSE})", re.IGNORECASE)
_SOLUTION = re.compile(r"<\|(?:begin|end)_of_solution\|>")
# The channels of gpt-oss: what is after the last "final" is the answer.
_FINAL_CHANNEL = re.compile(r"<\|channel\|>\s*final\s*<\|message\|>")
_OTHER_CHANNEL = re.compile(r"<\|channel\|>\s*(?:analysis|commentary)\b")
_CONTROL = re.compile(r"<\|(?:start|end|return|channel|message)\|>")


def template_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return messages for a chat template, with the reasoning under each name by which a template may know it."""
    return [
        {**message, **dict.fromkeys(REASONING_KEYS, message["reasoning_content"])}
        if "reasoning_content" in message
        else {**message}
        for message in messages
    ]


def visible_answer(reply: str) -> str | None:
    """Return a reply without the thinking before and within it; None if its thinking has no end.

    A block may lack its opening tag, as with chat templates that write the tag into the prompt.

    Example:
        >>> visible_answer("<think>5 or 6?</think> It is 7.")
        'It is 7.'
    """
    if _FINAL_CHANNEL.search(reply):
        reply = _CONTROL.split(_FINAL_CHANNEL.split(reply)[-1])[0]
    elif _OTHER_CHANNEL.search(reply):
        return None
    kept: list[str] = []
    depth, position = 0, 0
    for tag in _TAG.finditer(reply):
        if depth == 0:
            kept.append(reply[position : tag.start()])
        if tag["open"]:
            depth += 1
        elif depth:
            depth -= 1
        else:
            kept.clear()
        position = tag.end()
    if depth:
        return None
    kept.append(reply[position:])
    return _SOLUTION.sub("", "".join(kept)).strip() if position else reply


def open_thinking(text: str) -> str:
    """Return the thinking that a text leaves open, from its opening tag on; "" if it leaves none open.

    Example:
        >>> open_thinking("<|im_start|>assistant\\n<think>\\n")
        '<think>\\n'
    """
    depth, start = 0, 0
    for tag in _TAG.finditer(text):
        if tag["open"]:
            start = start if depth else tag.start()
            depth += 1
        elif depth:
            depth -= 1
    return text[start:] if depth else ""


def visible_text(reply: str) -> str:
    """Return the visible answer of a reply without white space around it; "" where there is none."""
    return (visible_answer(reply) or "").strip()


def thinking_marks(tokens: Collection[str]) -> set[str]:
    """Return those of a tokenizer's special tokens that `visible_answer` reads: of tags, and of gpt-oss's channels.

    Other models end a turn with `<|end|>` too: without channels it marks no thinking.

    Example:
        >>> sorted(thinking_marks(["<think>", "</think>", "<|user|>", "<|end|>"]))
        ['</think>', '<think>']
    """
    marks = (_TAG, _SOLUTION, _CONTROL) if "<|channel|>" in tokens else (_TAG, _SOLUTION)
    return {token for token in tokens if any(mark.fullmatch(token) for mark in marks)}
