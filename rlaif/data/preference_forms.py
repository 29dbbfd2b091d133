"""The forms in which published data sets write a preference, brought to one: prompt, chosen, rejected and tools.

Invariant: what one form means, every form means: the prompt is what both answers continue, and an answer holds nothing
of it. A row of no known form is an error; one whose answers continue different prompts is for the caller to leave out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rlaif.data.messages import chat_in, read_messages, read_tools
from rlaif.data.preference_sides import ASSISTANT, Sides, Text, as_turns, from_parts, split, without_prompt
from rlaif.data.tool_calls import checked_json
from rlaif.io.rows import Row
from rlaif.io.values import is_missing

FORM_FIELDS: Mapping[str, str] = {
    "prompt": "a text or a chat; without it, what both answers begin with",
    "chosen": "the preferred answer: a text, a message or messages, with or without the prompt before it",
    "rejected": "the other answer, alike",
    "conversations": "ShareGPT's prompt, a chat",
    "messages": "a prompt that is a chat, where there is no other",
    "system": "the system text of a chat that has none",
    "tools": "those that a chat offers, as OpenAI's API takes them",
    "input": "OpenAI's prompt: an object with `messages` and `tools`",
    "preferred_output": "OpenAI's preferred answer, messages",
    "non_preferred_output": "OpenAI's other answer, messages",
}
"""The fields that hold the prompt and the answers in one form or another."""
_NAMES_OF_PROMPTS = ("question", "instruction", "query", "input")
_EXPECTED = "prompt, chosen and rejected, or input, preferred_output and non_preferred_output"


def is_preference(columns: Sequence[str]) -> bool:
    """Return whether rows with these columns are preferences rather than labels."""
    return bool({"chosen", "rejected", "preferred_output"} & set(columns))


def read_sides(row: Row) -> Sides:
    """Read a row of any form.

    Raises:
        UserError: a column is missing or holds something else; the file, the line and the field are named.
    """
    values = row.values
    if "chosen" not in values and "preferred_output" in values:
        return _openai(row)
    for column in ("chosen", "rejected"):
        if column not in values:
            expected = f"{_EXPECTED}; columns here: {row.shown_columns}; {row.names.names(column)}"
            raise row.error("", f"no column {column!r}", expected)
    chosen, rejected = _side(row, "chosen"), _side(row, "rejected")
    prompt = _prompt(row)
    tools = tuple(read_tools(row, "tools", values.get("tools")))
    sides = _implicit(row, chosen, rejected) if prompt is None else from_parts(prompt, chosen, rejected)
    return _with_system(row, sides, tools)


def _openai(row: Row) -> Sides:
    given = row.values.get("input")
    if isinstance(given, str) and given.lstrip().startswith("{"):
        given = checked_json(row, "input", given)
    if not isinstance(given, dict):
        raise row.error("input", expected="an object with messages, as OpenAI's preference files have it")
    prompt = read_messages(row, "input.messages", given.get("messages"))
    chosen, rejected = (
        read_messages(row, column, row.values.get(column) or [])
        for column in ("preferred_output", "non_preferred_output")
    )
    tools = tuple(read_tools(row, "input.tools", given.get("tools")))
    return Sides(prompt, without_prompt(prompt, chosen), without_prompt(prompt, rejected), tools)


def _side(row: Row, column: str) -> Text:
    """Return an answer: a text, messages, or one message as LLaMA-Factory has it; "" for null."""
    value = chat_in(row, column, row.values[column])
    if is_missing(value):
        return ""
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return row.checked(column, value)
    if not isinstance(value, list):
        raise row.error(column, expected="a text, a message, or a list of messages with role and content")
    return read_messages(row, column, value)


def _prompt(row: Row) -> Text | None:
    """Return the prompt of its own column; None if the answers begin with their prompt."""
    value = chat_in(row, "prompt", row.values.get("prompt"))
    if isinstance(value, list):
        return read_messages(row, "prompt", value)
    if not is_missing(value):
        return row.checked("prompt", value)
    for column in ("conversations", "messages"):
        value = chat_in(row, column, row.values.get(column))
        if isinstance(value, list) and value:
            chat = read_messages(row, column, value)
            # Beside whole chats, `messages` is often the chosen one again.
            if column == "conversations" or chat[-1]["role"] != "assistant":
                return chat
    return None


def _implicit(row: Row, chosen: Text, rejected: Text) -> Sides:
    if not chosen or not rejected:
        return Sides("", chosen, rejected)
    if isinstance(chosen, str) != isinstance(rejected, str):
        raise row.error("", expected="chosen and rejected to be both texts or both lists of messages")
    whole = ASSISTANT in chosen if isinstance(chosen, str) else chosen[0]["role"] != "assistant"
    names = [name for name in _NAMES_OF_PROMPTS if name in row.columns and "prompt" not in row.values]
    if names and not whole:
        expected = f"`{row.names.written({'prompt': names[0]})}`, or a column of that name"
        if names[0] == "instruction" and "input" in names:
            expected += "; where `input` is filled, join both in it"
        raise row.error("", "no column 'prompt'", expected)
    return split(chosen, rejected)


def _with_system(row: Row, sides: Sides, tools: tuple[dict[str, Any], ...]) -> Sides:
    system, prompt = row.values.get("system"), sides.prompt
    if not (isinstance(system, str) and system.strip()):
        system = ""
    # A file with system texts holds turns of chats, also in rows whose system text is empty.
    if isinstance(prompt, str) and "system" in row.values and not is_missing(row.values.get("prompt")):
        sides = as_turns(sides)
        prompt = sides.prompt
    if isinstance(prompt, str):
        for field, given in (("system", system), ("tools", tools)):
            if given:
                raise row.error(field, "a prompt that is a text cannot have it", "the prompt as a chat")
    elif system and prompt and prompt[0]["role"] not in ("system", "developer"):
        prompt = [{"role": "system", "content": row.checked("system", system)}, *prompt]
    return Sides(prompt, sides.chosen, sides.rejected, tools)
