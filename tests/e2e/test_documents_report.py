"""A report whose questions are answered by real engines, with gold evidence and with what is found."""

import json
from pathlib import Path

import pytest

from tests.e2e import command

BUILTIN = "builtin:smollm2-135m"
pytestmark = pytest.mark.slow


@pytest.mark.timeout(900)
def test_a_model_answers_with_each_kind_of_context(tmp_path: Path) -> None:
    filings = tmp_path / "filings"
    filings.mkdir()
    (filings / "ALDER_2023.md").write_text("# Alder\n\nRevenue was $41.2 million in 2023.\n", encoding="utf-8")
    (filings / "BIRCH_2023.md").write_text("# Birch\n\nRevenue was $7.5 million in 2023.\n", encoding="utf-8")
    rows = [
        {"id": name, "question": f"What was the revenue of {name} in 2023?", "document": f"{name.upper()}_2023",
         "gold_answer": gold, "evidence": f"Revenue was {gold} in 2023."}
        for name, gold in (("Alder", "$41.2 million"), ("Birch", "$7.5 million"))
    ]  # fmt: skip
    questions = tmp_path / "questions.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    settings = [
        "policy.max_length=384", "sampling.max_tokens=16", "policy.dtype=float32", "cluster.policy.kv_cache_gib=0.25",
        "questions.documents.top_k=1",
    ]  # fmt: skip
    given = [word for setting in settings for word in ("--set", setting)]
    done = command.run(
        "documents", "report", "--questions", str(questions), "--documents", str(filings), "--answer", BUILTIN,
        "--json", *given,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)["answers"]
    assert answers["policy"] == BUILTIN
    gold, own, everywhere = answers["contexts"]
    for each in (gold, own, everywhere):
        assert (each["questions"], each["failed"]) == (2, {})
        assert each["figures"].keys() == {"score", "f1", "contained", "refused"}
    # The name of each filing is in its question, so both searches find the same chunk.
    assert everywhere["figures"] == own["figures"]
