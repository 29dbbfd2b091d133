"""Old names of keys are read as the new ones; one line on standard error names both, and giving both is an error."""

import json
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter
from typer.testing import CliRunner

from rlaif.cli.main import app
from rlaif.data.candidates import read_candidates
from rlaif.data.labels import load_labels
from rlaif.data.sources import load_questions
from rlaif.errors import RenamedWarning, UserError
from rlaif.io.renamed import Renamed
from rlaif.io.yaml_file import parse_mapping, validated
from rlaif.recipe import Columns, FileQuestions, Recipe, parse_overrides, parse_recipe, stored_recipe
from rlaif.recipe.base import Section

BASE = """policy: {model: m}
questions: {train: {type: demo}, heldout: {type: demo, split: heldout}}
judge: {name: reference}
"""
OLD = BASE.replace("name: reference", "name: reference, canaries: {path: gold.jsonl}") + (
    "training:\n  nll: 0.1\n  max_drift: 0.3\n  probe_tolerance: null\n"
)


def test_a_recipe_with_old_keys_is_the_recipe_with_the_new_ones() -> None:
    new = OLD.replace("canaries", "gold_set").replace("nll", "sft_weight").replace("max_drift", "max_mismatch")
    new = new.replace("probe_tolerance", "max_probe_difference")
    with pytest.warns(RenamedWarning) as caught:
        recipe = parse_recipe(OLD, "mine.yaml")
    assert recipe == parse_recipe(new, "mine.yaml")
    assert [str(warning.message) for warning in caught] == [
        "mine.yaml:3: judge.canaries is now called judge.gold_set; the old name still works",
        "mine.yaml:5: training.nll is now called training.sft_weight; the old name still works",
        "mine.yaml:6: training.max_drift is now called training.max_mismatch; the old name still works",
        "mine.yaml:7: training.probe_tolerance is now called training.max_probe_difference; the old name still works",
    ]


def test_the_recipe_of_an_older_run_is_read_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stored_recipe(OLD, "recipe.yaml").training.sft_weight == 0.1


def test_a_limit_of_another_meaning_is_refused_and_that_of_an_older_run_is_the_default() -> None:
    old = OLD.replace("probe_tolerance: null", "probe_tolerance: 0.4")
    with pytest.warns(RenamedWarning), pytest.raises(UserError) as refused:
        parse_recipe(old, "mine.yaml")
    assert str(refused.value) == (
        "mine.yaml:7: training.probe_tolerance: expected max_probe_difference, which limits the mean of the tokens' "
        "differences rather than the largest; leave both out for its default (got 0.4)"
    )
    with pytest.raises(UserError, match=r"^--set: training\.probe_tolerance: expected max_probe_difference"):
        parse_recipe(BASE, "mine.yaml", ["training.probe_tolerance=0.4"])
    assert stored_recipe(old, "recipe.yaml").training.max_probe_difference is None


def test_both_names_at_once_are_refused_with_the_line() -> None:
    with pytest.raises(UserError) as refused:
        parse_recipe(BASE + "training:\n  sft_weight: 0.2\n  nll: 0.1\n", "mine.yaml")
    assert str(refused.value) == (
        "mine.yaml:6: training.nll: is the old name of sft_weight, which is given too; expected one of the two"
    )


@pytest.mark.parametrize(
    "overrides",
    [
        ["training.nll=0.1", "judge.canaries.path=gold.jsonl", "training.max_drift=0.3"],
        ["training={nll: 0.1, max_drift: 0.3}", "judge.canaries={path: gold.jsonl}"],
        ["judge={name: reference, canaries: {path: x}}", "training.sft_weight=9", "training.nll=0.1",
         "training.max_drift=0.3", "judge.gold_set.path=gold.jsonl"],
    ],
)  # fmt: skip
def test_set_accepts_old_names(overrides: list[str]) -> None:
    with pytest.warns(RenamedWarning, match=r"^--set: training\.nll is now called training\.sft_weight"):
        recipe = parse_recipe(BASE, "mine.yaml", overrides)
    assert (recipe.training.sft_weight, recipe.training.max_mismatch) == (0.1, 0.3)
    assert recipe.judge.gold_set is not None
    assert recipe.judge.gold_set.path == "gold.jsonl"


def test_a_fault_under_an_old_key_has_its_line() -> None:
    with pytest.warns(RenamedWarning), pytest.raises(UserError, match=r"^mine\.yaml:5: training\.sft_weight: expected"):
        parse_recipe(BASE + "training:\n  nll: -1\n", "mine.yaml")


class Asked(Section):
    swap_positions: bool = True


@pytest.mark.parametrize(("old", "swap"), [("both", True), ("given", False)])
def test_a_renamed_key_may_have_other_values(old: str, swap: bool) -> None:
    table = {"orders": Renamed("swap_positions", {"both": True, "given": False})}
    with pytest.warns(RenamedWarning, match="orders is now called swap_positions"):
        assert validated(TypeAdapter(Asked), parse_mapping(f"orders: {old}", "j.yaml", renames=table)) == Asked(
            swap_positions=swap
        )
    for wrong in ("one", "[both]"):
        with pytest.raises(UserError, match=r"^j\.yaml:1: orders: expected 'both' or 'given' \(got .*one|both"):
            parse_mapping(f"orders: {wrong}", "j.yaml", renames=table)


def test_overrides_alone_accept_old_names() -> None:
    overrides = ["policy.model=m", "questions.train.type=demo", "questions.heldout.type=demo", "judge.name=x"]
    with pytest.warns(RenamedWarning):
        assert parse_overrides(Recipe, [*overrides, "training.nll=0.1"]).training.sft_weight == 0.1


def test_the_command_line_names_each_old_key_once_on_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(
        BASE.replace("model: m", 'model: "builtin:smollm2-135m"') + "training: {nll: 0.1}\n"
    )
    planned = CliRunner().invoke(app, ["plan", "mine.yaml", "--json"])
    assert planned.exit_code == 0, planned.output
    assert planned.stderr.splitlines() == [
        f"rlaif: {tmp_path}/mine.yaml:4: training.nll is now called training.sft_weight; the old name still works"
    ]
    assert json.loads(planned.stdout)


def test_old_columns_of_files_are_read_as_the_new_ones(tmp_path: Path) -> None:
    asked = tmp_path / "q.jsonl"
    asked.write_text('{"question": "A?", "gold_answer": "0"}\n{"question": "B?", "answer": "1"}\n' * 2)
    with pytest.warns(RenamedWarning) as caught:
        questions = load_questions(FileQuestions(path=str(asked)))
    assert [question.gold_answer for question in questions] == ["0", "1", "0", "1"]
    assert [str(warning.message) for warning in caught] == [
        f"{asked}:2: answer is now called gold_answer; the old name still works"
    ]
    labels = tmp_path / "labels.csv"
    labels.write_text("id,question,reference,answer_a,answer_b,human\n1,A?,7,x,y,a\n")
    with pytest.warns(RenamedWarning, match=r"labels\.csv:2: reference is now called gold_answer"):
        assert load_labels(str(labels))[0].gold_answer == "7"
    candidates = tmp_path / "c.parquet"
    pq.write_table(pa.table({"question": ["A?"], "reference": ["7"], "answer": ["x"]}), candidates)
    with pytest.warns(RenamedWarning, match=r"c\.parquet: row 1: reference is now called gold_answer"):
        assert read_candidates(str(candidates))[0].as_question.gold_answer == "7"


def test_a_file_with_both_columns_is_refused_unless_the_recipe_names_one(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "A?", "answer": "1", "gold_answer": "2", "gold": "3"}\n')
    with pytest.raises(UserError, match=r"q\.jsonl:1: answer: is the old name of gold_answer, which is given too"):
        load_questions(FileQuestions(path=str(path)))
    (named,) = load_questions(FileQuestions(path=str(path), columns=Columns(gold_answer="gold")))
    assert named.gold_answer == "3"


@pytest.mark.parametrize(("old", "column"), [("answer", "gold_answer"), ("gold", "gold")])
def test_the_recipe_key_of_the_answer_column_is_renamed(old: str, column: str) -> None:
    text = BASE.replace("train: {type: demo}", f"train: {{type: file, path: q.csv, columns: {{answer: {old}}}}}")
    with pytest.warns(RenamedWarning, match=r"questions\.train\.columns\.answer is now called"):
        train = parse_recipe(text, "mine.yaml").questions.train
    assert isinstance(train, FileQuestions)
    assert train.columns.gold_answer == column
