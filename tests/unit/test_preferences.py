"""Preference files as they are published: each form means the same, and what prefers nothing is counted."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trl.data_utils import extract_prompt
from typer.testing import CliRunner

from rlaif.cli.main import app
from rlaif.data.left_out import REASONS
from rlaif.data.preferences import Preference, read_preferences
from rlaif.errors import UserError

QUESTION, RIGHT, WRONG = "What was revenue?", "$4.2 million", "Unknown"


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


PLAIN = {"prompt": QUESTION, "chosen": f" {RIGHT}", "rejected": f" {WRONG}"}
CHAT: dict[str, Any] = {"prompt": [user(QUESTION)], "chosen": [assistant(RIGHT)], "rejected": [assistant(WRONG)]}
SYSTEM = {"role": "system", "content": "Be brief."}
TOOLS = [{"type": "function", "function": {"name": "revenue", "parameters": {"type": "object"}}}]
HUMAN = [{"from": "human", "value": QUESTION}]
HH = f"\n\nHuman: Hi\n\nAssistant: Hello, I am here.\n\nHuman: {QUESTION}\n\nAssistant:"

# Published forms of CHAT; what is not part of a preference is there as it is published.
CHATS: dict[str, dict[str, Any]] = {
    "TRL, explicit": CHAT,
    "TRL, implicit": {"chosen": CHAT["prompt"] + CHAT["chosen"], "rejected": CHAT["prompt"] + CHAT["rejected"]},
    "UltraFeedback, binarized": {
        "prompt": QUESTION, "prompt_id": "f0e3", "source": "evol_instruct",
        "chosen": CHAT["prompt"] + CHAT["chosen"], "rejected": CHAT["prompt"] + CHAT["rejected"],
        "messages": CHAT["prompt"] + CHAT["chosen"], "score_chosen": 8.5, "score_rejected": 3.0,
    },
    "prompt repeated in the answers": {
        **CHAT, "chosen": CHAT["prompt"] + CHAT["chosen"], "rejected": CHAT["prompt"] + CHAT["rejected"],
    },
    "text prompt, answers as messages": {**CHAT, "prompt": QUESTION},
    "chat prompt, answers as texts": {**CHAT, "chosen": RIGHT, "rejected": WRONG},
    "OpenAI": {
        "input": {"messages": CHAT["prompt"], "tools": [], "parallel_tool_calls": True},
        "preferred_output": CHAT["chosen"], "non_preferred_output": CHAT["rejected"],
    },
    "ShareGPT, LLaMA-Factory": {
        "conversations": HUMAN, "chosen": {"from": "gpt", "value": RIGHT}, "rejected": {"from": "gpt", "value": WRONG},
    },
    "ShareGPT, lists": {
        "conversations": HUMAN, "chosen": [{"from": "gpt", "value": RIGHT}],
        "rejected": [{"from": "gpt", "value": WRONG}],
    },
    "OpenAI's messages with answers": {**CHAT, "prompt": None, "messages": CHAT["prompt"]},
    "chats as JSON text": {name: json.dumps(value) for name, value in CHAT.items()},
}  # fmt: skip


def write(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def read_one(path: Path, row: dict[str, Any]) -> Preference:
    read = read_preferences(write(path / "p.jsonl", row))
    assert (read.left_out.by_reason, read.left_out.line) == ({}, "")
    (one,) = read.rows
    return one


def sides(one: Preference) -> dict[str, Any]:
    return {"prompt": one.prompt, "chosen": one.chosen, "rejected": one.rejected}


@pytest.mark.parametrize("form", CHATS)
def test_every_form_of_a_chat_is_the_same_preference(tmp_path: Path, form: str) -> None:
    one = read_one(tmp_path, CHATS[form])
    assert sides(one) == CHAT
    assert (one.id, one.source, one.margin) == (f"{tmp_path / 'p.jsonl'}:1", "ai", None)


@pytest.mark.parametrize("form", CHATS)
def test_every_form_is_the_same_in_csv_and_parquet(tmp_path: Path, form: str) -> None:
    pq.write_table(pa.Table.from_pylist([CHATS[form]]), tmp_path / "p.parquet")
    (one,) = read_preferences(str(tmp_path / "p.parquet")).rows
    assert sides(one) == CHAT
    with (tmp_path / "p.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(CHATS[form])
        writer.writerow(
            value if value is None or isinstance(value, str) else json.dumps(value) for value in CHATS[form].values()
        )
    (one,) = read_preferences(str(tmp_path / "p.csv")).rows
    assert sides(one) == CHAT


JSON_ANSWERS = {"prompt": QUESTION, "chosen": '{"value": 4.2}', "rejected": '[{"content": null}]'}
TEXTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "explicit": (PLAIN, PLAIN),
    "answers that begin with the question": (
        RESTATED := {**PLAIN, "chosen": QUESTION + PLAIN["chosen"], "rejected": QUESTION + PLAIN["rejected"]}, RESTATED,
    ),
    "answers that are JSON": (JSON_ANSWERS, JSON_ANSWERS),
    "Anthropic's HH": (
        {"chosen": f"{HH} I think it was 4.", "rejected": f"{HH} I think it was 5."},
        {"prompt": HH, "chosen": " I think it was 4.", "rejected": " I think it was 5."},
    ),
    "HH with the prompt of its own": (
        {"prompt": HH, "chosen": f"{HH} I think it was 4.", "rejected": f"{HH} I think it was 5."},
        {"prompt": HH, "chosen": " I think it was 4.", "rejected": " I think it was 5."},
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", TEXTS)
def test_reads_texts(tmp_path: Path, form: str) -> None:
    row, expected = TEXTS[form]
    assert sides(read_one(tmp_path, row)) == expected


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": "Revenue was $4.2 million.", "rejected": "Revenue was nothing."},
        CHATS["TRL, implicit"],
        {"chosen": [SYSTEM, user("a"), assistant("b"), user("c"), assistant("d")],
         "rejected": [SYSTEM, user("a"), assistant("b"), user("c"), assistant("e")]},
    ],
    ids=["text", "chat", "several turns"],
)  # fmt: skip
def test_finds_the_prompt_that_both_answers_begin_with_as_trl_does(tmp_path: Path, row: dict[str, Any]) -> None:
    assert sides(read_one(tmp_path, row)) == extract_prompt(row)


def test_the_rows_of_the_page_are_the_same_preference(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    chats, texts = page.partition("\n## Preferences\n")[2].split("where prompt and answers are all texts".capitalize())
    expected = {"prompt": [user("2 + 2?")], "chosen": [assistant("4")], "rejected": [assistant("5")]}
    rows = [json.loads(row) for row in re.findall(r"`(\{.*\})`", chats)]
    assert len(rows) == 6
    assert [sides(read_one(tmp_path, row)) for row in rows] == [expected] * 6
    rows = [json.loads(row) for row in re.findall(r"`(\{.*\})`", texts)]
    assert [sides(read_one(tmp_path, row)) for row in rows] == [
        {"prompt": "2 + 2 =", "chosen": " 4", "rejected": " 5"},
        {"prompt": "2 + 2 =", "chosen": " 4", "rejected": " 5"},
        {"prompt": "\n\nHuman: 2 + 2?\n\nAssistant:", "chosen": " 4", "rejected": " 5"},
    ]


def test_keeps_the_system_text_and_the_tools(tmp_path: Path) -> None:
    row = {**CHATS["ShareGPT, LLaMA-Factory"], "system": "Be brief.", "tools": json.dumps(TOOLS)}
    one = read_one(tmp_path, row)
    assert (one.prompt, list(one.tools)) == ([SYSTEM, *CHAT["prompt"]], TOOLS)
    one = read_one(tmp_path, {**CHATS["OpenAI"], "input": {"messages": CHAT["prompt"], "tools": TOOLS}})
    assert list(one.tools) == TOOLS
    whole = {name: [SYSTEM, *CHAT["prompt"], *CHAT[name]] for name in ("chosen", "rejected")}
    for prompt in (QUESTION, CHAT["prompt"], [SYSTEM, *CHAT["prompt"]]):
        assert sides(read_one(tmp_path, {"prompt": prompt, **whole})) == {**CHAT, "prompt": [SYSTEM, *CHAT["prompt"]]}


@pytest.mark.parametrize(("system", "turns"), [("Be brief.", [SYSTEM]), ("", []), (None, [])])
def test_texts_beside_a_system_text_are_turns_of_a_chat(tmp_path: Path, system: str | None, turns: list[Any]) -> None:
    texts = {name: CHAT[name][0]["content"] for name in ("chosen", "rejected")}
    one = read_one(tmp_path, {"system": system, "prompt": QUESTION, **texts})
    assert sides(one) == {**CHAT, "prompt": [*turns, *CHAT["prompt"]]}


def test_rows_of_our_own_keep_margin_source_and_policy(tmp_path: Path) -> None:
    rows = [
        {**CHAT, "pair_id": "a", "margin": 0.5, "source": "human", "policy": "p0"},
        {**CHAT, "pair_id": "b", "margin": None, "source": "ai", "score_chosen": 0.2, "score_rejected": 0.7},
        {**CHAT, "pair_id": "c", "margin": None, "source": None, "rejected": [assistant("")]},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    first, second, third = read_preferences(str(tmp_path / "p.parquet")).rows
    assert (first.id, first.margin, first.source, first.policy) == ("a", 0.5, "human", "p0")
    assert (second.id, second.margin, second.source) == ("b", None, "ai")
    assert third.rejected == [assistant("")]


def test_sampled_tokens_are_the_same_from_csv(tmp_path: Path) -> None:
    """Texts in place of the token ids would be other tokens than those that were sampled."""
    tokens = {"prompt_token_ids": [1, 2], "chosen_token_ids": [3], "rejected_token_ids": [4], "ref_chosen_logp": -1.5}
    one = read_one(tmp_path, {**PLAIN, **tokens})
    with (tmp_path / "p.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow({**PLAIN, **tokens})
        writer.writerow([*PLAIN.values(), *map(json.dumps, tokens.values())])
    (other,) = read_preferences(str(tmp_path / "p.csv")).rows
    assert one.sampled == other.sampled == {**tokens, "ref_rejected_logp": None}


def test_ids_may_be_numbers_and_may_repeat(tmp_path: Path) -> None:
    rows = ({**PLAIN, "id": 7}, {**PLAIN, "id": 7, "chosen": " 4"}, {**PLAIN, "id": None, "chosen": " 5"})
    path = write(tmp_path / "p.jsonl", *rows)
    assert [one.id for one in read_preferences(path).rows] == ["7", f"7 ({path}:2)", f"{path}:3"]


LEFT_OUT: dict[str, list[dict[str, Any]]] = {
    "empty": [
        {**PLAIN, "chosen": "<think>Hm.</think> "},
        {**PLAIN, "chosen": " "}, {**PLAIN, "rejected": None}, {**CHAT, "rejected": []},
        {**CHAT, "chosen": [assistant("")]}, {**CHATS["OpenAI"], "preferred_output": None},
        {"chosen": CHATS["TRL, implicit"]["chosen"], "rejected": None},
    ],
    "no_answer": [
        {**CHAT, "chosen": [assistant(RIGHT), user("Thanks")]},
        {"chosen": [user("a"), assistant("b"), user("c")], "rejected": [user("a"), assistant("d")]},
    ],
    "several_turns": [
        {**CHAT, "chosen": [assistant(RIGHT), user("Sure?"), assistant("Yes.")]},
        {**CHAT, "rejected": [assistant(WRONG), assistant(WRONG)]},
    ],
    "unasked": [{**CHAT, "prompt": [user("a"), assistant("b")]}],
    "different_prompts": [
        {"chosen": "Yes", "rejected": "No"},
        {"chosen": [user("a"), assistant("b")], "rejected": [user("c"), assistant("d")]},
        {"chosen": [user("a"), assistant("b"), user("c"), assistant("d")],
         "rejected": [user("a"), assistant("b"), user("e"), assistant("f")]},
        {"prompt": "Something else", "chosen": [user("a"), assistant("b")], "rejected": [user("a"), assistant("c")]},
        {"prompt": [user("x")], "chosen": [user("a"), assistant("b")], "rejected": [user("a"), assistant("c")]},
        {"chosen": f"{HH} 4.\n\nHuman: Sure?\n\nAssistant: Ja.", "rejected": f"{HH} 5.\n\nHuman: No.\n\nAssistant: 0."},
    ],
    "equal": [
        {**PLAIN, "rejected": PLAIN["chosen"]}, {**CHAT, "rejected": [assistant(f"<think>Hm.</think>{RIGHT} ")]},
        {"chosen": CHATS["TRL, implicit"]["chosen"], "rejected": CHATS["TRL, implicit"]["chosen"]},
    ],
    "tied": [{**PLAIN, "score_chosen": 7, "score_rejected": "7.0"}, {**CHAT, "score_chosen": 1, "score_rejected": 2}],
    "unfinished": [{**PLAIN, "chosen": "<think>Hm"}, {**CHAT, "chosen": [assistant("<think>Hm")], "pair_id": "x"}],
}  # fmt: skip
CASES = [(reason, number) for reason, rows in LEFT_OUT.items() for number in range(len(rows))]


def train(path: str) -> str:
    """Return the one line with which `rlaif train` refuses a file."""
    done = CliRunner().invoke(app, ["train", path, "--policy", "builtin:smollm2-135m", "-o", f"{path}.policy"])
    assert done.exit_code == 2, done.output
    (line,) = [line for line in done.stderr.splitlines() if line.strip()]
    assert "Traceback" not in done.output
    return line


@pytest.mark.parametrize(("reason", "number"), CASES)
def test_a_row_that_prefers_nothing_is_left_out_with_its_line(tmp_path: Path, reason: str, number: int) -> None:
    row = LEFT_OUT[reason][number]
    path = write(tmp_path / "p.jsonl", PLAIN, row, CHAT)
    read = read_preferences(path)
    assert len(read.rows) == 2
    assert read.left_out.by_reason == {reason: (f"{path}:2",)}
    assert read.left_out.line == f"1 of 3 rows were left out: 1 {REASONS[reason]} ({path}:2)"
    alone = write(tmp_path / "alone.jsonl", row)
    assert f"alone.jsonl: no preference is left: 1 {REASONS[reason]}" in train(alone)


def test_rows_that_repeat_or_contradict_are_counted(tmp_path: Path) -> None:
    swapped = {**CHAT, "chosen": CHAT["rejected"], "rejected": CHAT["chosen"]}
    path = write(tmp_path / "p.jsonl", PLAIN, CHAT, PLAIN, CHATS["OpenAI"], swapped, CHATS["OpenAI"], PLAIN)
    read = read_preferences(path)
    assert [one.id for one in read.rows] == [f"{path}:1"]
    assert read.left_out.by_reason == {
        "repeated": (f"{path}:3", f"{path}:7"),
        "contradicting": (f"{path}:2", f"{path}:4", f"{path}:5", f"{path}:6"),
    }
    assert read.left_out.line == (
        f"6 of 7 rows were left out: 2 that repeat another ({path}:3, {path}:7), 4 that contradict another "
        f"({path}:2, {path}:4, {path}:5, ...)"
    )


def test_one_question_with_other_tools_or_answers_is_no_repetition(tmp_path: Path) -> None:
    tools = {**CHAT, "tools": TOOLS}
    other = {**CHAT, "rejected": [assistant("3")]}
    assert len(read_preferences(write(tmp_path / "p.jsonl", CHAT, tools, other)).rows) == 3


FAULTS: dict[str, dict[str, Any]] = {
    "p.jsonl:2: no column 'rejected'; expected prompt, chosen and rejected, or input, preferred_output": {
        "prompt": "a", "chosen": "b",
    },
    "p.jsonl:2: no column 'chosen'": {"prompt": "a", "completion": "b", "label": True},
    "p.jsonl:2: no column 'prompt'; expected `--columns prompt=question`": {
        "question": QUESTION, "chosen": RIGHT, "rejected": WRONG,
    },
    "p.jsonl:2: no column 'prompt'; expected `--columns prompt=query`": {
        "query": QUESTION, "chosen": CHAT["chosen"], "rejected": CHAT["rejected"],
    },
    "p.jsonl:2: no column 'prompt'; expected `--columns prompt=instruction`, or a column of that name; where `input`": {
        "instruction": "Answer.", "input": QUESTION, "chosen": RIGHT, "rejected": WRONG,
    },
    "p.jsonl:2: chosen: expected a text, a message, or a list of messages with role and content": {
        **PLAIN, "chosen": True,
    },
    "p.jsonl:2: expected chosen and rejected to be both texts or both lists of messages": {
        "chosen": RIGHT, "rejected": CHAT["rejected"],
    },
    "p.jsonl:2: prompt.0.role: expected system, developer, user, assistant or tool (got 'narrator')": {
        **CHAT, "prompt": [{"role": "narrator", "content": "x"}],
    },
    "p.jsonl:2: rejected.0.content.0: a part of type image_url": {
        **CHAT, "rejected": [{"role": "assistant", "content": [{"type": "image_url"}]}],
    },
    "p.jsonl:2: prompt: a chat in Python's notation": {**CHAT, "prompt": str(CHAT["prompt"])},
    "p.jsonl:2: prompt: half of a surrogate pair": {**PLAIN, "prompt": "\ud83d"},
    "p.jsonl:2: input: expected an object with messages": {**CHATS["OpenAI"], "input": QUESTION},
    "p.jsonl:2: input.messages: expected a list of messages": {**CHATS["OpenAI"], "input": {}},
    "p.jsonl:2: system: a prompt that is a text cannot have it; expected the prompt as a chat": {
        "chosen": "2 + 2 = 4", "rejected": "2 + 2 = 5", "system": "Be brief.",
    },
    "p.jsonl:2: tools: a prompt that is a text cannot have it": {**PLAIN, "tools": TOOLS},
    "p.jsonl:2: tools: expected a list of tools, as OpenAI's API takes them": {**CHAT, "tools": "{}"},
    "p.jsonl:2: margin: expected a number (got 'wide')": {**PLAIN, "margin": "wide"},
    "p.jsonl:2: margin: expected a number (got inf)": {**PLAIN, "margin": float("inf")},
    "p.jsonl:2: margin: expected a number of at least 0 (got -1.0)": {**PLAIN, "margin": -1},
    "p.jsonl:2: score_chosen: expected a number (got 'N/A')": {**PLAIN, "score_chosen": "N/A", "score_rejected": 5},
    "p.jsonl:2: chosen_token_ids: expected a list of token ids (got '[1 2]')": {
        **PLAIN, "pair_id": "y", "prompt_token_ids": [1], "chosen_token_ids": "[1 2]", "rejected_token_ids": [2],
    },
    "p.jsonl:2: source: expected ai or human (got 'cat')": {**PLAIN, "source": "cat", "pair_id": "y"},
    "p.jsonl:2: pair_id: 'x' is also that of an earlier row": {**PLAIN, "pair_id": "x"},
}  # fmt: skip


@pytest.mark.parametrize("message", FAULTS)
def test_a_fault_is_one_line_of_the_command_with_its_place(tmp_path: Path, message: str) -> None:
    assert message in train(write(tmp_path / "p.jsonl", {**PLAIN, "pair_id": "x"}, FAULTS[message]))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert "no preferences; expected at least one" in train(write(tmp_path / "p.jsonl"))


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8)
prompts = st.lists(st.tuples(texts, texts), max_size=2).flatmap(
    lambda turns: st.builds(
        lambda last: [*(one for ask, answer in turns for one in (user(ask), assistant(answer))), user(last)], texts
    )
)


@given(prompts, texts, texts)
def test_any_chat_is_read_as_it_was_written_from_each_form(
    tmp_path_factory: pytest.TempPathFactory, prompt: list[dict[str, str]], right: str, wrong: str
) -> None:
    chosen, rejected = [assistant(right)], [assistant(wrong)]
    forms = [
        {"prompt": prompt, "chosen": chosen, "rejected": rejected},
        {"chosen": prompt + chosen, "rejected": prompt + rejected},
        {"prompt": prompt, "chosen": prompt + chosen, "rejected": prompt + rejected},
        {"prompt": prompt[-1]["content"], "chosen": prompt + chosen, "rejected": prompt + rejected},
        {"input": {"messages": prompt}, "preferred_output": chosen, "non_preferred_output": rejected},
        {"conversations": prompt, "chosen": chosen[0], "rejected": rejected[0]},
    ]
    folder = tmp_path_factory.mktemp("forms")
    found = []
    for form in forms:
        try:
            read = read_preferences(write(folder / "p.jsonl", form))
        except UserError as error:
            found.append(str(error).partition("jsonl")[2])
        else:
            found.append(str(sides(read.rows[0])))
    assert len(set(found)) == 1
    if right.strip() and wrong.strip() and right.strip() != wrong.strip() and "<" not in right + wrong:
        assert found[0] == str({"prompt": prompt, "chosen": chosen, "rejected": rejected})
