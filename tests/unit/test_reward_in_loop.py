"""A reward model that a run trains anew: its pairs, its held-out questions, its judge, and its place in the report."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.errors import UserError
from rlaif.evaluation.heldout_pairs import accuracy_of
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.retrained import reward_models, with_reward_model
from rlaif.judges.reward_scores import Reward
from rlaif.preferences.reward_pairs import RewardPair, read_pairs, run_pairs
from rlaif.prompts.template import load_template
from rlaif.recipe import dump_recipe, load_recipe, parse_recipe
from rlaif.recipe.judge import JudgeSection
from rlaif.reporting.html import render_page
from rlaif.rounds.identity import begin, check_same_run
from rlaif.rounds.setup import prepare
from rlaif.stats.bootstrap import Estimate
from rlaif.store.records.file_training_record import HeldOutPairs, TrainedPairs
from rlaif.store.records.reward_record import RewardRecord
from rlaif.store.records.round_records import BaseModelRecord, EvaluationRecord, PromoteStage
from rlaif.store.rundir import RunDir
from rlaif.store.schemas import PAIRS
from rlaif.store.shards import write_table
from rlaif.training.reward.pairs import always_held_out
from tests.tiny import save_chat_model
from tests.unit.small_run import SmallRun


def pair(question: str, number: int = 0) -> RewardPair:
    return RewardPair(f"{question}-{number}", question, "", lambda _: [], "a", "b", "human")


def test_a_reward_model_does_not_learn_from_its_own_decisions(tmp_path: Path) -> None:
    run = SmallRun(tmp_path / "small").run
    rounds = [run.round(0), run.round(1)]
    everything, others = run_pairs(rounds, "reward-model", {}), run_pairs(rounds, "finance-grounded", {})
    assert 0 < len(others) < len(everything)
    assert {each.source for each in everything} == {"ai"}
    # A question is known by its text, as in people's pairs, so that both are held out together.
    named = run_pairs(rounds, "reward-model", {everything[0].question: "Sales?"})
    assert [each.question for each in named if each.id == everything[0].id] == ["Sales?"]
    first = everything[0]
    chosen, rejected = first.conversations()
    assert chosen[:-1] == rejected[:-1]
    assert (chosen[-1]["content"], rejected[-1]["content"]) == (first.chosen, first.rejected)
    assert run_pairs([run.round(2)], "reward-model", {}) == []


def test_preferences_on_one_prompt_are_one_question(tmp_path: Path) -> None:
    """Else one would be trained on and the other held out; so would one of `reward.pairs` on the same prompt."""
    directory = RunDir(str(tmp_path)).round(0)

    def row(name: str, prompt: list[dict[str, str]]) -> dict[str, object]:
        answers = {side: [{"role": "assistant", "content": side}] for side in ("chosen", "rejected")}
        return {"pair_id": name, "prompt_id": name, "prompt": prompt, "source": "human", **answers}

    text = [{"role": "user", "content": "Sales?"}]
    chat = [*text, {"role": "assistant", "content": "When?"}, {"role": "user", "content": "2023"}]
    # The last has the id of a question of the run, which asks something else.
    rows = [row("p1", text), row("p2", text), row("p3", chat), row("p4", chat), row("q1", text)]
    write_table(directory.path("pairs.parquet"), pa.Table.from_pylist(rows, schema=PAIRS))
    first, second, third, fourth, last = run_pairs([directory], "reward-model", {"q1": "Profit?"})
    file = tmp_path / "p.jsonl"
    sides = {"chosen": "5", "rejected": "6"}
    file.write_text("".join(json.dumps({"prompt": prompt, **sides}) + "\n" for prompt in ("Sales?", text, chat)))
    in_file = read_pairs(str(file), load_template("answer")).pairs
    assert [first.question, second.question, last.question] == ["Sales?"] * 3
    assert third.question == fourth.question
    assert [pair.question for pair in in_file] == [first.question, first.question, third.question]


@given(st.sets(st.text(max_size=9)), st.floats(0, 1), st.integers(0, 9))
def test_a_question_stays_held_out_however_many_there_are(questions: set[str], share: float, seed: int) -> None:
    held = {question for question in questions if always_held_out(question, share, seed)}
    assert all(always_held_out(question, min(1.0, share + 0.1), seed) for question in held)
    assert not any(always_held_out(question, 0.0, seed) for question in questions)


def test_the_share_of_questions_is_held_out() -> None:
    held = [always_held_out(f"question {number}", 0.2, 3) for number in range(5000)]
    assert sum(held) / len(held) == pytest.approx(0.2, abs=0.02)


def test_ties_and_failures_are_no_hits_and_questions_are_resampled_whole() -> None:
    rewards = [Reward(score, 1, 0.0) for score in (2.0, 1.0, 1.0, 1.0, None, 0.0, 0.0, 1.0)]
    apart = accuracy_of([pair(str(number)) for number in range(4)], rewards, confidence=0.9, seed=0)
    assert (apart.value, apart.n) == (0.25, 4)
    together = accuracy_of([pair("one", number) for number in range(4)], rewards, confidence=0.9, seed=0)
    assert (together.low, together.value, together.high) == (0.25, 0.25, 0.25)
    assert apart.low is not None
    assert apart.low < 0.25


def test_other_weights_change_the_reward_model_and_its_panel_alone(tmp_path: Path) -> None:
    for name, content in (("first", b"1"), ("second", b"2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(content)
    (tmp_path / "rewards.yaml").write_text(f"kind: reward-model\nmodel: {tmp_path / 'first'}\n")
    (tmp_path / "both.yaml").write_text("kind: panel\nmode: first-to-decide\njudges: [reference, ./rewards.yaml]\n")
    section = JudgeSection(name=str(tmp_path / "both.yaml"))
    panel = load_judge_file(section.name, section)
    other = with_reward_model(panel, str(tmp_path / "second"))
    assert [leaf.name for leaf in other.leaves] == [leaf.name for leaf in panel.leaves]
    assert [old.sha == new.sha for old, new in zip(panel.leaves, other.leaves, strict=True)] == [True, False]
    assert panel.sha != other.sha
    assert reward_models(panel)[0].model == str(tmp_path / "first")
    assert with_reward_model(other, str(tmp_path / "first")).sha == panel.sha


def record(number: int, accuracy: float, gain: float | None) -> RewardRecord:
    return RewardRecord(
        round=number, id=str(number) * 64, base=BaseModelRecord(model="m", id="b" * 64),
        parent=None if number == 0 else str(number - 1) * 64, judge_sha="c" * 64, files={},
        train=TrainedPairs(questions=20, pairs=60, human=12, sha256="d" * 64, cut=[], too_long=[]),
        heldout=HeldOutPairs(questions=5, pairs=15, right=9, tied=0, failed=[], accuracy=accuracy, sha256="e" * 64),
        accuracy=Estimate(accuracy, accuracy - 0.1, accuracy + 0.1, 15),
        gain=None if gain is None else Estimate(gain, gain - 0.1, gain + 0.1, 4), steps=4, seconds=1.0,
    )  # fmt: skip


def test_the_page_shows_each_reward_model_and_names_over_optimization(tmp_path: Path) -> None:
    small = SmallRun(tmp_path / "small", rounds=2)
    assert "Reward model" not in render_page(small.run)
    record(0, 0.61, None).write(small.run.round(0).path("reward.json"))
    record(1, 0.72, 0.4).write(small.run.round(1).path("reward.json"))
    page = render_page(small.run)
    assert "<h3>Reward model</h3>" in page
    assert "0.610 [0.510, 0.710]" in page
    assert "+0.400 [" in page
    assert "the reward rose and this fell" not in page
    first = small.run.round(0)
    measured = EvaluationRecord.read(first.path("evaluation.json"))
    assert measured is not None
    worse = {**measured.metrics, "score": Estimate(0.01, 0.0, 0.02, 24)}
    measured.model_copy(update={"metrics": worse, "promoted": True}).write(first.path("evaluation.json"))
    first.mark(PromoteStage(promoted=True))
    assert render_page(small.run).count("the reward rose and this fell") == 1


def test_a_resolved_recipe_reads_back_with_and_without_a_reward_model() -> None:
    for overrides in ([], ["reward.retrain=true"]):
        recipe = load_recipe("demo", overrides)
        assert parse_recipe(dump_recipe(recipe), "recipe.yaml") == recipe


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["reward.heldout_share=0.3"], "reward: heldout_share: nothing is trained without retrain: true"),
        (["reward={retrain: true, heldout_share: 1}"], "reward.heldout_share: expected less than 1"),
    ],
)
def test_a_reward_section_without_an_effect_is_refused(given: list[str], message: str) -> None:
    with pytest.raises(UserError) as refused:
        load_recipe("demo", given)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("judges", "message"),
    [
        ("[reference]", "reward.retrain: no judge of the run has a reward model"),
        ("[./first.yaml, ./second.yaml]", "has several reward models; expected one to train anew"),
        ("[./first.yaml]", "reward.training.pairs_per_step (6) is not a multiple of training.pairs_per_pass (4)"),
    ],
)
def test_a_run_that_cannot_train_its_reward_model_is_refused_before_it_starts(
    tmp_path: Path, judges: str, message: str
) -> None:
    for name in ("first", "second"):
        model = save_chat_model(tmp_path / name, ["a"])
        (tmp_path / f"{name}.yaml").write_text(f"kind: reward-model\nmodel: {model}\n")
    (tmp_path / "panel.yaml").write_text(f"kind: panel\nmode: first-to-decide\njudges: {judges}\n")
    (tmp_path / "second" / "model.safetensors").write_bytes(b"other")
    step = 6 if "pairs_per_step" in message else 8
    overrides = [
        f"judge.name={tmp_path / 'panel.yaml'}",
        f"reward={{retrain: true, training: {{pairs_per_step: {step}}}}}",
    ]
    with pytest.raises(UserError) as refused:
        prepare(load_recipe("demo", overrides), str(tmp_path / "runs"))
    assert message in str(refused.value)


def test_another_file_of_peoples_pairs_is_another_run(tmp_path: Path) -> None:
    model = save_chat_model(tmp_path / "model", ["a"])
    (tmp_path / "rewards.yaml").write_text(f"kind: reward-model\nmodel: {model}\n")
    row = {"id": "l", "question": "Sales?", "context": "", "answer_a": "7", "answer_b": "8", "human": "a"}
    people = tmp_path / "people.jsonl"
    people.write_text(json.dumps(row) + "\n")
    overrides = [f"judge.name={tmp_path / 'rewards.yaml'}", f"reward={{retrain: true, pairs: {people}}}"]
    setup = prepare(load_recipe("demo", overrides), str(tmp_path / "runs"))
    run = RunDir(setup.path)
    begin(run, setup, "p" * 64)
    assert check_same_run(run, setup)
    people.write_text(json.dumps({**row, "human": "b"}) + "\n")
    with pytest.raises(UserError, match=r"the pairs of reward\.pairs"):
        check_same_run(run, prepare(load_recipe("demo", overrides), str(tmp_path / "runs")))
