"""`rlaif train` through the command line: a new policy from a file, and another one from that policy."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlaif.models.resolve import weights_id
from rlaif.store.records.file_training_record import DpoFileRecord, KtoFileRecord, SftFileRecord
from tests.e2e import command
from tests.tiny import save_chat_model

ROWS = [
    ("What was revenue in 2023?", "$4.2 million", "I do not know."),
    ("Was the margin 12%?", "Yes.", "No, it was 11%."),
    ("Wie hoch war der Gewinn?", "3 Mio. €", "3 €"),
    ("x " * 9000, "a", "b"),
    ("What was revenue in 2023?", "The same.", "The same."),
]


def row(number: int) -> dict[str, Any]:
    """Return a preference in one of the forms of published data sets, by turns."""
    question, *answers = ROWS[number]
    prompt = [{"role": "user", "content": question}]
    chosen, rejected = ([{"role": "assistant", "content": answer}] for answer in answers)
    forms: list[dict[str, Any]] = [
        {"prompt": question, "chosen": prompt + chosen, "rejected": prompt + rejected, "source": "evol_instruct"},
        {"input": {"messages": prompt}, "preferred_output": chosen, "non_preferred_output": rejected},
        {"conversations": prompt, "chosen": chosen[0], "rejected": rejected[0]},
        {"prompt": prompt, "chosen": chosen, "rejected": rejected},
    ]
    return {"id": f"pair-{number}", **forms[number % len(forms)]}


def test_learns_demonstrations_and_goes_on_from_them(tmp_path: Path) -> None:
    model = save_chat_model(tmp_path / "model", ["Sales?", "Costs?", "5", "4"])
    chats = [
        [("user", "Sales?"), ("assistant", "5")],
        [("user", "Costs?"), ("assistant", "4")],
        [("user", "5 " * 200), ("assistant", "4")],
    ]
    chats.append([("user", "Sales?"), ("assistant", "")])
    rows = [{"id": f"d{n}", "messages": [{"role": r, "content": c} for r, c in chat]} for n, chat in enumerate(chats)]
    file, out = tmp_path / "demonstrations.jsonl", tmp_path / "policy"
    file.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    arguments = ["--objective", "sft", "--set", "training.learning_rate=0.02", "--set", "training.epochs=20", "--json"]
    done = command.run("train", str(file), "--policy", model, "-o", str(out), *arguments)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    assert printed["too_long"] == ["d2"]
    assert printed["left_out"] == {"empty": [f"{file}:4"]}
    assert f"1 of 4 rows were left out: 1 with an empty answer ({file}:4)" in done.stderr
    assert (printed["demonstrations"], printed["steps"], printed["attention"]) == (2, 20, "groups")
    assert printed["policy_id"] == weights_id(str(out))
    record = SftFileRecord.read(str(out / "training.json"))
    assert record is not None
    # Each of three tokens of an answer is now near certain.
    assert record.learned_tokens == 6
    assert record.log[0]["loss"] > 1.0 > 0.2 > record.loss
    tokenizer, trained = AutoTokenizer.from_pretrained(out), AutoModelForCausalLM.from_pretrained(out)
    ids = tokenizer("user Costs? <end> assistant", return_tensors="pt").input_ids
    assert tokenizer.decode(trained.generate(ids, max_new_tokens=2, do_sample=False)[0, ids.shape[1] :]) == "4 <end>"

    wrong = command.run("train", str(file), "--policy", model, "-o", str(tmp_path / "p"), "--objective", "dpo")
    assert wrong.returncode == 2
    assert "no column 'chosen'" in wrong.stderr


def preference(model: str | Path, tokenizer: Any, prompt: str, good: str, bad: str) -> float:
    """How much likelier a model finds one word than another, in nats."""
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    logps_V = AutoModelForCausalLM.from_pretrained(model)(ids).logits[0, -1].log_softmax(-1)
    chosen, rejected = (tokenizer.convert_tokens_to_ids(word) for word in (good, bad))
    return float(logps_V[chosen] - logps_V[rejected])


def test_learns_from_thumbs_up_and_down(tmp_path: Path) -> None:
    model = save_chat_model(tmp_path / "model", ["Sales?", "Costs?", "5", "4"])
    given = [("Sales?", "5", True), ("Sales?", "4", False), ("Costs?", "4", 1), ("Costs?", "5", 0), ("Costs?", "", 1)]
    rows = [
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}], "label": label}
        for asked, said, label in given
    ]
    file, out = tmp_path / "ratings.jsonl", tmp_path / "policy"
    file.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    arguments = ["--objective", "kto", "--set", "training.learning_rate=0.02", "--set", "training.epochs=20", "--json"]
    done = command.run("train", str(file), "--policy", model, "-o", str(out), *arguments)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    assert printed["left_out"] == {"empty": [f"{file}:5"]}
    assert [printed[name] for name in ("ratings", "groups", "desirable", "undesirable", "steps")] == [4, 2, 2, 2, 20]
    record = KtoFileRecord.read(str(out / "training.json"))
    assert record is not None
    assert record.log[0]["loss"] == pytest.approx(0.5, abs=1e-3)
    assert record.loss < 0.45
    tokenizer = AutoTokenizer.from_pretrained(out)
    for asked, good, bad in (("Sales?", "5", "4"), ("Costs?", "4", "5")):
        before, after = (
            preference(path, tokenizer, f"user {asked} <end> assistant", good, bad) for path in (model, out)
        )
        assert after > before + 2

    file.write_text("".join(json.dumps(each) + "\n" for each in rows[:2]), encoding="utf-8")
    one = command.run("train", str(file), "--policy", model, "-o", str(tmp_path / "p"), "--objective", "kto")
    assert (one.returncode, one.stderr.count("\n")) == (2, 1)
    assert f"{file}: all ratings are of answers to one prompt" in one.stderr


def test_trains_and_continues_its_own_adapter(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(json.dumps(row(number)) + "\n" for number in range(len(ROWS))), encoding="utf-8")
    settings = ["--set", "training.lora.rank=4", "--set", "training.learning_rate=0.001", "--json"]
    out = tmp_path / "policy"
    done = command.run("train", str(pairs), "--policy", "builtin:smollm2-135m", "-o", str(out), *settings)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    assert printed["too_long"] == ["pair-3"]
    assert printed["left_out"] == {"equal": [f"{pairs}:5"]}
    assert f"1 of 5 rows were left out: 1 with equal answers ({pairs}:5)" in done.stderr
    assert (printed["pairs"], printed["groups"], printed["reference"]) == (3, 3, "trainer")
    assert printed["policy_id"] == weights_id(str(out))
    record = DpoFileRecord.read(str(out / "training.json"))
    assert record is not None
    assert record.left_out == printed["left_out"]
    assert record.training.lora is not None
    assert record.training.lora.rank == 4
    assert not (tmp_path / "policy.work").exists()

    further = command.run("train", str(pairs), "--policy", str(out), "-o", str(tmp_path / "further"), "--json")
    assert further.returncode == 0, further.stderr
    assert json.loads(further.stdout.splitlines()[-1])["policy_id"] != printed["policy_id"]

    again = command.run("train", str(pairs), "--policy", "builtin:smollm2-135m", "-o", str(out))
    assert again.returncode == 2
    assert "already exists" in again.stderr
