"""Statistics of a run's verdicts, by judge."""

from pathlib import Path
from typing import Any

from rlaif.judges.judge import Verdict
from rlaif.reporting.judge_statistics import run_verdicts
from rlaif.store.rundir import RunDir
from rlaif.store.schemas import VERDICTS
from rlaif.store.shards import ShardTable


def test_order_agreement_and_position_bias_are_by_the_shown_order(tmp_path: Path) -> None:
    run = RunDir(str(tmp_path / "run"))
    empty = dict.fromkeys(VERDICTS.names) | {"prompt_id": "q", "status": "ok", "judge": "j", "text": ""}

    def row(second: int, order: str, preference: float) -> dict[str, Any]:
        return {**empty, "first": 0, "second": second, "order": order, "preference": preference}

    # Comparison (0, 1) agrees; (0, 2) prefers the one shown first; (0, 3) was asked in one order only.
    rows = [row(1, "ab", 0.9), row(1, "ba", 0.8), row(2, "ab", 0.7), row(2, "ba", 0.3), row(3, "ab", 0.6)]
    ShardTable(run.round(0).path("verdicts"), VERDICTS).append(rows)
    (judge,), _ = run_verdicts(run.rounds())
    assert (judge.both_orders, judge.orders_agree, judge.agreement) == (2, 1, 0.5)
    assert (judge.decided, judge.shown_first) == (5, 4)


def test_verdicts_from_before_their_mass_was_stored_are_read(tmp_path: Path) -> None:
    run = RunDir(str(tmp_path / "run"))
    before = ShardTable(run.round(0).path("verdicts"), VERDICTS.remove(VERDICTS.get_field_index("mass")))
    row = {"prompt_id": "q", "first": 0, "second": 1, "status": "ok", "preference": 0.9, "text": "A", "judge": "j"}
    before.append([{**row, "judge_sha": "s", "prompt_sha": "", "order": "ab"}])
    table = ShardTable(run.round(0).path("verdicts"), VERDICTS)
    table.append([{**row, "prompt_id": "r", "judge_sha": "s", "prompt_sha": "", "order": "ab", "mass": 0.75}])
    assert [Verdict(**row).mass for _, rows in table.by_prompt() for row in rows] == [None, 0.75]
    (judge,), _ = run_verdicts(run.rounds())
    assert judge.by_status == {"ok": 2}
