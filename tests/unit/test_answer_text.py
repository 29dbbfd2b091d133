"""Thinking is told from the answer also where a tokenizer spells its marks as special tokens."""

import re
from types import SimpleNamespace
from typing import Any

import pytest

from rlaif.chat import Messages, visible_answer
from rlaif.inference.requests import ChatRequest
from rlaif.inference.vllm.texts import EngineTexts
from rlaif.models.answer_text import AnswerText
from rlaif.prompts.reading import FIRST, SECOND
from rlaif.prompts.verdict_text import read_choice
from tests.chat_templates import OPENS_THINKING, byte_tokenizer


def generated(text: str, special: list[str]) -> tuple[str, str]:
    """Return the text of generated tokens, and vLLM's without any special token."""
    tokenizer: Any = byte_tokenizer(None)
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    decoded = tokenizer.decode(ids, skip_special_tokens=True)
    return AnswerText(tokenizer).of(ids, decoded), decoded


@pytest.mark.parametrize(
    ("text", "special", "visible"),
    [
        ("[THINK]7 or 8?[/THINK]It is 7.</s>", ["[THINK]", "[/THINK]"], "It is 7."),
        ("[THINK]7 or 8?", ["[THINK]", "[/THINK]"], None),
        (
            "<|channel|>analysis<|message|>7 or 8?<|end|><|start|>assistant<|channel|>final<|message|>It is 7.</s>",
            ["<|channel|>", "<|message|>", "<|end|>", "<|start|>"],
            "It is 7.",
        ),
        ("<|channel|>analysis<|message|>7 or", ["<|channel|>", "<|message|>", "<|end|>", "<|start|>"], None),
        ("\u25c1think\u25b7é?\u25c1/think\u25b7É 7", ["\u25c1think\u25b7", "\u25c1/think\u25b7"], "É 7"),
    ],
)
def test_special_marks_of_thinking_stay(text: str, special: list[str], visible: str | None) -> None:
    kept, decoded = generated(text, special)
    assert kept == text.removesuffix("</s>")
    assert visible_answer(kept) == visible
    # Without its marks the thinking would be taken for the answer.
    assert visible_answer(decoded) not in (None, visible)


def test_the_end_of_a_turn_is_no_mark_of_thinking_without_channels() -> None:
    kept, decoded = generated("It is 7.<|end|>", ["<|user|>", "<|assistant|>", "<|end|>"])
    assert kept == decoded == "It is 7."


def test_other_special_tokens_are_left_out() -> None:
    kept, decoded = generated("<s>It is 7.<|im_end|></s>", [])
    assert kept == decoded == "It is 7."


def test_a_judges_reply_that_stops_in_the_thinking_that_its_prompt_opened_is_unparsed() -> None:
    texts = EngineTexts(byte_tokenizer(OPENS_THINKING), None)
    messages: Messages = [{"role": "user", "content": "A or B?"}]

    def read(text: str, **request: Any) -> str:
        ids = byte_tokenizer(None)(text, add_special_tokens=False)["input_ids"]
        reply = texts.reply(ChatRequest(messages, 100, **request), SimpleNamespace(token_ids=ids, text=text))
        return read_choice(reply, re.compile(r"\[(A|B)\]"), {"A": FIRST, "B": SECOND}).status

    assert read("Is it [A]? I think so. [A]") == "unparsed"
    assert read("Is it [A]? I think so.</think> [A]") == "ok"
    assert read("[A]", chat_template_kwargs={"enable_thinking": False}) == "ok"
    # A schema leaves no room for thinking.
    assert read("[A]", schema='{"type": "object"}') == "ok"
