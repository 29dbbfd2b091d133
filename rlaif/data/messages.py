"""Reads the messages of a chat, as every file of a user may hold them.

Invariant: every message gets one of five roles and a text. What a model would be shown beside the text is kept, or
refused by its name; other keys, such as a time or a language, are not part of a chat and are left out.
"""

import re
from collections.abc import Mapping
from typing import Any

from rlaif.chat import REASONING_KEYS, Message, Messages
from rlaif.data.tool_calls import checked_json, read_tool_calls
from rlaif.errors import first_line, shown
from rlaif.io.json_text import parse_json
from rlaif.io.rows import Row

ROLES: Mapping[str, str] = {
    **{role: role for role in ("system", "developer", "user", "assistant", "tool")},
    **dict.fromkeys(("human", "prompter"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "bing", "bard", "model"), "assistant"),
    **dict.fromkeys(("observation", "function"), "tool"),
    "function_call": "assistant",
}
"""The roles that files name, and ours: ShareGPT's `human` is our `user`."""
_OURS = "system, developer, user, assistant or tool"
# These change what a model is shown or what is learned, and nothing here can honour them.
_REFUSED = {
    "function_call": "`tool_calls` instead",
    "refusal": "the refusal as the content",
    "audio": "text only",
    "images": "text only",
    "videos": "text only",
}
_TEXT_PARTS = ("text", "input_text", "output_text")
_JSON_CHAT = re.compile(r'\s*\[?\s*\{\s*"(?:role|from|content|value|tool_calls)"')
_ROLE = re.compile(r'"(?:role|from)"\s*:')
_PYTHON_CHAT = re.compile(r"\s*(?:array\()?\[\s*\{\s*'(?:role|from|content|value)'")


def chat_in(row: Row, field: str, value: object) -> object:
    """Return the messages or message that JSON text holds, as in a cell of a CSV file; any other value as it is.

    Raises:
        UserError: the text begins as a chat does and is no JSON: cut, or written by Python.
    """
    if not isinstance(value, str):
        return value
    if _PYTHON_CHAT.match(value):
        expected = "JSON, as json.dumps writes it"
        raise row.error(field, "a chat in Python's notation", expected, found=shown(value))
    # An answer may be JSON too, such as `{"value": 3}`, which has no role.
    if not (_JSON_CHAT.match(value) and _ROLE.search(value)):
        return value
    parsed = _parsed(row, field, value)
    each = parsed if isinstance(parsed, list) else [parsed]
    is_chat = all(isinstance(item, dict) and {"role", "from"} & item.keys() for item in each)
    return parsed if is_chat else value


def _parsed(row: Row, field: str, text: str) -> object:
    try:
        return parse_json(text)
    except (ValueError, RecursionError) as error:
        raise row.error(field, f"not JSON: {first_line(error)}", expected="the messages of a chat") from None


def read_messages(row: Row, field: str, value: object) -> Messages:
    """Read a list of messages, or JSON text that holds one; it may be empty.

    A message has `role` and `content`, or ShareGPT's `from` and `value`. A content is a text or OpenAI's list of text
    parts, which are joined by line breaks as vLLM joins them.

    Args:
        row: where the value is from; names the file and the line in errors.
        field: the value's column or dotted key.

    Raises:
        UserError: with the file, the line and the message's number, from 0.
    """
    value = chat_in(row, field, value)
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _parsed(row, field, value)
    if not isinstance(value, list | tuple):
        raise row.error(field, expected="a list of messages with role and content", found=shown(value))
    return [_message(row, f"{field}.{number}", message) for number, message in enumerate(value)]


def _message(row: Row, field: str, value: object) -> Message:
    if not isinstance(value, Mapping):
        raise row.error(field, expected="a message with role and content", found=shown(value))
    # A Parquet row has the fields of all other rows, empty where its own messages lack them.
    given = {key: item for key, item in value.items() if item is not None}
    for key, expected in _REFUSED.items():
        if given.get(key) not in (None, "", []):
            raise row.error(f"{field}.{key}", "cannot be given to a chat template", expected=expected)
    if given.get("weight", 1) != 1:
        raise row.error(f"{field}.weight", "a message cannot be left out of the loss", "1", shown(given["weight"]))
    named = given.get("role", given.get("from"))
    known = named.strip().lower() if isinstance(named, str) else ""
    role = ROLES.get(known)
    if role is None:
        found = shown(named) if named is not None else f"keys {', '.join(map(str, given)) or 'none'}"
        raise row.error(f"{field}.role", expected=_OURS, found=found)
    content = given.get("content", given.get("value"))
    if known == "function_call":
        return {"role": role, "content": "", "tool_calls": read_tool_calls(row, f"{field}.value", content)}
    message: Message = {"role": role, "content": ""}
    if given.get("tool_calls"):
        if role != "assistant":
            raise row.error(f"{field}.tool_calls", expected="tool calls of the assistant only", found=role)
        message["tool_calls"] = read_tool_calls(row, f"{field}.tool_calls", given["tool_calls"])
    if content is not None or "tool_calls" not in message:
        message["content"] = _content(row, f"{field}.content", content)
    if reasoning := _reasoning(row, field, given):
        message["reasoning_content"] = reasoning
    if name := given.get("name"):
        message["name"] = row.checked(f"{field}.name", name)
    if call := given.get("tool_call_id"):
        message["tool_call_id"] = row.checked(f"{field}.tool_call_id", call)
    return message


def _content(row: Row, field: str, value: object) -> str:
    if not isinstance(value, list | tuple):
        return row.checked(field, value)
    return "\n".join(_part(row, f"{field}.{number}", part) for number, part in enumerate(value))


def _part(row: Row, field: str, part: object) -> str:
    if isinstance(part, str):
        return row.checked(field, part)
    if not isinstance(part, Mapping):
        raise row.error(field, expected="a part with a text", found=shown(part))
    kind = part.get("type", "text")
    if kind not in _TEXT_PARTS:
        raise row.error(field, f"a part of type {kind!s:.40}", expected="parts of type text")
    return row.checked(f"{field}.text", part.get("text"))


def _reasoning(row: Row, field: str, given: Mapping[Any, Any]) -> str:
    """Return the reasoning of a message, "" without any; files name it in three ways."""
    texts = {key: row.checked(f"{field}.{key}", given[key]) for key in REASONING_KEYS if given.get(key)}
    if len(set(texts.values())) > 1:
        raise row.error(f"{field}.{' and '.join(texts)}", "differ", expected="one text of the assistant's reasoning")
    return next(iter(texts.values()), "")


def read_tools(row: Row, field: str, value: object) -> list[dict[str, Any]]:
    """Read the tools that a chat offers: a list of objects, or its JSON; none if it is null, "" or empty."""
    if value in (None, "") or (isinstance(value, str) and not value.strip()):
        return []
    tools = checked_json(row, field, value)
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise row.error(field, expected="a list of tools, as OpenAI's API takes them", found=shown(value))
    return tools
