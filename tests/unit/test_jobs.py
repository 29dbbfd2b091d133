"""The decisions of `submit` before it reaches a cluster."""

from types import SimpleNamespace
from typing import Any

import pytest

from rlaif.errors import UserError
from rlaif.jobs.run_jobs import free_id, refuse_second
from rlaif.jobs.secrets import values_of


def job(name: str, status: str, run: str = "small", runs: str = "s3://bucket/runs") -> Any:
    metadata = {"rlaif_run": run, "rlaif_runs": runs}
    return SimpleNamespace(submission_id=name, status=SimpleNamespace(value=status), metadata=metadata)


def test_a_run_of_a_running_job_is_refused() -> None:
    jobs = [job("rlaif-small", "FAILED"), job("rlaif-small-2", "RUNNING")]
    with pytest.raises(UserError, match=r"rlaif-small-2 works on this run .*`rlaif stop rlaif-small-2") as refused:
        refuse_second(jobs, "small", "s3://bucket/runs", "http://head:8265")
    assert "--address http://head:8265" in str(refused.value)


@pytest.mark.parametrize(
    "other",
    [job("a", "SUCCEEDED"), job("a", "STOPPED"), job("a", "RUNNING", run="other"), job("a", "RUNNING", runs="/runs")],
)
def test_ended_jobs_and_other_runs_do_not_block(other: Any) -> None:
    other_without = SimpleNamespace(submission_id="b", status=SimpleNamespace(value="RUNNING"), metadata=None)
    refuse_second([other, other_without], "small", "s3://bucket/runs", "http://head:8265")


def test_an_id_is_the_runs_with_a_number_if_it_is_taken() -> None:
    assert free_id("small", [None, "rlaif-other"]) == "rlaif-small"
    assert free_id("small", ["rlaif-small", "rlaif-small-2"]) == "rlaif-small-3"


def test_variables_are_given_by_name_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEY", "secret")
    assert values_of(["OUR_KEY"]) == {"OUR_KEY": "secret"}
    for name, says in (("OUR_KEY=secret", "alone"), ("NOT_SET_ANYWHERE", "not set here"), ("1X", "alone")):
        with pytest.raises(UserError, match=says) as refused:
            values_of([name])
        assert "secret" not in str(refused.value)
