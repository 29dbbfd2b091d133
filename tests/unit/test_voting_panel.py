"""Panels that vote: only readable verdicts decide, and one that ends the work ends the others."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from rlaif.data.question import Question
from rlaif.errors import WorkError
from rlaif.judges.decisions import all_comparisons, decide_by_orders, own_verdicts
from rlaif.judges.judge import Decision, Verdict
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.panel import PanelSpec, Vote


class Deciding:
    """A judge that gives each comparison one verdict of a status and a preference, or no verdict for None."""

    def __init__(self, name: str, status: str | None, preference: float | None = None) -> None:
        self.name, self.sha, self._status, self._preference = name, f"sha of {name}", status, preference

    async def verdicts(self, prompt: Question, answers: Sequence[str], comparisons: object = None) -> list[Verdict]:
        if self._status is None:
            return []
        return [
            Verdict(prompt.id, a, b, self._status, self._preference, None, "", self.name, self.sha, order="ab")  # type: ignore[arg-type]
            for a, b in all_comparisons(len(answers))
        ]

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        return decide_by_orders(own_verdicts(self, prompt_id, verdicts), ("ab",))


OK, TIE, UNPARSED, ERROR, SILENT = "ok", "tie", "unparsed", "error", None


@pytest.mark.parametrize(
    ("members", "majority", "mean"),
    [
        ([(OK, 0.9), (OK, 0.6), (OK, 0.1)], ("ok", 2 / 3), ("ok", 1.6 / 3)),
        ([(OK, 0.6), (OK, 0.6), (OK, 0.1)], ("ok", 2 / 3), ("ok", 1.3 / 3)),
        ([(OK, 0.6), (OK, 0.4)], ("tie", None), ("tie", None)),
        ([(OK, 0.75), (TIE, None)], ("ok", 0.75), ("ok", 0.625)),
        ([(OK, 0.2), (SILENT, None), (SILENT, None)], ("ok", 0.0), ("ok", 0.2)),
        ([(OK, 0.9), (UNPARSED, None)], ("unparsed", None), ("unparsed", None)),
        ([(OK, 0.9), (OK, 0.8), (ERROR, None)], ("ok", 1.0), ("ok", 0.85)),
        ([(OK, 0.9), (UNPARSED, None), (ERROR, None)], ("error", None), ("error", None)),
    ],
)
def test_a_voting_panel_decides_by_its_readable_verdicts(
    tmp_path: Path,
    members: list[tuple[str | None, float | None]],
    majority: tuple[str, float | None],
    mean: tuple[str, float | None],
) -> None:
    judges = tuple(Deciding(f"judge {index}", *member) for index, member in enumerate(members))
    for mode, (status, preference) in (("majority", majority), ("mean", mean)):
        (tmp_path / "panel.yaml").write_text(f"kind: panel\nmode: {mode}\njudges: [reference]\n", encoding="utf-8")
        spec = load_judge_file(str(tmp_path / "panel.yaml"))
        assert isinstance(spec, PanelSpec)
        panel = Vote(spec, judges)
        verdicts = asyncio.run(panel.verdicts(Question("q", "Sales?"), ["x", "y"]))
        (decision,) = panel.decide("q", 2, verdicts)
        assert decision.status == status
        assert decision.preference == (None if preference is None else pytest.approx(preference))
        assert (decision.judge, decision.judge_sha) == (panel.name, panel.sha)
        assert {verdict.judge for verdict in verdicts} == {judge.name for judge in judges if judge._status is not None}


def test_an_error_that_ends_the_work_ends_the_other_votes(tmp_path: Path) -> None:
    ended: list[str] = []

    class Slow(Deciding):
        async def verdicts(self, prompt: Question, answers: Sequence[str], comparisons: object = None) -> list[Verdict]:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                ended.append(self.name)
                raise
            return []

    class Stopped(Deciding):
        async def verdicts(self, prompt: Question, answers: Sequence[str], comparisons: object = None) -> list[Verdict]:
            await asyncio.sleep(0)
            raise WorkError("the account is used up")

    (tmp_path / "panel.yaml").write_text("kind: panel\nmode: mean\njudges: [reference]\n", encoding="utf-8")
    spec = load_judge_file(str(tmp_path / "panel.yaml"))
    assert isinstance(spec, PanelSpec)
    panel = Vote(spec, (Slow("one", OK), Vote(spec, (Stopped("two", OK), Slow("three", OK)))))

    async def work() -> None:
        with pytest.raises(WorkError, match=r"^the account is used up$"):
            await panel.verdicts(Question("q", "Sales?"), ["x", "y"])
        # While the event loop runs on, and not only once it is closed.
        assert sorted(ended) == ["one", "three"]

    asyncio.run(work())
