"""`rlaif train`: preferences from a file, encoded as TRL encodes them, trained as a run trains."""

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import AutoTokenizer
from typer.testing import CliRunner

from rlaif.cli.main import app
from rlaif.models.resolve import weights_id
from rlaif.preferences.preference_file import Preference, Text
from rlaif.training.encode import encode_preferences
from tests.tiny import NoReferenceDPOTrainer, arguments, tiny_llama

QUESTIONS = ["What was revenue in 2023?", "Was the margin 12%?", "Wie hoch war der Gewinn?"]
ANSWERS = [("$4.2 million", "I do not know."), ("Yes.", "No, it was 11%."), ("3 Mio. €", "3 €")]


def chat(question: str, answers: tuple[str, str]) -> dict[str, Any]:
    chosen, rejected = ([{"role": "assistant", "content": answer}] for answer in answers)
    return {"prompt": [{"role": "user", "content": question}], "chosen": chosen, "rejected": rejected}


def plain(question: str, answers: tuple[str, str]) -> dict[str, Any]:
    return {"prompt": question + "\n", "chosen": answers[0], "rejected": answers[1]}


def preference(row: dict[str, Text]) -> Preference:
    return Preference("x", row["prompt"], row["chosen"], row["rejected"], None, "ai", None, None)


@pytest.mark.parametrize("form", [chat, plain])
def test_encodes_as_trl_does(form: Any, model_folder: str, tmp_path: Path) -> None:
    rows = [form(question, answers) for question, answers in zip(QUESTIONS, ANSWERS, strict=True)]
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    trainer = NoReferenceDPOTrainer(
        tiny_llama(), args=arguments(tmp_path), train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )  # fmt: skip
    encoded = encode_preferences([preference(row) for row in rows], tokenizer, None, "p").rows
    for ours, theirs in zip(encoded, trainer.train_dataset, strict=True):
        for name in ("prompt", "chosen", "rejected"):
            assert ours[f"{name}_token_ids"] == theirs[f"{name}_ids"]


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["train", *arguments])


def test_trains_and_goes_on_from_its_own_adapter(tmp_path: Path, model_folder: str) -> None:
    pairs = tmp_path / "pairs.jsonl"
    rows = [chat(question, answers) for question, answers in zip(QUESTIONS, ANSWERS, strict=True)]
    rows.append({**chat("x " * 9000, ("a", "b")), "id": "too-long"})
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = ["--set", "training.lora.rank=4", "--set", "training.learning_rate=0.001", "--json"]
    out = tmp_path / "policy"
    done = run(str(pairs), "--policy", "builtin:smollm2-135m", "-o", str(out), *settings)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["too_long"] == ["too-long"]
    assert (said["pairs"], said["groups"], said["reference"]) == (3, 3, "trainer")
    assert said["policy_id"] == weights_id(str(out))
    record = json.loads((out / "training.json").read_text())
    assert record["training"]["lora"]["rank"] == 4
    assert not (tmp_path / "policy.work").exists()

    further = run(str(pairs), "--policy", str(out), "-o", str(tmp_path / "further"), "--json")
    assert further.exit_code == 0, further.output
    assert json.loads(further.stdout.splitlines()[-1])["policy_id"] != said["policy_id"]

    again = run(str(pairs), "--policy", "builtin:smollm2-135m", "-o", str(out))
    assert again.exit_code == 2
    assert "is there already" in again.output
