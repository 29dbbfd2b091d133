"""Files of demonstrations, in every form, and the tokens that are learned of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlaif.chat import Messages
from rlaif.data.demonstrations import Demonstration, read_demonstrations
from rlaif.data.question import Question
from rlaif.errors import UserError
from rlaif.io.column_names import parse_columns
from rlaif.models.chat_template import ChatTemplate, Tools
from rlaif.prompts.template import load_template
from rlaif.training.sft.encode import LearnedSequence, asked, encode_demonstrations
from tests.tiny import save_chat_model


def read(folder: Path, row: Any, *columns: str, name: str = "d.jsonl") -> Demonstration:
    path = folder / name
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (found,) = read_demonstrations(str(path), parse_columns(columns)).rows
    return found


def user(text: str) -> Any:
    return {"role": "user", "content": text}


def assistant(text: str) -> Any:
    return {"role": "assistant", "content": text}


SYSTEM = {"role": "system", "content": "Be brief."}
CHAT = [user("Sales?"), assistant("5"), user("Costs?"), assistant("4")]


@pytest.mark.parametrize(
    ("row", "prompt", "answer"),
    [
        ({"messages": CHAT}, [], CHAT),
        ({"messages": json.dumps(CHAT)}, [], CHAT),
        ({"messages": CHAT[:1], "gold_answer": 5}, CHAT[:1], [assistant("5")]),
        ({"conversations": [{"from": "human", "value": "Sales?"}, {"from": "gpt", "value": "5"}]}, [], CHAT[:2]),
        ({"prompt": "Sales?", "completion": " 5"}, "Sales?", " 5"),
        ({"prompt": 2, "completion": 5}, "2", "5"),
        ({"prompt": None, "completion": "5"}, "", "5"),
        ({"prompt": "Sales?", "completion": "5", "system": "Be brief."}, [SYSTEM, *CHAT[:1]], CHAT[1:2]),
        ({"prompt": "Sales?", "completion": "5", "system": None}, CHAT[:1], CHAT[1:2]),
        ({"prompt": CHAT[:1], "completion": [assistant("5")]}, CHAT[:1], CHAT[1:2]),
        ({"prompt": CHAT[:1], "completion": "5"}, CHAT[:1], CHAT[1:2]),
        ({"prompt": "Sales?", "completion": CHAT[1:]}, CHAT[:1], CHAT[1:]),
        ({"question": "Sales?", "context": ["a", "b"], "answer": [5, "five"]}, Question("q", "Sales?", "a\n\nb"), "5"),
        ({"instruction": "Add.", "input": "2 and 3", "output": 5}, [user("Add.\n\n2 and 3")], [assistant("5")]),
        ({"instruction": "Say 5.", "input": "", "output": "5"}, [user("Say 5.")], [assistant("5")]),
        ({"system": "Be brief.", "messages": CHAT[:2]}, [], [SYSTEM, *CHAT[:2]]),
    ],
)
def test_every_form_is_read(tmp_path: Path, row: Any, prompt: Any, answer: Any) -> None:
    assert read(tmp_path, {"id": "q", **row}) == Demonstration("q", prompt, answer)


def test_columns_are_named_and_tools_are_kept(tmp_path: Path) -> None:
    row = {"query": "Sales?", "target": "5"}
    found = read(tmp_path, row, "question=query,gold_answer=target")
    assert (found.prompt, found.answer) == (Question(found.id, "Sales?"), "5")
    assert found.id.endswith("d.jsonl:1")
    tool = {"type": "function", "function": {"name": "f"}}
    for form in ({"messages": CHAT}, {"question": "Sales?", "gold_answer": "5"}):
        assert read(tmp_path, {**form, "tools": [tool]}).tools == (tool,)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "Sales were 5."}, "no demonstration; expected messages, prompt and completion, question and"),
        ({"messages": CHAT[:1]}, "messages: has no last answer; expected a turn of the assistant at its end, or gold_"),
        ({"messages": []}, "messages: has no last answer"),
        ({"messages": "Sales?"}, "messages: expected a list of messages"),
        ({"completion": "5"}, "no column 'prompt'"),
        ({"prompt": CHAT[:1], "completion": [user("5")]}, "completion: expected messages that end with a turn of the"),
        ({"question": "Sales?"}, "no column 'gold_answer'"),
        ({"question": "Sales?", "gold_answer": ""}, "no demonstration is left: 1 with an empty answer"),
        ({"instruction": "Add."}, "no column 'output'"),
        ({"prompt": "Sales?", "completion": "5", "tools": [{}]}, "tools: a prompt that is a text cannot have it"),
        ({"question": "Sales?", "gold_answer": "5", "system": "Be brief."}, "system: the policy's template asks"),
        (
            {"instruction": "Add.", "context": "2 and 3", "output": "5"},
            "context: belongs to a question; expected `--columns input=context`, or `--columns context=` to read none",
        ),
        ({"Messages": CHAT}, "column 'Messages' looks like messages"),
    ],
)
def test_a_row_without_a_demonstration_is_one_line(tmp_path: Path, row: Any, said: str) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path, row)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_rows_that_teach_nothing_are_left_out_and_counted(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "f"}}]}
    said = [
        ({"messages": CHAT}, None),
        ({"messages": [*CHAT[:1], assistant(" ")]}, "empty"),
        ({"messages": [*CHAT[:1], assistant(""), *CHAT[2:]]}, "empty"),
        ({"messages": [*CHAT[:1], call]}, None),
        ({"messages": CHAT[:1], "gold_answer": ""}, "empty"),
        ({"prompt": CHAT[:1], "completion": [assistant("")]}, "empty"),
        ({"prompt": "Sales?", "completion": ""}, "empty"),
        ({"prompt": "Sales?", "completion": None}, "empty"),
        ({"prompt": "Sales?", "completion": "<think>5 or 6?</think> "}, "empty"),
        ({"prompt": "Sales?", "completion": "<think>5 or 6?"}, "unfinished"),
        ({"question": "Sales?", "gold_answer": None}, "empty"),
        ({"question": "Sales?", "gold_answer": "5"}, None),
        ({"instruction": "Add.", "output": "  "}, "empty"),
        ({"question": "Sales?", "gold_answer": "5"}, "repeated"),
        ({"id": "again", "messages": CHAT}, "repeated"),
    ]
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row, _ in said), encoding="utf-8")
    found = read_demonstrations(str(path))
    expected: dict[str, list[str]] = {}
    for line, (_, reason) in enumerate(said, start=1):
        if reason:
            expected.setdefault(reason, []).append(f"{path}:{line}")
    assert found.left_out.by_reason == {reason: tuple(places) for reason, places in expected.items()}
    assert len(found.rows) == 3
    assert found.left_out.line.startswith("12 of 15 rows were left out: 9 with an empty answer (")


WORDS = ["Be", "brief", "Sales?", "Costs?", "5", "4", "Question:", "assistant:"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(save_chat_model(tmp_path_factory.mktemp("model"), WORDS))


def encode(
    tokenizer: Any, *given: Demonstration, context: int | None = None
) -> tuple[list[LearnedSequence], list[str]]:
    found = encode_demonstrations(asked(given, load_template("answer")), tokenizer, ChatTemplate(tokenizer), context)
    return found.sequences, found.too_long


def learned(tokenizer: Any, sequence: LearnedSequence) -> list[str]:
    return [tokenizer.decode(sequence.token_ids[start:end]) for start, end in sequence.learned]


@pytest.mark.parametrize(
    ("prompt", "answer", "said"),
    [
        ([], CHAT, ["assistant 5 <end>", "assistant 4 <end>"]),
        (CHAT[:2], CHAT[2:], ["assistant 4 <end>"]),
        ("Sales?", " 5", ["5 <end>"]),
        (Question("q", "Sales?"), "5", ["assistant 5 <end>"]),
    ],
)
def test_only_the_assistants_turns_are_learned(tokenizer: Any, prompt: Any, answer: Any, said: list[str]) -> None:
    (sequence,), _ = encode(tokenizer, Demonstration("d", prompt, answer))
    assert learned(tokenizer, sequence) == said
    assert sequence.learned[-1][1] == len(sequence.token_ids)


def test_turns_that_the_template_writes_otherwise_later_are_sequences_of_their_own(tokenizer: Any) -> None:
    class Forgets(ChatTemplate):
        """Writes earlier answers of the assistant in short, as templates of thinking models leave thoughts out."""

        def conversation_ids(self, messages: Messages, tools: Tools = ()) -> list[int]:
            short = [{**turn, "content": "5"} if turn["role"] == "assistant" else turn for turn in messages[:-1]]
            return super().conversation_ids([*short, messages[-1]])  # type: ignore[list-item]

        def prompt_ids(self, messages: Messages, tools: Tools = ()) -> list[int]:
            short = [{**turn, "content": "5"} if turn["role"] == "assistant" else turn for turn in messages]
            return super().prompt_ids(short)  # type: ignore[arg-type]

    chat = [user("Sales?"), assistant("4 5"), user("Costs?"), assistant("4")]
    found = encode_demonstrations([Demonstration("d", [], chat)], tokenizer, Forgets(tokenizer), None)
    assert [learned(tokenizer, each) for each in found.sequences] == [["assistant 4 5 <end>"], ["assistant 4 <end>"]]


def test_what_does_not_fit_is_left_out_by_name(tokenizer: Any) -> None:
    short, long = Demonstration("short", "Sales?", "5"), Demonstration("long", "Sales?", "5 " * 20)
    sequences, too_long = encode(tokenizer, short, long, context=8)
    assert ([each.id for each in sequences], too_long) == (["short"], ["long"])
