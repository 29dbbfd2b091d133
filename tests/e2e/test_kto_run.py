"""A run that learns from answers rated one by one, by the exact check and by people."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.e2e import command

RECIPE = Path(__file__).parent / "kto.yaml"
PEOPLE = [
    {"id": f"p{number}", "question": f"Which figure has row {number}?", "answer": answer, "label": label}
    for number in range(4)
    for answer, label in ((str(number), True),)
] + [{"id": "bad", "prompt": [{"role": "user", "content": "Hello"}], "completion": "Go away.", "label": "thumbs down"}]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("kto")
    file = folder / "people.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in PEOPLE), encoding="utf-8")
    settings = ["--set", f"phases.0.human_ratings={{path: {file}}}"]
    done = command.run("run", str(RECIPE), "--runs", str(folder), *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "good and" in done.stdout + done.stderr
    return folder / "kto"


def test_a_round_learns_its_candidates_by_their_scores(run: Path) -> None:
    for number in range(2):
        place = run / f"round-{number:03d}"
        rows = pq.read_table(place / "ratings.parquet").to_pylist()
        judged = [row for row in rows if row["source"] == "ai"]
        scores = {
            (row["prompt_id"], row["first"]): row["score"]
            for shard in sorted((place / "verdicts").glob("*.parquet"))
            for row in pq.read_table(shard).to_pylist()
        }
        assert judged
        for row in judged:
            assert row["score"] == scores[row["prompt_id"], row["candidate"]]
            assert row["desirable"] == (row["score"] >= 0.5)
            assert row["score"] >= 0.5 or row["score"] <= 0.1
        manifest = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
        gathered = manifest["stages"]["gather"]
        assert list(manifest["stages"]) == ["sample", "judge", "gather", "train", "evaluate", "promote"]
        assert gathered["units"] == len(rows) == sum(gathered["figures"].values())
        training = json.loads((place / "training.json").read_text(encoding="utf-8"))
        assert (training["objective"], training["units"]) == ("kto", len(rows))
        assert training["log"][0]["loss"] > 0


def test_peoples_ratings_are_shared_out_to_the_rounds(run: Path) -> None:
    people = [
        [row["prompt_id"] for row in pq.read_table(run / f"round-{number:03d}" / "ratings.parquet").to_pylist()
         if row["source"] == "human"]
        for number in range(2)
    ]  # fmt: skip
    # Each round takes half of the questions, and so half of five.
    assert [len(each) for each in people] == [2, 2]
    assert not set(people[0]) & set(people[1])


def test_a_rating_is_traced_to_its_verdict_and_to_the_policy_that_learned_it(run: Path) -> None:
    rows = pq.read_table(run / "round-000" / "ratings.parquet").to_pylist()
    row = next(row for row in rows if row["source"] == "ai")
    shown = json.loads(command.run("trace", str(run), row["rating_id"], "--json").stdout)
    assert (shown["kind"], shown["answer"]) == ("rating", row["answer"])
    assert row["score"] in [verdict["score"] for verdict in shown["verdicts"]]
    policy = json.loads((run / "round-000" / "policy.json").read_text(encoding="utf-8"))
    assert shown["training"]["policy"] == policy["id"]
    text = command.run("trace", str(run), row["rating_id"]).stdout
    assert f"rating {row['rating_id']}" in text
