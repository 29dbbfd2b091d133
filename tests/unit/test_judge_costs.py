"""The money that a run has spent on its judge, and the checks of a remote judge before a run starts."""

from dataclasses import asdict
from pathlib import Path

import pytest

from rlaif.errors import UserError, WorkError
from rlaif.judges.judge import Verdict
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.spec import JudgeSpec
from rlaif.recipe import load_recipe
from rlaif.rounds.identity import differing_keys
from rlaif.rounds.run import record_spending, run_spending
from rlaif.rounds.setup import prepare
from rlaif.store.rundir import RunDir
from rlaif.store.schemas import VERDICTS
from rlaif.store.shards import ShardTable


def remote(folder: Path, prices: str = "  prices: {prompt: 10, completion: 100, currency: EUR}\n") -> JudgeSpec:
    path = folder / "remote.yaml"
    path.write_text(f"kind: llm\nprompt: finance-grounded\nbackend:\n  type: openai\n  model: m\n{prices}", "utf-8")
    return load_judge_file(str(path))


def judged(run: RunDir, number: int, spec: JudgeSpec, count: int) -> None:
    """Store verdicts of 1,000 and 100 tokens: 0.02 each."""
    verdicts = [
        Verdict(f"q{index}", 0, 1, "unparsed", None, None, "", spec.name, spec.sha, "", "ab", 1000, 100)
        for index in range(count)
    ]
    ShardTable(run.round(number).path("verdicts"), VERDICTS).append([asdict(verdict) for verdict in verdicts])


def test_a_run_counts_the_larger_of_its_verdicts_cost_and_its_record(tmp_path: Path) -> None:
    spec, run = remote(tmp_path), RunDir(str(tmp_path / "run"))
    assert run_spending(run, [spec], None).spent == 0.0
    judged(run, 0, spec, 3)
    judged(run, 1, spec, 2)
    judged(run, 1, load_judge_file("finance-grounded"), 50)
    spending = run_spending(run, [spec], 0.5)
    assert (spending.spent, spending.limit, spending.currency) == (pytest.approx(0.10), 0.5, "EUR")
    spending.spent = 0.45
    record_spending(run, [spec], spending)
    assert run_spending(run, [spec], 0.5).spent == pytest.approx(0.45)
    with pytest.raises(WorkError, match=r"0\.45 EUR spent on the judge, and 0\.4 is the limit"):
        run_spending(run, [spec], 0.4).check()


def test_a_judge_that_charges_nothing_leaves_no_record(tmp_path: Path) -> None:
    spec, run = load_judge_file("reference"), RunDir(str(tmp_path / "run"))
    record_spending(run, [spec], run_spending(run, [spec], None))
    assert not (tmp_path / "run").exists()


def test_a_run_may_continue_with_another_limit() -> None:
    assert differing_keys({"judge": {"name": "x", "max_cost": 1.0}}, {"judge": {"name": "x", "max_cost": 2.0}}) == []
    assert differing_keys({"judge": {"name": "x"}}, {"judge": {"name": "y"}}) != []


@pytest.mark.parametrize(
    ("prices", "limit", "key", "message"),
    [
        ("  prices: {prompt: 1, completion: 1}\n", "1", "", "OPENAI_API_KEY, which is not set"),
        ("", "1", "sk-x", r"judge\.max_cost: .*remote\.yaml has no backend\.prices"),
        ("", "0", "sk-x", r"judge\.max_cost: expected greater than 0"),
    ],
)
def test_a_missing_key_or_an_unenforceable_limit_is_reported_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prices: str, limit: str, key: str, message: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    path = remote(tmp_path, prices).path
    with pytest.raises(UserError, match=message):
        prepare(load_recipe("demo", [f"judge.name={path}", f"judge.max_cost={limit}"]), str(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()
