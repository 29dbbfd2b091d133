"""Whole runs with chat templates of other families: one that thinks, and one that takes no system turn, asked chats."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from rlaif.chat import visible_answer
from tests.chat_templates import GEMMA, OPENS_THINKING, TEMPLATES, byte_tokenizer, save_chatting_model
from tests.e2e import command

RECIPE = """
policy: {model: MODEL, prompt: ./ask.md, max_length: 600, dtype: float32}
questions:
  train: {type: file, path: train.jsonl}
  heldout: {type: file, path: heldout.jsonl}
sampling: {candidates: 4, temperature: 1.0, max_tokens: 32}
judge: {name: ./longest.yaml}
pairs: {truncated: allow}
training: {learning_rate: 1.0e-3, warmup: 0.0, lora: {rank: 4, alpha: 8}}
rounds: {count: 1, gate: {max_drop: 1.0}}
evaluation: {kl_questions: 1}
cluster: {policy: {kv_cache_gib: 0.25}}
"""
ASK = """---
kind: answer
---
{% block system %}Answer in Latin.{% endblock %}
{% block user %}{% if context %}{{ context }}

{% endif %}{{ question }}{% endblock %}
"""
# It fails on a question that it should be shown as a chat, and on thinking, which it should not be shown.
JUDGE = """
def judge(question, candidates, gold_answer, context):
    chat = "User:\\n| Sales of A?\\nAssistant:\\n| In which year?\\nUser:\\n| "
    if "think>" in "".join(candidates) or not (question.startswith("Profit") or chat in question):
        raise ValueError(f"shown {question!r} and {candidates!r}")
    return [float(len(candidate)) for candidate in candidates]
"""
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Sales of A?"},
    {"role": "assistant", "content": "In which year?"},
]


def lay_out(folder: Path, template: str, train: list[dict[str, Any]]) -> None:
    """Write all that a recipe names; the held-out questions are texts."""
    save_chatting_model(folder / "model", template)
    heldout = [{"id": f"h{number}", "question": f"Costs in {number}?", "gold_answer": "7"} for number in range(3)]
    for name, rows in (("train", train), ("heldout", heldout)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "longest.py").write_text(JUDGE)
    (folder / "longest.yaml").write_text("kind: python\nfile: longest.py\n")
    (folder / "ask.md").write_text(ASK)
    (folder / "mine.yaml").write_text(RECIPE.replace("MODEL", str(folder / "model")))


def run_whole(folder: Path, *overrides: str) -> Path:
    sets = [word for override in overrides for word in ("--set", override)]
    done = command.run("run", "mine.yaml", "--runs", "runs", *sets, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    run = folder / "runs" / "mine"
    (run / "printed.txt").write_text(done.stdout + done.stderr)
    return run


def rows(run: Path, table: str) -> list[dict[str, Any]]:
    return pq.read_table(run / "round-000" / table).to_pylist()


def trained_well(run: Path) -> None:
    """The judge did not fail, pairs were trained on, and trainer and engine read the same tokens alike."""
    assert {verdict["status"] for verdict in rows(run, "verdicts")} == {"ok"}
    record = json.loads((run / "round-000" / "training.json").read_text())
    assert record["pairs"] == len(rows(run, "pairs.parquet")) > 0
    assert record["mismatch"] < 1e-3


@pytest.fixture(scope="module")
def thinking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose template opens the thinking."""
    folder = tmp_path_factory.mktemp("thinking")
    lay_out(folder, OPENS_THINKING, [{"id": f"t{number}", "question": f"Profit in {number}?"} for number in range(4)])
    return run_whole(folder, "policy.chat_template_kwargs={enable_thinking: true}")


def test_a_run_with_a_thinking_template(thinking: Path) -> None:
    trained_well(thinking)
    candidates = rows(thinking, "candidates")
    tokenizer = byte_tokenizer(OPENS_THINKING)
    assert {tokenizer.decode(each["prompt_token_ids"])[-20:] for each in candidates} == {"<|assistant|><think>\n"[-20:]}
    assert all(each["text"].startswith("<think>\n") for each in candidates)
    unfinished = {(each["prompt_id"], each["candidate"]) for each in candidates if visible_answer(each["text"]) is None}
    assert 0 < len(unfinished) < len(candidates)
    pairs = rows(thinking, "pairs.parquet")
    assert not unfinished & {(pair["prompt_id"], pair["chosen_candidate"]) for pair in pairs}
    printed = " ".join((thinking / "printed.txt").read_text().split())
    assert f"round 0: {len(unfinished)} of 16 answers end within their thinking" in printed
    assert "enable_thinking: true" in (thinking / "recipe.yaml").read_text()


def test_a_finished_run_does_not_go_on_without_its_thinking(thinking: Path) -> None:
    off = ["--set", "policy.chat_template_kwargs={enable_thinking: false}"]
    done = command.run("run", "mine.yaml", "--runs", "runs", *off, cwd=thinking.parents[1])
    assert done.returncode == 2
    assert "policy.chat_template_kwargs.enable_thinking (True -> False)" in done.stderr


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose template takes no system turn and wants roles to alternate, on questions that are chats."""
    folder = tmp_path_factory.mktemp("chats")
    train: list[dict[str, Any]] = [
        {"id": f"t{year}", "messages": [*CHAT, {"role": "user", "content": str(year)}]} for year in (2021, 2022, 2023)
    ]
    train.append({"id": "told", "messages": [*CHAT[1:], {"role": "user", "content": "2024"}], "context": "The filing"})
    lay_out(folder, GEMMA, train)
    return run_whole(folder)


def test_a_run_with_a_template_that_refuses_system_turns(chats: Path) -> None:
    trained_well(chats)
    tokenizer = byte_tokenizer(TEMPLATES["gemma"])
    read = {each["prompt_id"]: tokenizer.decode(each["prompt_token_ids"]) for each in rows(chats, "candidates")}
    before = "<end_of_turn>\n<start_of_turn>model\nIn which year?<end_of_turn>\n<start_of_turn>user\n"
    after = "<end_of_turn>\n<start_of_turn>model\n"
    assert read == {
        f"t{year}": f"<s><start_of_turn>user\nBe brief.\n\nSales of A?{before}{year}{after}"
        for year in (2021, 2022, 2023)
    } | {"told": f"<s><start_of_turn>user\nAnswer in Latin.\n\nSales of A?{before}The filing\n\n2024{after}"}


def test_a_run_on_questions_of_several_turns(chats: Path) -> None:
    pairs = {pair["prompt_id"]: pair for pair in rows(chats, "pairs.parquet")}
    assert pairs["t2022"]["prompt"] == [*CHAT, {"role": "user", "content": "2022"}]
    shown = "System:\n| Be brief.\nUser:\n| Sales of A?\nAssistant:\n| In which year?\nUser:\n| 2022"
    kept = {row["id"]: row for row in pq.read_table(chats / "prompts" / "train.parquet").to_pylist()}
    assert kept["t2022"]["question"] == shown
    assert kept["t2022"]["messages"] == pairs["t2022"]["prompt"]
    traced = command.run("trace", str(chats), pairs["t2022"]["pair_id"], "--json")
    assert traced.returncode == 0, traced.stderr
    assert json.loads(traced.stdout)["prompt"]["question"] == shown


def test_pairs_of_chats_train_by_themselves_as_they_were_sampled(chats: Path) -> None:
    """`rlaif train` renders the stored chats to the ids that the engine sampled after."""
    from transformers import AutoTokenizer

    from rlaif.data.preferences import read_preferences
    from rlaif.training.dpo.encode import encode_preferences

    path = chats / "round-000" / "pairs.parquet"
    tokenizer = AutoTokenizer.from_pretrained(chats.parents[1] / "model")
    stored = {pair["pair_id"]: pair for pair in rows(chats, "pairs.parquet")}
    for row in encode_preferences(read_preferences(str(path)).rows, tokenizer, None, "another").rows:
        for side in ("prompt", "chosen", "rejected"):
            assert row[f"{side}_token_ids"] == stored[row["pair_id"]][f"{side}_token_ids"]
