"""What a run has spent on its judge, over all its starts.

Invariant: the recorded amount never falls: it is the larger of `spending.json` and the cost of the stored verdicts. An
answer that a kill kept from both costs nothing again, since the response cache has it.
"""

from rlaif.inference.openai_server import Spending
from rlaif.judge_evals.gold_set import GOLD_SET_TABLE
from rlaif.judges.build import limited_spending
from rlaif.judges.spec import JudgeSpec
from rlaif.store.records.spending_record import SpendingRecord
from rlaif.store.rundir import RunDir
from rlaif.store.schemas import VERDICTS
from rlaif.store.shards import ShardTable

_FILE = "spending.json"


def run_spending(run: RunDir, judge: JudgeSpec, limit: float | None) -> Spending:
    """Return the spending of a run's judge, with the amount of earlier starts.

    Args:
        run: the run's directory.
        judge: its judge.
        limit: the recipe's `judge.max_cost`.

    Raises:
        UserError: the limit cannot be enforced; see `limited_spending`.
    """
    spending = limited_spending(judge, limit)
    prices = {leaf.sha: leaf.prices for leaf in judge.leaves if leaf.prices is not None}
    if not prices:
        return spending
    for directory in run.rounds():
        for table in (GOLD_SET_TABLE, "verdicts"):
            for shard in ShardTable(directory.path(table), VERDICTS).shards():
                columns = shard.select(["judge_sha", "prompt_tokens", "completion_tokens"]).to_pylist()
                for row in columns:
                    spending.add(prices.get(row["judge_sha"]), row["prompt_tokens"] or 0, row["completion_tokens"] or 0)
    if recorded := SpendingRecord.read(run.path(_FILE)):
        spending.spent = max(spending.spent, recorded.spent)
    return spending


def record_spending(run: RunDir, judge: JudgeSpec, spending: Spending) -> None:
    """Write `spending.json`, if the judge has prices."""
    if any(leaf.prices is not None for leaf in judge.leaves):
        SpendingRecord(spent=spending.spent, currency=spending.currency).write(run.path(_FILE))
