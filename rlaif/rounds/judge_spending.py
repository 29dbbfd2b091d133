"""What a run has spent on its judge, over all its starts.

Invariant: what is recorded never falls: it is the larger of what the run has written down and of what its stored
verdicts say. Only what a kill takes from before it was written down or stored is not known; the verdict cache then
gives those answers for nothing.
"""

from rlaif.inference.spending import Spending
from rlaif.io.files import read_json, write_json
from rlaif.judge_evals.gold_set import GOLD_SET_TABLE
from rlaif.judges.spec import JudgeSpec
from rlaif.judges.spending_limit import limited_spending
from rlaif.store.rundir import RunDir
from rlaif.store.schemas import VERDICTS
from rlaif.store.shards import ShardTable

_FILE = "spending.json"


def run_spending(run: RunDir, judge: JudgeSpec, limit: float | None) -> Spending:
    """Return the account of a run's judge, with what earlier starts have spent.

    Args:
        run: the run's directory.
        judge: its judge.
        limit: the recipe's `judge.max_cost`.

    Raises:
        UserError: the limit cannot be held; see `limited_spending`.
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
    written = (read_json(run.path(_FILE)) or {}).get("spent", 0.0)
    spending.spent = max(spending.spent, float(written))
    return spending


def record_spending(run: RunDir, judge: JudgeSpec, spending: Spending) -> None:
    """Write down what is spent, where anything is charged at all."""
    if any(leaf.prices is not None for leaf in judge.leaves):
        write_json(run.path(_FILE), {"spent": spending.spent, "currency": spending.currency})
