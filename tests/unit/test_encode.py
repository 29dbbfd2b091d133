"""What of a chat is trained, token by token: the assistant's answer and nothing that others wrote."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlaif.chat import Message, Messages
from rlaif.data.preferences import Preference
from rlaif.errors import UserError
from rlaif.training.dpo.encode import encode_preferences
from tests.chat_templates import TEMPLATES, byte_tokenizer

_TRL = importlib.util.find_spec("trl")
assert _TRL is not None
assert _TRL.origin is not None
PUBLISHED = Path(_TRL.origin).parent / "chat_templates"
FAMILIES = [
    "qwen2_5",
    "qwen3_instruct_2507",
    "qwen3_5_think",
    "llama3",
    "llama3_1",
    "gemma3",
    "phi3",
    "gptoss",
    "deepseekv3",
    "glm4moe",
    "cohere2",
    "qwen3_8",
]
WITH_TOOLS = ["qwen2_5", "qwen3", "llama3_1", "gptoss", "glm4moe"]
OTHERS = ("Be brief.", "QUESTION-1", "ANSWER-1", "QUESTION-2")
TOOLS = [{"type": "function", "function": {
    "name": "revenue", "description": "Looks it up.",
    "parameters": {"type": "object", "properties": {"year": {"type": "integer", "description": "The year."}}},
}}]  # fmt: skip
CALL = {"type": "function", "function": {"name": "revenue", "arguments": {"year": 2023}}}


def tokenizer_of(family: str) -> Any:
    """Return a tokenizer with the template that TRL has of a published model, or one of `tests.chat_templates`."""
    path = PUBLISHED / f"{family}.jinja"
    return byte_tokenizer(path.read_text(encoding="utf-8") if path.is_file() else TEMPLATES[family])


def assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


CHAT: Messages = [
    {"role": "system", "content": OTHERS[0]}, {"role": "user", "content": OTHERS[1]}, assistant(OTHERS[2]),
    {"role": "user", "content": OTHERS[3]},
]  # fmt: skip
ROW = Preference("p.jsonl:1", CHAT, [assistant("RIGHT")], [assistant("WRONG")], None, "ai", None, None)


def texts(tokenizer: Any, row: Preference) -> tuple[str, str, str]:
    """Return the texts of the tokens of prompt, chosen and rejected."""
    (encoded,) = encode_preferences([row], tokenizer, None, "p").rows
    prompt, chosen, rejected = (
        tokenizer.decode(encoded[f"{name}_token_ids"]) for name in ("prompt", "chosen", "rejected")
    )
    return prompt, chosen, rejected


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_answer_is_trained(family: str) -> None:
    prompt, chosen, rejected = texts(tokenizer_of(family), ROW)
    assert all(text in prompt for text in OTHERS)
    assert "RIGHT" in chosen
    assert "WRONG" in rejected
    assert not any(text in chosen + rejected for text in OTHERS)
    assert "user" not in chosen.lower() + rejected.lower()


@pytest.mark.parametrize("family", WITH_TOOLS)
def test_tools_and_calls_reach_the_template(family: str) -> None:
    calls: Message = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    row = replace(ROW, chosen=[calls], tools=tuple(TOOLS))
    prompt, chosen, _ = texts(tokenizer_of(family), row)
    assert "Looks it up." in prompt
    assert "revenue" in chosen
    assert "2023" in chosen
    after: Messages = [*CHAT, calls, {"role": "tool", "content": "RESULT", "name": "revenue", "tool_call_id": "c1"}]
    prompt, chosen, _ = texts(tokenizer_of(family), replace(ROW, prompt=after, tools=tuple(TOOLS)))
    assert "RESULT" in prompt
    assert "RIGHT" in chosen
    assert "RESULT" not in chosen


@pytest.mark.parametrize("family", ["qwen3", "gptoss", "glm4moe"])
def test_reasoning_reaches_the_template_by_the_name_it_knows(family: str) -> None:
    row = replace(ROW, chosen=[{**assistant("RIGHT"), "reasoning_content": "BECAUSE"}])
    _, chosen, _ = texts(tokenizer_of(family), row)
    assert "BECAUSE" in chosen


CALLING: Message = {"role": "assistant", "content": "RIGHT", "tool_calls": [CALL]}
LEFT_OUT = {
    "tools": replace(ROW, tools=tuple(TOOLS)),
    "tool_calls": replace(ROW, chosen=[CALLING]),
    "reasoning_content": replace(ROW, chosen=[{**assistant("RIGHT"), "reasoning_content": "BECAUSE"}]),
}


@pytest.mark.parametrize("key", LEFT_OUT)
def test_what_a_template_leaves_out_is_refused_by_name(key: str) -> None:
    with pytest.raises(UserError, match=rf"^p.jsonl:1: {key}: the model's chat template leaves it out"):
        encode_preferences([LEFT_OUT[key]], tokenizer_of("llama3"), None, "p")


NOW = (
    "{% for m in messages %}{% if loop.last and m.role == 'user' %}[now]{% endif %}<{{ m.role }}>{{ m.content }}"
    "</s>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.mark.parametrize("template", [NOW, TEMPLATES["mistral-v3"]])
def test_a_template_that_writes_the_prompt_otherwise_before_an_answer_is_refused(template: str) -> None:
    """Otherwise the end of the question would be trained as the answer's beginning."""
    with pytest.raises(UserError, match=r"^p.jsonl:1: prompt: .* turns of others would be trained"):
        encode_preferences([ROW], byte_tokenizer(template), None, "p")
