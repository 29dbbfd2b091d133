"""What a run writes for people after each round is there after any kill, and holds the current policy's answers."""

import asyncio
import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlaif.io.files import write_bytes
from rlaif.progress import Silent
from rlaif.recipe import RoundsSection
from rlaif.rounds.loop import RoundLoop
from rlaif.rounds.round_judges import RoundJudges
from rlaif.rounds.submission import LearningCurve
from rlaif.store.events import ignore_event
from rlaif.store.rundir import RunDir
from tests.unit.small_run import BASE, SmallRun, cut


@pytest.fixture
def small(tmp_path: Path) -> RunDir:
    """A run of two rounds, of which the first was promoted, with the test answers of each policy."""
    run = SmallRun(tmp_path / "small", prompts=3, heldout=4).run
    for folder in ("initial", "round-000", "round-001"):
        write_bytes(run.path(folder, "predictions.csv"), f"of {folder}".encode())
    return run


def loop(run: RunDir) -> RoundLoop:
    recipe = SimpleNamespace(rounds=RoundsSection(count=2), evaluation=SimpleNamespace(max_tokens=8))
    question = SimpleNamespace(gold_answer="1")
    setup: Any = SimpleNamespace(
        recipe=recipe, heldout=[question] * 4, test=[question], judge=SimpleNamespace(sha="judge")
    )
    judge: Any = None
    pools: Any = SimpleNamespace(policy=SimpleNamespace(base=SimpleNamespace(id=BASE)))
    return RoundLoop(
        setup, run, pools, judge, judges=RoundJudges({"judge": judge}), progress=Silent(), emit=ignore_event,
        policy_check=judge, on_step=lambda number, entry: None,
    )  # fmt: skip


def rounds_of_curve(run: RunDir) -> list[str]:
    text = Path(run.path("learning-curve.csv")).read_text(encoding="utf-8")
    return [row["round"] for row in csv.DictReader(text.splitlines())]


def test_a_start_writes_what_a_kill_kept_from_the_last_round(small: RunDir) -> None:
    asyncio.run(loop(small).run())
    assert rounds_of_curve(small) == ["", "0", "1"]
    assert Path(small.path("submission-00.csv")).read_text(encoding="utf-8") == "of initial"


def test_a_curve_that_goes_on_is_that_of_a_fresh_start(small: RunDir) -> None:
    whole = LearningCurve(small).rows()
    cut(Path(small.root), 1, "promote")
    curve = LearningCurve(small)
    assert curve.rows() == whole[:2]
    loop(small)._end(small.round(1), promoted=False)
    assert curve.rows() == whole


@pytest.mark.parametrize(("promoted", "answers"), [(True, "of round-001"), (False, "of round-000")])
def test_a_submission_is_of_the_policy_that_is_current(small: RunDir, promoted: bool, answers: str) -> None:
    cut(Path(small.root), 1, "promote")
    write_bytes(small.path("round-001", "predictions.csv"), b"of round-001")
    loop(small)._end(small.round(1), promoted=promoted)
    assert Path(small.path("submission-02.csv")).read_text(encoding="utf-8") == answers


def test_a_round_whose_mark_is_there_has_left_no_stale_state(small: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    cut(Path(small.root), 1, "promote")
    for directory in small.rounds():
        write_bytes(directory.path("state", "complete"), b"whole")

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LearningCurve, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        loop(small)._end(small.round(1), promoted=True)
    assert small.round(1).done("promote")
    assert [Path(directory.path("state")).exists() for directory in small.rounds()] == [False, True]
