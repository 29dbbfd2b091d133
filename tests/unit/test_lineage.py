"""A pair's provenance: every hash and raw verdict in the store, from the pair's id or the beginning of it."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rlaif.cli.main import app
from rlaif.data.criteria import Mark
from rlaif.errors import UserError
from rlaif.store import trace
from rlaif.store.rundir import RunDir
from rlaif.store.schemas import VERDICTS
from rlaif.store.trace import trace_pair
from tests.unit.small_run import (
    BASE,
    CANDIDATES_EACH,
    HOSTILE,
    MODEL_SHA,
    PROMPT_SHA,
    REFERENCE_SHA,
    SHARD,
    SmallRun,
    cut,
    policy_id,
    remove,
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    return SmallRun(tmp_path_factory.mktemp("runs") / "small")


def pair_of(run: RunDir, number: int, judge: str) -> dict[str, Any]:
    rows = pq.read_table(run.round(number).path("pairs.parquet")).to_pylist()
    return next(row for row in rows if row["judge"] == judge)


def test_a_pair_of_the_first_round_leads_to_the_initial_model_and_the_promoted_policy(small: SmallRun) -> None:
    row = pair_of(small.run, 0, "reference")
    found = trace_pair(small.run, row["pair_id"])
    asked = next(question for question in small.train if question["id"] == row["prompt_id"])
    assert (found.prompt.question, found.prompt.reference) == (asked["question"], asked["reference"])
    assert found.prompt.context == asked["context"]
    assert found.chosen.text == row["chosen"][0]["content"]
    assert found.chosen.index == 0
    assert found.chosen.seed == 1000
    assert found.rejected.seed == 1000 + found.rejected.index
    assert found.chosen.tokens == len(row["chosen_token_ids"])
    assert found.chosen.logprob == pytest.approx(row["ref_chosen_logp"])
    assert (found.policy.kind, found.policy.id, found.policy.model) == ("base", BASE, "builtin:smollm2-135m")
    assert (found.decision.judge_sha, found.decision.prompt_sha) == (REFERENCE_SHA, None)
    assert (found.decision.score_chosen, found.decision.score_rejected) == (1.0, 0.0)
    assert found.training.policy == policy_id(1)
    assert found.training.promoted is True
    assert found.missing == ()


def test_a_pair_of_a_later_round_names_the_weights_that_sampled_it_and_the_judges_prompt(small: SmallRun) -> None:
    row = pair_of(small.run, 1, "finance-grounded")
    found = trace_pair(small.run, row["pair_id"])
    assert (found.policy.kind, found.policy.id, found.policy.round) == ("lora", policy_id(1), 0)
    assert found.policy.files["adapter_model.safetensors"] == "c" * 64
    assert (found.decision.judge_sha, found.decision.prompt_sha) == (MODEL_SHA, PROMPT_SHA)
    assert (found.training.policy, found.training.promoted) == (policy_id(2), False)
    assert found.training.metric == "score"


def test_all_raw_verdicts_on_the_two_answers_and_no_others_are_shown(small: SmallRun) -> None:
    row = pair_of(small.run, 0, "finance-grounded")
    found = trace_pair(small.run, row["pair_id"])
    both = {row["chosen_candidate"], row["rejected_candidate"]}
    assert [verdict.order for verdict in found.verdicts if verdict.judge == "finance-grounded"] == ["ab", "ba"]
    assert {verdict.first for verdict in found.verdicts if verdict.judge == "reference"} == both
    assert all(verdict.prefers == "chosen" for verdict in found.verdicts if verdict.second is not None)
    assert all({verdict.first, verdict.second} <= both | {None} for verdict in found.verdicts)


def test_a_unique_beginning_of_the_id_is_enough(small: SmallRun) -> None:
    whole = small.pair_ids[0]
    length = next(n for n in range(1, 17) if sum(other.startswith(whole[:n]) for other in small.pair_ids) == 1)
    assert trace_pair(small.run, whole[:length]).pair_id == whole
    with pytest.raises(UserError, match=f"pairs begin with '{whole[: length - 1]}'.*expected more of the id"):
        trace_pair(small.run, whole[: length - 1])


def test_an_unknown_id_is_answered_with_the_closest_and_how_many_there_are(small: SmallRun) -> None:
    whole = small.pair_ids[3]
    with pytest.raises(UserError, match=f"among {len(small.pair_ids)} pairs; the closest is {whole}"):
        trace_pair(small.run, whole[:-1] + "z")
    with pytest.raises(UserError, match="an id looks like"):
        trace_pair(small.run, "zzz")


def test_reading_ends_with_the_shard_that_holds_the_prompt(small: SmallRun, monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = pq.read_table(small.run.round(0).path("candidates", "part-00000.parquet"))
    assert candidates.num_rows == SHARD * CANDIDATES_EACH
    first = candidates["prompt_id"][0].as_py()
    rows = pq.read_table(small.run.round(0).path("pairs.parquet")).to_pylist()
    read: list[str] = []
    inner = trace.read_table

    def noted(path: str, *args: Any, **kwargs: Any) -> Any:
        read.append(path)
        return inner(path, *args, **kwargs)

    monkeypatch.setattr(trace, "read_table", noted)
    trace_pair(small.run, next(row["pair_id"] for row in rows if row["prompt_id"] == first))
    assert [Path(path).name for path in read if "/candidates/" in path] == ["part-00000.parquet"]
    assert [Path(path).name for path in read if "/verdicts/" in path] == ["part-00000.parquet"]


@pytest.mark.parametrize(("stage", "missing"), [("train", "not trained"), ("evaluate", "not evaluated or promoted")])
def test_a_pair_of_an_unfinished_round_names_what_is_missing(tmp_path: Path, stage: str, missing: str) -> None:
    small = SmallRun(tmp_path / "run", prompts=3, heldout=4)
    cut(tmp_path / "run", 1, stage)
    found = trace_pair(small.run, pair_of(small.run, 1, "reference")["pair_id"])
    assert found.training.promoted is None
    assert any(missing in line for line in found.missing)


def test_a_run_without_pairs_says_so(tmp_path: Path) -> None:
    small = SmallRun(tmp_path / "run", prompts=3, heldout=4, rounds=1)
    cut(tmp_path / "run", 0, "pairs")
    with pytest.raises(UserError, match="no round has pairs yet"):
        trace_pair(small.run, "abc")


def test_deleted_files_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    small = SmallRun(tmp_path / "run", prompts=3, heldout=4, rounds=1)
    row = pair_of(small.run, 0, "reference")
    for name in ("round-000/candidates", "round-000/verdicts", "prompts"):
        remove(tmp_path / "run" / name)
    found = trace_pair(small.run, row["pair_id"])
    assert found.chosen.text == row["chosen"][0]["content"]
    assert found.chosen.logprob == row["ref_chosen_logp"]
    assert (found.chosen.seed, found.prompt.question, found.verdicts) == (None, None, ())
    assert found.prompt.messages == row["prompt"]
    assert len(found.missing) == 3


def test_the_hostile_candidate_is_in_the_store_word_for_word(small: SmallRun) -> None:
    rows = pq.read_table(small.run.round(0).path("pairs.parquet")).to_pylist()
    row = next(row for row in rows if row["rejected"][0]["content"] == HOSTILE)
    assert trace_pair(small.run, row["pair_id"]).rejected.text == HOSTILE


def test_the_marks_of_a_rating_are_shown_with_it(tmp_path: Path) -> None:
    run = SmallRun(tmp_path / "small")
    row = pair_of(run.run, 0, "reference")
    for shard in Path(run.run.round(0).path("verdicts")).glob("*.parquet"):
        verdicts = pq.read_table(shard).to_pylist()
        for verdict in verdicts:
            if verdict["score"] is not None:
                verdict["marks"] = [{"criterion": "Truth", "mark": 5.0, "weight": 3.0}]
        pq.write_table(pa.Table.from_pylist(verdicts, schema=VERDICTS), shard)
    found = trace_pair(run.run, row["pair_id"])
    rated = [verdict for verdict in found.verdicts if verdict.score is not None]
    assert {verdict.marks for verdict in rated} == {(Mark("Truth", 5.0, 3.0),)}
    shown = CliRunner().invoke(app, ["trace", run.run.root, row["pair_id"]]).stdout
    assert shown.count("Truth 5 (weight 3)") == len(rated)
