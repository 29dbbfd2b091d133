"""A model reads every turn of a chat exactly once, whatever its template knows of roles; or the chat is refused."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.chat import Messages, visible_answer
from rlaif.errors import UserError
from rlaif.models.chat_template import ChatTemplate
from tests.chat_templates import ENDS, GEMMA, MISTRAL_OLD, OPENS_THINKING, QWEN3, TEMPLATES, byte_tokenizer

TOKENIZERS = {name: byte_tokenizer(template) for name, template in TEMPLATES.items()}
SYSTEM, ASKED = "Answer in Latin.", "Quid est?"


def read(name: str, messages: Messages, **kwargs: Any) -> str:
    """Return what a model reads of a chat that it is to answer."""
    tokenizer = TOKENIZERS[name]
    return str(tokenizer.decode(ChatTemplate(tokenizer, kwargs).prompt_ids(messages)))


def turns(*roles: str) -> Messages:
    return [{"role": role, "content": f"text {index} of {role}."} for index, role in enumerate(roles)]


@pytest.mark.parametrize("name", TEMPLATES)
def test_system_and_question_are_read_once_and_an_answer_is_asked_for(name: str) -> None:
    text = read(name, [{"role": "system", "content": SYSTEM}, {"role": "user", "content": ASKED}])
    assert (text.count(SYSTEM), text.count(ASKED)) == (1, 1)
    assert text.index(SYSTEM) < text.index(ASKED)
    assert text.endswith(ENDS[name])


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=20)
@given(
    st.tuples(
        st.sampled_from([(), ("system",), ("system", "system")]),
        st.lists(st.sampled_from(["user", "assistant"]), max_size=5),
    ).map(lambda parts: turns(*parts[0], *parts[1], "user"))
)
def test_every_turn_of_a_chat_is_read_once(name: str, messages: Messages) -> None:
    if messages[0]["role"] == "assistant" and name in ("gemma", "mistral-old", "mistral-v3"):
        # Nothing makes such a chat begin with the user's turn.
        with pytest.raises(UserError, match=r"does not take a chat of assistant, "):
            read(name, messages)
        return
    text = read(name, messages)
    assert [text.count(message["content"]) for message in messages] == [1] * len(messages)
    assert text.endswith(ENDS[name])


@pytest.mark.parametrize("name", TEMPLATES)
def test_ids_are_those_of_transformers_where_the_template_takes_the_chat(name: str) -> None:
    chat: Messages = [{"role": "user", "content": ASKED}]
    theirs = TOKENIZERS[name].apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert ChatTemplate(TOKENIZERS[name]).prompt_ids(chat) == theirs


def test_a_template_that_refuses_a_system_turn_gets_its_text_in_the_users() -> None:
    text = read("gemma", [{"role": "system", "content": SYSTEM}, {"role": "user", "content": ASKED}])
    assert text == f"<s><start_of_turn>user\n{SYSTEM}\n\n{ASKED}<end_of_turn>\n<start_of_turn>model\n"


def test_a_chat_with_an_empty_turn_says_nothing_of_the_next_chat() -> None:
    template = ChatTemplate(TOKENIZERS["drops-system"])
    for system, said in (("", ""), (SYSTEM, f"{SYSTEM}\n\n")):
        ids = template.prompt_ids([{"role": "system", "content": system}, {"role": "user", "content": ASKED}])
        assert TOKENIZERS["drops-system"].decode(ids) == f"USER: {said}{ASKED} ASSISTANT:"


def test_turns_of_one_role_become_one_where_roles_alternate() -> None:
    first, last = "<s>[INST] text 0 of user.\n\ntext 1 of user. [/INST]", "[INST] text 3 of user. [/INST]"
    text = read("mistral-old", turns("user", "user", "assistant", "user"))
    assert text == f"{first}text 2 of assistant.</s>{last}"


def test_a_chat_that_no_form_fits_is_refused_by_its_roles() -> None:
    with pytest.raises(UserError) as refused:
        read("gemma", turns("assistant", "user"))
    assert str(refused.value) == (
        "the model's chat template does not take a chat of assistant, user: Conversation roles must alternate "
        "user/assistant/user/assistant/..."
    )


def test_arguments_reach_the_template() -> None:
    chat: Messages = [{"role": "user", "content": ASKED}]
    assert read("qwen3", chat, enable_thinking=False).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert read("llama3", chat, date_string="1 May 2030").count("1 May 2030") == 1


@pytest.mark.parametrize(
    ("template", "kwargs", "opened"),
    [
        (QWEN3, {}, ""), (QWEN3, {"enable_thinking": False}, ""), (GEMMA, {}, ""), (MISTRAL_OLD, {}, ""),
        (OPENS_THINKING, {}, "<think>\n"), (OPENS_THINKING, {"enable_thinking": False}, ""),
    ],
)  # fmt: skip
def test_what_a_prompt_opens_of_the_thinking(template: str, kwargs: dict[str, Any], opened: str) -> None:
    assert ChatTemplate(byte_tokenizer(template), kwargs).opened_thinking == opened
    # Cut before it ends, the thinking is no answer; ended, what follows is.
    assert (visible_answer(opened + "Let me see") is None) == bool(opened)
    assert visible_answer(opened + "Let me see</think>It is 7.") == "It is 7."


def test_a_conversation_ends_with_its_answer() -> None:
    chat = [*turns("system", "user"), {"role": "assistant", "content": "Res est."}]
    ids = ChatTemplate(TOKENIZERS["gemma"]).conversation_ids(chat)  # type: ignore[arg-type]
    assert TOKENIZERS["gemma"].decode(ids).endswith("<start_of_turn>model\nRes est.<end_of_turn>\n")


def test_preferences_of_a_file_are_rendered_as_the_engine_renders_prompts() -> None:
    from rlaif.data.preferences import Preference
    from rlaif.training.dpo.encode import encode_preferences

    tokenizer = byte_tokenizer(GEMMA.replace("{{ bos_token }}", "{{ bos_token }}{{ mood }}"))
    kwargs = {"mood": "(calm)"}
    prompt: Messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": ASKED}]
    sides: list[Messages] = [[{"role": "assistant", "content": text}] for text in ("Res est.", "Nihil.")]
    row = Preference("1", prompt, *sides, None, "ai", None, None)
    found = encode_preferences([row], tokenizer, None, "p", chat_template_kwargs=kwargs).rows[0]
    assert found["prompt_token_ids"] == ChatTemplate(tokenizer, kwargs).prompt_ids(prompt)
    read = tokenizer.decode(found["prompt_token_ids"])
    assert (read.count(SYSTEM), read.count("(calm)")) == (1, 1)
    assert tokenizer.decode(found["chosen_token_ids"]) == "Res est.<end_of_turn>\n"
