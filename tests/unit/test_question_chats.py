"""Questions that are chats: read from every file that has questions, asked turn by turn, shown and kept whole."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from rlaif.cli.main import app
from rlaif.data.candidates import read_candidates
from rlaif.data.label_conversion import convert_labels
from rlaif.data.labels import labels_jsonl, load_labels
from rlaif.data.question import Question, Turn
from rlaif.data.sources import load_questions, questions_sha
from rlaif.errors import UserError
from rlaif.judge_evals.gold_set import stored_id
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.rating import ReferenceJudge
from rlaif.prompts.question_prompt import question_prompt, shown_question
from rlaif.prompts.template import PromptTemplate, load_template
from rlaif.recipe import Columns, FileQuestions
from tests.chat_templates import GEMMA, byte_tokenizer

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Sales?"},
    {"role": "assistant", "content": "In which year?"},
    {"role": "user", "content": "2023"},
]
CHAT = tuple(Turn(message["role"], message["content"]) for message in MESSAGES)
SHOWN = "System:\n| Be brief.\nUser:\n| Sales?\nAssistant:\n| In which year?\nUser:\n| 2023"


def write(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def questions(path: str, **columns: Any) -> list[Question]:
    return load_questions(FileQuestions(path=path, columns=Columns(**columns)))


@pytest.fixture
def template(tmp_path: Path) -> PromptTemplate:
    (tmp_path / "ask.md").write_text(
        "---\nkind: answer\n---\n{% block system %}From the template.{% endblock %}\n"
        "{% block user %}{% if context %}{{ context }}: {% endif %}Asked: {{ question }}{% endblock %}\n"
    )
    return load_template(str(tmp_path / "ask.md"))


def test_a_chat_is_read_from_every_container(tmp_path: Path) -> None:
    jsonl = write(tmp_path / "q.jsonl", {"id": "1", "messages": MESSAGES})
    (tmp_path / "q.csv").write_text('id,messages\n1,"' + json.dumps(MESSAGES).replace('"', '""') + '"\n')
    pq.write_table(pa.Table.from_pylist([{"id": "1", "messages": MESSAGES}]), tmp_path / "q.parquet")
    for path in (jsonl, str(tmp_path / "q.csv"), str(tmp_path / "q.parquet")):
        assert questions(path) == [Question("1", "2023", chat=CHAT)], path


def test_texts_and_chats_stand_in_one_file(tmp_path: Path) -> None:
    path = write(tmp_path / "q.jsonl", {"question": "Costs?"}, {"messages": MESSAGES, "question": "2023"})
    text, chat = questions(path)
    assert (text.question, text.chat) == ("Costs?", ())
    assert (chat.question, chat.chat) == ("2023", CHAT)


def test_a_mapped_column_and_none(tmp_path: Path) -> None:
    path = write(tmp_path / "q.jsonl", {"turns": MESSAGES, "question": "2023", "messages": "seen"})
    assert questions(path, messages="turns")[0].chat == CHAT
    assert questions(path, messages=None)[0].chat == ()


def test_identities_know_the_chat(tmp_path: Path) -> None:
    other = [*MESSAGES[:2], {"role": "assistant", "content": "When?"}, MESSAGES[3]]
    read = [questions(write(tmp_path / "q.jsonl", {"messages": each}))[0] for each in (MESSAGES, other)]
    plain = questions(write(tmp_path / "q.jsonl", {"question": "2023"}))[0]
    assert len({question.id for question in (*read, plain)}) == 3
    same = [Question("1", "2023", chat=question.chat) for question in (*read, plain)]
    assert len({questions_sha([question]) for question in same}) == 3
    assert len(set(same)) == 3


SURROGATE = [{"role": "user", "content": "half \ud800"}]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"messages": MESSAGES[:3]}, "messages: it ends with a turn of the assistant; expected a chat that ends with"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages.0: an empty turn"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role: "),
        ({"messages": [{"role": "tool", "content": "x"}, MESSAGES[1]]}, "messages.0.role: expected a turn of system"),
        ({"messages": [{**MESSAGES[1], "name": "Ann"}]}, "messages.0.name: a question's chat has texts alone"),
        ({"messages": MESSAGES, "question": "2022"}, "messages: ends with another turn than the question: '2023'"),
        ({"messages": "what?"}, "messages: expected a list of messages"),
        ({"messages": SURROGATE}, "messages.0.content: half of a surrogate pair"),
    ],
)
def test_what_is_no_chat_is_refused_with_its_line(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    path = write(tmp_path / "q.jsonl", {"question": "First?"}, row)
    with pytest.raises(UserError) as refused:
        questions(path)
    assert str(refused.value).startswith(f"{path}:2: {says}")


@pytest.mark.parametrize("command", ["predict", "label", "judge report"])
def test_commands_refuse_such_a_row_in_one_line(tmp_path: Path, command: str) -> None:
    answers: dict[str, dict[str, Any]] = {
        "predict": {},
        "label": {"answers": ["a", "b"]},
        "judge report": {"answer_a": "a", "answer_b": "b", "human": "a"},
    }
    path = write(tmp_path / "q.jsonl", {"id": "1", "messages": MESSAGES[:3], **answers[command]})
    arguments = {
        "predict": ["predict", "--policy", "builtin:smollm2-135m", "--questions", path, "-o", "out.csv"],
        "label": ["label", path, "--judge", "reference", "-o", str(tmp_path / "out.parquet")],
        "judge report": ["judge", "report", "reference", "--labels", path],
    }[command]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2, done.output
    assert f"{path}:1: messages: it ends with a turn of the assistant" in done.stderr
    assert "Traceback" not in done.output


def test_a_chat_is_asked_as_it_is(template: PromptTemplate) -> None:
    assert question_prompt(template, Question("1", "2023", chat=CHAT)) == MESSAGES
    bare = question_prompt(template, Question("1", "2023", chat=CHAT[1:]))
    assert bare == [{"role": "system", "content": "From the template."}, *MESSAGES[1:]]
    told = question_prompt(template, Question("1", "2023", "The filing", chat=CHAT))
    assert told == [*MESSAGES[:3], {"role": "user", "content": "The filing: Asked: 2023"}]


def test_no_turn_writes_the_marker_of_a_role(template: PromptTemplate) -> None:
    chat = (Turn("user", "a<|im_end|>"), Turn("assistant", "[INST] b"), Turn("user", "c"))
    asked = question_prompt(template, Question("1", "c", chat=chat))
    assert "<|im_end|>" not in json.dumps(asked)
    assert "[INST]" not in json.dumps(asked)


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text(min_size=1)), max_size=4))
def test_no_turn_of_a_transcript_begins_another(turns: list[tuple[str, str]]) -> None:
    chat = tuple(Turn(role, text) for role, text in [*turns, ("user", "User:\nlast")])
    lines = shown_question(Question("1", "last", chat=chat)).split("\n")
    if turns:
        heads = [line for line in lines if not line.startswith("| ")]
        assert heads == [f"{turn.role.capitalize()}:" for turn in chat]


def test_judges_are_shown_the_chat_and_the_exact_check_its_last_turn() -> None:
    question = Question("1", "2023", gold_answer="$7 million", chat=CHAT)
    spec: Any = load_judge_file("helpfulness")
    assert SHOWN in spec.render(question, answer_a="x", answer_b="y", principle="p")[-1]["content"]
    judge = ReferenceJudge(load_judge_file("reference"))
    assert [verdict.score for verdict in asyncio.run(judge.verdicts(question, ["$7 million", "$8 million"]))] == [1, 0]


def test_candidates_of_one_chat_are_one_question(tmp_path: Path) -> None:
    other = [MESSAGES[1], MESSAGES[2], MESSAGES[3]]
    rows = [{"messages": chat, "answer": answer} for answer, chat in (("a", MESSAGES), ("b", MESSAGES), ("c", other))]
    read = read_candidates(write(tmp_path / "c.jsonl", *rows))
    assert [(each.as_question.chat, each.answers) for each in read] == [(CHAT, ("a", "b")), (CHAT[1:], ("c",))]


def test_labels_keep_the_chat(tmp_path: Path) -> None:
    row = {"id": "1", "messages": MESSAGES, "answer_a": "a", "answer_b": "b", "human": "a"}
    (label,) = load_labels(write(tmp_path / "l.jsonl", row))
    assert label.as_question == Question("1", "2023", chat=CHAT)
    again = tmp_path / "again.jsonl"
    again.write_bytes(labels_jsonl([label]))
    assert load_labels(str(again)) == [label]
    plain = label.model_copy(update={"messages": ()})
    assert stored_id(label) != stored_id(plain)


def test_a_judge_report_shows_the_chat(tmp_path: Path) -> None:
    row = {"id": "1", "messages": MESSAGES, "answer_a": "$8 million", "answer_b": "$7 million", "human": "a"}
    path = write(tmp_path / "l.jsonl", {**row, "gold_answer": "$7 million"})
    done = CliRunner().invoke(app, ["judge", "report", "reference", "--labels", path, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert SHOWN in (tmp_path / "out" / "report.html").read_text()


def test_marks_of_chats_become_labels(tmp_path: Path) -> None:
    marks = ["Correct Answer", "Incorrect Answer"]
    rows = [{"messages": MESSAGES, "answer": mark, "label": mark} for mark in marks]
    (label,) = convert_labels(write(tmp_path / "m.jsonl", *rows)).labels
    assert (label.question, label.messages) == ("2023", CHAT)


def test_label_writes_the_chat_as_the_pairs_prompt(tmp_path: Path) -> None:
    row = {"messages": MESSAGES, "gold_answer": "$7 million", "answers": ["$7 million", "$8 million"]}
    out = str(tmp_path / "pairs.parquet")
    done = CliRunner().invoke(app, ["label", write(tmp_path / "c.jsonl", row), "--judge", "reference", "-o", out])
    assert done.exit_code == 0, done.output
    assert pq.read_table(out).to_pylist()[0]["prompt"] == MESSAGES


@pytest.fixture
def alternating(tmp_path: Path) -> str:
    """A model whose template demands that roles alternate from the user's on, without weights."""
    byte_tokenizer(GEMMA).save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(json.dumps({"max_position_embeddings": 4096}))
    return str(tmp_path / "model")


def test_a_run_refuses_a_chat_that_the_template_does_not_take(tmp_path: Path, alternating: str) -> None:
    train = write(tmp_path / "t.jsonl", {"id": "t", "messages": MESSAGES})
    heldout = write(tmp_path / "h.jsonl", {"id": "h", "messages": MESSAGES[2:]})
    sources = {name: {"type": "file", "path": path} for name, path in (("train", train), ("heldout", heldout))}
    (tmp_path / "ask.md").write_text("---\nkind: answer\n---\n{% block user %}{{ question }}{% endblock %}\n")
    policy = {"model": alternating, "prompt": str(tmp_path / "ask.md")}
    tree = {"policy": policy, "questions": sources, "judge": {"name": "reference"}}
    (tmp_path / "recipe.yaml").write_text(json.dumps(tree))
    done = CliRunner().invoke(app, ["run", str(tmp_path / "recipe.yaml"), "--runs", str(tmp_path / "runs")])
    assert done.exit_code == 2, done.output
    assert done.stderr.strip() == (
        "rlaif: question h: the model's chat template does not take a chat of assistant, user: Conversation roles must "
        f"alternate user/assistant/user/assistant/... ({alternating})"
    )
    assert not (tmp_path / "runs").exists()


def test_the_tokens_of_a_plan_are_those_of_the_chat(tmp_path: Path) -> None:
    from rlaif.judges.judge_file import load_judge_file
    from rlaif.planning.tokens import measure_questions
    from rlaif.recipe import parse_recipe

    long: Callable[[int], list[dict[str, str]]] = lambda size: [  # noqa: E731
        {"role": "user", "content": "x" * size}, {"role": "assistant", "content": "Yes."}, MESSAGES[3]
    ]  # fmt: skip
    paths = [write(tmp_path / f"{size}.jsonl", {"messages": long(size)}) for size in (30, 3030)]
    found, judge = [], load_judge_file("reference")
    for path in paths:
        source = {"type": "file", "path": path}
        tree = {"policy": {"model": "builtin:smollm2-135m"}, "questions": {"train": source, "heldout": source}}
        recipe = parse_recipe(json.dumps({**tree, "judge": {"name": "reference"}}), "r.yaml", [])
        measured, _ = measure_questions(recipe, "train", [judge], count=None, prompt_tokens=None)
        found.append(measured.prompt_tokens)
    assert found[1] - found[0] == 1000
