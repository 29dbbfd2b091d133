"""The one reader of chat messages: every form that files have them in, and each fault with its place."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.chat import Messages, template_messages
from rlaif.data.messages import ROLES, read_messages, read_tools
from rlaif.errors import UserError
from rlaif.io.rows import Row, read_file

CALL = {"id": "c1", "type": "function", "function": {"name": "revenue", "arguments": {"year": 2023}}}
ASK = {"role": "user", "content": "What was revenue?"}

texts = st.text(max_size=12)
filled = st.text(min_size=1, max_size=12)
names = st.text("abc_", min_size=1, max_size=5)
calls = st.builds(
    lambda name, arguments: {"type": "function", "function": {"name": name, "arguments": arguments}},
    names,
    st.dictionaries(names, st.integers(-9, 9) | texts, min_size=1, max_size=2),
)
messages = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "developer", "user", "assistant"]), "content": texts}),
    st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": texts},
        optional={"reasoning_content": filled, "tool_calls": st.lists(calls, min_size=1, max_size=2)},
    ),
    st.fixed_dictionaries(
        {"role": st.just("tool"), "content": texts}, optional={"name": filled, "tool_call_id": filled}
    ),
)
chats = st.lists(messages, max_size=5)


def row(value: object, *, line: int | None = 7, number: int | None = None) -> Row:
    return Row("chats.jsonl", {"messages": value}, ["messages"], line, number)


def read(value: object) -> Messages:
    return read_messages(row(value), "messages", value)


def fault_of(value: object) -> str | None:
    """Return the message of the error that a value raises; None if it is a chat."""
    try:
        read(value)
    except UserError as error:
        return str(error)
    return None


@given(chats)
def test_reads_what_was_written_in_each_form(chat: list[dict[str, Any]]) -> None:
    assert read(chat) == chat
    assert read(json.dumps(chat)) == chat
    as_json = [
        {**message, "tool_calls": [
            {**call, "function": {**call["function"], "arguments": json.dumps(call["function"]["arguments"])}}
            for call in message["tool_calls"]
        ]} if "tool_calls" in message else message
        for message in chat
    ]  # fmt: skip
    assert read(as_json) == chat
    share_gpt = {"user": "human", "assistant": "gpt"}
    plain = [message for message in chat if message.keys() == {"role", "content"}]
    named = [
        {"from": share_gpt.get(message["role"], message["role"]), "value": message["content"]} for message in plain
    ]
    assert read(named) == plain
    assert read([{**message, "content": [{"type": "text", "text": message["content"]}]} for message in chat]) == chat


@given(st.lists(chats.filter(len), min_size=1, max_size=4))
def test_reads_structs_of_parquet_without_the_fields_of_other_rows(chats: list[list[dict[str, Any]]]) -> None:
    # Arguments are JSON here: Parquet has no column of values of several types.
    written = json.loads(json.dumps(chats))
    for call in (call for chat in written for message in chat for call in message.get("tool_calls", [])):
        call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{"messages": chat} for chat in written]), buffer)
    values = pq.read_table(io.BytesIO(buffer.getvalue())).to_pylist()
    assert [
        read_messages(row(value["messages"], line=None, number=1), "messages", value["messages"]) for value in values
    ] == chats


def test_a_null_in_the_json_of_arguments_is_kept_in_parquet() -> None:
    call = {"name": "f", "arguments": '{"year": null}', "id": None}
    chat = [{"role": "assistant", "content": "", "tool_calls": [call]}]
    (one,) = read_messages(row(chat, line=None, number=1), "messages", chat)
    assert one["tool_calls"][0]["function"]["arguments"] == {"year": None}


def test_reads_a_cell_of_a_csv_file(tmp_path: Path) -> None:
    (tmp_path / "chats.csv").write_text('messages\n"[{""role"": ""user"", ""content"": ""a, b""}]"\n')
    (one,) = read_file(str(tmp_path / "chats.csv"), ["messages"])
    assert read_messages(one, "messages", one.values["messages"]) == [{"role": "user", "content": "a, b"}]


@pytest.mark.parametrize("role", ROLES)
def test_knows_the_roles_of_other_formats(role: str) -> None:
    (one,) = read([{"from": role.upper(), "value": json.dumps({"name": "f", "arguments": {}})}])
    assert one["role"] == ROLES[role]


def test_keeps_what_a_template_reads_and_no_more() -> None:
    (one,) = read([{"role": "assistant", "content": None, "tool_calls": [CALL], "thinking": "Hm.", "language": "en"}])
    assert one == {"role": "assistant", "content": "", "tool_calls": [CALL], "reasoning_content": "Hm."}
    (shown,) = template_messages([one])
    assert shown["thinking"] == shown["reasoning"] == "Hm."


def test_text_parts_are_joined_by_line_breaks() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert read([{"role": "user", "content": parts}]) == [{"role": "user", "content": "a\nb"}]


def test_reads_tools() -> None:
    tools = [{"type": "function", "function": {"name": "revenue", "parameters": {"type": "object"}}}]
    for value in (tools, json.dumps(tools)):
        assert read_tools(row(value), "tools", value) == tools
    assert read_tools(row(""), "tools", "") == read_tools(row(None), "tools", None) == []


DEEP: Any = {}
for _ in range(100):
    DEEP = {"more": DEEP}
FAULTS: dict[str, Any] = {
    "messages.1.role: expected system, developer, user, assistant or tool (got 'narrator')": [
        ASK, {"role": "narrator", "content": "x"},
    ],
    "messages.1.role: expected system, developer, user, assistant or tool (got 3)": [ASK, {"role": 3, "content": ""}],
    "messages.0.role: expected system, developer, user, assistant or tool (got keys speaker, text)": [
        {"speaker": "user", "text": "x"},
    ],
    "messages.0.content.1: a part of type image_url; expected parts of type text": [
        {"role": "user", "content": [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {}}]},
    ],
    "messages.0.content: half of a surrogate pair; expected valid Unicode text": [
        {"role": "user", "content": "\ud83d"},
    ],
    "messages.0.content: expected a text or a number (got None)": [{"role": "user", "content": None}],
    "messages.0: expected a message with role and content (got 'hello')": ["hello"],
    "messages: expected a list of messages with role and content (got 'hello')": "hello",
    "messages: a chat in Python's notation; expected JSON, as json.dumps writes it (got": "[{'role': 'user'}]",
    "messages: not JSON: Unterminated string": '[{"role": "user", "content": "cut he',
    "messages: not JSON: maximum recursion depth": '[{"role": ' + "[" * 100_000,
    "messages.0.function_call: cannot be given to a chat template; expected `tool_calls` instead": [
        {"role": "assistant", "content": "", "function_call": {"name": "f"}},
    ],
    "messages.0.weight: a message cannot be left out of the loss; expected 1 (got 0)": [{**ASK, "weight": 0}],
    "messages.0.tool_calls: expected tool calls of the assistant only (got user)": [{**ASK, "tool_calls": [CALL]}],
    "messages.0.tool_calls.0.function.name: expected the name of a function": [
        {"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]},
    ],
    "messages.0.tool_calls.0.function.arguments: not JSON": [
        {"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{year"}]},
    ],
    "messages.0.tool_calls: nested more than 64 levels deep; expected JSON": [
        {"role": "assistant", "tool_calls": [{"name": "f", "arguments": DEEP}]},
    ],
    "messages.0.tool_calls: half of a surrogate pair": [
        {"role": "assistant", "tool_calls": [{"name": "f", "arguments": {"a": "\ud83d"}}]},
    ],
    "messages.0.reasoning and thinking: differ": [
        {"role": "assistant", "content": "x", "thinking": "a", "reasoning": "b"},
    ],
}  # fmt: skip


@pytest.mark.parametrize("message", FAULTS)
def test_a_fault_is_named_with_its_line_and_message(message: str) -> None:
    line = fault_of(FAULTS[message])
    assert line is not None
    assert line.startswith(f"chats.jsonl:7: {message}")
    assert "\n" not in line


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(st.characters(codec=None)) | st.just("\udc00"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["role", "content", "tool_calls", "function", "name", "arguments", "thinking", "type", "text"]),
        inner, max_size=4), max_leaves=12))  # fmt: skip
def test_whatever_a_field_holds_it_is_a_chat_or_one_line(value: object) -> None:
    line = fault_of(value)
    if line is None:
        found = read(value)
        assert all(isinstance(message["content"], str) for message in found)
        json.dumps(found, ensure_ascii=False).encode()
    else:
        assert line.startswith("chats.jsonl:7: messages")


def test_ten_thousand_messages_are_a_chat() -> None:
    assert len(read([ASK, {"role": "assistant", "content": "x"}] * 5_000)) == 10_000
