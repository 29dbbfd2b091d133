"""Phases of a recipe: what they inherit, which round belongs to which, and what a mistake says."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from rlaif.errors import UserError
from rlaif.jobs.bundle import make_bundle
from rlaif.recipe import DpoPhase, KtoPhase, Recipe, SftPhase, dump_recipe, parse_recipe, stored_recipe
from rlaif.rounds.identity import differing_keys

RECIPE = """
policy: {model: "builtin:smollm2-135m"}
questions:
  train: {type: demo, split: train, count: 40}
  heldout: {type: demo, split: heldout, count: 8}
judge: {name: finance-panel, reasoning: true, max_cost: 3}
sampling: {candidates: 6, temperature: 0.7}
training: {learning_rate: 1.0e-4, beta: 0.3, lora: {rank: 8}}
rounds: {gate: {max_drop: 0.1}}
phases:
  - objective: sft
    rounds: 2
    questions: [0.5, 8]
    training: {epochs: 3}
  - objective: dpo
    name: by the panel
    sampling: {temperature: [0.9, 1.1]}
    rounds: 2
  - {objective: dpo, questions: 4, judge: reference, pairs: {min_margin: 0.5}}
"""


def parse(*overrides: str, text: str = RECIPE) -> Recipe:
    return parse_recipe(text, "mine.yaml", list(overrides))


def plain(recipe: Recipe) -> dict[str, object]:
    return recipe.model_dump(mode="json")


def test_a_phase_has_the_recipes_settings_but_for_its_own() -> None:
    recipe = parse()
    first, second, third = recipe.every_phase
    assert isinstance(first, SftPhase)
    assert isinstance(second, DpoPhase)
    assert isinstance(third, DpoPhase)
    assert (first.training.learning_rate, first.training.epochs, first.training.schedule) == (1e-4, 3, "linear")
    assert first.training.lora == second.training.lora == recipe.training.lora
    assert (first.sampling, first.judge) == (None, None)
    assert (second.sampling.candidates, second.sampling.temperature_of(1)) == (6, 1.1)
    assert second.judge == recipe.judge
    assert (second.training.beta, third.pairs.min_margin, second.pairs.min_margin) == (0.3, 0.5, 0.0)
    # Another judge has the settings of its own file, but the run's limits.
    assert (third.judge.name, third.judge.reasoning, third.judge.max_cost) == ("reference", None, 3)


def test_rounds_are_those_of_all_phases() -> None:
    recipe = parse()
    assert (recipe.rounds.count, recipe.rounds.questions) == (5, [0.5, 8, 1.0, 1.0, 4])
    assert [recipe.locate(number) for number in range(5)] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    assert [recipe.title_of(number) for number in (0, 2, 4)] == ["sft", "by the panel", "dpo"]
    assert recipe.rounds.gate.max_drop == 0.1


def test_a_recipe_without_phases_is_one_of_objective_dpo() -> None:
    recipe = parse(text=RECIPE.partition("phases:")[0] + "\n")
    (phase,) = recipe.every_phase
    assert isinstance(phase, DpoPhase)
    assert (phase.sampling, phase.judge, phase.training) == (recipe.sampling, recipe.judge, recipe.training)
    assert (recipe.locate(1), recipe.title_of(1)) == ((0, 1), None)


def test_rounds_that_take_demonstrations_of_a_file_take_no_questions() -> None:
    recipe = parse("phases.0.demonstrations={type: file, path: theirs.jsonl}")
    assert recipe.question_amounts(3) == [1.0, 1.0]
    assert parse().question_amounts(3) == [0.5, 8, 1.0, 1.0]


def test_demonstrations_alone_need_no_judge() -> None:
    recipe = parse(
        text="""
policy: {model: "builtin:smollm2-135m"}
questions: {train: {type: demo}, heldout: {type: demo, split: heldout}}
phases: [{objective: sft}]
"""
    )
    assert recipe.judge.name == "reference"


def test_a_written_recipe_reads_back_the_same() -> None:
    recipe = parse()
    assert stored_recipe(dump_recipe(recipe), "recipe.yaml") == parse_recipe(dump_recipe(recipe), "mine") == recipe


def test_an_adapter_has_the_same_settings_in_all_phases() -> None:
    recipe = parse()
    lora = recipe.training.lora
    assert lora is not None
    changed = recipe.with_lora(lora.model_copy(update={"rank": 2}))
    assert {changed.training.lora.rank, *(phase.training.lora.rank for phase in changed.every_phase)} == {2}


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("phases=[]", "phases: an empty list; expected at least one phase, or no `phases`"),
        ("phases.0.objective=ppp", "phases.0.objective: expected one of 'dpo', 'sft'"),
        ("phases.0.training.beta=0.2", "phases.0.training.beta: unknown key"),
        ("phases.0.sampling.top_p=0.5", "mine.yaml:11: phases.0: sampling: demonstrations are neither sampled nor"),
        ("phases.1.rounds=3", "mine.yaml:15: phases.1: sampling.temperature: 2 temperatures for 3 rounds"),
        ("phases.0.rounds=3", "phases.0: questions: 2 increments for 3 rounds; expected one each"),
        ("phases.2.questions=0", "phases.2: questions: 0; expected a count of at least 1 or a share in (0, 1]"),
        ("phases.3.rounds=3", "--set phases.3.rounds=3: 3 is no entry of the list; expected 0 to 2"),
        ("phases.first.rounds=3", "first is no entry of the list; expected 0 to 2"),
        ("rounds.count=2", "rounds.count: with `phases`, each phase says its own; remove it"),
        ("rounds.questions=2", "rounds.questions: with `phases`, each phase says its own; remove it"),
        ("phases.1.training.lora=null", "phases.1.training.lora: expected it in `training`, for all phases"),
        ("phases.1.judge.max_cost=4", "phases.1.judge.max_cost: expected it in `judge`, for all phases"),
        ("phases.1.sampling.max_tokens=4000", "sampling.max_tokens (4000) leaves no room for a prompt"),
        ("phases=[{objective: sft}]", "training.beta: the objective of no phase has it; remove it"),
    ],
)
def test_a_mistake_is_named(override: str, says: str) -> None:
    with pytest.raises(UserError) as raised:
        parse(override)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("overrides", "differs"),
    [
        (["phases.1.sampling.in_flight=3", "phases.1.name=again", "phases.2.rounds=4"], []),
        (["phases.1.rounds=1"], ["phases.1.rounds (2 -> 1)"]),
        (["phases.0.training.epochs=1"], ["phases.0.training.epochs (3 -> 1)"]),
        (["phases.0.questions=[0.5, 9]"], ["phases.0.questions ([0.5, 8] -> [0.5, 9])"]),
        (["phases.2.judge=finance-panel"], ["phases.2.judge.name ('reference' -> 'finance-panel')"]),
    ],
)
def test_a_run_goes_on_with_more_rounds_and_no_other(overrides: Sequence[str], differs: list[str]) -> None:
    found = differing_keys(plain(parse()), plain(parse(*overrides)))
    assert [key for key in found if key.startswith("phases")][: len(differs)] == differs
    assert bool(found) == bool(differs)


def test_a_run_goes_on_with_more_phases() -> None:
    more = RECIPE + "  - {objective: sft, questions: 3}\n"
    assert differing_keys(plain(parse()), plain(parse(text=more))) == []
    assert differing_keys(plain(parse(text=more)), plain(parse())) == ["phases.3"]


def test_a_job_takes_the_files_and_judges_of_phases_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, job = tmp_path / "here", tmp_path / "job"
    for folder in (here / "judges", job):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    (here / "theirs.jsonl").write_text('{"question": "Sales?", "gold_answer": "5"}\n')
    (here / "judges" / "mine.yaml").write_text("kind: reference\n")
    (here / "preferred.jsonl").write_text('{"prompt": "Sales?", "chosen": "5", "rejected": "4"}\n')
    overrides = ["phases.0.demonstrations={type: file, path: theirs.jsonl}", "phases.2.judge=judges/mine.yaml"]
    overrides += ["feedback.preferences=preferred.jsonl"]
    moved = make_bundle(parse(*overrides, "judge.max_cost=null"), job)
    assert [phase.files for phase in moved.every_phase] == [{"demonstrations": "theirs.jsonl"}, {}, {}]
    assert (job / "theirs.jsonl").is_file()
    assert (job / "preferred.jsonl").is_file()
    assert (job / "judges" / "mine.yaml").is_file()


KTO = RECIPE.replace(
    "  - {objective: dpo, questions: 4,", "  - {objective: kto, ratings: {desirable_from: 0.5}, questions: 4,"
)


def test_a_phase_of_ratings_says_which_scores_are_good() -> None:
    text = KTO.replace(", pairs: {min_margin: 0.5}", "")
    phase = parse(text=text).every_phase[2]
    assert isinstance(phase, KtoPhase)
    assert (phase.ratings.desirable_from, phase.training.beta, phase.judge.name) == (0.5, 0.3, "reference")
    with_people = parse("phases.2.human_ratings={path: people.csv}", text=text).every_phase[2]
    assert with_people.files == {"human_ratings": "people.csv"}
    with pytest.raises(UserError, match=r"ratings\.desirable_from: missing"):
        parse(text=text.replace("{desirable_from: 0.5}", "{}"))
    with pytest.raises(UserError, match=r"undesirable_to is 0\.7; expected less than desirable_from"):
        parse("phases.2.ratings.undesirable_to=0.7", text=text)
