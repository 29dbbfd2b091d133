"""A plan: what fits where, tokens, time and money, and errors that name the setting."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from rlaif.data.demonstrations import read_demonstrations
from rlaif.errors import UserError
from rlaif.planning import tokens
from rlaif.planning.duration import passes_without_gradients
from rlaif.planning.hardware import HardwareOptions
from rlaif.planning.plan import Plan, PlanOptions, make_plan
from rlaif.recipe import load_recipe
from rlaif.rounds.setup import prepare
from tests.unit.test_plan_memory import PARAMETERS


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with forty questions of 300 characters, and no hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    rows = [
        {"id": str(i), "question": f"What was {i}?", "context": "x" * 288, "gold_answer": str(i)} for i in range(40)
    ]
    (tmp_path / "questions.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return tmp_path


def _plan(*overrides: str, recipe: str = "llama-8b-8gpu", **options: Any) -> Plan:
    # What is free on this machine would decide what fits.
    options.setdefault("host_memory", 24.0)
    hardware = HardwareOptions(**{key: options.pop(key) for key in list(options) if key in HARDWARE})
    return make_plan(load_recipe(recipe, list(overrides)), PlanOptions(hardware, **options))


HARDWARE = [field.name for field in fields(HardwareOptions)]
FILES = ("questions.train.path=questions.jsonl", "questions.heldout.path=questions.jsonl")


def test_the_cluster_recipe_fits_eight_gpus_with_no_gpu_and_no_hub(files: Path) -> None:
    plan = _plan()
    assert plan.hardware.devices == 8
    seats = {seat.role: seat for seat in plan.seats}
    assert (seats["policy"].count, seats["policy"].devices_each) == (4, 1)
    assert (seats["judge"].count, seats["judge"].devices_each) == (1, 4)
    assert (seats["training"].count, seats["training"].strategy) == (8, "fsdp")
    for seat in plan.seats:
        assert seat.memory.total <= seat.allowed
    assert seats["judge"].memory.weights == pytest.approx(2 * PARAMETERS["Qwen/Qwen2.5-32B-Instruct"] / 4, rel=1e-6)
    assert plan.questions[0].count == 6500
    assert any("virattt/financial-qa-10K" in line and "--questions" in line for line in plan.assumptions)
    assert any("table of published shapes" in line for line in plan.assumptions)


def test_shared_takes_the_larger_stage_and_split_the_sum(files: Path) -> None:
    assert _plan("cluster.training.workers=4").hardware.devices == 8
    assert _plan("cluster.placement=split").hardware.devices == 16


@pytest.mark.parametrize(
    ("overrides", "options", "names"),
    [
        ([], {"gpus": 4}, "there are 4"),
        (["cluster.placement=split"], {"gpus": 8}, "cluster.placement: split"),
        (["policy.model=meta-llama/Llama-3.1-70B-Instruct"], {}, "cluster.policy.tensor_parallel"),
        (["policy.max_length=100000"], {"gpu_type": "a10g"}, "policy.max_length"),
        (["cluster.policy.tensor_parallel=3"], {}, "32 attention heads"),
        (["training.lora=null", "cluster.training.strategy=ddp"], {}, "cluster.training.strategy: fsdp"),
        ([], {"gpu_type": "abacus"}, "--gpu-type abacus"),
        (["policy.model=nobody/has-this"], {}, "its shape is unknown"),
    ],
)
def test_impossible_settings_are_refused_by_name(
    files: Path, overrides: list[str], options: dict[str, Any], names: str
) -> None:
    with pytest.raises(UserError) as refused:
        _plan(*overrides, **options)
    assert names in str(refused.value)
    assert "expected" in str(refused.value) or "unknown" in str(refused.value)


def test_a_missing_question_file_is_refused_as_in_a_run(files: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.jsonl"):
        _plan("questions.train.path=absent.jsonl", FILES[1], recipe="questions")


def test_tokens_follow_from_the_recipe_and_the_questions(files: Path) -> None:
    plan = _plan(*FILES, "sampling.candidates=3", "rounds.questions=[10,0.5]", recipe="questions", prompt_tokens=100)
    first, second = (entry.tokens for entry in plan.rounds)
    assert (first.questions, second.questions) == (10, 20)
    # A prompt is computed once for all its candidates.
    assert (first.sample.requests, first.sample.sent, first.sample.computed) == (30, 3000, 1000)
    assert first.sample.written == 10 * 3 * 48
    # Three comparisons of three candidates, each in both orders, one label each.
    assert first.judge[0].requests == first.judge[0].written == 10 * 3 * 2
    assert first.train.computed == 10 * (100 + 3 * 48)


def test_prompts_are_measured_if_the_file_exists(files: Path) -> None:
    plan = _plan(*FILES, recipe="questions")
    train, heldout = plan.questions
    assert (train.count, heldout.count) == (40, 40)
    assert 100 < train.prompt_tokens < 250
    assert any("characters a token" in line for line in plan.assumptions)


@pytest.mark.parametrize(
    ("recipe", "sampled"), [("questions", [240, 240]), ("tatqa", [0, 320]), ("incremental-sft", [0] * 5)]
)
def test_a_recipe_for_questions_of_the_user_is_prepared_and_planned(
    files: Path, recipe: str, sampled: list[int]
) -> None:
    heldout = (files / "questions.jsonl").read_text().replace('"id": "', '"id": "h')
    (files / "heldout.jsonl").write_text(heldout)
    paths = [FILES[0], "questions.heldout.path=heldout.jsonl"]
    if recipe == "incremental-sft":
        paths.append("questions.test.path=heldout.jsonl")
    setup = prepare(load_recipe(recipe, paths), "runs")
    assert [len(questions) for questions in (setup.train, setup.heldout)] == [40, 40]
    assert len(setup.test) == 40 * (len(paths) - 2)
    rounds = [entry.tokens for entry in _plan(*paths, recipe=recipe).rounds]
    assert [tokens.sample.requests for tokens in rounds] == sampled
    assert all(tokens.train.computed > 0 for tokens in rounds)


def test_money_needs_a_price_and_is_the_gpus_hours(files: Path) -> None:
    assert _plan().cost is None
    plan = _plan(price=2.0)
    assert plan.cost == pytest.approx(2.0 * 8 * plan.seconds / 3600)


def test_a_faster_gpu_takes_less_time(files: Path) -> None:
    base = _plan()
    assert _plan(tflops=2000.0).rounds[0].train < base.rounds[0].train
    assert _plan(bandwidth=10.0).rounds[0].sample < base.rounds[0].sample
    assert _plan(answer_tokens=64).seconds < base.seconds


def test_a_judge_on_the_policy_gets_engines_of_its_own_only_with_full_weights(files: Path) -> None:
    """With an adapter the base still answers the judge; full weights change."""
    adapter = _plan(*FILES, recipe="questions", host_memory=24.0)
    full = _plan(*FILES, "training.lora=null", recipe="questions", host_memory=24.0)
    assert [seat.role for seat in adapter.seats] == ["policy", "training"]
    assert [seat.role for seat in full.seats] == ["policy", "judge", "training"]


def test_a_remote_judge_takes_no_engine_and_its_tokens_and_money_are_shown(files: Path) -> None:
    (files / "remote.yaml").write_text(
        "kind: llm\nprompt: finance-grounded:reasoning\nmax_tokens: 100\nsamples: 2\ntemperature: 1\n"
        "backend: {type: openai, model: m, prices: {prompt: 1, completion: 1000}}\n",
        encoding="utf-8",
    )
    plan = _plan(
        *FILES,
        f"judge.name={files}/remote.yaml",
        "sampling.candidates=3",
        "rounds.questions=[10,10]",
        recipe="questions",
    )
    assert plan.judges == ()
    assert [seat.role for seat in plan.seats] == ["policy", "training"]
    (line,) = (
        line for line in plan.assumptions if line.startswith("judge remote is asked at https://api.openai.com/v1")
    )
    # Three comparisons in both orders, two samples each, of 20 questions: 24,000 tokens of answers at most.
    assert "up to 240 requests of" in line
    assert "and 24,000 answer tokens, 24." in line
    assert line.endswith("USD at its prices; neither its time nor its money is counted below")


def test_criteria_of_questions_take_room_in_a_judges_context(files: Path) -> None:
    files_ = [f"questions.{role}={{type: file, path: questions.jsonl}}" for role in ("train", "heldout")]
    room = ("judge.name=criteria", "cluster.policy.kv_cache_gib=2", *files_)
    _plan(*room)
    criteria = {"complete": {"weight": 1, "description": "Every figure is named. " * 1000}}
    rows = [json.loads(line) for line in (files / "questions.jsonl").read_text().splitlines()]
    (files / "questions.jsonl").write_text("\n".join(json.dumps({**row, "criteria": criteria}) for row in rows))
    with pytest.raises(UserError, match=r"policy\.max_length, and the judge's prompt around it"):
        _plan(*room)
    _plan("judge.name=finance-grounded", *room[1:])


def test_a_small_node_is_refused(files: Path) -> None:
    with pytest.raises(UserError, match="node"):
        _plan(*FILES, recipe="questions", host_memory=4.0)


def _phase(phase: str) -> list[str]:
    """Return overrides that make a recipe one phase."""
    return [f"phases=[{phase}]", "rounds={}", "training={}"]


@pytest.mark.parametrize(
    ("phase", "passes"),
    [
        ("{objective: dpo}", 0),
        ("{objective: dpo, training: {reference: initial}}", 1),
        ("{objective: dpo, training: {ld_alpha: 0.5}}", 1),
        ("{objective: sft}", 0),
        # Once after their own prompt, and in each of two epochs twice after another.
        ("{objective: kto, ratings: {desirable_from: 1}, training: {epochs: 2}}", 5),
        ("{objective: grpo, sampling: {temperature: 1}}", 0),
        ("{objective: grpo, sampling: {temperature: 0.9}}", 1),
        ("{objective: grpo, sampling: {temperature: 1}, training: {kl: 0.1}}", 1),
        ("{objective: ppo, sampling: {temperature: 1}}", 2),
    ],
)
def test_a_training_is_planned_with_the_passes_that_only_read(phase: str, passes: int) -> None:
    recipe = load_recipe("questions", _phase(phase))
    (found,) = recipe.every_phase
    temperature = found.sampling.temperature_of(0) if found.sampling else 1.0
    assert passes_without_gradients(found, temperature) == passes


def test_a_file_of_demonstrations_is_read_once_for_all_rounds(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []

    def read(path: str, *arguments: Any) -> Any:
        reads.append(path)
        return read_demonstrations(path, *arguments)

    monkeypatch.setattr(tokens, "read_demonstrations", read)
    phase = "{objective: sft, rounds: 5, questions: 0.2, demonstrations: {type: file, path: questions.jsonl}}"
    plan = _plan(*FILES, *_phase(phase), recipe="questions")
    assert [entry.tokens.questions for entry in plan.rounds] == [8] * 5
    assert reads == ["questions.jsonl"]


def test_questions_on_tables_are_answers_to_train_on(files: Path) -> None:
    phase = "{objective: sft, questions: 10, demonstrations: {type: gold_answers, table_questions: 3}}"
    plan = _plan(*FILES, *_phase(phase), recipe="questions", prompt_tokens=100)
    (only,) = (entry.tokens for entry in plan.rounds)
    assert only.train.computed == 10 * (100 + 4 * 48)


def test_the_best_of_the_candidates_is_one_answer_to_train_on(files: Path) -> None:
    phase = "{objective: sft, questions: 10, demonstrations: {type: best_of_n}, sampling: {candidates: 8}}"
    plan = _plan(*FILES, *_phase(phase), recipe="questions", prompt_tokens=100)
    (only,) = (entry.tokens for entry in plan.rounds)
    assert (only.sample.requests, only.train.computed) == (80, 10 * (100 + 48))


def test_rows_of_people_that_join_are_named_as_not_counted(files: Path) -> None:
    people = "feedback.preferences=theirs.jsonl"
    plan = _plan(*FILES, people, recipe="questions")
    assert "theirs.jsonl, whose rows join those of the rounds, is not counted" in plan.assumptions
