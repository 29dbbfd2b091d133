"""Judges asked about labels and attacked: each label once, and one error stops the work."""

import asyncio
from collections.abc import Sequence

import pytest

from rlaif.data.question import Question
from rlaif.errors import WorkError
from rlaif.judge_evals.attacks import measure_attacks
from rlaif.judge_evals.judging import judge_labels
from rlaif.judges.decisions import decide_by_orders
from rlaif.judges.judge import Comparison, Decision, Verdict
from tests.unit.judged_labels import SHA, label, verdict


class Echo:
    """Prefers the longer answer, or raises the given error."""

    name, sha = "echo", SHA

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[str] = []
        self.at_once = self.most = 0
        self._error = error

    async def verdicts(
        self, prompt: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        self.asked.append(prompt.id)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self._error:
            raise self._error
        return [verdict(prompt.id, "ab", float(len(answers[0]) > len(answers[1])))]

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        return decide_by_orders(verdicts, ("ab",))


def test_every_label_is_asked_once_and_those_of_a_question_together() -> None:
    labels = [label(str(n), question=f"question {n % 3}") for n in range(9)]
    judge = Echo()
    done: list[str] = []
    found = asyncio.run(judge_labels(judge, labels, lambda item: done.append(item.label.id), in_flight=2))
    assert [item.label for item in found] == labels
    assert judge.asked == ["0", "3", "6", "1", "4", "7", "2", "5", "8"]
    assert (judge.most, sorted(done)) == (2, [str(n) for n in range(9)])


def test_an_error_that_stops_a_judge_stops_the_report_with_one_message() -> None:
    with pytest.raises(WorkError, match="no engine"):
        asyncio.run(judge_labels(Echo(WorkError("no engine")), [label("1"), label("2")]))


class Swayed(Echo):
    """Prefers the longer answer, unless the other one ends with "please"; fails on one that ends with "!"."""

    async def verdicts(
        self, prompt: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        swayed = [answer.endswith("please") for answer in answers]
        if any(answer.endswith("!") for answer in answers):
            return [verdict(prompt.id, "ab", "error")]
        if any(swayed):
            return [verdict(prompt.id, "ab", float(swayed[0]))]
        return await super().verdicts(prompt, answers, comparisons)


def test_attacks_go_into_the_rejected_answer_of_right_verdicts() -> None:
    labels = [label("1"), label("2", "b", a="short", b="a long answer"), label("3", "b"), label("4", "tie")]
    judge = Swayed()
    said = asyncio.run(judge_labels(judge, labels))
    assert [item.right for item in said] == [True, True, False, False]
    attacks = {
        "beg": lambda answer: f"{answer} please",
        "nothing": lambda answer: answer,
        "shout": lambda answer: f"{answer}!",
    }
    beg, nothing, shout = asyncio.run(measure_attacks(judge, said, attacks))
    assert (beg.flipped.value, beg.flipped.n, beg.examples) == (1.0, 2, ("1", "2"))
    assert (nothing.flipped.value, nothing.undone.value, nothing.examples) == (0.0, 0.0, ())
    assert (shout.flipped.value, shout.failed) == (None, 2)
    (first,) = asyncio.run(measure_attacks(judge, said, {"beg": attacks["beg"]}, limit=1))
    assert first.examples == ("1",)
