"""People's preferences from a file: whose they are, which round takes which, and what becomes of them in a round."""

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rlaif.data.preferences import Preference
from rlaif.errors import UserError
from rlaif.feedback.preferences import load_human_preferences, preference_rows, round_preferences
from rlaif.models.builtin import BUILTIN
from rlaif.objectives.dpo import DpoObjective
from rlaif.objectives.objective import Materials
from rlaif.preferences.pairs import PairCounts, pair_id
from rlaif.preferences.round_pairs import write_pairs
from rlaif.prompts.template import load_template
from rlaif.recipe import DpoPhase, FeedbackSection, HumanPreferencesSection, JudgeSection, PairsSection, PolicySection
from rlaif.recipe.recipe import parse_overrides, parse_recipe
from rlaif.store.records.run_records import QuestionSet
from tests.tiny import save_chat_model
from tests.unit.queued_run import Compares, QueuedRun

POLICY = PolicySection(model=BUILTIN)


def written(path: Path, *rows: dict[str, object]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_a_row_is_a_persons_unless_it_says_otherwise(tmp_path: Path) -> None:
    sides = {"prompt": "Sales?", "chosen": "5", "rejected": "6"}
    path = written(tmp_path / "p.jsonl", sides, {**sides, "prompt": "Profit?", "source": "ai"})
    section = parse_overrides(FeedbackSection, [f"preferences={path}"])
    read = load_human_preferences(section.preferences, POLICY)
    assert read is not None
    assert [row.source for row in read.rows] == ["human", "ai"]
    assert load_human_preferences(None, POLICY) is None


def test_columns_are_named_in_the_recipe(tmp_path: Path) -> None:
    path = written(tmp_path / "p.jsonl", {"prompt": "Sales?", "better": "5", "rejected": "6"})
    columns: dict[str, str | None] = {"chosen": "better"}
    read = load_human_preferences(HumanPreferencesSection(path=path, columns=columns), POLICY)
    assert read is not None
    assert read.rows[0].chosen == "5"
    with pytest.raises(UserError, match=r"feedback\.preferences\.columns: won: unknown field"):
        load_human_preferences(HumanPreferencesSection(path=path, columns={"won": "better"}), POLICY)


def preferences(count: int) -> list[Preference]:
    return [Preference(f"p{number}", "?", "a", "b", None, "human", None, None) for number in range(count)]


def test_rounds_take_the_share_that_they_take_of_the_questions() -> None:
    shares = [0.25] * 6
    taken = [{each.id for each in round_preferences(preferences(8), shares[: k + 1], 3)} for k in range(6)]
    assert [len(each) for each in taken] == [2] * 6
    assert set.union(*taken[:4]) == {f"p{number}" for number in range(8)}
    assert Counter(name for each in taken for name in each).most_common(1)[0][1] == 2
    assert {each.id for each in round_preferences(preferences(8), [1.0], 3)} == set.union(*taken[:4])
    assert len(round_preferences(preferences(8), [0.001], 3)) == 1
    assert round_preferences(preferences(8), [0.5], 3) != round_preferences(preferences(8), [0.5], 4)


def test_they_join_the_rounds_pairs_and_replace_the_judges_on_the_same_answers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    queued = QueuedRun(tmp_path / "run")
    judge, render = Compares(), lambda question: [{"role": "user", "content": question.question}]

    def pairs(**more: object) -> list[dict[str, object]]:
        counts = write_pairs(queued.directory, queued.questions, judge, PairsSection(), render=render, **more)
        rows: list[dict[str, object]] = pq.read_table(queued.directory.path("pairs.parquet")).to_pylist()
        assert counts.pairs == len(rows) == counts.by_judge.total()
        return rows

    alone = pairs()
    folder = save_chat_model(tmp_path / "model", ["Sales?", "five", "six"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    policy = PolicySection(model=folder, max_length=32)
    chat = [{"role": "user", "content": "Sales?"}]
    answers = [[{"role": "assistant", "content": text}] for text in ("five", "six")]
    given = [
        Preference("a chat", chat, answers[0], answers[1], 0.5, "human", None, None),
        Preference("~ a text", "Sales?", " five", " six", None, "human", None, None),
        Preference("a long text", "Sales? " * 40, "five", "six", None, "human", None, None),
    ]
    rows, too_long = preference_rows(given, policy, None, round_number=0)
    assert too_long == ["a long text"]
    # Of one more the answers are those of a pair of the judge, preferred the other way.
    known = alone[5]
    other = {**known, "chosen_token_ids": known["rejected_token_ids"], "rejected_token_ids": known["chosen_token_ids"]}
    other |= {"pair_id": "other", "source": "human", "judge": None, "judge_sha": None}
    both = pairs(preferences=[*rows, other])
    assert len(both) == len(alone) + 2
    assert known["pair_id"] not in {row["pair_id"] for row in both}
    assert [row["prompt_id"] for row in both] == sorted(str(row["prompt_id"]) for row in both)
    of_people = {row["prompt_id"]: row for row in both if row["source"] == "human"}
    assert of_people.keys() == {"a chat", "~ a text", known["prompt_id"]}
    row = of_people["a chat"]
    assert row["pair_id"] == pair_id("preference", 0, "a chat")
    assert (row["prompt"], row["chosen"], row["rejected"]) == (chat, *answers)
    assert (row["ref_chosen_logp"], row["policy"], row["judge"], row["round"]) == (None, None, None, 0)
    assert tokenizer.decode(row["chosen_token_ids"]).split()[-2:] == ["five", "<end>"]


def test_a_question_whose_pairs_people_replace_has_none(tmp_path: Path) -> None:
    queued = QueuedRun(tmp_path / "run")

    def pairs(preferences: list[dict[str, object]]) -> tuple[PairCounts, list[dict[str, object]]]:
        counts = write_pairs(
            queued.directory, queued.questions, Compares(), PairsSection(), render=lambda _: [],
            preferences=preferences,
        )  # fmt: skip
        return counts, pq.read_table(queued.directory.path("pairs.parquet")).to_pylist()

    before, alone = pairs([])
    name = alone[0]["prompt_id"]
    of_people = [
        {**row, "pair_id": f"p{number}", "prompt_id": f"p{number}", "source": "human", "judge": None}
        for number, row in enumerate(alone)
        if row["prompt_id"] == name
    ]
    after, rows = pairs(of_people)
    assert name not in {row["prompt_id"] for row in rows}
    assert (after.prompts, after.pairs) == (before.prompts - 1, before.pairs)


def test_a_run_is_not_continued_with_other_preferences(tmp_path: Path) -> None:
    sides = {"prompt": "Sales?", "chosen": "5", "rejected": "6"}

    def sources(better: str) -> dict[str, QuestionSet]:
        path = written(tmp_path / "p.jsonl", {**sides, "chosen": better})
        feedback = FeedbackSection(preferences=HumanPreferencesSection(path=path))
        materials = Materials((), POLICY, None, load_template("answer"), "phases.0", feedback)
        return DpoObjective.prepare(DpoPhase(objective="dpo", judge=JudgeSection(name="reference")), materials).sources

    first = sources("5")
    assert {name: found.count for name, found in first.items()} == {"phases.0.feedback.preferences": 1}
    assert sources("5") == first
    assert sources("7") != first


def test_feedback_that_no_phase_learns_from_is_refused() -> None:
    text = """
policy: {model: "builtin:smollm2-135m"}
questions: {train: {type: demo, split: train}, heldout: {type: demo, split: heldout}}
judge: {name: reference}
phases: [{objective: sft}]
"""
    for setting, key in (("feedback.people={}", "people"), ("feedback.preferences=p.jsonl", "preferences")):
        with pytest.raises(UserError, match=rf"feedback\.{key}: no phase learns from preferences; expected one of"):
            parse_recipe(text, "mine.yaml", [setting])
